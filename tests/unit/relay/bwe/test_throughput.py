"""The rate at which packets arrive, by feedback."""

from __future__ import annotations

import pytest

from relay.bwe.throughput import Throughput


def feed(throughput: Throughput, start: float, count: int, *, stretch: float = 1.0) -> None:
    """A feedback each 100 ms with 10 packets of 1,000 bytes: 800 kbit/s where not stretched."""
    for number in range(count):
        sent = [start + 0.1 * number + 0.01 * place for place in range(10)]
        arrived = [start + (at - start) * stretch + 0.05 for at in sent]
        throughput.receive_packets(sent, arrived, 10_000)


def test_one_feedback_tells_no_rate() -> None:
    throughput = Throughput()
    feed(throughput, 10.0, 1)
    assert throughput.get_rate() is None
    assert throughput.get_stretch() == 1.0


def test_the_rate_is_what_arrived_per_second() -> None:
    throughput = Throughput()
    feed(throughput, 10.0, 20)
    assert throughput.get_rate() == pytest.approx(800_000, rel=0.05)
    assert throughput.get_stretch() == pytest.approx(1.0, abs=0.05)


def test_on_a_full_line_arrivals_are_stretched() -> None:
    throughput = Throughput()
    feed(throughput, 10.0, 10, stretch=2.0)
    assert throughput.get_rate() == pytest.approx(400_000, rel=0.1)
    assert throughput.get_stretch() == pytest.approx(2.0, rel=0.05)


def test_a_silence_is_not_part_of_a_rate() -> None:
    throughput = Throughput()
    feed(throughput, 10.0, 10)
    feed(throughput, 30.0, 1)
    assert throughput.get_rate() is None
