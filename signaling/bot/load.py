"""Loads a deployment with participants that neither encode nor decode, and measures what the
receiving ones see: time to join, packets, loss, latency, freezes.

Each video frame carries the time of its sending behind its last byte, where VP8 decoders
do not look. Across machines latency is as right as their clocks.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .bot import Bot
from .clock import media_time
from .patterns import pictures, tone
from .sources import AUDIO_CLOCK, AUDIO_SAMPLES, VIDEO_CLOCK, Source
from .tracks import EncodedPacket, RemoteTrack

MAGIC = b"tndm"
LOOP_SECONDS = 2
KEY_FRAME_INTERVAL = 0.5
LEVELS = (50, 95, 99)


@dataclass(frozen=True)
class Media:
    """What each publisher sends; `bitrate` in bit/s."""

    width: int = 640
    height: int = 360
    fps: int = 30
    bitrate: int = 500_000
    audio: bool = True


@dataclass
class Received:
    """What one subscriber saw of one track. Times in seconds, latencies in milliseconds."""

    kind: str
    frames: int = 0
    freezes: int = 0
    frozen: float = 0.0
    first: float | None = None
    latencies: list[float] = field(default_factory=list)
    _last: float | None = None
    _mean: float = 0.0

    def take(self, packet: EncodedPacket, now: float, wall: float) -> None:
        self.frames += 1
        if self.first is None:
            self.first = now
        if self._last is not None:
            gap = now - self._last
            # A freeze as browsers count them: a gap of three mean ones, or 150 ms over one.
            if self.frames > 10 and gap > max(3 * self._mean, self._mean + 0.15):
                self.freezes += 1
                self.frozen += gap
            self._mean = gap if self._mean == 0 else 0.9 * self._mean + 0.1 * gap
        self._last = now
        if packet.data[-12:-8] == MAGIC:
            sent = struct.unpack("!d", packet.data[-8:])[0]
            self.latencies.append((wall - sent) * 1000)


@dataclass
class Report:
    """What `run_load` found. Latencies and times to join at 50, 95 and 99 %, in ms."""

    publishers: int
    subscribers: int
    seconds: float
    joined: int
    join_ms: dict[str, float]
    first_frame_ms: dict[str, float]
    tracks_expected: int
    tracks_received: int
    packets: int
    packets_lost: int
    loss_percent: float
    latency_ms: dict[str, float]
    frames: int
    freezes: int
    frozen_seconds: float
    failures: list[str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def to_table(self) -> str:
        """One line for each figure."""
        rows: list[tuple[str, str]] = []
        for key, value in asdict(self).items():
            if isinstance(value, dict):
                shown = "  ".join(f"{name} {number:.1f}" for name, number in value.items())
            elif isinstance(value, list):
                shown = "; ".join(value) or "none"
            else:
                shown = f"{value:.2f}" if isinstance(value, float) else str(value)
            rows.append((key.replace("_", " "), shown or "-"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {shown}" for name, shown in rows)


def levels(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{level}": round(float(np.percentile(values, level)), 2) for level in LEVELS}


def encode_video(media: Media) -> list[tuple[bytes, bool]]:
    """Two seconds of VP8, as bytes and whether a key frame; a loop begins with one."""
    encoder: Any = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = media.width, media.height, "yuv420p"
    encoder.time_base = Fraction(1, media.fps)
    encoder.bit_rate = media.bitrate
    encoder.gop_size = media.fps * LOOP_SECONDS
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    noise = np.random.default_rng(1)
    frames: list[tuple[bytes, bool]] = []
    for count, array in zip(
        range(media.fps * LOOP_SECONDS), pictures(media.width, media.height), strict=False
    ):
        # Noise, for a picture as plain as ours would never come near the bit rate.
        grain = noise.integers(0, 24, array.shape, np.uint8)
        frame = av.VideoFrame.from_ndarray(array + grain.clip(0, 20), format="rgb24")
        frame.pts, frame.time_base = count, Fraction(1, media.fps)
        frames += [(bytes(packet), packet.is_keyframe) for packet in encoder.encode(frame)]
    return frames


def encode_audio() -> list[bytes]:
    """Two seconds of Opus, 20 ms each."""
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = AUDIO_CLOCK, "mono", "s16"
    encoder.bit_rate = 32_000
    packets: list[bytes] = []
    for count, block in zip(range(50 * LOOP_SECONDS), tone(), strict=False):
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = AUDIO_CLOCK, count * AUDIO_SAMPLES
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


async def push_video(source: Source, media: Media, frames: list[tuple[bytes, bool]]) -> None:
    begun, count, place = media_time(), 0, 0
    wanted = asyncio.Event()
    source.on_key_frame = wanted.set
    while True:
        if wanted.is_set() and place > media.fps * KEY_FRAME_INTERVAL:
            place = 0  # Whoever asks for a key frame gets the loop's first.
        data, key = frames[place]
        place = (place + 1) % len(frames)
        if key:
            wanted.clear()
        packet = av.Packet(data + MAGIC + struct.pack("!d", time.time()))
        packet.time_base = Fraction(1, VIDEO_CLOCK)
        packet.pts = packet.dts = round((begun + count / media.fps) * VIDEO_CLOCK)
        packet.is_keyframe = key
        source.push(packet)
        count += 1
        await asyncio.sleep(max(begun + count / media.fps - media_time(), 0))


async def push_audio(source: Source, packets: list[bytes]) -> None:
    begun, count = media_time(), 0
    while True:
        packet = av.Packet(packets[count % len(packets)])
        packet.time_base = Fraction(1, AUDIO_CLOCK)
        packet.pts = packet.dts = round(begun * AUDIO_CLOCK) + count * AUDIO_SAMPLES
        source.push(packet)
        count += 1
        await asyncio.sleep(max(begun + count * 0.02 - media_time(), 0))


class Load:
    """A number of publishers and subscribers in one room; `run` returns the report."""

    def __init__(
        self,
        server: str,
        *,
        room: str,
        publishers: int,
        subscribers: int,
        media: Media | None = None,
        token: str | None = None,
        ramp: float = 0.05,
        **options: Any,
    ) -> None:
        self._server, self._room, self._token = server, room, token
        self._publishers, self._subscribers = publishers, subscribers
        self._media = media or Media()
        self._ramp = ramp
        self._options = options
        self._joins: list[float] = []
        self._first: list[float] = []
        self._received: list[tuple[RemoteTrack, Received]] = []
        self._failures: list[str] = []
        self._packets = 0
        self._lost = 0
        self._measuring = False
        self._over = asyncio.Event()

    async def run(
        self, seconds: float, *, on_progress: Callable[[str], None] = lambda _: None
    ) -> Report:
        """Join everybody, measure for `seconds` once they have, leave."""
        sources = await asyncio.to_thread(self._make_sources)
        pushers = [asyncio.create_task(work) for _, work in sources]
        bots: list[asyncio.Task[None]] = []
        try:
            for index in range(self._publishers + self._subscribers):
                publish = [source for source, _ in sources] if index < self._publishers else []
                bots.append(asyncio.create_task(self._participate(index, publish)))
                await asyncio.sleep(self._ramp)
            await self._wait_joined(on_progress)
            self._measuring = True
            for left in range(max(round(seconds), 1), 0, -1):
                on_progress(f"{left:4d} s to go, {self._frames()} frames")
                await asyncio.sleep(min(1.0, seconds))
            self._measuring = False
        finally:
            self._over.set()
            await asyncio.gather(*bots, return_exceptions=True)
            for pusher in pushers:
                pusher.cancel()
            await asyncio.gather(*pushers, return_exceptions=True)
        return self._report(seconds)

    def _make_sources(self) -> list[tuple[Source, Any]]:
        if not self._publishers:
            return []
        video, frames = Source("video", codec="VP8"), encode_video(self._media)
        sources: list[tuple[Source, Any]] = [(video, push_video(video, self._media, frames))]
        if self._media.audio:
            audio = Source("audio", codec="opus")
            sources.append((audio, push_audio(audio, encode_audio())))
        return sources

    async def _wait_joined(self, on_progress: Callable[[str], None]) -> None:
        everyone = self._publishers + self._subscribers
        async with asyncio.timeout(30 + everyone):
            while len(self._joins) + len(self._failures) < everyone:
                on_progress(f"{len(self._joins)} of {everyone} have joined")
                await asyncio.sleep(0.1)

    def _frames(self) -> int:
        return sum(received.frames for _, received in self._received)

    async def _participate(self, index: int, sources: list[Source]) -> None:
        role = "publisher" if sources else "subscriber"
        begun = media_time()
        try:
            async with Bot.join(
                self._server,
                room=self._room,
                name=f"{role} {index + 1}",
                token=self._token,
                receive=not sources,
                **self._options,
            ) as bot:
                self._joins.append((media_time() - begun) * 1000)
                for source in sources:
                    await bot.publish(source)
                if not sources:
                    bot.start(self._watch(bot, begun))
                await self._over.wait()
                await self._count_packets(bot)
        except Exception as error:
            self._failures.append(f"{role} {index + 1}: {error}")

    async def _watch(self, bot: Bot, begun: float) -> None:
        async for track in bot.tracks():
            self._observe(track, begun)

    def _observe(self, track: RemoteTrack, begun: float) -> None:
        received = Received(track.kind)
        self._received.append((track, received))

        def take(packet: EncodedPacket) -> None:
            now = media_time()
            if received.first is None and track.kind == "video":
                self._first.append((now - begun) * 1000)
                received.first = now
            if self._measuring:
                received.take(packet, now, time.time())

        track.observe(take)

    async def _count_packets(self, bot: Bot) -> None:
        for packets, lost in await bot.count_packets():
            self._packets += packets
            self._lost += lost

    def _report(self, seconds: float) -> Report:
        seen = [received for _, received in self._received if received.frames]
        video = [received for received in seen if received.kind == "video"]
        kinds = 2 if self._media.audio else 1
        return Report(
            publishers=self._publishers,
            subscribers=self._subscribers,
            seconds=seconds,
            joined=len(self._joins),
            join_ms=levels(self._joins),
            first_frame_ms=levels(self._first),
            tracks_expected=self._publishers * self._subscribers * kinds,
            tracks_received=len(seen),
            packets=self._packets,
            packets_lost=self._lost,
            loss_percent=round(100 * self._lost / max(self._packets + self._lost, 1), 3),
            latency_ms=levels([latency for one in video for latency in one.latencies]),
            frames=sum(one.frames for one in video),
            freezes=sum(one.freezes for one in video),
            frozen_seconds=round(sum(one.frozen for one in video), 2),
            failures=self._failures,
        )
