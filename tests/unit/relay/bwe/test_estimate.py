"""An estimate by feedback, piece by piece; whole links are in the scenarios."""

from __future__ import annotations

import numpy as np
import pytest

from relay.bwe.control import FIRST
from relay.bwe.estimate import WRAP, Probe, SendEstimate
from relay.rtp.twcc import TICK


class Feed:
    """Feedback each 100 ms about packets of 1,000 bytes."""

    def __init__(self, estimate: SendEstimate, zero: float = 0.0) -> None:
        self.estimate = estimate
        self.now = 100.0
        self.number = 0
        self.zero = zero

    def run(self, seconds: float, rate: float, *, lost: int = 0) -> None:
        for _ in range(round(10 * seconds)):
            count = max(1, round(rate / 80_000))
            at = self.now + 0.1 * np.arange(count) / count
            ticks = ((at + self.zero) % WRAP / TICK).astype(np.int64)
            numbers = (self.number + np.arange(count)) & 0xFFFF
            self.now += 0.1
            self.number += count
            sizes = np.full(count, 1000, np.int64)
            self.estimate.receive_feedback(numbers, at, sizes, ticks, lost, self.now)


def test_it_begins_with_a_little_and_keeps_it_while_little_is_sent() -> None:
    feed = Feed(SendEstimate())
    feed.run(5, 80_000)
    assert feed.estimate.rate == pytest.approx(FIRST, rel=0.02)
    assert feed.estimate.acked == pytest.approx(80_000, rel=0.3)


def test_the_receivers_clock_may_start_over() -> None:
    feed = Feed(SendEstimate(), zero=WRAP - 105)
    feed.run(10, 400_000)
    assert feed.estimate.rate >= FIRST
    assert feed.estimate.get_queue(feed.now) < 0.01


def test_a_probe_that_arrives_as_it_was_sent_raises_it() -> None:
    feed = Feed(SendEstimate())
    feed.run(2, 80_000)
    probe = Probe(feed.number & 0xFFFF)
    feed.estimate.begin_probe(probe)
    first = feed.number
    feed.run(0.1, 1_600_000)
    probe.last, probe.ended = (first + 19) & 0xFFFF, feed.now
    assert feed.estimate.is_probing
    feed.run(0.2, 80_000)
    assert not feed.estimate.is_probing
    assert feed.estimate.rate == pytest.approx(1_600_000, rel=0.1)


def test_a_probe_that_nobody_reports_on_ends() -> None:
    feed = Feed(SendEstimate())
    feed.run(1, 80_000)
    feed.estimate.begin_probe(Probe(5000, 5010, feed.now))
    feed.run(3, 80_000)
    assert not feed.estimate.is_probing
    assert feed.estimate.rate == pytest.approx(FIRST, rel=0.02)


def test_loss_is_told() -> None:
    feed = Feed(SendEstimate())
    feed.run(10, 800_000, lost=1)
    assert feed.estimate.loss == pytest.approx(1 / 11, abs=0.02)
