"""Plays a file, a device or a URL that PyAV can read into sources, in real time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from signaling.bot.errors import CodecMissing, SourceUnreadable
from signaling.bot.sources import SENDABLE, Item, Kind, Label, Packet, Source, media_time

log = logging.getLogger(__name__)

AHEAD = 0.3
"""Seconds that are read before their time."""
WIRE_NAMES = {"vp8": "VP8", "h264": "H264", "opus": "opus", "pcm_mulaw": "PCMU", "pcm_alaw": "PCMA"}
LIVE = ("rtsp://", "rtmp://", "udp://", "/dev/")


class File:
    """An open file. `sources` has one for its first video and one for its first sound.

    path: a file, or anything that FFmpeg opens, such as an `rtsp://` URL.
    loop: begin again at the end. copy: send the packets as they are, without decoding.
    options: FFmpeg's, such as {"rtsp_transport": "tcp"}.
    Raises SourceUnreadable; CodecMissing when packets to copy are of a codec that cannot be sent.
    """

    def __init__(
        self,
        path: str,
        *,
        loop: bool = False,
        copy: bool = False,
        format: str | None = None,
        options: dict[str, str] | None = None,
        video: Label = "camera",
        audio: Label = "microphone",
    ) -> None:
        self.path = path
        self.live = path.startswith(LIVE)
        self._loop = loop
        self._copy = copy
        try:
            opened = av.open(path, format=format, options=options, timeout=(10.0, 10.0))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceUnreadable(f"{path}: {error}") from error
        self._container: InputContainer = opened
        self._streams: dict[int, Source] = {}
        self._listening = asyncio.Event()
        self._filters: dict[int, Any] = {}
        for kind, label, streams in (
            ("video", video, opened.streams.video),
            ("audio", audio, opened.streams.audio),
        ):
            if streams:
                self._add(streams[0], "video" if kind == "video" else "audio", label)
        if not self._streams:
            opened.close()
            raise SourceUnreadable(f"{path}: neither sound nor pictures in it")

    def _add(self, stream: Any, kind: Kind, label: Label) -> None:
        codec = None
        if self._copy:
            name = stream.codec_context.name
            codec = WIRE_NAMES.get(name.removeprefix("lib").replace("vpx", "vp8"), name)
            if codec not in SENDABLE[kind]:
                self._container.close()
                raise CodecMissing(f"{self.path}: {name} cannot be sent as it is; do not copy.")
            if codec == "H264":
                self._filters[stream.index] = BitStreamFilterContext("h264_mp4toannexb", stream)
        source = Source(kind, label=label, codec=codec)
        source.listening = self._listening
        self._streams[stream.index] = source

    @property
    def sources(self) -> list[Source]:
        return list(self._streams.values())

    async def play(self) -> None:
        """Push frames in real time until the end; never with `loop`. Waits for somebody to
        send to first, and closes the file whatever happens."""
        reader = self._items()
        try:
            if not self.live:
                await self._listening.wait()
            begun = media_time()
            while True:
                batch = await asyncio.to_thread(_take, reader, 8)
                if not batch:
                    return
                for source, item, at in batch:
                    wait = 0.0 if self.live else begun + at - media_time()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    source.push(item)
        finally:
            await asyncio.to_thread(self._close, reader)

    def close(self) -> None:
        """For a file that is not played after all."""
        self._container.close()

    def _close(self, reader: Iterator[Any]) -> None:
        del reader
        self._container.close()

    def _items(self) -> Iterator[tuple[Source, Item, float]]:
        """What to push and when, in seconds from the first."""
        offset = Fraction(0)
        first: Fraction | None = None
        while True:
            end = Fraction(0)
            for index, item in self._read():
                if item.pts is None or item.time_base is None:
                    continue
                base = Fraction(item.time_base.numerator, item.time_base.denominator)
                at = item.pts * base
                first = at if first is None else first
                at = at - first + offset
                item.pts = round(at / base)
                end = max(end, at + _duration(item, base))
                yield self._streams[index], item, float(at)
            if not self._loop or end == 0:
                return
            offset, first = end, None
            self._container.seek(0)

    def _read(self) -> Iterator[tuple[int, Item]]:
        streams = [self._container.streams[index] for index in self._streams]
        try:
            for packet in self._container.demux(streams):
                index = packet.stream.index
                if not self._copy:
                    for frame in packet.decode():
                        if isinstance(frame, av.VideoFrame | av.AudioFrame):
                            yield index, frame
                elif packet.size:
                    yield from ((index, part) for part in self._filtered(packet))
        except (av.FFmpegError, OSError) as error:
            # A file cut off in the middle plays up to there.
            log.warning("%s: %s", self.path, error)

    def _filtered(self, packet: Packet) -> list[Packet]:
        bitstream = self._filters.get(packet.stream.index)
        return [packet] if bitstream is None else list(bitstream.filter(packet))


def _take(reader: Iterator[tuple[Source, Item, float]], count: int) -> list[Any]:
    batch: list[Any] = []
    for item in reader:
        batch.append(item)
        if len(batch) >= count:
            break
    return batch


def _duration(item: Item, base: Fraction) -> Fraction:
    if isinstance(item, av.AudioFrame):
        return Fraction(item.samples, item.sample_rate)
    if item.duration:
        return item.duration * base
    return Fraction(1, 30)
