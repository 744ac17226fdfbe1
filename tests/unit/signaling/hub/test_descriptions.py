"""Descriptions for the relay: whose turn it is, and when it is too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.hub.descriptions import (
    BURST,
    MAX_OF_PARTICIPANT,
    RATE,
    UNDER_WAY,
    UNDER_WAY_OF_ADDRESS,
    WAITING_OF_ADDRESS,
    WAITING_OF_PARTICIPANT,
    Descriptions,
)
from signaling.protocol.errors import ProtocolError

LARGE = 100 * 1024


def add(
    descriptions: Descriptions,
    number: int,
    participant: str = "ada",
    address: str = "127.0.0.1",
    size: int = 1000,
    now: float = 0.0,
) -> bool:
    try:
        descriptions.add(number, participant, address, size, now)
    except ProtocolError as error:
        refused = error
    else:
        return True
    assert refused.code == "rate-limited"
    assert refused.retry_after
    return False


def test_one_of_each_participant_is_under_way_and_the_next_follows_its_end() -> None:
    descriptions = Descriptions()
    for number, participant in enumerate(("ada", "ada", "bob", "ada")):
        add(descriptions, number, participant)
    assert list(descriptions.take()) == [0, 2]
    assert list(descriptions.take()) == []
    descriptions.end(0)
    assert list(descriptions.take()) == [1]
    descriptions.end(3)  # given up while it waits
    descriptions.end(1)
    assert list(descriptions.take()) == []
    descriptions.end(2)
    descriptions.end(2)
    assert (descriptions.size, descriptions.under_way) == (0, 0)


def test_few_bytes_are_under_way_in_all_whoever_sends_them() -> None:
    descriptions = Descriptions()
    for number in range(60):
        add(descriptions, number, f"p{number}", size=LARGE)
    taken = list(descriptions.take())
    assert UNDER_WAY <= descriptions.under_way < UNDER_WAY + LARGE
    assert taken == list(range(len(taken)))
    descriptions.end(0)
    assert list(descriptions.take()) == [len(taken)]


def test_one_address_has_its_share_and_others_go_past_it() -> None:
    descriptions = Descriptions()
    for number in range(20):
        add(descriptions, number, f"p{number}", "192.0.2.1", LARGE)
    add(descriptions, 20, "other", "192.0.2.2", LARGE)
    *first, last = descriptions.take()
    assert len(first) * LARGE <= UNDER_WAY_OF_ADDRESS < (len(first) + 1) * LARGE
    assert last == 20


def test_too_many_of_one_participant_are_refused_in_words() -> None:
    descriptions = Descriptions()
    assert all(add(descriptions, n) for n in range(MAX_OF_PARTICIPANT))
    assert not add(descriptions, 99)
    assert add(descriptions, 100, "bob")


def test_too_many_bytes_of_one_participant_are_refused_in_words() -> None:
    descriptions = Descriptions()
    taken = sum(add(descriptions, n, size=LARGE) for n in range(15))
    assert taken == WAITING_OF_PARTICIPANT // LARGE


def test_too_many_bytes_of_one_address_are_refused_and_others_are_not() -> None:
    descriptions = Descriptions()
    taken = sum(add(descriptions, n, f"p{n}", "192.0.2.1", LARGE) for n in range(200))
    assert taken == WAITING_OF_ADDRESS // LARGE
    assert add(descriptions, 200, "other", "192.0.2.2", LARGE)


def test_one_participant_has_a_rate_of_bytes() -> None:
    descriptions = Descriptions()
    sent = now = 0.0
    for number in range(400):
        now = number * 0.01
        if add(descriptions, number, size=LARGE, now=now):
            sent += LARGE
            list(descriptions.take())
            descriptions.end(number)
    assert BURST + RATE * now - 2 * LARGE <= sent <= BURST + RATE * now + LARGE


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, LARGE), st.booleans()), max_size=60))
def test_nothing_is_left_when_all_have_ended(steps: list[tuple[int, int, bool]]) -> None:
    descriptions = Descriptions()
    open_: list[int] = []
    for number, (who, size, end) in enumerate(steps):
        if add(descriptions, number, f"p{who}", f"192.0.2.{who % 2}", size, number):
            open_.append(number)
        list(descriptions.take())
        assert descriptions.under_way <= descriptions.size
        if end and open_:
            descriptions.end(open_.pop(number % len(open_)))
    for number in open_:
        descriptions.end(number)
    assert (descriptions.size, descriptions.under_way) == (0, 0)
    assert vars(descriptions)["_of_participant"] == {}
    assert vars(descriptions)["_under_way"] == {}


@pytest.mark.parametrize("size", [1, 2 * UNDER_WAY_OF_ADDRESS])
def test_one_always_goes(size: int) -> None:
    descriptions = Descriptions()
    add(descriptions, 1, address="192.0.2.1", size=size)
    assert list(descriptions.take()) == [1]
