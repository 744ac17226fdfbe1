"""Modular numbers, and a subscriber's own numbering across gaps, pauses and sources."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.seq import (
    MAX_SEGMENTS,
    SeqMap,
    TimestampMap,
    Unwrapper,
    sequence_delta,
    timestamp_delta,
)

A, B = 1, 2  # sources


def sent(numbers: SeqMap, source: int, number: int) -> int | None:
    segment = numbers.find(source, number)
    return None if segment is None else number + segment.delta & 0xFFFF


@pytest.mark.parametrize(
    ("a", "b", "delta"),
    [(1, 0, 1), (0, 65535, 1), (65535, 0, -1), (0x8000, 0, -0x8000), (0x7FFF, 0, 0x7FFF)],
)
def test_sequence_numbers_are_compared_modulo_their_width(a: int, b: int, delta: int) -> None:
    assert sequence_delta(a, b) == delta


def test_timestamps_are_compared_modulo_their_width() -> None:
    assert timestamp_delta(5, 0xFFFFFFFF) == 6
    assert timestamp_delta(0xFFFFFFFF, 5) == -6


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-0x7FFF, 0x7FFF), max_size=60))
def test_unwrapped_numbers_keep_their_distance(first: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    start = unwrapper.unwrap(first)
    true = newest = start
    for step in steps:
        true = newest + step
        if true < 0:
            continue
        assert unwrapper.unwrap(true & 0xFFFF) == true
        newest = max(newest, true)
        assert unwrapper.newest == newest


def test_a_number_before_the_first_is_not_negative() -> None:
    unwrapper = Unwrapper()
    assert unwrapper.unwrap(0) == 65536
    assert unwrapper.unwrap(65535) == 65535


def test_a_wrapping_source_stays_contiguous() -> None:
    numbers, unwrapper = SeqMap(7), Unwrapper()
    first = unwrapper.unwrap(65534)
    numbers.splice(A, first)
    assert [sent(numbers, A, unwrapper.unwrap(n)) for n in (65534, 65535, 0, 1)] == [7, 8, 9, 10]


def test_a_skipped_packet_leaves_no_gap() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    numbers.skip(102)
    assert [sent(numbers, A, n) for n in (100, 101, 102, 103)] == [0, 1, None, 2]
    assert numbers.find_sent(1, 103) == (numbers.find(A, 101), 101)
    assert numbers.find_sent(2, 103) == (numbers.current, 103)


def test_skipping_the_first_and_several_in_a_row() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    for number in (100, 101, 104, 105):
        numbers.skip(number)
    assert [sent(numbers, A, n) for n in range(99, 108)] == [
        None, None, None, 0, 1, None, None, 2, 3,
    ]  # fmt: skip


def test_another_source_follows_the_last_packet_of_the_first() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    numbers.splice(B, 5000, 110, timestamp_delta=42, picture_delta=3)
    assert sent(numbers, A, 110) == 10
    assert sent(numbers, B, 5000) == 11
    assert sent(numbers, A, 111) is None
    assert sent(numbers, B, 4999) is None
    found = numbers.find_sent(11, 5003)
    assert found is not None
    assert (found[1], found[0].source, found[0].timestamp_delta) == (5000, B, 42)
    old = numbers.find_sent(9, 5003)
    assert old is not None
    assert (old[1], old[0].source) == (109, A)


def test_a_late_packet_of_the_last_source_still_goes_out_under_its_number() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    numbers.splice(B, 5000, 110)
    assert sent(numbers, A, 105) == 5


def test_a_pause_leaves_no_gap() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    numbers.stop(110)
    assert sent(numbers, A, 120) is None
    numbers.splice(A, 200)
    assert sent(numbers, A, 200) == 11
    assert sent(numbers, A, 150) is None


def test_a_segment_that_sent_nothing_uses_no_number() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 100)
    numbers.splice(B, 5000, 99)
    assert sent(numbers, B, 5000) == 0
    assert numbers.find_sent(65535, 5000) is None


def test_what_was_not_sent_is_not_found() -> None:
    numbers = SeqMap(0)
    assert numbers.find_sent(0, None) is None
    numbers.splice(A, 100)
    assert numbers.find_sent(1, 100) is None
    assert numbers.find_sent(0, 99) is None
    numbers.stop(104)
    assert numbers.find_sent(4, None) is not None
    assert numbers.find_sent(5, None) is None


def test_old_segments_are_forgotten() -> None:
    numbers = SeqMap(0)
    numbers.splice(A, 0)
    for number in range(10, 10 * MAX_SEGMENTS + 100, 10):
        numbers.skip(number)
    assert sent(numbers, A, 5) is None
    assert numbers.find_sent(5, 10 * MAX_SEGMENTS + 100) is None


@given(st.integers(0, 2**32), st.integers(0, 0x7FFF))
def test_any_history_is_contiguous_and_reversible(seed: int, first: int) -> None:
    """Random skips, pauses and switches: no gap, no number twice, and each leads back."""
    rng = random.Random(seed)
    numbers = SeqMap(first)
    at = {A: rng.randrange(65536, 200000), B: rng.randrange(65536, 200000)}
    source, last = A, None
    numbers.splice(source, at[source])
    out: list[tuple[int, int]] = []
    for _ in range(200):
        action = rng.random()
        number = at[source]
        at[source] += 1
        if action < 0.1:
            numbers.skip(number)
        elif action < 0.15:
            numbers.stop(number - 1)
            source = rng.choice((A, B))
            at[source] += rng.randrange(100)
            numbers.splice(source, at[source])
            last = None
        else:
            wire = sent(numbers, source, number)
            assert wire is not None
            out.append((wire, source))
            last = number
    assert [wire for wire, _ in out] == [first + i & 0xFFFF for i in range(len(out))]
    for wire, origin in out[-30:]:
        found = numbers.find_sent(wire, at[source] - 1 if last is None else last)
        assert found is not None
        assert found[0].source == origin
        assert sent(numbers, origin, found[1]) == wire


def test_timestamps_go_on_by_the_time_that_passed() -> None:
    times = TimestampMap(90000, 1000)
    delta = times.splice(777, 5.0)
    assert 777 + delta & 0xFFFFFFFF == 1000
    times.stop(4000, 6.0)
    delta = times.splice(2**32 - 5, 7.5)
    assert 2**32 - 5 + delta & 0xFFFFFFFF == 4000 + 135000


def test_two_pictures_never_share_a_timestamp_at_a_switch() -> None:
    times = TimestampMap(90000, 0)
    times.stop(2**32 - 1, 6.0)
    assert times.splice(0, 6.0) == 0
