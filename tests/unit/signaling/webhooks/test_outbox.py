"""Webhook rules in virtual time."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.webhooks.outbox import MAX_AGE, MAX_RETRY, Outbox, headers, parse_secret, sign


def make_outbox(max_waiting: int = 1000) -> Outbox:
    return Outbox(lambda: 1.0, max_waiting=max_waiting)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's reference libraries.
    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("text", ["", "short", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64!"])
def test_a_weak_or_broken_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        parse_secret(text)


def test_an_attempt_carries_its_own_time_and_the_events_id() -> None:
    outbox = make_outbox()
    outbox.add("ev_1", "demo", b"{}", now=0.0)
    delivery = outbox.next_to_send(0.0)
    assert delivery is not None
    first, second = (headers(b"k" * 16, delivery, wall=wall) for wall in (1000.0, 1060.9))
    assert first["webhook-id"] == second["webhook-id"] == "ev_1"
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1000", "1060")
    assert base64.b64decode(first["webhook-signature"].removeprefix("v1,"))


def test_events_go_out_in_order_and_one_at_a_time() -> None:
    outbox = make_outbox()
    for id in ("ev_1", "ev_2"):
        outbox.add(id, "demo", b"", now=0.0)
    first = outbox.next_to_send(0.0)
    assert first is not None
    assert first.id == "ev_1"
    assert outbox.next_to_send(0.0) is None
    outbox.receive_result(first, True, 0.1)
    second = outbox.next_to_send(0.1)
    assert second is not None
    assert second.id == "ev_2"


def test_a_failed_event_is_tried_again_with_growing_pauses_until_it_is_too_old() -> None:
    outbox = make_outbox()
    outbox.add("ev_1", "demo", b"", now=0.0)
    now, pauses = 0.0, []
    while (delivery := outbox.next_to_send(now)) is not None:
        outbox.receive_result(delivery, False, now)
        due = outbox.get_timer()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(pauses) == MAX_RETRY
    assert now > MAX_AGE
    assert outbox.counts.dropped_old == 1
    assert len(outbox) == 0


def test_a_dead_receiver_costs_a_bounded_number_of_events() -> None:
    outbox = make_outbox(max_waiting=3)
    for number in range(10):
        outbox.add(f"ev_{number}", "demo", b"", now=0.0)
    assert len(outbox) == 3
    assert outbox.counts.dropped_full == 7
    delivery = outbox.next_to_send(0.0)
    assert delivery is not None
    assert delivery.id == "ev_7"


@given(st.lists(st.sampled_from(["add", "send", "ok", "fail", "wait"]), max_size=200))
def test_no_sequence_of_inputs_delivers_out_of_order_or_grows(steps: list[str]) -> None:
    outbox, now, number, sending = make_outbox(max_waiting=5), 0.0, 0, None
    delivered: list[int] = []
    for step in steps:
        if step == "add":
            outbox.add(str(number), "demo", b"", now)
            number += 1
        elif step == "send" and sending is None:
            sending = outbox.next_to_send(now)
        elif step in ("ok", "fail") and sending is not None:
            outbox.receive_result(sending, step == "ok", now)
            if step == "ok":
                delivered.append(int(sending.id))
            sending = None
        elif step == "wait":
            now += 30.0
        assert len(outbox) <= 5
    assert delivered == sorted(set(delivered))
    counts = outbox.counts
    assert counts.delivered + counts.dropped + len(outbox) == number


def test_rooms_do_not_wait_for_each_other_up_to_so_many_at_a_time() -> None:
    outbox = Outbox(lambda: 1.0, max_sending=2)
    for id, room in (("ev_1", "a"), ("ev_2", "a"), ("ev_3", "b"), ("ev_4", "c")):
        outbox.add(id, room, b"", now=0.0)
    first, second = outbox.next_to_send(0.0), outbox.next_to_send(0.0)
    assert first is not None
    assert second is not None
    assert (first.id, second.id) == ("ev_1", "ev_3")
    assert outbox.next_to_send(0.0) is None
    outbox.receive_result(second, True, 0.1)
    third = outbox.next_to_send(0.1)
    assert third is not None
    assert third.id == "ev_4"
    # A room whose receiver fails is tried later, and holds up no other.
    outbox.receive_result(first, False, 0.2)
    outbox.receive_result(third, True, 0.2)
    assert outbox.next_to_send(0.2) is None
    assert outbox.get_timer() == 1.2


def test_what_waits_at_the_end_is_counted_as_lost() -> None:
    outbox = make_outbox()
    for number in range(3):
        outbox.add(f"ev_{number}", "demo", b"", now=0.0)
    outbox.end()
    assert (outbox.counts.dropped_end, len(outbox)) == (3, 0)


def test_when_all_that_waits_is_being_sent_a_new_event_is_lost() -> None:
    outbox = make_outbox(max_waiting=1)
    outbox.add("ev_1", "a", b"", now=0.0)
    assert outbox.next_to_send(0.0) is not None
    outbox.add("ev_2", "b", b"", now=0.0)
    assert (outbox.counts.dropped_full, len(outbox)) == (1, 1)
