"""What the hub counts. Counting is a plain addition; the work is done when somebody asks.

`Metrics` is filled by hub and connections; `Exposition` turns it into Prometheus text. Label
values come from closed sets (message types, codes), never from what a client chose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from .protocol import messages
from .protocol.errors import KINDS

CONTENT_TYPE = CONTENT_TYPE_LATEST

REFUSED: Final = (
    "address-sockets",
    "bad-request",
    "draining",
    "files",
    "forbidden",
    "overloaded",
    "plain-http",
    "rate-limited",
    "sockets",
    "upgrade-required",
)
LIMITED: Final = ("banned", "connection-rate", "connections", "join-rate", "request-rate")
DROPPED: Final = ("outbox",)

# Seconds. A message is relayed in some ten microseconds; a second is a machine that gave in.
LATENCY_BOUNDS = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)


class Histogram:
    """Counts of observations by upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus's form: (upper bound, observations up to it), the last +Inf."""
        rows: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


class Metrics:
    """One hub's counters and gauges. Times are seconds, sizes bytes."""

    def __init__(self) -> None:
        # Gauges, kept by whoever owns the thing.
        self.connections = 0
        self.rooms = 0
        self.participants = 0
        self.detached = 0
        """Participants without a connection at the moment, who may still resume."""
        self.knocking = 0
        """Connections that wait to be let into a room."""
        self.waiting = 0
        """Messages that wait because their rooms are busy."""
        self.descriptions = 0
        """Bytes of descriptions that wait for the relay, or for its answer."""
        self.outbox_messages = 0
        self.outbox_bytes = 0
        self.outbox_deepest = 0
        """Bytes waiting in the fullest outbox."""
        # Counters.
        self.connections_opened = 0
        self.resumed = 0
        self.messages: defaultdict[str, int] = defaultdict(int)
        """Messages from clients, by type."""
        self.sent = 0
        """Messages to clients."""
        self.relayed = 0
        """Messages from one participant that were passed to others, once for each receiver."""
        self.errors: defaultdict[str, int] = defaultdict(int)
        """Refusals, by code."""
        self.closes: defaultdict[int, int] = defaultdict(int)
        """WebSocket closes, by code."""
        self.refused: defaultdict[str, int] = defaultdict(int)
        """Connections that were not accepted, by reason."""
        self.limited: Mapping[str, int] = {}
        """Connections, joins and requests refused for what their address did, by reason."""
        self.bans = 0
        self.banned = 0
        """Addresses banned at the moment."""
        self.dropped: defaultdict[str, int] = defaultdict(int)
        """What was thrown away, by reason."""
        self.relay_latency = Histogram(LATENCY_BOUNDS)
        """From a message's arrival, as far as can be known, to its receivers' sockets."""
        self.loop_lag = Histogram(LATENCY_BOUNDS)
        """How late the event loop ran a timer: every message waits as long."""
        self.lag = 0.0
        """The last of these."""
        self.longest_lag = 0.0
        """The longest of these since the last exposition."""
        self.requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        """HTTP requests, by the path's first part and the status."""
        self.limits: dict[str, tuple[float, float]] = {}
        """How much of a limit is used, and the limit, by its option without `--max-`."""
        self.certificate_end: float | None = None
        """Seconds since the epoch."""
        self._samplers: list[Callable[[], None]] = []
        self.collectors: list[Callable[[], Iterable[Metric]]] = []
        """What others count, in Prometheus's form."""

    def count_request(self, family: str, status: int) -> None:
        """Count an HTTP request that was answered."""
        self.requests[family, str(status)] += 1

    def observe_relayed(self, seconds: float) -> None:
        """A message was handed on so long after it was read: before that it waited for its turn in
        the event loop, as long as the last look found, in the kernel, where nobody sees it."""
        self.relay_latency.observe(seconds + self.lag)

    def observe_lag(self, seconds: float) -> None:
        self.lag = seconds
        self.loop_lag.observe(seconds)
        self.longest_lag = max(self.longest_lag, seconds)

    def add_sampler(self, sampler: Callable[[], None]) -> None:
        """Have `sampler` set its gauges right before each exposition."""
        self._samplers.append(sampler)

    def add_collector(self, collector: Callable[[], Iterable[Metric]]) -> None:
        """Have what `collector` returns in each exposition too."""
        self.collectors.append(collector)

    def sample(self) -> None:
        for sampler in self._samplers:
            sampler()


class Exposition:
    """Prometheus text of one Metrics, with what is known of the process and the platform."""

    def __init__(self, metrics: Metrics, build: Mapping[str, str] | None = None) -> None:
        self._metrics = metrics
        self._build = dict(build or {})
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self) -> bytes:
        self._metrics.sample()
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        m = self._metrics
        yield from _gauges(m)
        yield _counter(
            "connections_opened", "WebSocket connections accepted.", m.connections_opened
        )
        yield _counter("resumed", "Sessions that went on on another connection.", m.resumed)
        yield _counter("messages_sent", "Messages to clients.", m.sent)
        yield _counter("messages_relayed", "Messages passed on, per receiver.", m.relayed)
        types = (*messages.TYPES.values(), "invalid")
        yield _labelled("messages_received", "Messages from clients.", "type", types, m.messages)
        yield _labelled("errors", "Refusals.", "code", KINDS, m.errors)
        closes = {str(code): count for code, count in m.closes.items()}
        codes = {str(kind.close) for kind in KINDS.values() if kind.close} | {"1000"}
        yield _labelled("closes", "WebSocket closes.", "code", codes, closes)
        yield _labelled("connections_refused", "Connections refused.", "reason", REFUSED, m.refused)
        text = "Connections, joins and requests refused by address."
        yield _labelled("limited", text, "reason", LIMITED, m.limited)
        yield _counter("bans", "Addresses that were banned.", m.bans)
        yield _labelled("dropped", "What was thrown away.", "reason", DROPPED, m.dropped)
        yield HistogramMetricFamily(
            "signaling_relay_latency_seconds",
            "From a message's arrival to its receivers' sockets, waiting for the loop included.",
            buckets=m.relay_latency.cumulative(),
            sum_value=m.relay_latency.total,
        )
        yield HistogramMetricFamily(
            "signaling_loop_lag_seconds",
            "How late the event loop ran a timer; every message waits as long.",
            buckets=m.loop_lag.cumulative(),
            sum_value=m.loop_lag.total,
        )
        requests = CounterMetricFamily(
            "signaling_http_requests", "HTTP requests answered.", labels=["path", "status"]
        )
        for labels, count in sorted(m.requests.items()):
            requests.add_metric(labels, count)
        yield requests
        yield from _limits(m)
        yield InfoMetricFamily("signaling_build", "What runs here.", value=self._build)
        for collector in m.collectors:
            yield from collector()


def _gauges(m: Metrics) -> Iterable[Metric]:
    rows = (
        ("connections", "WebSocket connections open now.", m.connections),
        ("rooms", "Rooms now.", m.rooms),
        ("participants", "Participants now.", m.participants),
        ("participants_detached", "Participants that may still resume.", m.detached),
        ("knocking", "Connections that wait to be let into a room.", m.knocking),
        ("waiting_messages", "Messages that wait because their rooms are busy.", m.waiting),
        ("description_bytes", "Bytes of descriptions that wait for the relay.", m.descriptions),
        ("banned", "Addresses banned now.", m.banned),
        ("outbox_messages", "Messages that wait for slow clients.", m.outbox_messages),
        ("outbox_bytes", "Bytes that wait for slow clients.", m.outbox_bytes),
        ("outbox_deepest_bytes", "Bytes in the fullest outbox.", m.outbox_deepest),
        (
            "loop_longest_lag_seconds",
            "Longest delay of the event loop since the last look.",
            m.longest_lag,
        ),
    )
    m.longest_lag = 0.0
    return [GaugeMetricFamily(f"signaling_{name}", doc, value) for name, doc, value in rows]


def _limits(m: Metrics) -> Iterator[Metric]:
    used = GaugeMetricFamily("signaling_limit_used", "How much of it is used.", labels=["limit"])
    most = GaugeMetricFamily("signaling_limit", "The most there may be.", labels=["limit"])
    for name, (now, limit) in sorted(m.limits.items()):
        used.add_metric([name], now)
        most.add_metric([name], limit)
    yield from (used, most)
    if m.certificate_end is not None:
        text = "When the certificate ends, in seconds since the epoch."
        name = "signaling_certificate_end_timestamp_seconds"
        yield GaugeMetricFamily(name, text, m.certificate_end)


def _counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(f"signaling_{name}", doc, value)


def _labelled(
    name: str, doc: str, label: str, known: Iterable[str], values: Mapping[str, int]
) -> Metric:
    """A counter by label; the values `known` are there from the start, so that the first time
    that something happens is an increase, too."""
    family = CounterMetricFamily(f"signaling_{name}", doc, labels=[label])
    for value in sorted({*known, *values}):
        family.add_metric([value], values.get(value, 0))
    return family
