"""One clock for all that a participant sends."""

from __future__ import annotations

import itertools
import random

import pytest

from signaling.bot.clock import SharedClock


def test_sound_and_picture_stay_in_step_whatever_holds_them_up() -> None:
    clock = SharedClock()
    chance = random.Random(1)
    worst = 0.0
    for tick in range(3000):
        captured = 1_000_000 + tick / 50
        now = tick / 50 + 70
        stalled = 20 < now - 70 < 23
        sound = clock.place(captured, now + 0.03 * chance.random() + stalled * 2, now)
        picture = clock.place(captured, now + 0.08 + 0.3 * chance.random() + stalled * 3, now)
        worst = max(worst, abs(sound - picture))
    assert worst < 0.03


def test_the_first_that_knows_its_clock_does_not_jump() -> None:
    assert SharedClock().place(500.0, 100.0, otherwise=99.95) == pytest.approx(99.95, abs=0.03)


def test_a_clock_that_is_set_is_followed_at_once() -> None:
    clock = SharedClock()
    clock.place(500.0, 100.0, 100.0)
    assert clock.place(4100.0, 100.02, 100.02) == pytest.approx(100.02)
    assert clock.place(4101.0, 101.02, 101.02) == pytest.approx(101.02)


def test_a_way_that_has_become_longer_is_followed_slowly() -> None:
    clock = SharedClock()
    places = [
        clock.place(500 + n / 50, 100 + n / 50 + (0.5 if n > 500 else 0), 100)
        for n in range(30_000)
    ]
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert max(steps) < 0.05
    assert places[-1] == pytest.approx(100 + 30_000 / 50 + 0.5, abs=0.15)
