"""A queue that grows or empties is told from one that stands, and from noise."""

from __future__ import annotations

import random

from relay.bwe.delay import DelayTrend, Usage


def feed(trend: DelayTrend, start: float, count: int, growth: float, noise: float = 0.0) -> None:
    """`count` groups 20 ms apart, each `growth` seconds later than the one before."""
    chance = random.Random(1)
    for number in range(count):
        sent = start + 0.02 * number
        delay = 0.03 + growth * number + noise * chance.random()
        trend.receive_packets([sent, sent + 0.001], [sent + delay, sent + delay + 0.004])


def test_a_steady_delay_is_normal_use() -> None:
    trend = DelayTrend()
    feed(trend, 10.0, 100, 0.0)
    assert trend.usage is Usage.NORMAL
    assert trend.queue < 0.001


def test_a_growing_delay_is_over_use_and_a_shrinking_one_under_use() -> None:
    trend = DelayTrend()
    feed(trend, 10.0, 50, 0.0)
    feed(trend, 11.0, 20, 0.005)
    assert trend.usage is Usage.OVER
    assert trend.queue > 0.05
    feed(trend, 11.5, 20, -0.004)
    assert trend.usage is Usage.UNDER


def test_noise_is_no_queue() -> None:
    trend = DelayTrend()
    feed(trend, 10.0, 400, 0.0, noise=0.03)
    assert trend.usage is not Usage.OVER


def test_a_burst_is_not_its_own_queue() -> None:
    trend = DelayTrend()
    for number in range(60):
        sent = 10.0 + 0.04 * number
        # Every fifth frame is large: its last packet comes 30 ms after its first.
        count = 20 if number % 5 == 0 else 3
        arrived = [sent + 0.03 + 0.0015 * place for place in range(count)]
        trend.receive_packets([sent] * count, arrived)
    assert trend.usage is Usage.NORMAL


def test_after_a_long_silence_delays_are_not_compared() -> None:
    trend = DelayTrend()
    feed(trend, 10.0, 50, 0.0)
    trend.receive_packets([20.0], [25.0])
    trend.receive_packets([20.02], [25.02])
    assert trend.usage is Usage.NORMAL
    assert trend.queue < 0.01
