"""Finding the hub that owns a room: by its lease, which this hub takes where nobody has it.

An owner that cannot be reached twice counts as dead: then its room is taken over, with everybody
in it, as far as it was written down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from relay.process.links import Link, LinkDown

from ..hub.snapshot import RoomState, Sent
from ..logs import Log
from .journal import decode_sent_untrusted, decode_state_untrusted
from .leases import Leases, Owner
from .links import Links
from .store import Store, StoreAway

SECOND_TRY: Final = 0.5
"""Seconds before a hub that could not be reached is tried once more; then it counts as dead."""

log = Log(__name__)


class StoreState(Protocol):
    """Is told whether Redis answers."""

    def lose_store(self, error: StoreAway) -> None: ...
    def find_store(self) -> None: ...


class Finder:
    """`is_here` says whether this hub owns a room, `restore` goes on with one that was written
    down, `links` returns this hub's links once there are some."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        state: StoreState,
        *,
        is_here: Callable[[str], bool],
        restore: Callable[[RoomState, list[Sent]], None],
        links: Callable[[], Links],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._leases = leases
        self._state = state
        self._is_here = is_here
        self._restore = restore
        self._links = links
        self._clock = clock
        self._owners: dict[str, Owner] = {}
        self._addresses: dict[str, str] = {}
        self._seeking: dict[str, asyncio.Task[Link | None]] = {}
        self.takeovers = self.restored = 0

    async def find_way(self, room: str) -> Link | None:
        """The link to the hub that owns a room, None where that is this hub: then it has taken
        the lease if nobody had it. Raises LinkDown where the owner is alive and out of reach."""
        if self._is_here(room):
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
        if self._is_here(room):
            return None
        now = self._clock()
        try:
            owner = await self._store.claim(room, floor=self._leases.highest, instead_of=instead_of)
        except StoreAway as error:
            self._state.lose_store(error)
            return self._guess(room, now)
        self._state.find_store()
        if owner.hub != self._leases.hub:
            self._owners[room] = owner
            return owner
        self._owners.pop(room, None)
        await self._read(room)
        self._leases.take(room, owner.epoch, now)
        log.info("room owned", extra={"room": room, "epoch": owner.epoch})
        return None

    async def _read(self, room: str) -> None:
        """Go on where a hub that died has ended, if one has."""
        try:
            found = await self._store.read(room)
            if found is not None:
                state, sent = found
                self._restore(
                    decode_state_untrusted(state),
                    [one for data in sent for one in decode_sent_untrusted(data)],
                )
                self.restored += 1
        except StoreAway as error:
            self._state.lose_store(error)
        except msgspec.DecodeError:
            # Of another version, or not ours: the room begins anew.
            log.error("a room's snapshot cannot be read", extra={"room": room})

    def _guess(self, room: str, now: float) -> Owner | None:
        """Without Redis: who owned the room when that was last known, else this hub."""
        known = self._owners.get(room)
        if known is not None:
            return known
        self._leases.take(room, self._leases.highest + 1, now)
        return None

    async def _reach(self, owner: Owner) -> Link | None:
        try:
            record = await self._store.find_hub(owner.hub)
        except StoreAway as error:
            self._state.lose_store(error)
            record = None
        address = self._addresses.get(owner.hub, "") if record is None else record.address
        if record is not None:
            self._addresses[owner.hub] = record.address
        if not address:
            return None
        with contextlib.suppress(LinkDown):
            return await self._links().get(owner.hub, address)
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
