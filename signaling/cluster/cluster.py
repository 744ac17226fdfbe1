"""One hub of a cluster: its leases, its links and its place in Redis, wired and kept alive.

Without Redis, calls, chat and joins to rooms that are owned go on; a room that nobody is known to
own opens on the hub that was reached, and on Redis' return the higher epoch keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol

import msgspec
from prometheus_client.core import Metric

from ..hub.journal import find_room_of
from ..hub.snapshot import RoomState, Sent
from ..logs import Log
from ..protocol import messages
from ..protocol.errors import ProtocolError
from . import wire
from .events import EventStream
from .front import ForClient, Front, Hub, Splice
from .journal import Journal, decode_sent_untrusted, decode_state_untrusted
from .leases import RENEW_EVERY, STALL, Leases, Owner
from .links import Link, LinkDown, Links
from .metrics import collect
from .remote import RemoteClients
from .store import HubRecord, Store, StoreAway

BEAT: Final = 0.5
"""Seconds between looks at leases, links and this hub's own delay."""

PROBE_EVERY: Final = 1.0
"""Seconds between probes of each link."""

ASK_WITHIN: Final = 20.0
"""Seconds for another hub to answer a request; its relay has ten for an offer."""

HANDED_OVER: Final = 0.1
"""Seconds, times the tries, before it is asked again where a room is whose hub is about to go."""

SECOND_TRY: Final = 0.5
"""Seconds before a hub that could not be reached is tried once more; then it counts as dead."""

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
        events: EventStream | None = None,
        carry_out: Callable[[wire.Ask], Awaitable[wire.Told]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = events
        self._carry_out = carry_out
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Link, asyncio.Future[wire.Told]]] = {}
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
        self._owners: dict[str, Owner] = {}
        self._addresses: dict[str, str] = {}
        self._seeking: dict[str, asyncio.Task[Link | None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.links: Links
        self.away = False
        """Whether Redis could not be asked when it was last tried."""
        self.redis_failures = self.takeovers = self.restored = self.stalls = 0
        self._hub: RoomHub
        self.front: Front
        self.remote: RemoteClients

    def bind(self, hub: RoomHub) -> None:
        """Stand before this hub from now on."""
        self._hub = hub
        self.front = Front(hub, self, may_speak=self.may_speak)
        self.remote = RemoteClients(hub, owns=self.is_here, may_speak=self.may_speak)

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
            self._lose_store(error)
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
            self._lose_store(error)
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
            self._lose_store(error)
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
            self._lose_store(error)
            return
        self._find_store()
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
            self._lose_store(error)

    def _lose_store(self, error: StoreAway) -> None:
        self.redis_failures += 1
        if not self.away:
            self.away = True
            log.error("Redis is away", extra={"reason": str(error)})

    def _find_store(self) -> None:
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
                self._lose_store(error)
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
            way = await self.find_way(room) if room else None
        except LinkDown:
            self.front.send_away(splice)
            return
        self.front.go(splice, room, way)

    async def find_way(self, room: str) -> Link | None:
        """The link to the hub that owns a room, None where that is this hub: then it has taken
        the lease if nobody had it. Raises LinkDown where the owner is alive and out of reach."""
        if self.is_here(room):
            return None
        seeking = self._seeking.get(room)
        if seeking is None:
            seeking = self._seeking[room] = asyncio.create_task(self._find_way(room))
            seeking.add_done_callback(lambda _: self._seeking.pop(room, None))
        return await asyncio.shield(seeking)

    async def _find_way(self, room: str) -> Link | None:
        owner = await self._claim(room)
        if owner is None:
            return None
        for _ in range(2):
            link = await self._reach(owner)
            if link is not None:
                return link
            await asyncio.sleep(SECOND_TRY)
        return await self._take_over(room, owner)

    async def _claim(self, room: str, instead_of: Owner | None = None) -> Owner | None:
        """The owner of a room where it is another hub."""
        if self.is_here(room):
            return None
        now = self._clock()
        try:
            owner = await self.store.claim(room, floor=self.leases.highest, instead_of=instead_of)
        except StoreAway as error:
            self._lose_store(error)
            return self._guess(room, now)
        self._find_store()
        if owner.hub != self.id:
            self._owners[room] = owner
            return owner
        self._owners.pop(room, None)
        await self._read(room)
        self.leases.take(room, owner.epoch, now)
        log.info("room owned", extra={"room": room, "epoch": owner.epoch})
        return None

    async def _read(self, room: str) -> None:
        """Go on where a hub that died has ended, if one has."""
        try:
            found = await self.store.read(room)
            if found is not None:
                state, sent = found
                self._hub.restore_room(
                    decode_state_untrusted(state),
                    [one for data in sent for one in decode_sent_untrusted(data)],
                )
                self.restored += 1
        except StoreAway as error:
            self._lose_store(error)
        except msgspec.DecodeError:
            # Of another version, or not ours: the room begins anew.
            log.error("a room's snapshot cannot be read", extra={"room": room})

    def _guess(self, room: str, now: float) -> Owner | None:
        """Without Redis: who owned the room when that was last known, else this hub."""
        known = self._owners.get(room)
        if known is not None:
            return known
        self.leases.take(room, self.leases.highest + 1, now)
        return None

    async def _reach(self, owner: Owner) -> Link | None:
        try:
            record = await self.store.find_hub(owner.hub)
        except StoreAway as error:
            self._lose_store(error)
            record = None
        address = self._addresses.get(owner.hub, "") if record is None else record.address
        if record is not None:
            self._addresses[owner.hub] = record.address
        if not address:
            return None
        with contextlib.suppress(LinkDown):
            return await self.links.get(owner.hub, address)
        return None

    async def _take_over(self, room: str, dead: Owner) -> Link | None:
        """The owner does not answer: this hub takes its lease away, unless another one has."""
        self.takeovers += 1
        log.warning("taking over a room", extra={"room": room, "hub": dead.hub})
        owner = await self._claim(room, instead_of=dead)
        if owner is None:
            return None
        link = await self._reach(owner) if owner != dead else None
        if link is None:
            raise LinkDown(f"Hub {owner.hub} is not to be reached.")
        return link

    # -- HTTP about rooms ---------------------------------------------------------------

    async def ask_about(self, room: str, ask: Callable[[int], wire.Ask]) -> wire.Told | None:
        """What the owner of a room answers to a request; None where that is this hub. Raises
        ProtocolError where it cannot be asked."""
        try:
            way = await self.find_way(room)
        except LinkDown:
            raise _unreachable() from None
        if way is None:
            return None
        number = next(self._numbers)
        waiting: asyncio.Future[wire.Told] = asyncio.get_running_loop().create_future()
        self._asked[number] = (way, waiting)
        try:
            way.send(ask(number))
            async with asyncio.timeout(ASK_WITHIN):
                return await waiting
        except TimeoutError:
            raise _unreachable() from None
        finally:
            del self._asked[number]

    async def _answer(self, link: Link, ask: wire.Ask) -> None:
        if self._carry_out is not None and self.is_here(ask.room):
            link.send(await self._carry_out(ask))
        else:
            link.send(wire.Told(ask.request, 503, [("Retry-After", "1")], b""))

    def receive_ask(self, link: Link, ask: wire.Ask) -> None:
        """Another hub asks about a room of this one."""
        self._start(self._answer(link, ask))

    def receive_told(self, told: wire.Told) -> None:
        """The answer to a request that this hub passed on."""
        asked = self._asked.get(told.request)
        if asked is not None and not asked[1].done():
            asked[1].set_result(told)

    # -- What links bring ---------------------------------------------------------------

    def lose_client_hub(self, link: Link) -> None:
        self.links.discard(link)
        self.remote.lose(link)

    def lose_owner(self, link: Link) -> None:
        self.links.discard(link)
        self.front.lose_way(link)
        for way, waiting in self._asked.values():
            if way is link and not waiting.done():
                waiting.set_exception(_unreachable())


def _unreachable() -> ProtocolError:
    return ProtocolError("relay-unavailable", "The room's server cannot be reached.", retry_after=2)


class _FromClients:
    """What comes on links that other hubs have opened, for the rooms of this one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def receive(self, link: Link, message: Any) -> None:
        if isinstance(message, wire.Ask):
            self._cluster.receive_ask(link, message)
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
            self._cluster.receive_told(message)
        elif isinstance(message, ForClient):
            self._cluster.front.receive_from_owner(message)

    def lose(self, link: Link) -> None:
        self._cluster.lose_owner(link)
