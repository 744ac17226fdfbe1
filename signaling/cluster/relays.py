"""All relays that a hub may use, its own workers and nodes on other machines, as one.

A room is on one of them: one of the hub's region before others, and of two drawn at random the
one that does less. A node that is gone is to the hub what a lost worker is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

from relay import control
from relay.process import links
from relay.process.links import Link, LinkDown, Outgoing
from relay.process.node import Node
from relay.process.placement import Placement
from relay.process.registry import RelayRecord
from relay.process.serving import Hello, Load, Metrics, ToHub

from ..logs import Log
from .store import Store, StoreAway

LOOK_EVERY: Final = 1.0
"""Seconds between looks at which nodes there are, and probes of those that are linked."""

FULL: Final = 0.7
"""Processor share of a node's busiest worker above which it gets no new room while others can."""

OWN: Final = 0
"""The number of the hub's own workers among the nodes."""

WORKERS_EACH: Final = 1000
"""Metrics count workers by number; a node's begin at its own number times this."""

log = Log(__name__)


class _Remote:
    """A node on another machine that is linked."""

    def __init__(self, number: int, record: RelayRecord, link: Outgoing) -> None:
        self.number = number
        self.record = record
        self.link = link
        self.cpu = record.load
        self.draining = False


class RelayPool:
    """What a hub takes for its node. `draw` picks two of several, by chance."""

    def __init__(
        self,
        own: Node | None,
        store: Store,
        *,
        hub: str,
        secret: Callable[[], str],
        region: str,
        on_event: Callable[[control.Event], None],
        draw: Callable[[list[int]], Collection[int]],
    ) -> None:
        self._own = own
        self._store = store
        self._hub = hub
        self._secret = secret
        self._region = region
        self._on_event = on_event
        self._draw = draw
        self._placement = Placement(self._choose)
        self._nodes: dict[int, _Remote] = {}
        self._numbers = 0
        self._metrics: dict[int, control.WorkerMetrics] = {}
        self._told_available = False
        self._task: asyncio.Task[None] | None = None
        self.dropped: dict[str, int] = {}

    # -- As a node ----------------------------------------------------------------------

    @property
    def available(self) -> bool:
        return self._placement.available

    @property
    def restarts(self) -> int:
        return 0 if self._own is None else self._own.restarts

    @property
    def metrics(self) -> dict[int, control.WorkerMetrics]:
        return self._metrics if self._own is None else {**self._own.metrics, **self._metrics}

    async def start(self) -> None:
        if self._own is not None:
            await self._own.start()
        await self._look()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for node in list(self._nodes.values()):
            node.link.close()
        if self._own is not None:
            await self._own.stop()

    def send(self, command: control.Command) -> None:
        """Pass a command to the room's relay. Never blocks or raises."""
        number = self._placement.place(command)
        if number == OWN and self._own is not None:
            self._own.send(command)
            return
        node = None if number is None else self._nodes.get(number)
        if node is not None and node.link.send(command):
            return
        name = type(command).__name__.lower()
        self.dropped[name] = self.dropped.get(name, 0) + 1
        match command:
            case control.GetStats():
                self._answer(control.RoomStats(command.request, []))
            case control.Publish() | control.Pull() | control.AnswerOffer():
                self._answer(_refuse(command.request))

    def _answer(self, event: control.RoomStats | control.Refused) -> None:
        self._placement.receive_reply(event.request)
        asyncio.get_running_loop().call_soon(self._on_event, event)

    def receive_own(self, event: control.Event) -> None:
        """An event of the hub's own workers."""
        if isinstance(event, control.Availability):
            self._set_available(OWN, event.available)
        else:
            self._receive_event(event)

    def _receive_event(self, event: control.Event) -> None:
        match event:
            case control.Answer() | control.Refused() | control.RoomStats():
                if self._placement.receive_reply(event.request):
                    self._on_event(event)
            case control.WorkerLost():
                self._placement.forget(event.rooms)
                self._on_event(event)
            case _:
                self._on_event(event)

    # -- Which relay --------------------------------------------------------------------

    def _choose(self, candidates: list[int]) -> int:
        """A relay for a new room: near before far, then the less loaded of two."""
        free = [n for n in candidates if self._load(n) < FULL] or candidates
        near = [n for n in free if self._find_region(n) == self._region] or free
        drawn = self._draw(near) if len(near) > 2 else near
        return min(drawn, key=self._load)

    def _load(self, number: int) -> float:
        if number == OWN:
            own = self._own
            return max((m.cpu for m in own.metrics.values()), default=0.0) if own else 1.0
        return self._nodes[number].cpu

    def _find_region(self, number: int) -> str:
        return self._region if number == OWN else self._nodes[number].record.region

    # -- Nodes that come and go ---------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for node in list(self._nodes.values()):
                node.link.probe()
            await self._look()

    async def _look(self) -> None:
        """Link every node that is there and is not linked yet."""
        try:
            records = await self._store.list_relays()
        except StoreAway:
            return  # those that are linked go on
        linked = {node.record.id for node in self._nodes.values()}
        new = [record for record in records if record.id not in linked]
        await asyncio.gather(*(self._link(record) for record in new))

    async def _link(self, record: RelayRecord) -> None:
        link = Outgoing(ToHub, self._hub, self._secret(), record.id, self)
        self._numbers += 1
        node = _Remote(self._numbers, record, link)
        try:
            await links.connect(link, record.address)
        except LinkDown as error:
            log.warning("relay node out of reach", extra={"node": record.id, "reason": str(error)})
            return
        self._nodes[node.number] = node
        link.send(Hello())
        log.info("relay node linked", extra={"node": record.id, "region": record.region})

    def receive(self, link: Link, message: Any) -> None:
        """What a node says."""
        node = self._find(link)
        if node is None:
            return
        match message:
            case Load():
                node.cpu, node.draining = min(max(message.cpu, 0.0), 64.0), message.draining
                self._set_available(node.number, message.available and not message.draining)
            case Metrics():
                worker = node.number * WORKERS_EACH + message.worker % WORKERS_EACH
                self._metrics[worker] = message.counts
            case _:
                self._receive_event(message)

    def lose(self, link: Link) -> None:
        """A node is gone, and the rooms on it with it."""
        node = self._find(link)
        if node is None:
            return
        log.warning("relay node lost", extra={"node": node.record.id})
        del self._nodes[node.number]
        self._metrics = {n: m for n, m in self._metrics.items() if n // WORKERS_EACH != node.number}
        requests, rooms = self._placement.remove_worker(node.number)
        for request in requests:
            self._on_event(_refuse(request))
        self._tell_available()
        if rooms:
            self._on_event(control.WorkerLost(rooms))

    def _find(self, link: Link) -> _Remote | None:
        return next((node for node in self._nodes.values() if node.link is link), None)

    def _set_available(self, number: int, available: bool) -> None:
        if available:
            self._placement.add_worker(number)
            for worker, command in self._placement.house():
                self._send_to(worker, command)
        else:
            self._placement.rest(number)
        self._tell_available()

    def _send_to(self, number: int, command: control.Command) -> None:
        if number == OWN and self._own is not None:
            self._own.send(command)
        elif number in self._nodes:
            self._nodes[number].link.send(command)

    def _tell_available(self) -> None:
        if self.available != self._told_available:
            self._told_available = self.available
            self._on_event(control.Availability(self.available))


def _refuse(request: int) -> control.Refused:
    return control.Refused(request, "relay-unavailable", "The relay is gone.")
