"""A relay node that serves hubs on other machines: their commands in, its workers' events out.

Each hub has rooms of its own here, so that two hubs never meet in one by its name alone. When a
hub is gone its rooms go on for a while: whoever takes them over has their participants publish
anew, and until then nobody's media stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from typing import Any, Final

import msgspec

from .. import control
from ..config import Config
from ..control import Message
from .links import FromAccepting, FromConnecting, Incoming, Link
from .node import Node
from .placement import Asking

log = logging.getLogger(__name__)

GRACE: Final = 30.0
"""Seconds for which a room goes on relaying after its hub is gone."""

REPORT_EVERY: Final = 1.0
"""Seconds between a node's reports of its load."""

SEPARATOR: Final = "/"
"""Between a hub's name and a room's, where rooms of several hubs are on one node."""


class Hello(Message, frozen=True):
    """A hub's first message: what it had on a link before this one it has given up."""


class Load(Message, frozen=True):
    """How much a node does: its busiest worker's processor share, and whether it takes rooms."""

    cpu: float
    available: bool
    draining: bool = False


class Metrics(Message, frozen=True):
    """One worker's counts."""

    worker: int
    counts: control.WorkerMetrics


ToNode = FromConnecting | Hello | control.Command
ToHub = FromAccepting | Load | Metrics | control.Event


class Serving:
    """All hubs of one node. It is the `Receiver` of their links."""

    def __init__(self, config: Config, *, name: str, secret: str) -> None:
        self.name = name
        self._secret = secret
        self.node = Node(config, on_event=self._receive_event)
        self._links: dict[str, Link] = {}
        self._rooms: dict[str, set[str]] = {}
        self._asked: dict[int, tuple[str, int]] = {}
        self._numbers = itertools.count(1)
        self._orphans: dict[str, asyncio.TimerHandle] = {}
        self._certificate = b""
        self._server: asyncio.AbstractServer | None = None
        self._reports: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self.draining = False
        self.refused = 0
        """Connections that did not prove the secret."""

    @property
    def load(self) -> float:
        """Processor share of the busiest worker."""
        return max((metrics.cpu for metrics in self.node.metrics.values()), default=0.0)

    @property
    def rooms(self) -> int:
        """Rooms on its workers, by what these said last."""
        return sum(metrics.rooms for metrics in self.node.metrics.values())

    # -- Life ---------------------------------------------------------------------------

    async def start(self, host: str, port: int, context: ssl.SSLContext, certificate: bytes) -> int:
        """Start workers and accept hubs; returns the port. Raises OSError."""
        self._certificate = certificate
        await self.node.start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, ssl=context)
        self._reports = asyncio.create_task(self._report())
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def wait_empty(self, seconds: float) -> None:
        """Wait until no room is relayed any more, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    async def stop(self) -> None:
        """Idempotent."""
        if self._reports is not None:
            self._reports.cancel()
            await asyncio.gather(self._reports, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for link in list(self._links.values()):
            link.close()
        for timer in self._orphans.values():
            timer.cancel()
        await self.node.stop()

    def _accept(self) -> asyncio.Protocol:
        return Incoming(
            ToNode, self.name, self._secret, self._certificate, self, self._count_refused
        ).stream

    def _count_refused(self) -> None:
        self.refused += 1

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            if self.draining and not self.rooms:
                self._empty.set()
            for link in self._links.values():
                link.send(Load(self.load, self.node.available, self.draining))
                for worker, counts in self.node.metrics.items():
                    link.send(Metrics(worker, counts))

    # -- From hubs ----------------------------------------------------------------------

    def receive(self, link: Link, message: Any) -> None:
        """A command of a hub."""
        if isinstance(message, Hello):
            self._adopt(link)
            return
        if self._links.get(link.peer) is not link:
            return
        hub, room = link.peer, message.room
        if isinstance(message, control.Join):
            self._rooms.setdefault(hub, set()).add(room)
        elif isinstance(message, control.CloseRoom):
            self._rooms.get(hub, set()).discard(room)
        changes: dict[str, Any] = {"room": f"{hub}{SEPARATOR}{room}"}
        if isinstance(message, Asking):
            changes["request"] = next(self._numbers)
            self._asked[changes["request"]] = (hub, message.request)
        self.node.send(msgspec.structs.replace(message, **changes))

    def _adopt(self, link: Link) -> None:
        self._close_rooms(link.peer)
        self._links[link.peer] = link
        link.send(Load(self.load, self.node.available, self.draining))

    def lose(self, link: Link) -> None:
        """A hub is gone; its rooms go on for a while."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            log.info(
                "hub gone", extra={"peer": link.peer, "rooms": len(self._rooms.get(link.peer, ()))}
            )
            self._orphans[link.peer] = asyncio.get_running_loop().call_later(
                GRACE, self._close_rooms, link.peer
            )

    def _close_rooms(self, hub: str) -> None:
        timer = self._orphans.pop(hub, None)
        if timer is not None:
            timer.cancel()
        for room in self._rooms.pop(hub, set()):
            self.node.send(control.CloseRoom(f"{hub}{SEPARATOR}{room}"))

    # -- From workers -------------------------------------------------------------------

    def _receive_event(self, event: control.Event) -> None:
        match event:
            case control.Answer() | control.Refused() | control.RoomStats():
                hub, number = self._asked.pop(event.request, ("", 0))
                self._tell(hub, msgspec.structs.replace(event, request=number))
            case control.WorkerLost():
                self._lose_worker(event.rooms)
            case control.Availability():
                for link in self._links.values():
                    link.send(Load(self.load, event.available, self.draining))
            case _:
                hub, _, room = event.room.partition(SEPARATOR)
                self._tell(hub, msgspec.structs.replace(event, room=room))

    def _lose_worker(self, rooms: list[str]) -> None:
        lost: dict[str, list[str]] = {}
        for name in rooms:
            hub, _, room = name.partition(SEPARATOR)
            lost.setdefault(hub, []).append(room)
        for hub, names in lost.items():
            self._tell(hub, control.WorkerLost(names))

    def _tell(self, hub: str, event: Message) -> None:
        link = self._links.get(hub)
        if link is not None:
            link.send(event)
