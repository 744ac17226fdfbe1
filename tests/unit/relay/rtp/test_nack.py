"""What is asked for again, when, and when not any longer."""

from __future__ import annotations

import pytest

from relay.rtp.nack import MAX_AGE, MAX_MISSING, MAX_TRIES, REORDER, NackGenerator


def feed(nack: NackGenerator, *numbers: int, now: float = 0.0) -> bool:
    wholes = [nack.on_packet(number, now) for number in numbers]
    return all(wholes)


def test_a_stream_without_gaps_asks_for_nothing() -> None:
    nack = NackGenerator()
    assert feed(nack, *range(100, 200))
    assert nack.timer is None
    assert nack.nacks_to_send(10.0) == []


def test_a_gap_is_asked_for_after_the_reorder_delay() -> None:
    nack = NackGenerator()
    feed(nack, 100, 104)
    assert nack.timer == REORDER
    assert nack.nacks_to_send(REORDER / 2) == []
    assert nack.nacks_to_send(REORDER) == [101, 102, 103]
    assert nack.nacks_to_send(REORDER) == []


def test_packets_out_of_order_are_not_asked_for() -> None:
    nack = NackGenerator()
    feed(nack, 100, 102)
    feed(nack, 101, now=REORDER / 2)
    assert nack.nacks_to_send(REORDER) == []
    assert nack.timer is None
    assert nack.recovered == 1


def test_duplicates_and_packets_before_the_first_change_nothing() -> None:
    nack = NackGenerator()
    feed(nack, 100, 100, 99, 101)
    assert nack.timer is None
    assert nack.newest == 101


def test_a_request_is_repeated_with_the_round_trip_until_it_is_answered() -> None:
    nack = NackGenerator()
    nack.rtt = 0.1
    feed(nack, 100, 102)
    assert nack.nacks_to_send(0.01) == [101]
    again = nack.timer
    assert again is not None
    assert 0.1 <= again - 0.01 <= 0.15
    assert nack.nacks_to_send(again) == [101]
    feed(nack, 101, now=again)
    assert nack.nacks_to_send(again + 1) == []


def test_the_round_trip_is_learned_from_the_answers() -> None:
    nack = NackGenerator()
    now = 0.0
    for number in range(100, 200, 2):
        feed(nack, number, number + 2, now=now)
        now += REORDER
        assert nack.nacks_to_send(now) == [number + 1]
        now += 0.03
        feed(nack, number + 1, now=now)
    assert nack.rtt == pytest.approx(0.03, abs=0.002)


def test_what_does_not_come_is_given_up() -> None:
    nack = NackGenerator()
    nack.rtt = 0.001
    feed(nack, 100, 102)
    tries, now = 0, 0.0
    while (timer := nack.timer) is not None:
        now = timer
        tries += len(nack.nacks_to_send(now))
    assert tries <= MAX_TRIES
    assert now <= MAX_AGE + 0.3
    assert nack.given_up == 1


def test_a_late_timer_does_not_ask_for_what_is_too_old() -> None:
    nack = NackGenerator()
    feed(nack, 100, 102)
    assert nack.nacks_to_send(MAX_AGE + 1) == []
    assert nack.given_up == 1


def test_a_huge_gap_wants_a_key_frame_instead() -> None:
    nack = NackGenerator()
    feed(nack, 100)
    assert not feed(nack, 102 + MAX_MISSING)
    assert nack.timer is None
    assert feed(nack, 103 + MAX_MISSING)


def test_after_an_outage_a_key_frame_is_wanted_instead() -> None:
    nack = NackGenerator()
    feed(nack, 100)
    assert not feed(nack, 110, now=MAX_AGE + 0.1)
    assert nack.timer is None
    assert nack.given_up == 9
    assert feed(nack, 111, now=MAX_AGE + 0.1)


def test_many_gaps_are_bounded_and_the_oldest_go_first() -> None:
    nack = NackGenerator()
    whole = feed(nack, *range(0, 4 * MAX_MISSING, 2))
    assert not whole
    assert len(nack.nacks_to_send(REORDER)) == MAX_MISSING
    assert nack.given_up > 0


def test_a_reset_forgets_what_is_missing() -> None:
    nack = NackGenerator()
    feed(nack, 100, 110)
    nack.reset()
    assert nack.timer is None
    feed(nack, 500)
    assert nack.timer is None
