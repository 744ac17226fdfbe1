"""The insides of chunks as bytes."""

from __future__ import annotations

import pytest

from relay.transport.sctp.packet import MalformedSctp
from relay.transport.sctp.parameters import (
    MAX_PARAMETERS,
    USER_ABORT,
    Init,
    ResetRequest,
    Sack,
    build_cause,
    build_forward,
    build_init,
    build_parameter,
    build_reset,
    build_response,
    build_sack,
    parse_forward_untrusted,
    parse_init_untrusted,
    parse_parameters_untrusted,
    parse_reset_untrusted,
    parse_response_untrusted,
    parse_sack_untrusted,
    read_reason_untrusted,
)


@pytest.mark.parametrize(
    "init",
    [
        Init(1, 100_000, 10, 20, 0xFFFFFFFF),
        Init(1, 100_000, 10, 20, 0, forward=False, reset=False),
        Init(1, 100_000, 10, 20, 0, cookie=b"c" * 77),
    ],
)
def test_an_init_says_what_it_said(init: Init) -> None:
    assert parse_init_untrusted(build_init(init)) == init


def test_an_unknown_parameter_is_skipped_or_ends_the_reading_as_its_first_bits_say() -> None:
    bare = build_init(Init(1, 100_000, 10, 20, 5, forward=False, reset=False))
    known = build_parameter(0xC000, b"")
    assert parse_init_untrusted(bare + build_parameter(0x8123, b"x") + known).forward
    assert parse_init_untrusted(bare + build_parameter(0xC123, b"x") + known).forward
    assert parse_init_untrusted(bare + build_parameter(5, b"ipv4") + known).forward
    assert not parse_init_untrusted(bare + build_parameter(0x0123, b"x") + known).forward


@pytest.mark.parametrize("at", [0, 8, 10])
def test_an_init_without_tag_or_streams_is_malformed(at: int) -> None:
    whole = bytearray(build_init(Init(1, 100_000, 1, 1, 5)))
    size = 4 if at == 0 else 2
    whole[at : at + size] = bytes(size)
    with pytest.raises(MalformedSctp):
        parse_init_untrusted(bytes(whole))


def test_sacks_are_read_and_gaps_ascend() -> None:
    sack = build_sack(-1, 1000, [(2, 3), (5, 5)], [1, -2])
    assert parse_sack_untrusted(sack) == Sack(0xFFFFFFFF, 1000, [(2, 3), (5, 5)])
    for gaps in ([(0, 1)], [(3, 2)], [(2, 5), (5, 6)], [(4, 5), (2, 3)]):
        with pytest.raises(MalformedSctp):
            parse_sack_untrusted(build_sack(1, 1, gaps, []))
    with pytest.raises(MalformedSctp):
        parse_sack_untrusted(sack[:-1])


def test_forward_reset_and_response_say_what_they_said() -> None:
    assert parse_forward_untrusted(build_forward(7, [(1, 2), (3, 4)])) == (7, [(1, 2), (3, 4)])
    request = ResetRequest(1, 2, 3, (4, 5, 6))
    ((type, value),) = parse_parameters_untrusted(build_reset(request))
    assert (type, parse_reset_untrusted(value)) == (13, request)
    ((type, value),) = parse_parameters_untrusted(build_response(8, 6))
    assert (type, parse_response_untrusted(value)) == (16, (8, 6))


def test_parameters_are_bounded_in_number_and_length() -> None:
    assert len(parse_parameters_untrusted(build_parameter(1, b"") * MAX_PARAMETERS)) == 32
    for data in (build_parameter(1, b"") * 33, b"\0\1\0\3", b"\0\1\0\xff", b"\0\1\0\4\0"):
        with pytest.raises(MalformedSctp):
            parse_parameters_untrusted(data)


def test_a_reason_is_text_whatever_the_peer_wrote() -> None:
    assert read_reason_untrusted(build_cause(USER_ABORT, "too much")) == "too much"
    assert read_reason_untrusted(build_parameter(USER_ABORT, b"a\nb\xff\x1b")) == "a?b\ufffd?"
    assert len(read_reason_untrusted(build_parameter(USER_ABORT, b"x" * 5000))) == 200
    assert read_reason_untrusted(b"\0") == ""
