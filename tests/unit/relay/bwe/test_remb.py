"""Receivers that know only REMB, and those that know not even that."""

from __future__ import annotations

import pytest

from relay.bwe.control import FIRST, MAX, MIN
from relay.bwe.remb import HOLD, MAX_STREAMS, RembEstimate


def run(estimate: RembEstimate, start: float, seconds: float) -> None:
    for tick in range(round(4 * seconds)):
        estimate.handle_timer(start + tick / 4)


def test_a_remb_of_more_is_believed() -> None:
    estimate = RembEstimate()
    estimate.receive_remb(3_000_000, (5,), 100_000, 1.0)
    assert estimate.rate == 3_000_000


def test_a_remb_of_less_counts_as_far_as_that_is_sent() -> None:
    estimate = RembEstimate(3_000_000)
    estimate.receive_remb(500_000, (5,), 480_000, 1.0)
    assert estimate.rate == 500_000
    # One and a half times what is sent is all that an estimator can say: no limit.
    estimate.receive_remb(230_000, (5,), 150_000, 2.0)
    assert estimate.rate == 500_000


def test_it_grows_by_itself_after_a_while() -> None:
    estimate = RembEstimate(3_000_000)
    estimate.receive_remb(300_000, (5,), 290_000, 1.0)
    run(estimate, 1.0, HOLD)
    assert estimate.rate == 300_000
    run(estimate, 1.0 + HOLD, 12)
    assert 600_000 < estimate.rate < 900_000


def test_rembs_of_several_tracks_add_up() -> None:
    estimate = RembEstimate(3_000_000)
    estimate.receive_remb(200_000, (5,), 190_000, 1.0)
    estimate.receive_remb(300_000, (6,), 480_000, 1.1)
    assert estimate.rate == 500_000
    # One message about both takes the place of two.
    estimate.receive_remb(400_000, (5, 6), 390_000, 1.2)
    assert estimate.rate == 400_000


def test_reported_loss_lowers_it_where_nothing_else_is_said() -> None:
    estimate = RembEstimate(1_000_000)
    estimate.receive_loss(0.4, 1.0)
    assert estimate.rate == pytest.approx(800_000)
    run(estimate, 1.0, 20)
    assert estimate.rate == pytest.approx(800_000)
    estimate.receive_loss(0.0, 21.0)
    run(estimate, 21.0, 5)
    assert estimate.rate > 1_000_000


def test_absurd_rembs_do_no_harm() -> None:
    estimate = RembEstimate()
    estimate.receive_remb(0, (), 100_000, 1.0)
    assert estimate.rate == MIN
    estimate.receive_remb(1 << 63, (1,), 100_000, 1.0)
    assert estimate.rate == MAX
    for ssrc in range(10 * MAX_STREAMS):
        estimate.receive_remb(1000, (ssrc,), 0.0, 2.0)
    assert len(estimate._said) == MAX_STREAMS
    assert FIRST > MIN
