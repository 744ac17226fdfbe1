"""Subscribers whose line is judged, in virtual time: transport-wide feedback from them, and what
a room makes of it a few times a second."""

from __future__ import annotations

from relay.control import Preference, Source, TrackReception
from relay.plane.tracks import DownTrack, UpTrack
from relay.rooms.allotment import Allotment
from relay.rooms.publisher import Published
from relay.rtp import rtcp
from relay.rtp.twcc import ArrivalRecord
from tests.support.call import Call
from tests.support.network import Conditions
from tests.support.publishing import Publisher, Shape, Stream
from tests.support.subscribing import Line, Subscriber

RIDS = ("q", "h", "f")
SHAPES = {
    "q": Shape(packets=1, size=350),  # 30 pictures a second: 90 kbit/s
    "h": Shape(packets=1, size=1100),  # 270 kbit/s
    "f": Shape(packets=4, size=1100),  # 1.1 Mbit/s
}
LOOK = 0.2


def simulcast(call: Call, publisher: Publisher) -> tuple[UpTrack, dict[str, Stream]]:
    """A camera in three layers."""
    track = call.relay.add_simulcast(publisher.wire, f"t_{publisher.name}", RIDS)
    streams = {}
    for rid in RIDS:
        ssrc, rtx_ssrc = call.take_ssrc(), call.take_ssrc()
        streams[rid] = publisher.add(
            "video", ssrc, rtx_ssrc=rtx_ssrc, shape=SHAPES[rid], rid=rid, picture_id=ssrc
        )
    return track, streams


class Watcher:
    """A subscriber behind a line, which gives feedback of a kind."""

    def __init__(
        self,
        call: Call,
        name: str,
        down: Conditions,
        *,
        up: Conditions | None = None,
        feedback: bool = True,
        remb: bool = False,
    ) -> None:
        self.call = call
        self.down = down
        self.subscriber: Subscriber = call.subscriber(name, up or Conditions(), down)
        self.allotment = Allotment()
        self.lines: dict[str, Line] = {}
        self.preferences: dict[str, Preference] = {}
        self.told: list[TrackReception] = []
        self._carried: dict[DownTrack, Published] = {}
        self._record = ArrivalRecord()
        self._octets = 0
        self._leg = self.subscriber.wire.leg
        self.subscriber.on_numbered = self._note
        call.simulation.every(LOOK, self._look)
        if feedback:
            call.simulation.every(0.05, self._feed_back)
        if remb:
            call.simulation.every(0.5, self._send_remb)

    def watch(self, track: UpTrack, *, source: Source = "camera") -> DownTrack:
        down, line = self.call.subscribe(self.subscriber, track)
        self.lines[track.id] = line
        # Whose it is matters to nobody here.
        leg = next(iter(self.call.relay.forwarder.legs.values()))
        self._carried[down] = Published(f"p_{track.id}", source, track, leg, self.call.now)
        return down

    @property
    def rate(self) -> float:
        return self._leg.bandwidth.rate

    def get_frames(self, track: UpTrack, seconds: float) -> list[str]:
        """The streams that the frames of the last seconds came of."""
        since = self.call.now - seconds
        return [frame.name for frame in self.lines[track.id].frames if frame.at > since]

    def _look(self) -> None:
        self._leg.bandwidth.begin(self.call.now)
        self.told += self.allotment.update(
            self._leg, self._carried, self.preferences, (), self.call.now
        )

    def _note(self, number: int, size: int) -> None:
        self._record.on_packet(number, self.call.now)
        self._octets += size

    def _feed_back(self) -> None:
        now = self.call.now
        due = self._record.get_timer()
        if due is None or due > now:
            return
        for body in self._record.feedback_to_send(now):
            self.subscriber.send_rtcp(rtcp.build_transport_feedback(1, 2, body))

    def _send_remb(self) -> None:
        """An estimator at the receiver: what came, or what the line has where it is full."""
        rate, self._octets = 16 * self._octets, 0
        full = self.down.rate and rate > 0.9 * self.down.rate
        said = int(0.85 * self.down.rate) if full else int(1.5 * rate) + 10_000
        ssrcs = [line.ssrc for line in self.lines.values() if line.kind == "video"]
        if ssrcs:
            self.subscriber.send_rtcp(rtcp.build_remb(1, said, ssrcs))
