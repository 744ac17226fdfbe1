"""Where people wait to be let into a room: who, for how long, and how many.

Rules only: what waiting means for a connection, and who is told of it, is in `entrance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..access.addresses import key_of
from ..protocol.errors import ProtocolError

if TYPE_CHECKING:
    from msgspec import Raw

    from ..access.tokens import Access
    from .hub import Link

# Seconds. Who waits for longer does better to ask by other means.
KNOCK_TIMEOUT: Final = 300.0
# Waiting for one room at a time; a moderator can judge no more of them.
MAX_KNOCKS: Final = 50


class Applicant:
    """One who wants into a room. `access` is what the token opens, None where there are none."""

    __slots__ = ("access", "data", "id", "link", "metadata", "name", "room")

    def __init__(
        self,
        link: Link,
        id: str | None,
        room: str,
        name: str,
        metadata: Raw,
        access: Access | None,
    ) -> None:
        self.link = link
        self.id = id
        self.room = room
        self.name = name
        self.metadata = metadata
        self.access = access
        self.data = False  # whether it takes data through the relay

    @property
    def shown_name(self) -> str:
        """The name that others see: the token's, if it has one."""
        return (self.access.name if self.access else "") or self.name

    @property
    def identity(self) -> str:
        return self.access.identity if self.access else ""

    @property
    def ban_key(self) -> str:
        return make_ban_key(self.identity, self.link.address)


def make_ban_key(identity: str, address: str) -> str:
    """What a ban remembers of someone: the identity, or the network where there is none."""
    # Loopback has no key of its own among addresses; a ban has to hold there, too.
    return f"identity {identity}" if identity else f"address {key_of(address) or address}"


class Knock:
    """An applicant that waits, until `deadline` at most."""

    __slots__ = ("applicant", "deadline", "id")

    def __init__(self, id: str, applicant: Applicant, deadline: float) -> None:
        self.id = id
        self.applicant = applicant
        self.deadline = deadline


class Lobby:
    """All who wait, by room and in the order in which they came."""

    def __init__(self) -> None:
        self._knocks: dict[str, Knock] = {}  # all wait equally long, so it is in order of deadline
        self._rooms: dict[str, dict[str, Knock]] = {}

    def __len__(self) -> int:
        return len(self._knocks)

    def add(self, id: str, applicant: Applicant, now: float) -> Knock:
        """Raise ProtocolError `room-full` where too many wait."""
        waiting = self._rooms.get(applicant.room, {})
        if len(waiting) >= MAX_KNOCKS:
            raise ProtocolError("room-full", f"Too many wait for room {applicant.room}.")
        knock = Knock(id, applicant, now + KNOCK_TIMEOUT)
        self._rooms[applicant.room] = waiting
        self._knocks[id] = waiting[id] = knock
        return knock

    def find(self, room: str, id: str) -> Knock:
        """Raise ProtocolError `unknown-participant`."""
        knock = self._rooms.get(room, {}).get(id)
        if knock is None:
            raise ProtocolError("unknown-participant", f"Nobody waits as {id[:64]}.")
        return knock

    def find_same(self, applicant: Applicant) -> Knock | None:
        """The knock of the same identity at the same room."""
        for knock in self._rooms.get(applicant.room, {}).values():
            if applicant.identity and knock.applicant.identity == applicant.identity:
                return knock
        return None

    def remove(self, knock: Knock) -> None:
        """One that waits no longer."""
        room = knock.applicant.room
        del self._knocks[knock.id]
        del self._rooms[room][knock.id]
        if not self._rooms[room]:
            del self._rooms[room]

    def list_waiting(self, room: str) -> Sequence[Knock]:
        return list(self._rooms.get(room, {}).values())

    def get_timer(self) -> float | None:
        first = next(iter(self._knocks.values()), None)
        return None if first is None else first.deadline

    def find_expired(self, now: float) -> Knock | None:
        """The one that has waited longest, if that is too long."""
        first = next(iter(self._knocks.values()), None)
        return first if first is not None and first.deadline <= now else None
