"""What fills sources: from an aiortc track, a remote track's packets, or anything iterable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from .clock import media_time
from .sources import AUDIO_CLOCK, AUDIO_SAMPLES, Item, Kind, Label, Source, audio_frame

if TYPE_CHECKING:
    from .tracks import RemoteTrack

TICK = Fraction(1, AUDIO_CLOCK)
PAUSE = 0.2
"""Seconds that a generator may be late and catch up: what waits for a sender is not longer."""
Frames = AsyncIterable[Any] | Iterable[Any]


async def pump_track(track: MediaStreamTrack, source: Source) -> None:
    """Push what an aiortc track brings until it ends."""
    try:
        while True:
            item = await track.recv()
            if isinstance(item, av.VideoFrame | av.AudioFrame | av.Packet):
                source.push(item)
    except MediaStreamError:
        return
    finally:
        track.stop()


async def pump_packets(
    track: RemoteTrack,
    label: Label | None,
    sources: list[Source],
    replace: Callable[[list[Source], Source], None],
) -> None:
    """Pass a remote track's packets on as they are. Their codec is known when they come, and
    may change: `sources` has the one source for it, and `replace` publishes the next."""
    source: Source | None = None
    async for packet in track.packets():
        if source is None or source.codec != packet.codec:
            source = Source(
                track.kind,
                label=label,
                codec=packet.codec,
                on_key_frame=track.request_key_frame,
            )
            old, sources[:] = sources[:], [source]
            replace(old, source)
        item = av.Packet(packet.data)
        item.time_base = Fraction(1, 90_000 if track.kind == "video" else AUDIO_CLOCK)
        item.pts = item.dts = round(packet.time / item.time_base)
        item.is_keyframe = packet.key
        source.push(item)


async def pump_frames(frames: Frames, source: Source, *, fps: float, rate: int, live: bool) -> None:
    """Push what a generator yields: frames, packets, or arrays, which get their time from `fps`
    or `rate`. Keeps to real time unless `live`."""
    iterator = _iterate(frames)
    begun: float | None = None
    position = 0.0
    first: float | None = None
    try:
        async for item in iterator:
            ours = isinstance(item, np.ndarray)
            if ours:
                item, length = _from_array(item, source.kind, fps, rate)
            else:
                length = _length(item, source.kind, fps)
            at = position
            stamped = item.pts is not None and item.time_base is not None
            if stamped:
                stamp = float(item.pts * item.time_base)
                first = stamp if first is None else first
                at = stamp - first
            if not live:
                begun = media_time() if begun is None else begun
                wait = begun + at - media_time()
                if wait < -PAUSE:
                    # It made a pause. What comes now is not late, but goes on from here.
                    if stamped:
                        begun -= wait
                    else:
                        at -= wait
                if ours:
                    item.pts, item.time_base = round(at * AUDIO_CLOCK), TICK
                # Also a generator that never waits must let the others have their turn.
                await asyncio.sleep(max(wait, 0))
            position = at + length
            source.push(item)
            if source.kind == "audio":
                await source.wait_for_room()
    finally:
        if isinstance(iterator, AsyncIterator) and hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _each(frames: Iterator[Any]) -> AsyncIterator[Any]:
    for item in frames:
        yield item


def _iterate(frames: Frames) -> AsyncIterator[Any]:
    if isinstance(frames, AsyncIterable):
        return aiter(frames)
    return _each(iter(frames))


def _from_array(
    array: NDArray[Any], kind: Kind, fps: float, rate: int
) -> tuple[av.VideoFrame | av.AudioFrame, float]:
    if kind == "video":
        return av.VideoFrame.from_ndarray(array, format="rgb24"), 1 / fps
    frame = audio_frame(array, rate)
    return frame, frame.samples / rate


def _length(item: Item, kind: Kind, fps: float) -> float:
    if isinstance(item, av.AudioFrame):
        return item.samples / item.sample_rate
    if isinstance(item, av.Packet):
        if item.duration and item.time_base is not None:
            return float(item.duration * item.time_base)
        if kind == "audio":
            return AUDIO_SAMPLES / AUDIO_CLOCK
    return 1 / fps
