"""Generators that keep to real time, whatever they do in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction
from itertools import islice
from typing import Any

import av

from signaling.bot.patterns import tone
from signaling.bot.pumps import _length, pump_frames
from signaling.bot.sources import SenderTrack, Source


async def send(frames: Any, source: Source) -> list[float]:
    """The times of all that reaches a sender, which needs a while for each."""
    sender = SenderTrack(source.kind)
    sender.attach(source)
    times: list[float] = []

    async def take() -> None:
        while True:
            item = await sender.recv()
            assert item.pts is not None
            assert item.time_base is not None
            times.append(float(item.pts * item.time_base))
            await asyncio.sleep(0.005)

    taking = asyncio.create_task(take())
    await asyncio.sleep(0)
    await pump_frames(frames, source, fps=30, rate=48_000, live=False)
    await asyncio.sleep(0.1)
    taking.cancel()
    await asyncio.wait([taking])
    return times


async def test_what_comes_after_a_pause_keeps_its_pace_and_is_not_dropped() -> None:
    async def speak() -> AsyncIterator[Any]:
        for block in islice(tone(), 5):
            yield block
        await asyncio.sleep(1.0)
        for block in islice(tone(), 40):
            yield block

    times = await send(speak(), Source("audio"))
    assert len(times) > 40
    # The pause is in the times as well.
    assert times[-1] - times[0] > 1.6


async def test_after_a_pause_frames_with_times_of_their_own_keep_their_pace() -> None:
    async def speak() -> AsyncIterator[Any]:
        for count, block in enumerate(islice(tone(), 45)):
            if count == 5:
                await asyncio.sleep(1.0)
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, count * 960, Fraction(1, 48_000)
            yield frame

    assert len(await send(speak(), Source("audio"))) > 40


def test_packets_of_sound_without_a_length_have_20_ms() -> None:
    packet = av.Packet(b"x")
    assert _length(packet, "audio", 30) == 0.02
    assert _length(packet, "video", 25) == 0.04
    packet.duration, packet.time_base = 60, Fraction(1, 1000)
    assert _length(packet, "audio", 30) == 0.06
