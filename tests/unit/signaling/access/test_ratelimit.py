"""Token buckets in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.access.ratelimit import KeyedBuckets, TokenBucket


def test_a_burst_passes_and_then_the_rate() -> None:
    bucket = TokenBucket(3, now=0.0)
    assert [bucket.take(0.0, 2.0, 3) == 0.0 for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.4, 2.0, 3) == pytest.approx(0.1)
    assert bucket.take(0.5, 2.0, 3) == 0.0


def test_waiting_saves_up_no_more_than_a_burst() -> None:
    bucket = TokenBucket(2, now=0.0)
    assert [bucket.take(1000.0, 1.0, 2) == 0.0 for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 1), max_size=200), st.floats(0.5, 100), st.integers(1, 20))
def test_never_more_than_burst_and_rate_allow(gaps: list[float], rate: float, burst: int) -> None:
    bucket = TokenBucket(burst, now=0.0)
    now, passed = 0.0, 0
    for gap in gaps:
        now += gap
        wait = bucket.take(now, rate, burst)
        passed += wait == 0.0
        assert wait <= 1 / rate + 1e-9
    assert passed <= burst + now * rate + 1e-5


@given(st.floats(1.0, 1e6), st.floats(0.5, 1000))
def test_who_waits_as_long_as_it_was_told_passes(now: float, rate: float) -> None:
    bucket = TokenBucket(1, now)
    assert bucket.take(now, rate, 1) == 0.0
    wait = bucket.take(now + 0.3 / rate, rate, 1)
    assert wait > 0.0
    assert bucket.take(now + 0.3 / rate + wait, rate, 1) == 0.0


def test_debt_is_paid_at_the_rate() -> None:
    bucket = TokenBucket(10, 0.0)
    assert bucket.spend(8, 0.0, 2, 10) == 0.0
    assert bucket.spend(6, 0.0, 2, 10) == 2.0
    assert bucket.spend(0, 1.0, 2, 10) == 1.0
    assert bucket.spend(0, 100.0, 2, 10) == 0.0
    assert bucket.spend(11, 100.0, 2, 10) == 0.5


def test_many_keys_have_a_bucket_each_and_the_one_silent_longest_is_forgotten() -> None:
    buckets = KeyedBuckets(1.0, 1.0, most=2)
    assert [buckets.take(key, 0.0) for key in ("a", "b", "a", "b")] == [0.0, 0.0, 1.0, 1.0]
    assert buckets.take("c", 0.0) == 0.0
    assert len(buckets) == 2
    assert buckets.take("b", 0.0) == 1.0
    assert buckets.take("a", 0.0) == 0.0
