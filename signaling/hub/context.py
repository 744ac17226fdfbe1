"""The parts of a hub as the functions for each message see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..access.addresses import AddressLimits
from ..access.ratelimit import KeyedBuckets
from ..access.tokens import Access
from ..metrics import Metrics
from ..protocol.errors import ProtocolError
from ..settings.config import Limits
from .delivery import Delivery
from .guests import Guests
from .journal import Journal
from .lobby import Lobby
from .members import Members
from .participant import Participant
from .relaying import Relaying
from .room import Room
from .session import PENDING, Link, Session, State


@dataclass(frozen=True, slots=True)
class Context:
    """`authorize` gets a join's token and room; `invite` a room, and makes a token for it, with
    the time at which it ends."""

    limits: Limits
    metrics: Metrics
    addresses: AddressLimits
    token_joins: KeyedBuckets
    members: Members
    delivery: Delivery
    lobby: Lobby
    guests: Guests
    relaying: Relaying
    journal: Journal | None
    authorize: Callable[[str | None, str], Access] | None
    invite: Callable[[str], tuple[str, float] | None]
    wall: Callable[[], float]

    def check_token(self, access: Access | None, now: float) -> None:
        """Raise ProtocolError where one token joins too often."""
        wait = self.token_joins.take(access.serial, now) if access and access.serial else 0.0
        if wait:
            self.addresses.refused["token-join-rate"] += 1
            raise ProtocolError("rate-limited", "Too many joins with this token.", retry_after=wait)

    def expel(self, participant: Participant, now: float) -> None:
        """Have one removed by a moderator."""
        if participant.guest:
            departure = self.guests.leave(participant.id, "kicked", now)
        else:
            error = ProtocolError("kicked", "A moderator has removed you.")
            departure = self.members.expel(participant, "kicked", now, error)
        self.lobby.follow(departure, now)

    def close_room(self, room: Room, now: float) -> None:
        """Send everyone out, and whoever waits away."""
        self.members.close_room(room)
        self.lobby.close_room(room.name, now)


@dataclass(slots=True)
class Call:
    """One message's circumstances: on which connection it came, and when."""

    context: Context
    link: Link
    now: float

    @property
    def session(self) -> Session:
        """Of a message that is legal in a room only."""
        session = self.link.session
        assert session is not None
        return session


def check_name(name: str, limits: Limits) -> None:
    """Raise ProtocolError."""
    if len(name) > limits.max_name:
        raise ProtocolError("bad-request", f"`name` is over {limits.max_name} characters.")


def reply_once_written(
    context: Context, session: Session, id: str | None, body: bytes, *, soon: bool = False
) -> None:
    """Reply, in a cluster once it is written down: what is acknowledged is not lost."""

    send = session.send_soon if soon else session.send
    if context.journal is None:
        if id is not None:
            session.remember(id, body)
        if session.state is not State.CLOSED:
            send(body)
        return

    def reply() -> None:
        if id is not None:
            session.remember(id, body)
        if session.state is not State.CLOSED:
            send(body)

    if id is not None:
        session.remember(id, PENDING)
        context.journal.note(session.room.name, session.participant.id, 0, body)
    context.journal.after(session.room.name, reply)
