"""The lobby: who comes in at once, and who waits until a moderator says so.

It is on by configuration, or a moderator has switched it on for a room. Whoever may moderate never
waits; where there are no tokens that is the first in a room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UNSET

from ..access.tokens import Access
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import KnockEndReason, ServerMessage
from .delivery import Delivery
from .links import Links
from .members import Applicant, Departure, Members
from .participant import Participant
from .room import Room
from .session import Link

KNOCK_TIMEOUT: Final = 300.0
"""Seconds. Who waits for longer does better to ask by other means."""
MAX_KNOCKS: Final = 50
"""Waiting for one room at a time; a moderator can judge no more of them."""


class Knock:
    """An applicant that waits, until `deadline` at most."""

    __slots__ = ("applicant", "deadline", "id")

    def __init__(self, id: str, applicant: Applicant, deadline: float) -> None:
        self.id = id
        self.applicant = applicant
        self.deadline = deadline


class Waiting:
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

    def get(self, id: str) -> Knock:
        return self._knocks[id]

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


class Lobby:
    """`always` is the lobby by configuration; `tokens` whether rights come from tokens; `once`
    whether an identity knocks once."""

    def __init__(
        self,
        members: Members,
        delivery: Delivery,
        links: Links,
        *,
        always: bool,
        tokens: bool,
        once: bool,
        token: Callable[[], str],
    ) -> None:
        self._members = members
        self._delivery = delivery
        self._links = links
        self.always = always
        self._tokens = tokens
        self._once = once
        self._token = token
        self._waiting = Waiting()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    # -- Coming in ----------------------------------------------------------------------

    def receive(self, applicant: Applicant, now: float) -> None:
        """Let one in, or have it wait. Raise ProtocolError."""
        room = self._members.find_room(applicant.room)
        if room is not None:
            self._check(room, applicant)
        if self._has_to_wait(room, applicant.access):
            self._knock(applicant, now)
        else:
            self._admit(applicant, now)

    def _check(self, room: Room, applicant: Applicant, *, invited: bool = False) -> None:
        former = self._members.find_former(
            applicant.room, applicant.identity, hidden=applicant.hidden
        )
        room.check_entry(applicant.ban_key, invited=invited, replaces=former is not None)

    def check_guest(self, room: Room | None, access: Access | None) -> None:
        """Raise ProtocolError for one that would have to wait, but cannot."""
        lobby = self.always if room is None else room.lobby
        if lobby and not (access is not None and access.grant.moderate):
            raise ProtocolError(
                "forbidden",
                "This room has a lobby, in which HTTP cannot wait: use a token that"
                " allows to moderate.",
            )

    def _has_to_wait(self, room: Room | None, access: Access | None) -> bool:
        if not (self.always if room is None else room.lobby):
            return False
        if access is not None:
            # One whom nobody is told of does not knock: the application has sent it.
            return not (access.grant.moderate or access.grant.hidden is True)
        return room is not None and next(room.peers, None) is not None

    def _knock(self, applicant: Applicant, now: float) -> None:
        former = self._waiting.find_same(applicant) if self._once else None
        if former is not None:
            self.end(former, "left")
            error = ProtocolError("replaced", "Somebody of the same identity waits now.")
            self._links.refuse(former.applicant.link, error, former.applicant.id, now)
        knock = self._waiting.add("k_" + self._token(), applicant, now)
        applicant.link.knock = knock.id
        knocking = messages.Knocking()
        knocking.id = UNSET if applicant.id is None else applicant.id
        applicant.link.send(messages.encode(knocking))
        self._tell_moderators(applicant.room, _describe(knock))

    # -- Moderators ---------------------------------------------------------------------

    def admit(self, room: Room, id: str, now: float) -> None:
        """Raise ProtocolError; whom it is about then goes on waiting."""
        knock = self._waiting.find(room.name, id)
        self._check(room, knock.applicant, invited=True)
        self.end(knock, "admitted")
        self._admit(knock.applicant, now, invited=True)

    def decline(self, room: Room, id: str, now: float) -> None:
        """Raise ProtocolError."""
        self._refuse(self._waiting.find(room.name, id), "declined", "You were not let in.", now)

    def _admit(self, applicant: Applicant, now: float, *, invited: bool = False) -> None:
        participant = self._members.admit(applicant, now, invited=invited)
        if participant.grant.moderate:
            self._tell(applicant.room, [participant])

    def _tell(self, room: str, moderators: list[Participant]) -> None:
        """Tell a new moderator, the only one, who waits."""
        for knock in self._waiting.list_waiting(room):
            self._delivery.deliver(room, moderators, _describe(knock))

    def _tell_moderators(self, room: str, message: ServerMessage) -> None:
        found = self._members.find_room(room)
        if found is not None:
            moderators = [p for p in found.peers if p.grant.moderate]
            self._delivery.deliver(room, moderators, message)

    # -- Waiting ends -------------------------------------------------------------------

    def end(self, knock: Knock, reason: KnockEndReason) -> None:
        self._waiting.remove(knock)
        knock.applicant.link.knock = ""
        ended = messages.KnockEnded(knock=knock.id, reason=reason)
        self._tell_moderators(knock.applicant.room, ended)

    def abandon(self, link: Link) -> None:
        """A connection is gone that may have waited."""
        if link.knock:
            self.end(self._waiting.get(link.knock), "left")

    def open(self, room: str, now: float) -> None:
        """The lobby of a room is off: let everyone in, as far as there are places."""
        for knock in self._waiting.list_waiting(room):
            self._let_in(knock, now)

    def follow(self, departure: Departure | None, now: float) -> None:
        """Somebody has left a room. Where nobody is there to answer, who comes in first moderates,
        if anyone may."""
        if departure is None:
            return
        room = departure.room
        if departure.promoted:
            self._tell(room.name, [p for p in room.peers if p.grant.moderate])
        if departure.over and not self.always:
            self.open(room.name, now)
        elif (departure.over or departure.unattended) and not self._tokens:
            for knock in self._waiting.list_waiting(room.name):
                if self._let_in(knock, now):
                    return

    def close_room(self, room: str, now: float) -> None:
        """A moderator has closed a room."""
        for knock in self._waiting.list_waiting(room):
            self._refuse(knock, "declined", "The room was closed.", now)

    def _let_in(self, knock: Knock, now: float) -> bool:
        applicant = knock.applicant
        room = self._members.find_room(applicant.room)
        try:
            if room is not None:
                self._check(room, applicant, invited=True)
        except ProtocolError as error:
            self.end(knock, "declined")
            self._turn_away(applicant, error, now)
            return False
        self.end(knock, "admitted")
        self._admit(applicant, now, invited=True)
        return True

    def _refuse(self, knock: Knock, reason: KnockEndReason, text: str, now: float) -> None:
        self.end(knock, reason)
        self._turn_away(knock.applicant, ProtocolError("forbidden", text), now)

    def _turn_away(self, applicant: Applicant, error: ProtocolError, now: float) -> None:
        """One that has waited is not let in; it may ask for another room."""
        self._links.refuse(applicant.link, error, applicant.id, now)
        self._links.await_join(applicant.link, now)

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        return self._waiting.get_timer()

    def handle_timer(self, now: float) -> None:
        while (knock := self._waiting.find_expired(now)) is not None:
            self._refuse(knock, "timeout", "Nobody has answered.", now)


def _describe(knock: Knock) -> messages.KnockInfo:
    return messages.KnockInfo(knock=knock.id, name=knock.applicant.shown_name)
