"""Counters in, Prometheus text out."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from signaling.metrics import LATENCY_BOUNDS, Exposition, Histogram, Metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Exposition(metrics).render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_show_by_label() -> None:
    metrics = Metrics()
    metrics.messages["offer"] += 2
    metrics.errors["bad-request"] += 1
    metrics.closes[4503] += 3
    metrics.rooms = 7
    seen = read(metrics)
    assert seen["signaling_messages_received_total", (("type", "offer"),)] == 2
    assert seen["signaling_errors_total", (("code", "bad-request"),)] == 1
    assert seen["signaling_closes_total", (("code", "4503"),)] == 3
    assert seen["signaling_rooms", ()] == 7


def test_latencies_show_as_a_cumulative_histogram() -> None:
    metrics = Metrics()
    for seconds in (0.00001, 0.00002, 5.0):
        metrics.relay_latency.observe(seconds)
    seen = read(metrics)
    name = "signaling_relay_latency_seconds"
    assert seen[f"{name}_bucket", (("le", "1e-05"),)] == 1
    assert seen[f"{name}_bucket", (("le", "2.5e-05"),)] == 2
    assert seen[f"{name}_bucket", (("le", "+Inf"),)] == 3
    assert seen[f"{name}_count", ()] == 3


def test_an_observation_at_a_bound_counts_below_it() -> None:
    histogram = Histogram(LATENCY_BOUNDS)
    histogram.observe(LATENCY_BOUNDS[3])
    assert histogram.counts[3] == 1


def test_gauges_are_sampled_when_somebody_asks() -> None:
    metrics = Metrics()

    def sample() -> None:
        metrics.outbox_bytes += 10

    metrics.add_sampler(sample)
    assert metrics.outbox_bytes == 0
    assert read(metrics)["signaling_outbox_bytes", ()] == 10


def test_the_process_is_measured_too() -> None:
    assert read(Metrics())["process_resident_memory_bytes", ()] > 0


def test_what_a_message_waits_for_the_loop_counts_as_its_latency() -> None:
    """378 ms were felt where 2.5 ms were shown."""
    metrics = Metrics()
    metrics.observe_relayed(0.0025)
    metrics.observe_lag(0.375)
    metrics.observe_relayed(0.0025)
    assert metrics.relay_latency.total == pytest.approx(0.38)
    assert metrics.longest_lag == 0.375
    metrics.observe_lag(0.0)
    metrics.observe_relayed(0.0025)
    assert metrics.relay_latency.total == pytest.approx(0.3825)
