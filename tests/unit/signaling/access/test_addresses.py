"""Limits by network address, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.access import addresses
from signaling.access.addresses import VIOLATIONS_FOR_BAN, AddressLimits, key_of

HOME = "198.51.100.7"


def enter(made: AddressLimits, address: str, now: float = 0.0) -> tuple[str, float] | None:
    """Connect, and be counted where that is allowed."""
    refused = made.connect(address, now)
    if refused is None:
        made.opened(address, now)
    return refused


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    made = AddressLimits(connection_rate=10.0, connection_burst=20)
    assert [made.connect(HOME, 0.0) for _ in range(20)] == [None] * 20
    refused = made.connect(HOME, 0.0)
    assert refused is not None
    assert refused[0] == "connection-rate"
    assert refused[1] == pytest.approx(0.1)
    assert made.connect(HOME, 0.11) is None
    assert made.connect("198.51.100.8", 0.0) is None
    assert made.refused["connection-rate"] == 1


def test_the_number_of_connections_is_capped_and_freed() -> None:
    made = AddressLimits(max_connections=2)
    assert [enter(made, HOME) for _ in range(2)] == [None, None]
    assert made.connect(HOME, 0.0) == ("connections", 1.0)
    made.closed(HOME)
    assert made.connect(HOME, 0.0) is None


def test_joins_have_a_rate_of_their_own() -> None:
    made = AddressLimits(join_rate=1.0, join_burst=2)
    assert [made.join(HOME, 0.0) for _ in range(3)] == [None, None, ("join-rate", 1.0)]


def test_repeated_violations_bring_a_ban_that_ends() -> None:
    made = AddressLimits(ban=300.0)
    assert [made.violate(HOME, 1.0, "too-large") for _ in range(VIOLATIONS_FOR_BAN)].count(
        True
    ) == 1
    assert made.connect(HOME, 2.0) == ("banned", 299.0)
    assert made.banned(2.0) == 1
    assert made.check_ban(HOME, 2.0) == 299.0
    assert made.refused["banned"] == 2
    assert made.check_ban("198.51.100.8", 2.0) == 0.0
    assert made.connect(HOME, 301.1) is None
    assert made.check_ban(HOME, 301.1) == 0.0
    assert made.bans == 1


def test_rare_violations_bring_none() -> None:
    made = AddressLimits()
    assert not any(made.violate(HOME, second * 10.0, "too-large") for second in range(200))


def test_the_addresses_of_one_ipv6_subscriber_are_one() -> None:
    made = AddressLimits(max_connections=1)
    assert enter(made, "2001:db8:1:2::1") is None
    assert made.connect("2001:db8:1:2:ffff::9", 0.0) == ("connections", 1.0)
    assert made.connect("2001:db8:1:3::1", 0.0) is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("127.0.0.1", None),
        ("127.8.8.8", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("::ffff:198.51.100.7", HOME),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_an_address_is_counted_under(address: str, key: str | None) -> None:
    assert key_of(address) == key


def test_loopback_is_not_limited() -> None:
    made = AddressLimits(max_connections=1)
    assert [made.connect("127.0.0.1", 0.0) for _ in range(1000)] == [None] * 1000
    assert len(made) == 0


def test_what_is_remembered_is_bounded_and_a_connection_is_never_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "MAX_ADDRESSES", 10)
    made = AddressLimits(max_connections=1)
    enter(made, HOME)
    for number in range(50, 100):
        address = f"198.51.100.{number}"
        enter(made, address)
        made.closed(address)
    assert len(made) == 10
    assert made.connect(HOME, 1.0) == ("connections", 1.0)


def test_an_address_without_a_past_is_forgotten() -> None:
    made = AddressLimits()
    enter(made, HOME)
    enter(made, "198.51.100.8")
    made.closed(HOME)
    made.join("198.51.100.9", 1000.0)
    assert len(made) == 2


@given(st.lists(st.tuples(st.sampled_from("cdjv"), st.sampled_from(["198.51.100.1", "::2"]))))
def test_no_sequence_makes_a_count_negative_or_passes_the_cap(steps: list[tuple[str, str]]) -> None:
    made, now, open_now = AddressLimits(max_connections=3), 0.0, 0
    for kind, address in steps:
        now += 0.3
        if kind == "c" and address != "::2":
            open_now += enter(made, address, now) is None
        elif kind == "d" and open_now and address != "::2":
            made.closed(address)
            open_now -= 1
        elif kind == "j":
            made.join(address, now)
        elif kind == "v":
            made.violate(address, now, "too-large")
        assert 0 <= open_now <= 3
