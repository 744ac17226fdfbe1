"""Transport-wide feedback: every arrival reported, in the draft's encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.rtcp import (
    RtcpError,
    TransportFeedback,
    build_transport_feedback,
    parse_compound_untrusted,
)
from relay.rtp.twcc import (
    INTERVAL,
    MAX_REORDER,
    MAX_STATUSES,
    TICK,
    ArrivalRecord,
    build_chunks,
    parse_feedback_untrusted,
)


def drain(record: ArrivalRecord) -> tuple[float, dict[int, int | None]]:
    """All that is due at the record's own timer: status by number."""
    now = record.get_timer()
    assert now is not None
    statuses: dict[int, int | None] = {}
    for body in record.feedback_to_send(now):
        assert len(body) <= 1100
        feedback = parse_feedback_untrusted(body)
        for index, arrival in enumerate(feedback.arrivals):
            statuses[feedback.base + index & 0xFFFF] = arrival
    return now, statuses


def test_a_feedback_packet_is_the_drafts_to_the_byte() -> None:
    record = ArrivalRecord()
    start = 10 * 0.064  # a reference time of 10
    for number, ticks in ((0xFFFE, 4), (0xFFFF, 8), (1, 300), (2, 299)):
        record.on_packet(number, start + (ticks + 0.5) * TICK)
    now = record.get_timer()
    assert now is not None
    (body,) = record.feedback_to_send(now)
    assert body == bytes.fromhex(
        "fffe 0005"  # base, status count
        "00000a 00"  # reference time, feedback packet count
        "d4a0"  # two-bit symbols: small small lost large large, two to spare
        "04 04 0124 ffff"  # 4, 4, 292 and -1 ticks
    )


def test_the_first_feedback_is_due_at_once_and_the_next_after_the_interval() -> None:
    record = ArrivalRecord()
    assert record.get_timer() is None
    record.on_packet(1, 5.0)
    assert record.get_timer() == 5.0
    assert record.feedback_to_send(4.9) == []
    assert len(record.feedback_to_send(5.0)) == 1
    assert record.get_timer() is None
    record.on_packet(2, 5.01)
    assert record.get_timer() == pytest.approx(5.0 + INTERVAL)


def test_what_is_lost_between_two_feedbacks_is_reported_lost() -> None:
    record = ArrivalRecord()
    record.on_packet(1, 5.0)
    drain(record)
    record.on_packet(4, 5.01)
    _, statuses = drain(record)
    assert list(statuses) == [2, 3, 4]
    assert statuses[2] is statuses[3] is None
    assert statuses[4] == int(5.01 / TICK)


def test_a_late_packet_is_reported_after_all() -> None:
    record = ArrivalRecord()
    for number in (1, 3, 4):
        record.on_packet(number, 5.0)
    drain(record)
    record.on_packet(2, 5.02)
    _, statuses = drain(record)
    assert {number: arrival is not None for number, arrival in statuses.items()} == {
        2: True,
        3: True,
        4: True,
    }


def test_a_packet_from_long_ago_and_a_duplicate_are_not_reported() -> None:
    record = ArrivalRecord()
    record.on_packet(1000, 5.0)
    drain(record)
    record.on_packet(1000 - MAX_REORDER - 1, 5.1)
    record.on_packet(1000, 5.1)
    assert record.get_timer() is None


def test_a_pause_longer_than_a_delta_can_say_starts_another_packet() -> None:
    record = ArrivalRecord()
    record.on_packet(1, 5.0)
    record.on_packet(2, 25.0)
    now = record.get_timer()
    assert now is not None
    bodies = record.feedback_to_send(25.0)
    assert [parse_feedback_untrusted(body).base for body in bodies] == [1, 2]
    assert [parse_feedback_untrusted(body).number for body in bodies] == [0, 1]


def test_a_jump_of_the_number_is_bounded() -> None:
    record = ArrivalRecord()
    record.on_packet(0, 5.0)
    drain(record)
    record.on_packet(30000, 5.1)
    bodies = record.feedback_to_send(6.0)
    assert len(bodies) <= 8
    last = parse_feedback_untrusted(bodies[-1])
    assert last.base + len(last.arrivals) - 1 == 30000


arrivals = st.lists(
    st.tuples(st.integers(1, 30) | st.just(1), st.floats(0, 0.05) | st.just(0.0)),
    min_size=1,
    max_size=700,
)


@given(st.integers(0, 0xFFFF), st.floats(0, 1e6), arrivals)
def test_every_arrival_is_reported_exactly(
    number: int, start: float, steps: list[tuple[int, float]]
) -> None:
    record, now = ArrivalRecord(), start
    expected: dict[int, int] = {}
    for ahead, pause in steps[: MAX_REORDER // 30 * 10]:
        number += ahead
        now += pause
        record.on_packet(number & 0xFFFF, now)
        expected[number & 0xFFFF] = int(now / TICK)
    due = record.get_timer()
    assert due is not None
    found: dict[int, int] = {}
    for body in record.feedback_to_send(max(now, due)):
        packet = build_transport_feedback(1, 2, body)
        (parsed,) = parse_compound_untrusted(packet, 0, len(packet))
        assert isinstance(parsed, TransportFeedback)
        feedback = parse_feedback_untrusted(parsed.body)
        assert len(feedback.arrivals) <= MAX_STATUSES
        for index, arrival in enumerate(feedback.arrivals):
            if arrival is not None:
                found[feedback.base + index & 0xFFFF] = arrival
    period = (1 << 24) * 256
    assert {n: tick % period for n, tick in expected.items() if n in found} == {
        n: tick % period for n, tick in found.items()
    }
    if sum(ahead for ahead, _ in steps) < 3000:
        assert found.keys() == expected.keys()


@given(st.lists(st.sampled_from([0, 0, 0, 1, 1, 1, 1, 2]), min_size=1, max_size=300))
def test_chunks_say_the_symbols(symbols: list[int]) -> None:
    deltas = b"".join(b"\x01" if symbol == 1 else b"\x00\x01" for symbol in symbols if symbol)
    head = b"\x00\x00" + len(symbols).to_bytes(2, "big") + bytes(4)
    feedback = parse_feedback_untrusted(head + build_chunks(symbols) + deltas)
    assert [arrival is not None for arrival in feedback.arrivals] == [s > 0 for s in symbols]


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        feedback = parse_feedback_untrusted(body)
    except RtcpError:
        return
    assert len(feedback.arrivals) == int.from_bytes(body[2:4], "big")
