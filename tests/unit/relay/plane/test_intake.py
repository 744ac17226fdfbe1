"""What a peer may send in a second, and what forgeries in its name change about that."""

from __future__ import annotations

from relay.plane.intake import (
    MAX_CONTROL,
    MAX_FORGED,
    MAX_NACKED,
    MAX_PACKETS,
    MAX_REPORTERS,
    Intake,
)


def test_each_kind_has_a_limit_of_its_own_and_the_next_second_is_free() -> None:
    intake = Intake()
    assert sum(intake.take_packet(1.0) for _ in range(MAX_PACKETS + 5)) == MAX_PACKETS
    assert sum(intake.take_control(7, 1.5) for _ in range(MAX_CONTROL + 5)) == MAX_CONTROL
    assert intake.take_nacks(MAX_NACKED, 1.5)
    assert not intake.take_nacks(1, 1.9)
    assert intake.take_packet(2.0)
    assert intake.take_control(7, 2.0)
    assert intake.take_nacks(1, 2.0)


def test_forgeries_use_up_nothing_and_raise_doubts_for_a_second() -> None:
    intake = Intake()
    for _ in range(MAX_FORGED):
        intake.count_forged(1.0)
    assert not intake.doubts(1.0)
    intake.count_forged(1.5)
    assert intake.doubts(1.5)
    assert intake.take_packet(1.5)
    assert not intake.doubts(2.0)


def test_senders_of_reports_are_remembered_and_bounded() -> None:
    intake = Intake()
    for ssrc in range(MAX_REPORTERS + 10):
        intake.take_control(ssrc, 1.0)
    assert intake.knows_reporter(0)
    assert not intake.knows_reporter(MAX_REPORTERS)
