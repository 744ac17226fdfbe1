"""aiortc's own way to pass media on, for `bench_forward`: MediaRelay decodes each track once and
encodes it again for every subscriber. One process is the server and tells its CPU time and the
RTP packets that it sent; the publisher and the subscribers are in another.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import json
import os
import resource
import sys
from typing import Any

import aioice.ice
import numpy as np
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.contrib.media import MediaBlackhole, MediaRelay
from av import VideoFrame

WIDTH, HEIGHT = 640, 360
FRAMES = 30
WARM_UP = 3.0  # seconds
NO_ICE_SERVERS = RTCConfiguration(iceServers=[])


class Pattern(VideoStreamTrack):
    """Coarse noise that moves: neither still nor incompressible."""

    def __init__(self) -> None:
        super().__init__()
        chance = np.random.default_rng(1)
        self._frames = []
        for _ in range(FRAMES):
            small = chance.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)
            large = small.repeat(20, axis=0).repeat(20, axis=1)
            self._frames.append(VideoFrame.from_ndarray(large, format="rgb24"))
        self._next = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = self._frames[self._next % FRAMES]
        self._next += 1
        frame.pts, frame.time_base = pts, fractions.Fraction(time_base)
        return frame


async def read_line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def answer(pc: RTCPeerConnection, sdp: str) -> None:
    await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    tell({"sdp": pc.localDescription.sdp})


async def count_packets(peers: list[RTCPeerConnection]) -> int:
    reports = [report for pc in peers for report in (await pc.getStats()).values()]
    return sum(report.packetsSent for report in reports if report.type == "outbound-rtp")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve(seconds: float) -> None:
    """The first line is the publisher's offer, each further one a subscriber's, "go" begins."""
    relay = MediaRelay()
    tracks: list[MediaStreamTrack] = []
    publisher = RTCPeerConnection(NO_ICE_SERVERS)
    publisher.on("track", tracks.append)
    await answer(publisher, json.loads(await read_line())["sdp"])
    peers: list[RTCPeerConnection] = []
    while (line := await read_line()).strip() != "go":
        pc = RTCPeerConnection(NO_ICE_SERVERS)
        for track in tracks:
            pc.addTrack(relay.subscribe(track))
        peers.append(pc)
        await answer(pc, json.loads(line)["sdp"])
    await asyncio.sleep(WARM_UP)
    before, cpu = await count_packets(peers), cpu_seconds()
    await asyncio.sleep(seconds)
    cpu = cpu_seconds() - cpu
    tell({"packets": await count_packets(peers) - before, "cpu": cpu})
    await asyncio.gather(*(pc.close() for pc in [publisher, *peers]))


async def measure(subs: int, seconds: float) -> tuple[float, float]:
    """CPU µs per packet sent to `subs` subscribers, and the share of a core used (percent)."""
    command = [sys.executable, "-m", "tests.bench.media_relay", "--seconds", str(seconds)]
    server = await asyncio.create_subprocess_exec(
        "taskset",
        "-c",
        "0",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    peers: list[RTCPeerConnection] = []
    sinks: list[MediaBlackhole] = []
    for number in range(subs + 1):
        pc = RTCPeerConnection(NO_ICE_SERVERS)
        peers.append(pc)
        if number:
            sink = MediaBlackhole()
            sinks.append(sink)
            pc.on("track", sink.addTrack)
            pc.addTransceiver("audio", "recvonly")
            pc.addTransceiver("video", "recvonly")
        else:
            pc.addTrack(AudioStreamTrack())
            pc.addTrack(Pattern())
        await pc.setLocalDescription(await pc.createOffer())
        server.stdin.write(json.dumps({"sdp": pc.localDescription.sdp}).encode() + b"\n")
        reply = json.loads(await server.stdout.readline())
        await pc.setRemoteDescription(RTCSessionDescription(reply["sdp"], "answer"))
    for sink in sinks:
        await sink.start()
    server.stdin.write(b"go\n")
    result = json.loads(await server.stdout.readline())
    await asyncio.gather(*(sink.stop() for sink in sinks), *(pc.close() for pc in peers))
    await server.wait()
    return result["cpu"] / max(result["packets"], 1) * 1e6, result["cpu"] / seconds * 100


def use_loopback() -> None:
    """Gather nothing else; aioice has no option for it."""
    aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subs", type=int, default=0, help="measure; else be the server")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    use_loopback()
    if not arguments.subs:
        asyncio.run(serve(arguments.seconds))
        return
    os.sched_setaffinity(0, {1})
    cost, load = asyncio.run(measure(arguments.subs, arguments.seconds))
    print(f"MediaRelay, {arguments.subs} subscribers: {cost:.0f} µs/packet, {load:.0f} % of a core")


if __name__ == "__main__":
    main()
