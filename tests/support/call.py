"""A call through the relay in virtual time: who publishes, who subscribes to whom."""

from __future__ import annotations

from itertools import pairwise

from relay.plane.tracks import DownTrack, UpTrack
from tests.support.network import Conditions, Simulation
from tests.support.publishing import Publisher, Shape, Stream
from tests.support.subscribing import Frame, Line, Subscriber
from tests.support.virtual_relay import VirtualRelay


class Call:
    """Participants by name; everything random comes from the seed."""

    def __init__(self, seed: int = 1, *, rows: int = 256) -> None:
        self.simulation = Simulation(seed)
        self.relay = VirtualRelay(self.simulation, rows=rows)
        self._ssrc = 1000

    @property
    def now(self) -> float:
        return self.simulation.now

    def run_for(self, seconds: float) -> None:
        self.simulation.run_for(seconds)

    def publisher(
        self, name: str, up: Conditions | None = None, down: Conditions | None = None
    ) -> Publisher:
        wire = self.relay.open(name, up, down)
        publisher = Publisher(self.simulation, wire, name)
        wire.connect()
        return publisher

    def camera(
        self,
        publisher: Publisher,
        *,
        rtx: bool = True,
        shape: Shape | None = None,
        sequence: int | None = None,
        timestamp: int | None = None,
        picture_id: int = 0,
        announced: bool = True,
        av1: bool = False,
    ) -> tuple[UpTrack, Stream]:
        """Publish a camera: the relay's track and what is sent on it.

        `announced` False: SDP told no SSRCs, only the packets' mid tells where they belong.
        """
        ssrc = self.take_ssrc()
        rtx_ssrc = self.take_ssrc() if rtx else None
        ssrcs = (ssrc, rtx_ssrc) if announced else (None, None)
        track = self.relay.add_video(
            publisher.wire, f"t_{publisher.name}", *ssrcs, rtx=rtx, av1=av1
        )
        stream = publisher.add(
            "video",
            ssrc,
            rtx_ssrc=rtx_ssrc,
            shape=shape,
            sequence=sequence,
            timestamp=timestamp,
            picture_id=picture_id,
            av1=av1,
        )
        return track, stream

    def microphone(
        self, publisher: Publisher, *, shape: Shape | None = None
    ) -> tuple[UpTrack, Stream]:
        ssrc = self.take_ssrc()
        track = self.relay.add_audio(publisher.wire, f"a_{publisher.name}", ssrc)
        return track, publisher.add("audio", ssrc, shape=shape)

    def subscriber(
        self, name: str, up: Conditions | None = None, down: Conditions | None = None
    ) -> Subscriber:
        wire = self.relay.open(name, up, down)
        subscriber = Subscriber(self.simulation, wire, name)
        wire.connect()
        return subscriber

    def subscribe(
        self, subscriber: Subscriber, track: UpTrack, *, rtx: bool = True
    ) -> tuple[DownTrack, Line]:
        """Carry the track in a slot of its own: the relay's side of it and the subscriber's."""
        down = self.relay.add_slot(subscriber.wire, track.kind, rtx=rtx)
        line = subscriber.add(track.kind, down.ssrc, down.rtx_ssrc)
        self.relay.attach(down, track)
        return down, line

    def take_ssrc(self) -> int:
        self._ssrc += 1
        return self._ssrc


def check_glitchless(
    frames: list[Frame],
    *,
    gap: float = 0.2,
    gapless: bool = True,
    clock_rate: int = 90000,
    mask: int = 0x7FFF,
) -> None:
    """A decoder sees one stream: time and picture numbers go on, across every switch.

    `gap`: seconds of playing time between two frames at most. `gapless`: within a source no
    frame is missing. `mask`: the width of a picture number, 16 bits for AV1.
    """
    assert frames
    assert frames[0].key or frames[0].picture_id is None
    for before, frame in pairwise(frames):
        step = frame.timestamp - before.timestamp & 0xFFFFFFFF
        assert 0 < step <= gap * clock_rate, (before.number, frame.number, step)
        if before.name == frame.name and gapless:
            assert frame.number == before.number + 1
        if frame.picture_id is None:
            continue
        if gapless or before.name != frame.name:
            assert frame.picture_id == (before.picture_id or 0) + 1 & mask
            if frame.tl0 is not None:
                assert frame.tl0 == (before.tl0 or 0) + 1 & 0xFF
        if before.name != frame.name:
            assert frame.key


def check_contiguous(line: Line) -> None:
    """Every sequence number between the first and the last one came, and nothing was given up."""
    numbers = set(line.sequences)
    assert line.skipped == 0
    assert len(numbers) == max(numbers) - min(numbers) + 1


def check_payloads(frames: list[Frame], stream: Stream) -> None:
    """What was decoded is bit for bit what was sent, but for the picture numbers."""
    for frame in frames:
        if frame.name != stream.name or (frame.number, 0) not in stream.payloads:
            continue
        for index, part in enumerate(frame.parts):
            assert stream.payloads[frame.number, index].endswith(part)
