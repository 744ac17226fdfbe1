"""Plays a file, a device or a URL that PyAV can read into sources, in real time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from .clock import media_time
from .errors import CodecMissing, SourceUnreadable, TargetUnwritable
from .sources import SENDABLE, VIDEO_CLOCK, Item, Kind, Label, Packet, Source
from .threads import run_apart

log = logging.getLogger(__name__)

WIRE_NAMES = {"vp8": "VP8", "h264": "H264", "opus": "opus", "pcm_mulaw": "PCMU", "pcm_alaw": "PCMA"}
LIVE = ("rtsp://", "rtmp://", "udp://", "/dev/")


@contextmanager
def telling_target(path: Path) -> Iterator[None]:
    """Turn what the system and FFmpeg raise about a file into TargetUnwritable."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, ValueError):  # What was to be written is wrong.
            raise
        raise TargetUnwritable(f"{path}: {error.strerror or error}") from error


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A name in `folder` that nothing has, and that is taken by an empty file now."""
    path, count = folder / f"{stem}{suffix}", 1
    with telling_target(folder):
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                count += 1
                path = folder / f"{stem}-{count}{suffix}"


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
        self._open = partial(
            av.open, path, mode="r", format=format, options=options, timeout=(10.0, 10.0)
        )
        try:
            opened = self._open()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceUnreadable(f"{path}: {error}") from error
        self._container: InputContainer = opened
        self._streams: dict[int, Source] = {}
        self._listening = asyncio.Event()
        self._filters: dict[int, Any] = {}
        self._reading = threading.Lock()
        self._closed = False
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
                batch = await run_apart(self._take, reader, 8)
                if not batch:
                    return
                for source, item, at in batch:
                    wait = 0.0 if self.live else begun + at - media_time()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    source.push(item)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, or have it closed by the thread that reads it."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._container.close()
            finally:
                self._reading.release()

    def _take(self, reader: Iterator[tuple[Source, Item, float]], count: int) -> list[Any]:
        """The next items; none at the end. Runs in a thread."""
        with self._reading:
            batch = [] if self._closed else list(islice(reader, count))
        if self._closed:
            self.close()
        return batch

    def _items(self) -> Iterator[tuple[Source, Item, float]]:
        """What to push and when, in seconds from the first."""
        offset = Fraction(0)
        first: Fraction | None = None
        while True:
            end = Fraction(0)
            ends: dict[int, Fraction] = {}
            for index, item in self._read():
                given = item.time_base or Fraction(1, VIDEO_CLOCK)
                base = Fraction(given.numerator, given.denominator)
                if item.pts is None:  # As in a bare stream of H.264: one after the other.
                    at = ends.get(index, offset)
                else:
                    at = item.pts * base
                    first = at if first is None else first
                    at = at - first + offset
                item.pts, item.time_base = round(at / base), base
                ends[index] = at + self._duration(index, item, base)
                end = max(end, ends[index])
                yield self._streams[index], item, float(at)
            if not self._loop or end == 0:
                return
            offset, first = end, None
            try:
                self._begin_again()
            except (av.FFmpegError, OSError) as error:
                log.warning("%s cannot be played again: %s", self.path, error)
                return

    def _begin_again(self) -> None:
        try:
            self._container.seek(0)
        except (av.FFmpegError, OSError):  # A bare stream has no places to go to.
            self._container.close()
            self._container = self._open()

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

    def _duration(self, index: int, item: Item, base: Fraction) -> Fraction:
        if isinstance(item, av.AudioFrame):
            return Fraction(item.samples, item.sample_rate)
        if item.duration:
            return item.duration * base
        rate = getattr(self._container.streams[index], "average_rate", None)
        return 1 / Fraction(rate.numerator, rate.denominator) if rate else Fraction(1, 30)
