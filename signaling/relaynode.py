"""The hub's side of the relay: commands to the node that serves, events back, and guests that
come by WHIP and WHEP instead of a WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from relay import control

Receive = Callable[[control.Event], None]


class Node(Protocol):
    """What is needed of `relay.process.node.Node`."""

    @property
    def available(self) -> bool: ...
    @property
    def restarts(self) -> int: ...
    @property
    def metrics(self) -> Mapping[int, control.WorkerMetrics]: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...

    def send(self, command: control.Command) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Relays:
    """Made before the hub, which it is then bound to; without `start` there is no relay."""

    def __init__(self) -> None:
        self._node: Node | None = None
        self._hub: Receive | None = None
        self._on_gone: Callable[[str, str | None], None] | None = None
        self._on_end: Callable[[str], None] | None = None

    def bind(self, hub: Receive) -> None:
        """Pass events to the hub from now on."""
        self._hub = hub

    def watch(
        self, *, on_gone: Callable[[str, str | None], None], on_end: Callable[[str], None]
    ) -> None:
        """Have `on_gone` called with room and participant when the hub lets one go (None: all
        of the room), and `on_end` with a participant one of whose transports is over."""
        self._on_gone = on_gone
        self._on_end = on_end

    @property
    def available(self) -> bool:
        return self._node is not None and self._node.available

    def carries_media(self) -> bool:
        """True where a worker has a transport that is connected, by what it said last."""
        if self._node is None or not self._node.available:
            return False
        return any(m.transports.get("connected") for m in self._node.metrics.values())

    def send(self, command: control.Command) -> None:
        if self._node is not None:
            self._node.send(command)
        if self._on_gone is not None:
            if isinstance(command, control.Leave):
                self._on_gone(command.room, command.participant)
            elif isinstance(command, control.CloseRoom):
                self._on_gone(command.room, None)

    async def start(self, make_node: Callable[[Receive], Node]) -> None:
        """Start the workers; returns once each is ready, or has failed for the first time.

        `make_node` gets what the node is to call with each event, from the event loop.
        """
        self._node = make_node(self._receive)
        await self._node.start()

    async def stop(self) -> None:
        """Stop the workers. Idempotent."""
        if self._node is not None:
            await self._node.stop()

    def collect(self) -> Iterator[Metric]:
        """Prometheus families of all workers, by the label `worker`."""
        if self._node is not None:
            yield from collect(self._node)

    def _receive(self, event: control.Event) -> None:
        if self._hub is not None:
            self._hub(event)
        match event:
            case control.WorkerLost() if self._on_gone is not None:
                for room in event.rooms:
                    self._on_gone(room, None)
            case control.TransportChanged(state="failed" | "closed") if self._on_end is not None:
                self._on_end(event.participant)


# -- Metrics ----------------------------------------------------------------------------

_COUNTERS: Final = (
    ("packets_received", "Datagrams received.", "packets_in"),
    ("bytes_received", "Bytes of datagrams received.", "bytes_in"),
    ("packets_sent", "Datagrams sent.", "packets_out"),
    ("bytes_sent", "Bytes of datagrams sent.", "bytes_out"),
    ("nacks_received", "Packets that subscribers asked for again.", "nacks_in"),
    ("nacks_sent", "Packets asked of publishers again.", "nacks_out"),
    ("plis_received", "Key frame requests from subscribers.", "plis_in"),
    ("plis_sent", "Key frame requests to publishers.", "plis_out"),
    ("failed_handshakes", "Transports that were never connected.", "failed_handshakes"),
    ("retransmissions", "Packets sent again.", "retransmissions"),
    ("probes", "Packets sent to learn whether a line carries more.", "probes"),
    ("parameter_sets", "Parameter sets put before key frames without.", "parameter_sets"),
)
_GAUGES: Final = (
    ("rooms", "Rooms on the worker.", "rooms"),
    ("participants", "Participants that the worker knows.", "participants"),
    ("loop_lag_seconds", "Longest delay of the event loop in the last second.", "loop_lag"),
    ("cpu", "Share of a processor used in the last second.", "cpu"),
    ("overloaded", "1 while the worker takes nobody new, as it does not keep up.", "overloaded"),
)
_LABELLED: Final = (
    ("drops", "Packets dropped.", "reason", "drops"),
    ("control_drops", "Messages to the hub dropped.", "type", "control_drops"),
)


def collect(node: Node) -> Iterator[Metric]:
    """Prometheus families of a node's workers."""
    rows = sorted(node.metrics.items())
    yield CounterMetricFamily("relay_restarts", "Worker processes restarted.", node.restarts)
    yield GaugeMetricFamily("relay_workers", "Worker processes that take rooms.", len(rows))
    for name, text, attribute in _COUNTERS:
        yield _family(CounterMetricFamily, name, text, rows, attribute)
    for name, text, attribute in _GAUGES:
        yield _family(GaugeMetricFamily, name, text, rows, attribute)
    for name, text, label, attribute in _LABELLED:
        family = CounterMetricFamily(f"relay_{name}", text, labels=["worker", label])
        for worker, metrics in rows:
            for value, count in sorted(getattr(metrics, attribute).items()):
                family.add_metric([str(worker), value], count)
        yield family
    tracks = GaugeMetricFamily("relay_tracks", "Tracks published.", labels=["worker", "kind"])
    transports = GaugeMetricFamily("relay_transports", "Transports.", labels=["worker", "state"])
    lines = GaugeMetricFamily(
        "relay_lines", "Subscribers by what their line carries.", labels=["worker", "up_to"]
    )
    reception = GaugeMetricFamily(
        "relay_reception", "Pictures by what becomes of them.", labels=["worker", "state"]
    )
    trip = GaugeMetricFamily("relay_round_trip_seconds", "Mean round trip.", labels=["worker"])
    for worker, metrics in rows:
        tracks.add_metric([str(worker), "audio"], metrics.tracks.audio)
        tracks.add_metric([str(worker), "video"], metrics.tracks.video)
        for state, count in sorted(metrics.transports.items()):
            transports.add_metric([str(worker), state], count)
        for bound, count in metrics.lines.items():
            lines.add_metric([str(worker), bound], count)
        for told, count in sorted(metrics.reception.items()):
            reception.add_metric([str(worker), told], count)
        if metrics.rtt_ms is not None:
            trip.add_metric([str(worker)], metrics.rtt_ms / 1000)
    dropped = CounterMetricFamily(
        "relay_commands_dropped", "Commands that reached no worker.", labels=["type"]
    )
    for kind, count in sorted(node.dropped.items()):
        dropped.add_metric([kind], count)
    yield from (tracks, transports, lines, reception, trip, dropped)


def _family(
    kind: Any, name: str, text: str, rows: list[tuple[int, control.WorkerMetrics]], attribute: str
) -> Metric:
    family: Any = kind(f"relay_{name}", text, labels=["worker"])
    for worker, metrics in rows:
        family.add_metric([str(worker)], getattr(metrics, attribute))
    metric: Metric = family
    return metric
