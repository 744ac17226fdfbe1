"""Ways are graded by loss, queue and what does not fit, and told of on change."""

from __future__ import annotations

import pytest

from relay.control import ParticipantQuality, ReceptionState
from relay.rooms.quality import INTERVAL, Qualities, grade_down, grade_loss, grade_up
from relay.transport.transport import TransportState

CONNECTED = TransportState.CONNECTED


def test_loss_lowers_the_grade() -> None:
    assert [grade_loss(lost) for lost in (0, 0.01, 0.03, 0.07, 0.2)] == [4, 4, 3, 2, 1]
    assert grade_up(CONNECTED, 0.03) == 3
    assert grade_up(TransportState.DISCONNECTED, 0.0) == 0


@pytest.mark.parametrize(
    ("lost", "queue", "states", "grade"),
    [
        (0.0, 0.0, [], 4),
        (0.0, 0.2, [], 3),
        (0.0, 0.5, [], 2),
        (0.0, 0.0, ["full", "reduced"], 3),
        (0.0, 0.0, ["full", "paused"], 2),
        (0.0, 0.0, ["paused"], 1),
        (0.2, 0.0, ["full"], 1),
    ],
)
def test_the_way_down_is_as_good_as_what_it_carries(
    lost: float, queue: float, states: list[ReceptionState], grade: int
) -> None:
    assert grade_down(CONNECTED, lost, queue, states) == grade
    assert grade_down(TransportState.FAILED, lost, queue, states) == 0


def test_changes_are_told_and_not_too_often() -> None:
    qualities = Qualities()
    good = ParticipantQuality("ada", 4, 4)
    fair = ParticipantQuality("ada", 3, 4)
    assert qualities.take_change([good], 1.0) == []
    assert qualities.take_change([fair], 2.0) == [fair]
    assert qualities.take_change([good], 2.5) == []
    assert qualities.take_change([good], 2.0 + INTERVAL) == [good]
    assert qualities.take_change([good], 20.0) == []
    qualities.forget("ada")
    assert qualities.take_change([good, ParticipantQuality("bob")], 21.0) == []
