"""One hub of a cluster: its leases, its links and its place in Redis, wired and kept alive.

Without Redis, calls, chat and joins to rooms that are owned go on; a room that nobody is known to
own opens on the hub that was reached, and on Redis' return the higher epoch keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol

from prometheus_client.core import Metric

from ..hub.journal import find_room_of
from ..hub.snapshot import RoomState, Sent
from ..logs import Log
from ..protocol import messages
from . import wire
from .events import EventStream
from .finder import Finder
from .front import ForClient, Front, Hub, Splice
from .inquiries import Inquiries
from .journal import Journal
from .leases import RENEW_EVERY, STALL, Leases, Owner
from .links import Link, LinkDown, Links
from .metrics import collect
from .remote import RemoteClients
from .store import HubRecord, Store, StoreAway

BEAT: Final = 0.5
"""Seconds between looks at leases, links and this hub's own delay."""

PROBE_EVERY: Final = 1.0
"""Seconds between probes of each link."""

HANDED_OVER: Final = 0.1
"""Seconds, times the tries, before it is asked again where a room is whose hub is about to go."""

log = Log(__name__)


class Bans(Protocol):
    """What is needed of the limits by address."""

    def take_fresh_bans(self) -> dict[str, float]: ...
    def shut_out(self, key: str, seconds: float, now: float) -> None: ...


class RoomHub(Hub, Protocol):
    """What is needed of this hub."""

    def find_room(self, name: str) -> object | None: ...
    def take_state(self, name: str) -> RoomState | None: ...

    @property
    def addresses(self) -> Bans: ...
    def restore_room(self, state: RoomState, sent: list[Sent]) -> None: ...
    def abandon_room(self, name: str) -> None: ...


class Cluster:
    """Made before the hub, which writes into its journal and which it is then bound to."""

    def __init__(
        self,
        store: Store,
        *,
        id: str,
        carry_out: Callable[[wire.Ask], Awaitable[wire.Told]],
        events: EventStream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = events
        self._carry_out = carry_out
        self.id = id
        self.store = store
        self.leases = Leases(id)
        self.journal = Journal(self._write_soon, clock)
        self._writing: asyncio.Task[None] | None = None
        self._clock = clock
        self._awake = True
        self._leaving = False
        self._turn = clock()
        self._renewed = clock()
        self._record = HubRecord(id, "")
        self.secret = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.links: Links
        self.away = False
        """Whether Redis could not be asked when it was last tried."""
        self.redis_failures = self.stalls = 0
        self._hub: RoomHub
        self.front: Front
        self.remote: RemoteClients
        self.finder: Finder
        self.inquiries: Inquiries

    def bind(self, hub: RoomHub) -> None:
        """Stand before this hub from now on."""
        self._hub = hub
        self.front = Front(hub, self, may_speak=self.may_speak)
        self.remote = RemoteClients(hub, owns=self.is_here, may_speak=self.may_speak)
        self.finder = Finder(
            self.store,
            self.leases,
            self,
            is_here=self.is_here,
            restore=hub.restore_room,
            links=lambda: self.links,
            clock=self._clock,
        )
        self.inquiries = Inquiries(self.finder.find_way, self.is_here, self._carry_out)

    # -- Life ---------------------------------------------------------------------------

    async def start(
        self,
        *,
        host: str,
        port: int,
        url: str,
        secret: str,
        context: ssl.SSLContext,
        certificate: bytes,
    ) -> None:
        """Listen for other hubs and tell them of this one; `certificate` is the context's, DER.
        Raises OSError."""
        self.secret = secret or await self._agree_on_secret()
        self.links = Links(
            self.id, self.secret, clients=_FromClients(self), owners=_FromOwners(self)
        )
        bound = await self.links.listen(host, port, context, certificate)
        named = f"[{host}]" if ":" in host else host
        self._record = HubRecord(self.id, f"{named}:{bound}", url, started=time.time())
        await self._announce()
        log.info("hub in cluster", extra={"hub": self.id, "links": self._record.address})
        self._turn = self._renewed = self._clock()
        if self.events is not None:
            await self.events.start()
        self._start(self._keep())

    async def _agree_on_secret(self) -> str:
        proposal = secrets.token_urlsafe(32)
        try:
            return await self.store.agree_on_secret(proposal)
        except StoreAway as error:
            self.lose_store(error)
            log.error("this hub is alone: Redis has not told it the cluster's secret")
            return proposal

    async def stop(self) -> None:
        """Give back what this hub owns, and close its links. Idempotent."""
        if self.events is not None:
            await self.events.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreAway):
            for lease in self.leases:
                await self.store.release(lease.room, lease.epoch)
            await self.store.withdraw()
        await self.links.close()
        await self.store.close()

    async def hand_over(self) -> None:
        """This hub is about to go: let others have its rooms, with everybody in them."""
        self._leaving = True
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()
        leases = list(self.leases)
        for lease in leases:
            self.leases.release(lease.room)
            self._hub.abandon_room(lease.room)
        try:
            for lease in leases:
                await self.store.release(lease.room, lease.epoch)
        except StoreAway as error:
            self.lose_store(error)
        log.info("rooms handed over", extra={"rooms": len(leases)})

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        probed = 0.0
        while True:
            await asyncio.sleep(BEAT)
            now = self._clock()
            self.may_speak()
            self._turn = now
            if now - probed >= PROBE_EVERY:
                probed = now
                for link in self.links.list_outgoing():
                    link.probe()
                await self._share_bans(now)
            if not self._awake or now - self._renewed >= RENEW_EVERY:
                self._renewed = now
                await self._renew(now)
                self._wake()

    def collect(self) -> Iterator[Metric]:
        """Prometheus families."""
        yield from collect(self)
        if self.events is not None:
            yield from self.events.collect()

    async def _share_bans(self, now: float) -> None:
        if self.away:
            return
        try:
            held = await self.store.share_bans(self._hub.addresses.take_fresh_bans(), time.time())
        except StoreAway as error:
            self.lose_store(error)
            return
        for key, seconds in held.items():
            self._hub.addresses.shut_out(key, seconds, now)

    # -- Leases -------------------------------------------------------------------------

    def may_speak(self) -> bool:
        """Whether this hub has had its turns; after a stall its rooms may be others'."""
        now = self._clock()
        if self._awake and now - self._turn > STALL:
            self._awake = False
            self.stalls += 1
            seconds = round(now - self._turn, 1)
            log.warning("slept, and asks for its leases", extra={"seconds": seconds})
        return self._awake

    def _wake(self) -> None:
        self._turn = self._clock()
        if not self._awake:
            self._awake = True
            self.front.resume_speaking()
            self.remote.resume_speaking()

    async def _renew(self, now: float) -> None:
        for lease in self.leases:
            if self._hub.find_room(lease.room) is not None:
                self.leases.use(lease.room, now)
        try:
            for lease in self.leases.list_idle(now):
                self.leases.release(lease.room)
                await self.store.release(lease.room, lease.epoch)
            asked = [(lease.room, lease.epoch) for lease in self.leases]
            lost = await self.store.renew(asked)
            await self._announce()
        except StoreAway as error:
            self.lose_store(error)
            return
        self.find_store()
        for room, epoch in asked:
            if room not in lost:
                self.leases.confirm(room, epoch, now)
        for room, owner in lost.items():
            self._lose(room, owner)

    def _lose(self, room: str, owner: Owner) -> None:
        if self.leases.lose(room, owner):
            log.warning("room lost to another hub", extra={"room": room, "hub": owner.hub})
            self._hub.abandon_room(room)

    async def _announce(self) -> None:
        try:
            await self.store.announce(self._record)
        except StoreAway as error:
            self.lose_store(error)

    def lose_store(self, error: StoreAway) -> None:
        self.redis_failures += 1
        if not self.away:
            self.away = True
            log.error("Redis is away", extra={"reason": str(error)})

    def find_store(self) -> None:
        if self.away:
            self.away = False
            log.warning("Redis is back")
            self.journal.resume([lease.room for lease in self.leases])

    # -- What is written down -----------------------------------------------------------

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until there is nothing left: what comes meanwhile goes together."""
        while self.journal.open:
            batches, over = self.journal.take(self._hub.take_state)
            if not batches and not over:
                return
            writes = [
                (batch.room, lease.epoch, batch.state, batch.sent)
                for batch in batches
                if (lease := self.leases.find(batch.room)) is not None
            ]
            try:
                await self.store.write(writes, over)
            except StoreAway as error:
                self.lose_store(error)
                self.journal.pause(batches)
                return
            for batch in batches:
                for then in batch.then:
                    then()

    # -- Where rooms are ----------------------------------------------------------------

    def is_here(self, room: str) -> bool:
        if room in self.leases and not self._leaving:
            self.leases.use(room, self._clock())
            return True
        return False

    def seek(self, splice: Splice, message: messages.Join | messages.Resume) -> None:
        self._start(self._seek(splice, message))

    async def _seek(self, splice: Splice, message: messages.Join | messages.Resume) -> None:
        room = message.room if isinstance(message, messages.Join) else find_room_of(message.session)
        if splice.tries:
            await asyncio.sleep(HANDED_OVER * splice.tries)
        try:
            way = await self.finder.find_way(room) if room else None
        except LinkDown:
            self.front.send_away(splice)
            return
        self.front.go(splice, room, way)

    # -- What links bring ---------------------------------------------------------------

    def answer(self, link: Link, ask: wire.Ask) -> None:
        """Another hub asks about a room of this one."""
        self._start(self.inquiries.answer(link, ask))

    def lose_client_hub(self, link: Link) -> None:
        self.links.discard(link)
        self.remote.lose(link)

    def lose_owner(self, link: Link) -> None:
        self.links.discard(link)
        self.front.lose_way(link)
        self.inquiries.lose(link)


class _FromClients:
    """What comes on links that other hubs have opened, for the rooms of this one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def receive(self, link: Link, message: Any) -> None:
        if isinstance(message, wire.Ask):
            self._cluster.answer(link, message)
        else:
            self._cluster.remote.receive(link, message)

    def lose(self, link: Link) -> None:
        self._cluster.lose_client_hub(link)


class _FromOwners:
    """What comes on links that this hub has opened, for its clients."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def receive(self, _link: Link, message: Any) -> None:
        if isinstance(message, wire.Told):
            self._cluster.inquiries.receive_told(message)
        elif isinstance(message, ForClient):
            self._cluster.front.receive_from_owner(message)

    def lose(self, link: Link) -> None:
        self._cluster.lose_owner(link)
