"""Sound as programs read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from fractions import Fraction

import av
import numpy as np
import pytest

from signaling.bot.listening import read_samples, read_utterances
from signaling.bot.speech import SpeechCutter

Frames = AsyncGenerator[av.VideoFrame | av.AudioFrame, None]


async def play(*pieces: tuple[float, float], hold: float = 0.0) -> Frames:
    """Pieces of a tone, each of seconds that begin at a time; then nothing for `hold` seconds."""
    for at, seconds in pieces:
        for number in range(round(seconds * 50)):
            pcm = (8000 * np.sin(np.arange(960) / 5)).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            frame.pts = round((at + number / 50) * 48_000)
            yield frame
    await asyncio.sleep(hold)


@pytest.mark.parametrize("fill", [False, True])
async def test_samples_have_their_time_and_gaps_are_filled_on_demand(fill: bool) -> None:
    frames = play((100.0, 0.2), (102.5, 0.2))
    read = [
        (pcm.time, len(pcm), bool(pcm.any()))
        async for pcm in read_samples(frames, rate=48_000, layout="mono", fill=fill)
    ]
    assert read[0][0] == pytest.approx(100)
    assert read[-1][0] == pytest.approx(102.68)
    silent = sum(length for _, length, loud in read if not loud)
    assert silent == (round(2.3 * 48_000) if fill else 0)
    if fill:
        ends = [time + length / 48_000 for time, length, _ in read]
        assert [time for time, _, _ in read[1:]] == pytest.approx(ends[:-1], abs=1e-3)


async def test_what_was_said_comes_when_nothing_follows_it_and_at_the_end() -> None:
    begun: list[int] = []
    frames = play((100.0, 0.5), (101.5, 0.3), hold=0.3)
    sound = read_samples(frames, rate=16_000, layout="mono", fill=False)
    said = [
        (round(one.start, 1), round(one.until, 1))
        async for one in read_utterances(
            sound, SpeechCutter(16_000, silence=0.1), 0.1, lambda: begun.append(1)
        )
    ]
    assert said == [(100.0, 100.5), (101.5, 101.8)]
    assert len(begun) == 2
