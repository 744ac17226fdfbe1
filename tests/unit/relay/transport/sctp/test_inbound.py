"""What is acknowledged, when, and how much is kept."""

from __future__ import annotations

import pytest

from relay.stats import DropReason
from relay.transport.sctp.inbound import DATA_HEADER, MAX_AHEAD, SACK_DELAY, WINDOW, Inbound
from relay.transport.sctp.packet import MalformedSctp
from relay.transport.sctp.parameters import Sack, parse_sack_untrusted
from relay.transport.sctp.reassembly import BadPeer

ALL = 3


def data(tsn: int, payload: bytes = b"x", *, ssn: int = 0, stream: int = 1) -> bytes:
    return DATA_HEADER.pack(tsn & 0xFFFFFFFF, stream, ssn, 53) + payload


def sack(one: Inbound) -> Sack:
    return parse_sack_untrusted(one.take_sack()[4:])


def test_every_second_packet_is_acknowledged_at_once_and_one_alone_soon() -> None:
    one = Inbound(1, 1000)
    one.receive_data(ALL, data(1), 5.0)
    one.end_packet(5.0)
    assert one.ack_at == 5.0 + SACK_DELAY
    one.receive_data(ALL, data(2, ssn=1), 5.01)
    one.end_packet(5.01)
    assert one.ack_at == 5.01
    assert sack(one) == Sack(2, WINDOW, [])
    assert one.ack_at is None


def test_gaps_and_repeats_are_told_at_once() -> None:
    one = Inbound(1, 1000)
    for n in (1, 3, 4, 7):
        one.receive_data(ALL | 4, data(n), 5.0)
    assert one.ack_at == 5.0
    assert sack(one) == Sack(1, WINDOW, [(2, 3), (6, 6)])
    assert one.receive_data(ALL | 4, data(3), 6.0) is DropReason.SCTP_DUPLICATE
    assert one.ack_at == 6.0
    for n in (2, 5, 6):
        one.receive_data(ALL | 4, data(n), 5.0)
    assert sack(one) == Sack(7, WINDOW, [])


def test_numbers_wrap_around() -> None:
    one = Inbound(0xFFFFFFFE, 1000)
    for n in range(4):
        assert list(one.receive_data(ALL, data(0xFFFFFFFE + n, ssn=n), 5.0))  # type: ignore[arg-type]
    assert sack(one).cumulative == 1


def test_what_is_kept_is_bounded_and_told_as_the_window() -> None:
    one = Inbound(1, 1 << 30)
    for n in range(2000):
        last = one.receive_data(2 | 4, data(3 + 2 * n, bytes(1000)), 5.0)
    assert last is DropReason.SCTP_WINDOW
    assert WINDOW - 2000 < one.held <= WINDOW
    assert sack(one).window == WINDOW - one.held
    # What closes the first gap is taken all the same: without it nothing would ever be freed.
    assert not isinstance(one.receive_data(ALL, data(1), 5.0), DropReason)


def test_a_peer_that_never_finishes_anything_is_ended() -> None:
    one = Inbound(1, 1 << 30)
    n = 1
    while one.held <= 2 * WINDOW:
        one.receive_data(0, data(n, bytes(1000)), 5.0)
        n += 1
    with pytest.raises(BadPeer, match="window"):
        one.receive_data(0, data(n), 5.0)


def test_a_leap_is_dropped_in_data_and_ends_it_in_a_skip() -> None:
    one = Inbound(1, 1000)
    assert one.receive_data(ALL, data(2 + MAX_AHEAD), 5.0) is DropReason.SCTP_WINDOW
    with pytest.raises(BadPeer):
        one.receive_forward(2 + MAX_AHEAD, [], 5.0)


def test_a_skip_moves_on_over_what_came() -> None:
    one = Inbound(1, 1000)
    one.receive_data(ALL | 4, data(4), 5.0)
    assert one.receive_forward(3, [], 5.0) == []
    assert sack(one) == Sack(4, WINDOW, [])
    assert one.receive_forward(2, [], 5.0) == []


@pytest.mark.parametrize(("value", "error"), [(b"x" * 11, MalformedSctp), (b"x" * 12, BadPeer)])
def test_data_without_payload_is_wrong(value: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        Inbound(1, 1000).receive_data(ALL, value, 5.0)


def test_a_stream_beyond_what_was_agreed_ends_it() -> None:
    with pytest.raises(BadPeer):
        Inbound(1, 1000).receive_data(ALL, data(1, stream=1024), 5.0)
