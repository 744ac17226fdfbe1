"""A worker is overloaded once its delay and its processor both say so, and not for a moment."""

from __future__ import annotations

import pytest

from relay.rooms.load import BUSY, CALM, ENTER_AFTER, LATE, LEAVE_AFTER, Load


def test_it_takes_two_measures_to_begin_and_three_to_end() -> None:
    load = Load()
    assert [load.measure(0.5, 1.0) for _ in range(ENTER_AFTER)] == [False, True]
    assert load.overloaded
    assert [load.measure(0.01, 0.5) for _ in range(LEAVE_AFTER)] == [False, False, True]
    assert not load.overloaded


@pytest.mark.parametrize(("lag", "cpu"), [(0.9, 0.5), (0.02, 1.0), (LATE - 0.01, BUSY)])
def test_one_of_the_two_alone_says_nothing(lag: float, cpu: float) -> None:
    load = Load()
    assert not any(load.measure(lag, cpu) for _ in range(100))


def test_a_moment_says_nothing_and_the_edge_does_not_flap() -> None:
    load = Load()
    for _ in range(50):
        assert not load.measure(1.0, 1.0)
        assert not load.measure(0.0, 1.0)
    load.measure(1.0, 1.0)
    load.measure(1.0, 1.0)
    assert not any(load.measure(LATE, (BUSY + CALM) / 2) for _ in range(50))
    assert load.overloaded
