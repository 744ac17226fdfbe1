"""What was sent under which number is known for a while."""

from __future__ import annotations

import numpy as np

from relay.plane.history import LENGTH, OVERHEAD, SendHistory


def test_one_by_one_and_in_columns_it_is_the_same() -> None:
    history = SendHistory()
    one, two = history.open(), history.open()
    history.now = 5.0
    for size in (100, 200):
        history.take(one, size)
    indices = np.array([two])
    for size in (100, 200):
        numbers = history.values[indices]
        history.note(indices, numbers, size)
        history.values[indices] = numbers + 1
    offsets = np.arange(2)
    for index in (one, two):
        at, sizes, known = history.find(index, 0, offsets)
        assert at.tolist() == [5.0, 5.0]
        assert sizes.tolist() == [100 + OVERHEAD, 200 + OVERHEAD]
        assert known.all()


def test_numbers_wrap_and_old_ones_are_forgotten() -> None:
    history = SendHistory()
    leg = history.open()
    for count in range(70_000):
        history.now = 1.0 + count
        history.take(leg, 10)
    newest = 69_999 & 0xFFFF
    at, _, known = history.find(leg, newest - 1, np.arange(2))
    assert known.all()
    assert at.tolist() == [69_999.0, 70_000.0]
    assert not history.find(leg, newest - LENGTH & 0xFFFF, np.array([0])).known[0]


def test_numbers_that_were_never_sent_are_told_apart() -> None:
    history = SendHistory()
    leg = history.open()
    history.now = 1.0
    for _ in range(10):
        history.take(leg, 10)
    known = history.find(leg, 5, np.arange(10)).known
    assert known.tolist() == [True] * 5 + [False] * 5
    assert not history.find(leg, 30_000, np.arange(10)).known.any()
    assert history.count_lost(leg, 4, 3, 1) == 2
    assert history.count_lost(leg, 5, 1000, 2) == 3
    assert history.count_lost(leg, 30_000, 100, 0) == 0


def test_a_leg_that_takes_anothers_place_has_no_past() -> None:
    history = SendHistory()
    legs = [history.open() for _ in range(200)]
    history.now = 1.0
    history.take(legs[150], 10)
    history.close(legs[150])
    assert history.open() == legs[150]
    assert not history.find(legs[150], 0, np.array([0])).known.any()
