"""Stream resets."""

from __future__ import annotations

from relay.transport.sctp.parameters import (
    BAD_SEQUENCE,
    DENIED,
    IN_PROGRESS,
    INCOMING_RESET,
    PERFORMED,
    ResetRequest,
    build_parameter,
    build_reset,
    build_response,
    parse_parameters_untrusted,
    parse_reset_untrusted,
    parse_response_untrusted,
)
from relay.transport.sctp.resets import Resets


def ask(one: Resets, number: int, cumulative: int = 100, *streams: int) -> tuple[int, object]:
    request = build_reset(ResetRequest(number, 0, 100, streams))
    answer, theirs, _ = one.receive(request, cumulative)
    assert answer is not None
    ((_, value),) = parse_parameters_untrusted(answer[4:])
    got, result = parse_response_untrusted(value)
    assert got == number
    return result, theirs


def make(*, supported: bool = True) -> Resets:
    one = Resets()
    one.begin(50, 7, supported=supported)
    return one


def free(_stream: int) -> bool:
    return False


def read(chunk: bytes) -> ResetRequest:
    ((_, value),) = parse_parameters_untrusted(chunk[4:])
    return parse_reset_untrusted(value)


def test_a_request_is_carried_out_once_and_answered_each_time() -> None:
    one = make()
    assert ask(one, 7, 100, 2, 4) == (PERFORMED, (2, 4))
    assert ask(one, 7, 100, 2, 4) == (PERFORMED, None)
    assert ask(one, 9) == (BAD_SEQUENCE, None)
    assert ask(one, 8) == (PERFORMED, ())


def test_a_request_waits_until_everything_before_it_has_come() -> None:
    one = make()
    assert ask(one, 7, 99, 2) == (IN_PROGRESS, None)
    assert ask(one, 7, 100, 2) == (PERFORMED, (2,))


def test_requests_of_other_kinds_are_denied() -> None:
    one = make()
    number = (7).to_bytes(4, "big")
    answer, theirs, _ = one.receive(build_parameter(INCOMING_RESET, number + b"\0\2"), 100)
    assert answer is not None
    assert parse_response_untrusted(answer[8:]) == (7, DENIED)
    assert theirs is None
    assert ask(one, 8, 100, 2) == (PERFORMED, (2,))


def test_one_request_is_open_at_a_time_and_repeated_until_it_is_answered() -> None:
    one = make()
    for stream in (2, 4, 2):
        one.ask(stream)
    assert one.prepare(lambda stream: stream == 4, 99) == ()
    assert one.prepare(free, 99) == ()
    first = one.take(0.0, 0.5)
    assert first is not None
    assert read(first) == ResetRequest(50, 6, 99, (2,))
    assert (one.take(0.0, 0.5), one.retry_at) == (None, 0.5)
    one.handle_timer()
    assert one.take(0.5, 0.5) == first
    assert one.receive(build_response(49, PERFORMED), 0)[2] == ()
    assert one.receive(build_response(50, IN_PROGRESS), 0)[2] == ()
    assert one.receive(build_response(50, PERFORMED), 0)[2] == (2,)
    assert one.retry_at is None
    one.prepare(free, 99)
    second = one.take(1.0, 0.5)
    assert second is not None
    assert read(second).number == 51


def test_where_the_peer_knows_no_resets_a_stream_is_free_at_once() -> None:
    one = make(supported=False)
    one.ask(2)
    assert one.prepare(free, 99) == (2,)
    assert one.take(0.0, 0.5) is None
