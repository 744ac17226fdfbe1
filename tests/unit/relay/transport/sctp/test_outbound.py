"""What is in flight, lost, sent again or given up."""

from __future__ import annotations

import pytest

from relay.transport.sctp.outbound import Outbound
from relay.transport.sctp.packet import DATA, FORWARD_TSN
from relay.transport.sctp.parameters import Sack, parse_forward_untrusted
from relay.transport.sctp.queues import Message, Queues
from relay.transport.sctp.reassembly import BadPeer

FIRST = 0xFFFFFFFE  # so that numbers wrap around in each test
WIDE = 1 << 20


def make(count: int, *, window: int = WIDE, retransmits: int | None = None) -> Outbound:
    one = Outbound(FIRST, window, Queues(), forward=True)
    for n in range(count):
        one.queues.add(Message(1, 53, b"%04d" % n + bytes(996), True, retransmits, None))
    return one


def sack(cumulative: int, *gaps: tuple[int, int], window: int = WIDE) -> Sack:
    """`cumulative` counts from the first TSN, which is 1."""
    return Sack((FIRST - 1 + cumulative) & 0xFFFFFFFF, window, list(gaps))


def send(one: Outbound, now: float = 0.0) -> list[bytes]:
    return list(one.chunks_to_send(now))


def numbers(chunks: list[bytes]) -> list[int]:
    return [
        (int.from_bytes(chunk[4:8], "big") - FIRST + 1) & 0xFFFFFFFF
        for chunk in chunks
        if chunk[0] == DATA
    ]


def test_the_congestion_window_bounds_what_is_in_flight() -> None:
    one = make(50)
    assert numbers(send(one)) == list(range(1, 12))
    one.receive_sack(sack(2), 0.1)
    assert numbers(send(one)) == [12, 13, 14, 15]  # it grew by one packet


def test_the_peers_window_bounds_it_too_and_is_probed_when_it_is_shut() -> None:
    one = make(50, window=2500)
    assert numbers(send(one)) == [1, 2]
    one.receive_sack(sack(2, window=0), 0.1)
    assert numbers(send(one)) == [3]
    assert send(one) == []
    assert one.resend_at is not None
    one.handle_timeout(one.resend_at)
    assert numbers(send(one, 1.0)) == [3]
    one.receive_sack(sack(2, window=0), 1.1)
    assert one.failures == 0
    one.receive_sack(sack(3, window=5000), 1.2)
    assert numbers(send(one, 1.2)) == [4, 5]


def test_a_chunk_missed_three_times_is_sent_again_at_once() -> None:
    one = make(8)
    send(one)
    for last in (2, 3):
        one.receive_sack(sack(0, (2, last)), 0.1)
        assert send(one) == []
    one.receive_sack(sack(0, (2, 4)), 0.1)
    assert numbers(send(one)) == [1]
    # What was under way before that tells nothing of the copy.
    for last in (5, 6, 7, 8):
        one.receive_sack(sack(0, (2, last)), 0.1)
    assert send(one) == []


def test_a_copy_that_is_lost_is_sent_again_for_what_went_after_it() -> None:
    one = make(4)
    send(one)
    one.receive_sack(sack(0, (2, 2)), 0.1)
    one.receive_sack(sack(0, (2, 3)), 0.1)
    one.receive_sack(sack(0, (2, 4)), 0.1)
    assert numbers(send(one)) == [1]
    for n in range(5, 8):
        one.queues.add(Message(1, 53, b"x", True, None, None))
        send(one)
        one.receive_sack(sack(0, (2, n)), 0.2)
    assert numbers(send(one)) == [1]


def test_a_timeout_sends_one_packet_and_the_rest_as_the_window_grows() -> None:
    one = make(8)
    send(one)
    assert one.resend_at is not None
    one.handle_timeout(one.resend_at)
    assert numbers(send(one, 1.0)) == [1]
    one.receive_sack(sack(1), 1.1)
    assert numbers(send(one, 1.1)) == [2, 3]
    assert one.failures == 0


def test_a_peer_that_takes_back_what_it_reported_gets_it_again() -> None:
    one = make(3)
    send(one)
    one.receive_sack(sack(0, (2, 3)), 0.1)
    one.receive_sack(sack(1), 0.2)  # 2 and 3 are not mentioned any more
    assert one.resend_at is not None
    one.handle_timeout(one.resend_at)
    assert numbers(send(one, 2.0)) == [2]
    one.receive_sack(sack(3), 2.1)
    assert one.idle
    assert one.queues.waiting == {}


def test_what_need_not_be_sent_again_is_skipped_and_the_peer_told_until_it_knows() -> None:
    one = make(4, retransmits=0)
    send(one)
    for last in (2, 3, 4):
        one.receive_sack(sack(0, (2, last)), 0.1)
    (forward,) = send(one)
    assert forward[0] == FORWARD_TSN
    assert parse_forward_untrusted(forward[4:]) == (FIRST, [(1, 0)])
    assert send(one) == []
    one.receive_sack(sack(0, (2, 4)), 0.2)
    assert send(one) == [forward]
    one.receive_sack(sack(4), 0.3)
    assert one.idle
    assert one.resend_at is None
    assert one.queues.waiting == {}


def test_the_rest_of_a_message_that_is_given_up_is_not_sent() -> None:
    one = Outbound(FIRST, WIDE, Queues(), forward=True)
    one.queues.add(Message(1, 53, bytes(50_000), True, 0, None))
    one.queues.add(Message(1, 53, b"next", True, None, None))
    sent = len(send(one))
    for last in (2, 3, 4):
        one.receive_sack(sack(0, (2, last)), 0.1)
    chunks = send(one)
    assert chunks[0][0] == FORWARD_TSN
    assert parse_forward_untrusted(chunks[0][4:])[0] == (FIRST - 1 + sent) & 0xFFFFFFFF
    assert chunks[1][16:20] == b"next"
    assert one.queues.waiting[1] < 50_000


def test_without_the_extension_everything_is_sent_again() -> None:
    one = Outbound(FIRST, WIDE, Queues(), forward=False)
    one.queues.add(Message(1, 53, b"x", True, 0, None))
    send(one)
    assert one.resend_at is not None
    one.handle_timeout(one.resend_at)
    assert numbers(send(one, 1.0)) == [1]


@pytest.mark.parametrize("wrong", [sack(9), sack(0, (2, 9))])
def test_acknowledging_what_was_not_sent_ends_it(wrong: Sack) -> None:
    one = make(4)
    send(one)
    with pytest.raises(BadPeer):
        one.receive_sack(wrong, 0.1)


def test_an_old_acknowledgement_changes_nothing() -> None:
    one = make(4)
    send(one)
    one.receive_sack(sack(3), 0.1)
    one.receive_sack(sack(1, window=0), 0.2)
    one.queues.add(Message(1, 53, bytes(1000), True, None, None))
    assert numbers(send(one)) == [5]
