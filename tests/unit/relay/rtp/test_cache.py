"""The packets kept to be sent again, and how much may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.cache import PacketCache, ResendBudget


def held(cache: PacketCache, number: int, now: float = 0.0) -> bytes | None:
    cached = cache.get(number, now)
    return None if cached is None else cached.data


def test_a_packet_is_found_by_its_number() -> None:
    cache = PacketCache()
    cache.add(65536, b"a", 0.0)
    cache.add(65538, b"c", 0.0)
    cache.add(65537, b"b", 0.0)
    assert [held(cache, number) for number in range(65535, 65540)] == [None, b"a", b"b", b"c", None]


def test_the_oldest_give_way() -> None:
    cache = PacketCache(max_packets=4)
    for number in range(100, 110):
        cache.add(number, b"x", 0.0)
    assert [n for n in range(90, 120) if held(cache, n)] == [106, 107, 108, 109]
    assert cache.add(105, b"late", 0.0) is None
    assert cache.size == 4


def test_bytes_are_bounded_and_the_newest_always_stays() -> None:
    cache = PacketCache(max_bytes=10)
    for number in range(5):
        cache.add(number, bytes(4), 0.0)
    assert [n for n in range(5) if held(cache, n)] == [3, 4]
    cache.add(5, bytes(50), 0.0)
    assert [n for n in range(6) if held(cache, n)] == [5]


def test_old_packets_are_not_found_and_make_room() -> None:
    cache = PacketCache(max_age=1.0)
    cache.add(1, b"x", 0.0)
    assert held(cache, 1, 1.0) == b"x"
    assert held(cache, 1, 1.1) is None
    cache.add(2, b"y", 2.0)
    assert cache.size == 1


def test_a_jump_empties_the_cache() -> None:
    cache = PacketCache(max_packets=8)
    cache.add(1, b"x", 0.0)
    cache.add(100_000, b"y", 0.0)
    assert cache.size == 1
    assert held(cache, 1) is None
    assert held(cache, 100_000) == b"y"


def test_a_packet_that_comes_twice_is_held_once() -> None:
    cache = PacketCache()
    cache.add(1, b"xx", 0.0)
    cache.add(1, b"yyy", 0.0)
    assert cache.size == 3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9), st.floats(0, 0.5)), max_size=80))
def test_what_is_held_adds_up(steps: list[tuple[int, int, float]]) -> None:
    cache = PacketCache(max_packets=16, max_bytes=60, max_age=1.0)
    now, base = 0.0, 1000
    for ahead, size, pause in steps:
        now += pause
        base += 1
        cache.add(base + ahead - 30, bytes(size), now)
        found = [held(cache, n, -1e9) for n in range(900, base + 100)]
        present = [data for data in found if data is not None]
        assert cache.size == sum(map(len, present))
        assert len(present) <= 16
        assert cache.size <= 60 or len(present) == 1


def test_resending_is_limited_and_recovers() -> None:
    budget = ResendBudget(rate=1000, burst=3000, now=0.0)
    assert [budget.take(1000, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(1000, 0.5)
    assert budget.take(1000, 1.0)
    assert [budget.take(1000, 100.0) for _ in range(4)] == [True, True, True, False]
