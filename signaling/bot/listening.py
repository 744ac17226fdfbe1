"""Sound as programs read it: samples that know their time, and what was said in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from .sources import Resampler
from .speech import SpeechCutter, Utterance

JOIN_WITHIN = 0.06
"""Seconds: sound that follows its predecessor this closely is joined on without a gap."""


class Samples(np.ndarray[Any, np.dtype[np.int16]]):
    """16-bit samples of shape (samples, channels); the first sounds at `time` on the media
    clock."""

    time: float

    def __new__(cls, pcm: NDArray[np.int16], time: float) -> Samples:
        self = pcm.view(cls)
        self.time = time
        return self

    def __array_finalize__(self, other: Any) -> None:
        self.time = getattr(other, "time", 0.0)


async def read_samples(
    frames: AsyncGenerator[av.VideoFrame | av.AudioFrame, None],
    *,
    rate: int,
    layout: str,
    fill: bool,
) -> AsyncGenerator[Samples, None]:
    """See `RemoteTrack.pcm`."""
    resampler = Resampler(rate, layout)
    channels = 2 if layout == "stereo" else 1
    due: float | None = None
    async for frame in frames:
        if not isinstance(frame, av.AudioFrame):
            continue
        time = float(frame.time or 0)
        if due is not None and abs(time - due) < JOIN_WITHIN:
            time = due
        elif fill and due is not None and time > due:
            for gap in _cut(time - due):
                yield Samples(np.zeros((round(gap * rate), channels), np.int16), due)
                due += gap
        for part in resampler.resample(frame):
            pcm = part.to_ndarray().astype(np.int16, copy=False).reshape(-1, channels)
            yield Samples(pcm, time)
            time += len(pcm) / rate
        due = time


async def read_utterances(
    sound: AsyncGenerator[Samples, None],
    cutter: SpeechCutter,
    silence: float,
    on_speech: Callable[[], None] | None,
) -> AsyncGenerator[Utterance, None]:
    """See `RemoteTrack.utterances`."""
    waiting: asyncio.Future[Samples] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(sound))
            await asyncio.wait([waiting], timeout=silence if cutter.speaking else None)
            if not waiting.done():
                done = cutter.flush()
            else:
                pcm, waiting = waiting.result(), None
                before = cutter.certain
                done = cutter.add(pcm[:, 0], pcm.time)
                if on_speech is not None and cutter.certain and not before:
                    on_speech()
            for utterance in done:
                yield utterance
    except StopAsyncIteration:
        for utterance in cutter.flush():
            yield utterance
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait([waiting])
        await sound.aclose()


def _cut(seconds: float) -> list[float]:
    """A gap in pieces of a second at most."""
    whole = int(seconds)
    return [1.0] * whole + ([seconds - whole] if seconds > whole else [])
