"""Sound that waits for its time, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import av
import numpy as np
import pytest

from signaling.bot.playout import Playout
from tests.support.virtual_loop import run_virtually


def parts(seconds: float) -> list[av.AudioFrame]:
    made = []
    for _ in range(round(seconds * 50)):
        pcm = np.ones((1, 1920), np.int16)
        made.append(av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo"))
        made[-1].sample_rate = 48_000
    return made


class Heard:
    """What has left, and when."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.at: list[float] = []
        self.stamps: list[int] = []
        self.playout = Playout(self.send, self.loop.time)

    def send(self, _: av.AudioFrame, stamp: int) -> None:
        self.at.append(self.loop.time())
        self.stamps.append(stamp)


def play(scenario: Callable[[Heard], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await scenario(Heard())

    run_virtually(run())


def test_each_part_leaves_when_its_time_has_come() -> None:
    async def scenario(heard: Heard) -> None:
        begun = heard.loop.time()
        heard.playout.put(parts(3), begun)
        room = heard.playout.wait_for_room()
        await room
        assert heard.loop.time() - begun == pytest.approx(2.8, abs=0.03)
        await heard.playout.wait_played()
        assert heard.loop.time() - begun == pytest.approx(3.0, abs=0.001)
        assert len(heard.at) == 150
        late = [at - stamp / 48_000 for at, stamp in zip(heard.at, heard.stamps, strict=True)]
        assert max(map(abs, late)) < 0.006
        assert set(np.diff(heard.stamps)) == {960}

    play(scenario)


def test_silence_follows_a_clear_at_once_and_what_comes_then_is_heard_at_once() -> None:
    async def scenario(heard: Heard) -> None:
        heard.playout.put(parts(5), heard.loop.time())
        await asyncio.sleep(1)
        waiting = heard.playout.wait_for_room()
        heard.playout.clear()
        assert waiting.done()
        count, now = len(heard.at), heard.loop.time()
        await asyncio.sleep(1)
        assert len(heard.at) == count
        assert heard.stamps[-1] / 48_000 < now + 0.01
        heard.playout.put(parts(0.02), heard.loop.time())
        assert heard.at[-1] == heard.loop.time()

    play(scenario)


def test_a_pause_is_silence_and_not_made_up_for() -> None:
    async def scenario(heard: Heard) -> None:
        heard.playout.put(parts(0.1), heard.loop.time())
        await asyncio.sleep(2)
        heard.playout.put(parts(0.1), heard.loop.time())
        await heard.playout.wait_played()
        steps = np.diff(heard.stamps)
        assert steps.max() == pytest.approx(48_000 * 1.92, abs=10)
        assert heard.stamps[-1] / 48_000 == pytest.approx(heard.at[-1], abs=0.006)

    play(scenario)


def test_a_source_that_gives_each_part_in_its_time_is_passed_on_without_delay() -> None:
    async def scenario(heard: Heard) -> None:
        for _ in range(100):
            heard.playout.put(parts(0.02), heard.loop.time())
            await asyncio.sleep(0.0203)
        assert len(heard.at) == 100
        assert heard.playout.waiting == 0

    play(scenario)


def test_it_is_told_once_when_nothing_more_comes() -> None:
    async def scenario(heard: Heard) -> None:
        told: list[float] = []
        begun = heard.loop.time()
        heard.playout.put(parts(0.1), begun, on_dry=lambda: told.append(heard.loop.time()))
        await asyncio.sleep(1)
        assert len(told) == 1
        assert 0.1 < told[0] - begun < 0.2

    play(scenario)
