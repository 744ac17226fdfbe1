"""Memory is given back once after a peak, when it is over."""

from __future__ import annotations

from relay.process.memory import CALM, LEAST, Peaks, give_back


def look(peaks: Peaks, count: int, start: float, seconds: float) -> list[float]:
    """When it says yes while there are so many."""
    return [start + s for s in range(int(seconds)) if peaks.look(count, start + s)]


def test_once_after_most_have_left_and_nobody_has_come_for_a_while() -> None:
    peaks = Peaks()
    assert look(peaks, 1000, 0, 100) == []
    assert look(peaks, 600, 100, 100) == []
    assert peaks.look(601, 200) is False
    assert look(peaks, 400, 201, 60) == [200 + CALM]
    assert look(peaks, 150, 300, 60) == [300]
    assert look(peaks, 0, 400, 3600) == [], "what is left is no peak"


def test_small_ones_are_not_worth_it() -> None:
    peaks = Peaks()
    assert look(peaks, LEAST - 1, 0, 20) == []
    assert look(peaks, 0, 20, 3600) == []


def test_giving_back_harms_nothing() -> None:
    kept = [bytes(3000) for _ in range(1000)]
    give_back()
    assert all(piece == bytes(3000) for piece in kept)
