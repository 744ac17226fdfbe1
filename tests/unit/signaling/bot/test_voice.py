"""What a bot says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import av
import numpy as np
import pytest

from signaling.bot.clock import media_time
from signaling.bot.sources import SenderTrack, Source
from signaling.bot.voice import Voice


async def speak(rate: int) -> tuple[Voice, SenderTrack]:
    source = Source("audio")
    track = SenderTrack("audio")
    track.attach(source)
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    return Voice(source, cast(Any, None), rate), track


async def hear(track: SenderTrack, heard: list[np.ndarray[Any, Any]]) -> None:
    while True:
        frame = await track.recv()
        assert isinstance(frame, av.AudioFrame)
        heard.append(frame.to_ndarray().reshape(-1, 2))


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
async def test_all_that_is_said_is_heard_however_it_is_cut(rate: int) -> None:
    voice, track = await speak(rate)
    heard: list[np.ndarray[Any, Any]] = []
    listener = asyncio.create_task(hear(track, heard))
    data = (np.ones(rate * 3 // 10, np.int16) * 1000).astype("<i2").tobytes()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 333):  # Odd, so that samples are cut in two.
            yield data[start : start + 333]

    assert await voice.say(pieces())
    await voice.wait()
    await asyncio.sleep(0.03)
    listener.cancel()
    loud = int((np.concatenate(heard)[:, 0] > 500).sum())
    assert loud == pytest.approx(48_000 * 0.3, rel=0.02)


async def test_barge_in_cuts_off_what_is_being_said() -> None:
    voice, track = await speak(24_000)
    heard: list[np.ndarray[Any, Any]] = []
    listener = asyncio.create_task(hear(track, heard))

    def endless() -> Iterator[np.ndarray[Any, Any]]:
        while True:
            yield np.ones(2400, np.int16)

    saying = asyncio.create_task(voice.say(endless()))
    await asyncio.sleep(0.3)
    voice.clear()
    assert await saying is False
    count = len(heard)
    begun = media_time()
    await voice.wait()
    assert media_time() - begun < 0.2
    await asyncio.sleep(0.1)
    assert len(heard) - count <= 2
    assert await voice.say(b"")
    listener.cancel()
