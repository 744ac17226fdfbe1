"""Who comes in: at once, or when a moderator says so.

The lobby is on by configuration, or a moderator has switched it on for a room. Whoever may
moderate never waits; where there are no tokens that is the first in a room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import UNSET

from ..access.tokens import Access
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import KnockEndReason, ServerMessage
from .lobby import Applicant, Knock, Lobby
from .room import Participant, Room


class Desk(Protocol):
    """What is needed of the hub."""

    def find_room(self, name: str) -> Room | None: ...
    def admit(self, applicant: Applicant, *, invited: bool = False) -> None: ...
    def turn_away(self, applicant: Applicant, error: ProtocolError) -> None: ...
    def replace(self, applicant: Applicant) -> None: ...
    def tell(self, applicant: Applicant, message: ServerMessage) -> None: ...
    def deliver(self, to: Iterable[Participant], message: ServerMessage) -> bytes: ...


class Entrance:
    """`always` is the lobby by configuration; `tokens` whether rights come from tokens; `once`
    whether an identity knocks once."""

    def __init__(
        self, desk: Desk, *, always: bool, tokens: bool, once: bool, token: Callable[[], str]
    ) -> None:
        self._once = once
        self._desk = desk
        self.always = always
        self._tokens = tokens
        self._token = token
        self._lobby = Lobby()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._lobby)

    # -- Coming in ----------------------------------------------------------------------

    def receive(self, applicant: Applicant, now: float) -> None:
        """Let one in, or have it wait. Raise ProtocolError."""
        room = self._desk.find_room(applicant.room)
        if room is not None:
            self._check(room, applicant)
        if self._has_to_wait(room, applicant.access):
            self._knock(applicant, now)
        else:
            self._desk.admit(applicant)

    def _check(self, room: Room, applicant: Applicant, *, invited: bool = False) -> None:
        former = self._once and applicant.identity
        hidden = applicant.access is not None and applicant.access.grant.hidden is True
        replaces = former and room.find_same(former, guest=False, hidden=hidden) is not None
        room.check_entry(applicant.ban_key, invited=invited, replaces=bool(replaces))

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
        former = self._lobby.find_same(applicant) if self._once else None
        if former is not None:
            self.end(former, "left")
            self._desk.replace(former.applicant)
        knock = self._lobby.add("k_" + self._token(), applicant, now)
        applicant.link.knock = knock
        knocking = messages.Knocking()
        knocking.id = UNSET if applicant.id is None else applicant.id
        self._desk.tell(applicant, knocking)
        self._desk.deliver(self._find_moderators(applicant.room), _describe(knock))

    # -- Moderators ---------------------------------------------------------------------

    def admit(self, room: Room, id: str) -> None:
        """Raise ProtocolError; whom it is about then goes on waiting."""
        knock = self._lobby.find(room.name, id)
        self._check(room, knock.applicant, invited=True)
        self.end(knock, "admitted")
        self._desk.admit(knock.applicant, invited=True)

    def decline(self, room: Room, id: str) -> None:
        """Raise ProtocolError."""
        self._refuse(self._lobby.find(room.name, id), "declined", "You were not let in.")

    def welcome(self, room: Room) -> None:
        """Tell a new moderator, the only one, who waits."""
        self._tell(room.name, [p for p in room.peers if p.grant.moderate])

    def greet(self, participant: Participant, room: str) -> None:
        """The same for one who has just come in."""
        if participant.grant.moderate:
            self._tell(room, [participant])

    def _tell(self, room: str, moderators: list[Participant]) -> None:
        for knock in self._lobby.list_waiting(room):
            self._desk.deliver(moderators, _describe(knock))

    def _find_moderators(self, room: str) -> list[Participant]:
        found = self._desk.find_room(room)
        return [] if found is None else [p for p in found.peers if p.grant.moderate]

    # -- Waiting ends -------------------------------------------------------------------

    def end(self, knock: Knock, reason: KnockEndReason) -> None:
        self._lobby.remove(knock)
        knock.applicant.link.knock = None
        ended = messages.KnockEnded(knock=knock.id, reason=reason)
        self._desk.deliver(self._find_moderators(knock.applicant.room), ended)

    def open(self, room: str) -> None:
        """The lobby of a room is off: let everyone in, as far as there are places."""
        for knock in self._lobby.list_waiting(room):
            self._let_in(knock)

    def leave_room(self, room: str) -> None:
        """Everyone has left a room: nobody is there to answer."""
        if not self.always:
            self.open(room)
        else:
            self.leave_guests(room)

    def leave_guests(self, room: str) -> None:
        """The same, but WHIP and WHEP may go on. Who comes in first, moderates, if anyone may."""
        if not self._tokens:
            for knock in self._lobby.list_waiting(room):
                if self._let_in(knock):
                    return

    def close_room(self, room: str) -> None:
        """A moderator has closed a room."""
        for knock in self._lobby.list_waiting(room):
            self._refuse(knock, "declined", "The room was closed.")

    def _let_in(self, knock: Knock) -> bool:
        applicant = knock.applicant
        room = self._desk.find_room(applicant.room)
        try:
            if room is not None:
                self._check(room, applicant, invited=True)
        except ProtocolError as error:
            self.end(knock, "declined")
            self._desk.turn_away(applicant, error)
            return False
        self.end(knock, "admitted")
        self._desk.admit(applicant, invited=True)
        return True

    def _refuse(self, knock: Knock, reason: KnockEndReason, text: str) -> None:
        self.end(knock, reason)
        self._desk.turn_away(knock.applicant, ProtocolError("forbidden", text))

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        return self._lobby.get_timer()

    def handle_timer(self, now: float) -> None:
        while (knock := self._lobby.find_expired(now)) is not None:
            self._refuse(knock, "timeout", "Nobody has answered.")


def _describe(knock: Knock) -> messages.KnockInfo:
    return messages.KnockInfo(knock=knock.id, name=knock.applicant.shown_name)
