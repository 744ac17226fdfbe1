"""Lip sync: a flash and a beep that were sent together are still together behind the relay."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from aiohttp import ClientSession
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

from tests.support.caller import (
    FRAME_RATE,
    SAMPLE_RATE,
    WHITE,
    Caller,
    Picture,
    Tone,
    Watcher,
    call,
    until,
)
from tests.support.processes import run_server

TOLERANCE = 0.040
"""Seconds that sound and picture may be apart before people notice."""

EVENTS = 3
"""Flashes to look at: one may be off on a machine that stumbles, their median is not."""

DARK = (20, 20, 20)


class Flash(Picture):
    """Half a second dark, half a second white."""

    def __init__(self) -> None:
        super().__init__(DARK)

    async def recv(self) -> Any:
        self.colour = WHITE if self.frames % FRAME_RATE >= FRAME_RATE // 2 else DARK
        return await super().recv()


class Beep(Tone):
    """Half a second silent, half a second loud: 25 frames of 20 ms each."""

    def __init__(self) -> None:
        super().__init__(0)

    async def recv(self) -> Any:
        self.frequency = 1000 if self.frames % 50 >= 25 else 0
        return await super().recv()


class Edges:
    """When a received track turned bright or loud, by the sender's clock (RFC 3550 6.4.1)."""

    def __init__(self, receiver: RTCRtpReceiver, rate: int) -> None:
        self.rate = rate
        self.found: list[int] = []
        """Media times as aiortc gives them: RTP timestamps less the first one."""
        self._receiver = receiver
        self.report: tuple[float, int] | None = None
        """The sender report that was made with the least delay: NTP seconds, RTP timestamp."""
        self._was_on = True
        self._pass_on = receiver._handle_rtcp_packet
        setattr(receiver, "_handle_rtcp_packet", self._receive)  # noqa: B010 - on the object only

    async def _receive(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            info = packet.sender_info
            self._compare(info.ntp_timestamp / (1 << 32), info.rtp_timestamp)
        await self._pass_on(packet)

    def _compare(self, ntp: float, timestamp: int) -> None:
        """aiortc's NTP time is when it came to send, on a busy machine long after the capture."""
        if self.report is not None:
            later = ntp - self.report[0] - _difference(timestamp, self.report[1]) / self.rate
            if later > 0:
                return
        self.report = ntp, timestamp

    def see(self, on: bool, timestamp: int) -> None:
        if on and not self._was_on:
            self.found.append(timestamp)
        self._was_on = on

    def times(self) -> list[float]:
        """The edges in NTP seconds."""
        assert self.report is not None
        ntp, timestamp = self.report
        mapper = getattr(self._receiver, "_RTCRtpReceiver__timestamp_mapper")  # noqa: B009
        return [
            ntp + _difference(mapper._origin + edge, timestamp) / self.rate for edge in self.found
        ]


class Observer(Watcher):
    """A watcher that also tells when it turned bright or loud."""

    def __init__(self, track: MediaStreamTrack, edges: Edges) -> None:
        self.edges = edges
        super().__init__(track)

    def observe(self, frame: Any) -> None:
        if self.kind == "video":
            bright = float(np.median(frame.to_ndarray(format="gray"))) > 128
            self.edges.see(bright, frame.pts)
            return
        samples = np.abs(frame.to_ndarray().reshape(-1)[::2])
        loud = np.flatnonzero(samples > 3000)
        first = int(loud[0]) if len(loud) else 0
        self.edges.see(len(loud) > 0, frame.pts + first)


class Listener(Caller):
    """A caller whose watchers are observers."""

    def open_watcher(self, receiver: RTCRtpReceiver) -> Watcher:
        rate = 90000 if receiver.track.kind == "video" else SAMPLE_RATE
        return Observer(receiver.track, Edges(receiver, rate))


async def test_a_flash_and_its_beep_stay_together() -> None:
    async with (
        run_server("--mesh-limit", "1", relay=True) as server,
        ClientSession() as session,
        call(session, server.ws_url, "demo", "Ada") as ada,
        call(session, server.ws_url, "demo", "Bob", Listener) as bob,
    ):
        await ada.publish(Flash(), Beep())
        await until(lambda: len(bob.watchers) == 2)
        edges = {}
        for watcher in bob.watchers.values():
            assert isinstance(watcher, Observer)
            edges[watcher.kind] = watcher.edges
        await until(
            lambda: all(len(e.found) > EVENTS and e.report for e in edges.values()),
            "flashes, beeps and sender reports",
        )
        flashes, beeps = edges["video"].times(), edges["audio"].times()
        apart = [min((beep - flash for beep in beeps), key=abs) for flash in flashes[1:]]
        print("apart by", [f"{a * 1000:.1f} ms" for a in apart])
        assert abs(statistics.median(apart)) < TOLERANCE, apart


def _difference(timestamp: int, other: int) -> int:
    """How far apart two RTP timestamps are, with the wrap of 32 bits taken into account."""
    return (timestamp - other + (1 << 31)) % (1 << 32) - (1 << 31)
