"""Down at once, up carefully."""

from __future__ import annotations

import pytest

from relay.bwe.control import FIRST, MAX, MIN, RateControl
from relay.bwe.delay import Usage


def test_a_growing_queue_lowers_the_rate_below_what_arrived() -> None:
    control = RateControl(2_000_000)
    control.receive_usage(Usage.OVER, 600_000, 10.0, stretch=1.5)
    assert control.rate == pytest.approx(510_000)
    assert control.lowered_at == 10.0
    # Once: the reduction has to be seen to work first.
    control.receive_usage(Usage.OVER, 500_000, 10.1, stretch=1.5)
    assert control.rate == pytest.approx(510_000)


def test_a_queue_of_one_large_frame_costs_little() -> None:
    control = RateControl(2_000_000)
    control.receive_usage(Usage.OVER, 300_000, 10.0, stretch=1.0)
    assert control.rate > 1_800_000


def test_it_grows_by_some_percent_a_second_as_far_as_is_sent() -> None:
    control = RateControl(600_000)
    for tick in range(101):
        control.receive_usage(Usage.NORMAL, 600_000, 10 + tick / 10)
    assert control.rate == pytest.approx(910_000, rel=0.01)
    control = RateControl(600_000)
    for tick in range(50):
        control.receive_usage(Usage.NORMAL, 100_000, 10 + tick / 10)
    assert control.rate == 600_000


def test_near_the_known_limit_it_grows_slowly() -> None:
    control = RateControl(1_000_000)
    control.receive_usage(Usage.OVER, 1_000_000, 10.0, stretch=1.5)
    before = control.rate
    for tick in range(11):
        control.receive_usage(Usage.NORMAL, 950_000, 10.5 + tick / 10)
    assert 0 < control.rate - before < 80_000


@pytest.mark.parametrize(
    ("lost", "queue", "lowered"),
    [(0.05, 0.1, False), (0.15, 0.1, True), (0.12, 0.0, False), (0.3, 0.0, True)],
)
def test_loss_lowers_it_where_packets_are_late_or_very_many_are_lost(
    lost: float, queue: float, lowered: bool
) -> None:
    control = RateControl(1_000_000)
    assert control.receive_loss(lost, queue, 800_000, 10.0) is lowered
    assert (control.rate < 1_000_000) is lowered


def test_what_is_lost_keeps_it_from_growing() -> None:
    control = RateControl(600_000)
    for tick in range(20):
        control.receive_usage(Usage.NORMAL, 600_000, 10 + tick / 10, lossy=True)
    assert control.rate == 600_000


def test_it_stays_within_bounds() -> None:
    control = RateControl()
    assert control.rate == FIRST
    control.raise_to(1e18, 1.0)
    assert control.rate == MAX
    for second in range(100):
        control.receive_usage(Usage.OVER, 1.0, 10.0 + second, stretch=2.0)
    assert control.rate == MIN
