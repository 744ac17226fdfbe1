"""The leases of one hub: which rooms it owns, since when, and whether it may still speak for them.

Rules without a clock and without a store. A lease is taken, confirmed by each renewal, and lost
or given back; whatever its owner writes carries the lease's epoch, and a later owner has a higher
one.

    FREE ──take──▶ HELD ──release / lose──▶ FREE
                    ▲ │
                    └─┘ confirm
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TTL: Final = 10.0
"""Seconds for which a lease holds without a renewal."""

RENEW_EVERY: Final = 3.0
"""Seconds between renewals: two may fail before the lease does."""

STALL: Final = 3.0
"""Seconds without a turn after which this hub asks for its leases before it goes on: it has slept,
and others may have taken its rooms meanwhile."""

IDLE: Final = 5.0
"""Seconds that a lease is kept for a room in which nobody is: whoever asked may be on the way."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The hub that a room belongs to, and the epoch of its lease."""

    hub: str
    epoch: int


@dataclass(slots=True)
class Lease:
    """`confirmed` is when the renewal was asked for that was granted last, in seconds."""

    room: str
    epoch: int
    confirmed: float
    used: float


class Leases:
    """All leases of one hub."""

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self._held: dict[str, Lease] = {}
        self.highest = 0
        """The highest epoch heard of: a store that has forgotten everything starts above it."""
        self.taken = self.lost = self.released = 0

    def __contains__(self, room: str) -> bool:
        return room in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._held.values()))

    def find(self, room: str) -> Lease | None:
        return self._held.get(room)

    def take(self, room: str, epoch: int, now: float) -> Lease:
        """The store has granted the lease, asked for at `now`."""
        self.see(epoch)
        lease = self._held[room] = Lease(room, epoch, now, now)
        self.taken += 1
        return lease

    def see(self, epoch: int) -> None:
        """An epoch of some hub, this one or another."""
        self.highest = max(self.highest, epoch)

    def confirm(self, room: str, epoch: int, asked: float) -> None:
        """The store has renewed what was asked for at `asked`."""
        lease = self._held.get(room)
        if lease is not None and lease.epoch == epoch:
            lease.confirmed = max(lease.confirmed, asked)

    def lose(self, room: str, owner: Owner) -> bool:
        """Another hub owns the room; whether that is news."""
        self.see(owner.epoch)
        lease = self._held.get(room)
        if lease is None or owner.epoch <= lease.epoch:
            return False
        del self._held[room]
        self.lost += 1
        return True

    def release(self, room: str) -> Lease | None:
        """Give a lease back; returns the one there was."""
        lease = self._held.pop(room, None)
        if lease is not None:
            self.released += 1
        return lease

    def use(self, room: str, now: float) -> None:
        """Somebody is, or was just now, in the room or on the way to it."""
        lease = self._held.get(room)
        if lease is not None:
            lease.used = now

    def list_idle(self, now: float) -> list[Lease]:
        """The leases of rooms that nobody has used for a while."""
        return [lease for lease in self._held.values() if now - lease.used >= IDLE]
