"""Who is here: rooms, the sessions in them, and how each comes and goes.

Nothing here knows the lobby. Where somebody goes, what follows for those who wait is returned as a
`Departure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, Raw

from relay import control

from ..access.addresses import key_of
from ..access.tokens import Access
from ..logs import Log
from ..metrics import Metrics
from ..protocol import messages
from ..protocol.errors import GOING_AWAY_CLOSE, NORMAL_CLOSE, ProtocolError
from ..protocol.messages import Grant, IceServer, LeaveReason
from ..settings.config import Limits
from .delivery import Delivery
from .journal import SEPARATOR, Journal, digest
from .participant import NO_METADATA, Participant
from .relayrequests import Relays
from .room import Room
from .session import Input, Link, Session, State
from .snapshot import Received, RoomState, Sent, collect, restore, take
from .timers import Timers

log = Log(__name__)


class Applicant:
    """One who wants into a room. `access` is what the token opens, None where there are none;
    `data` whether it takes data through the relay."""

    __slots__ = ("access", "data", "id", "link", "metadata", "name", "room")

    def __init__(
        self,
        link: Link,
        id: str | None,
        room: str,
        name: str,
        metadata: Raw,
        access: Access | None,
        *,
        data: bool = False,
    ) -> None:
        self.link = link
        self.id = id
        self.room = room
        self.name = name
        self.metadata = metadata
        self.access = access
        self.data = data

    @property
    def shown_name(self) -> str:
        """The name that others see: the token's, if it has one."""
        return (self.access.name if self.access else "") or self.name

    @property
    def identity(self) -> str:
        return self.access.identity if self.access else ""

    @property
    def hidden(self) -> bool:
        """True for one whom nobody is told of."""
        return self.access is not None and self.access.grant.hidden is True

    @property
    def ban_key(self) -> str:
        return make_ban_key(self.identity, self.link.address)


def make_ban_key(identity: str, address: str) -> str:
    """What a ban remembers of someone: the identity, or the network where there is none."""
    # Loopback has no key of its own among addresses; a ban has to hold there, too.
    return f"identity {identity}" if identity else f"address {key_of(address) or address}"


@dataclass(frozen=True, slots=True)
class Departure:
    """What somebody's going means for those who wait: `over`, the room is; `unattended`, only
    WHIP and WHEP are left in it; `promoted`, somebody else moderates now."""

    room: Room
    over: bool = False
    unattended: bool = False
    promoted: bool = False


REPLACED: Final = "Somebody of the same identity has joined."


class Members:
    """`tokens`: rights come from tokens; without them the first in a room moderates. `once`: an
    identity is in a room once. `lobby`: new rooms have one."""

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        relays: Relays,
        delivery: Delivery,
        timers: Timers,
        *,
        token: Callable[[], str],
        ice_servers: Callable[[str], list[IceServer]],
        tokens: bool,
        once: bool,
        lobby: bool,
        expire: Callable[[Session, float], None],
        journal: Journal | None,
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._relays = relays
        self._delivery = delivery
        self._timers = timers
        self._token = token
        self._ice_servers = ice_servers
        self._tokens = tokens
        self._once = once
        self._lobby = lobby
        self._expire = expire
        self._journal = journal
        self._rooms: dict[str, Room] = {}
        self._sessions: dict[str, Session] = {}  # by secret
        self._restored: set[str] = set()  # hashes in place of secrets, until these are shown
        self._present: dict[str, Session] = {}  # by participant
        self._guests: dict[str, Room] = {}  # by participant

    # -- Rooms --------------------------------------------------------------------------

    def find_room(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def list_rooms(self) -> list[Room]:
        return list(self._rooms.values())

    def find_guest(self, id: str) -> tuple[Room, Participant] | None:
        """One who came by WHIP or WHEP, and where it is."""
        room = self._guests.get(id)
        return None if room is None else (room, room.participants[id])

    def find_former(
        self, room: str, identity: str, *, guest: bool = False, hidden: bool = False
    ) -> Participant | None:
        """Whom a participant of this identity replaces."""
        found = self._rooms.get(room)
        if not (self._once and identity and found):
            return None
        return found.find_same(identity, guest=guest, hidden=hidden)

    def enter(
        self, name: str, ban_key: str = "", *, invited: bool = False, replaces: bool = False
    ) -> Room:
        """Return the room, a new one where there is none. Raise ProtocolError."""
        room = self._rooms.get(name)
        if room is not None:
            room.check_entry(ban_key, invited=invited, replaces=replaces)
            return room
        if len(self._rooms) >= self._limits.max_rooms:
            raise ProtocolError("room-full", "The server has no room for another room.")
        return Room(name, self._limits, relay=self._relays.available, lobby=self._lobby)

    def add(self, room: Room, participant: Participant) -> None:
        """Open a room for one who comes in, if it is not open."""
        if room.name not in self._rooms:
            self._rooms[room.name] = room
            self._metrics.rooms = len(self._rooms)
            log.info("room opened", extra={"room": room.name})
            self._delivery.notify("room-started", room.name)
        if participant.guest:
            self._guests[participant.id] = room
        self._metrics.participants += 1
        self._delivery.notify_joined(room, participant)

    def _end_room(self, room: Room) -> None:
        del self._rooms[room.name]
        room.over = True
        if self._journal is not None:
            self._journal.forget(room.name)
        self._metrics.rooms = len(self._rooms)
        log.info("room closed", extra={"room": room.name})
        self._delivery.notify("room-ended", room.name)

    # -- Coming in ----------------------------------------------------------------------

    def admit(self, applicant: Applicant, now: float, *, invited: bool = False) -> Participant:
        """Take one into its room. Raise ProtocolError."""
        former = self.find_former(applicant.room, applicant.identity, hidden=applicant.hidden)
        replaces = former is not None
        room = self.enter(applicant.room, applicant.ban_key, invited=invited, replaces=replaces)
        if former is not None:
            self.expel(former, "left", now, ProtocolError("replaced", REPLACED), keep=True)
        link = applicant.link
        secret = f"s_{self._token()}{SEPARATOR}{room.name}"
        session = Session(secret, self._limits, now, self._journal)
        participant = self._make_participant(applicant, room, session)
        session.room, session.participant = room, participant
        session.link, link.session = link, session
        session.change(Input.JOIN)
        self._sessions[session.secret] = self._present[participant.id] = session
        # Others hear of it after its own `joined`.
        effects = room.add(participant, now)
        session.reply(applicant.id, self._build_joined(session, applicant.id))
        log.info("participant joined", extra=session.fields | {"address": link.address})
        self.add(room, participant)
        self._delivery.apply(room, effects)
        return participant

    def _make_participant(self, applicant: Applicant, room: Room, session: Session) -> Participant:
        grant = Grant(moderate=room.unattended)
        return Participant(
            "p_" + self._token(),
            applicant.shown_name[: self._limits.max_name],
            grant if applicant.access is None else applicant.access.full_grant,
            metadata=applicant.metadata or NO_METADATA,
            session=session,
            identity=applicant.identity,
            ban_key=applicant.ban_key,
            data=applicant.data,
        )

    def _build_joined(self, session: Session, id: str | None) -> bytes:
        room, participant = session.room, session.participant
        joined = messages.Joined(
            protocol=messages.PROTOCOL,
            participant=participant.id,
            session=session.secret,
            room=room.describe(),
            participants=[
                other.describe(relayed=participant.restricted) for other in room.others(participant)
            ],
            ice_servers=self._ice_servers(participant.id),
            grants=participant.grant,
            relay=room.relay,
            heartbeat=_plain(self._limits.heartbeat),
            resume_within=_plain(self._limits.resume_within),
            history=room.history or UNSET,
        )
        joined.id = UNSET if id is None else id
        return messages.encode_body(joined)

    # -- Losing the connection, and resuming --------------------------------------------

    def detach(self, link: Link, now: float) -> None:
        """A connection is gone; its session lives on for `resume_within`."""
        session, link.session = link.session, None
        if session is None or session.link is not link:
            return
        session.link = None
        session.change(Input.LOSE)
        self._await_resume(session, now)
        self._metrics.detached += 1
        log.debug("participant lost its connection", extra=session.fields)

    def _await_resume(self, session: Session, now: float) -> None:
        session.expires = now + self._limits.resume_within
        self._timers.call_at(session.expires, lambda now: self._handle_timer(session, now))

    def _handle_timer(self, session: Session, now: float) -> None:
        # One that came back, and was lost again, has a later timer of its own.
        if session.state is State.DETACHED and session.expires <= now:
            self._expire(session, now)

    def find_session(self, message: messages.Resume) -> Session | None:
        """The session of which a client shows the secret."""
        if message.session in self._restored:
            return None  # a hash is no secret
        session = self._sessions.get(message.session)
        if session is None and self._restored:
            known = digest(message.session)
            if known in self._restored:
                self._restored.remove(known)
                session = self._sessions.pop(known)
                session.accept(message.session, message.seq)
                self._sessions[session.secret] = session
        return session

    def resume(self, link: Link, session: Session, message: messages.Resume) -> None:
        """Go on on another connection: send what the client has missed.

        What it names is not taken for acknowledged: a client whose new connection is lost at
        once may come back with an older number, and the bounds hold without it.
        """
        if session.link is not None:
            self._take_away(session.link, session)
        else:
            self._metrics.detached -= 1
        session.change(Input.RESUME)
        session.link, link.session = link, session
        self._metrics.resumed += 1
        log.debug("participant resumed", extra=session.fields)
        resumed = messages.Resumed(participant=session.participant.id)
        resumed.id = UNSET if message.id is None else message.id
        link.send(messages.encode(resumed))
        for frame in session.replay_after(message.seq):
            link.send(frame)

    def _take_away(self, link: Link, session: Session) -> None:
        """End the connection from which a session is taken away.

        Its error is numbered as the next message would be, but not kept: the session goes on
        elsewhere, and there it is no news.
        """
        error = ProtocolError("replaced", "The session was resumed on another connection.")
        self._metrics.errors[error.code] += 1
        link.session = None
        link.send(messages.build_frame(messages.build_error(error, None), session.seq + 1))
        link.close(error.kind.close or NORMAL_CLOSE, error.code)

    # -- Going --------------------------------------------------------------------------

    def leave(self, session: Session, reason: LeaveReason, now: float) -> Departure:
        """Take a participant out of its room for good."""
        return self._leave(session, reason, now, keep=False)

    def _leave(self, session: Session, reason: LeaveReason, now: float, *, keep: bool) -> Departure:
        self._close(session, reason)
        departure = self.remove(session.room, session.participant, reason, now, keep=keep)
        log.info("participant left", extra=session.fields | {"reason": reason})
        return departure

    def expel(
        self,
        participant: Participant,
        reason: LeaveReason,
        now: float,
        error: ProtocolError,
        *,
        keep: bool = False,
    ) -> Departure:
        """Send one out that has a session, and tell it why; `keep` the room for who comes now."""
        session = self._present[participant.id]
        self._metrics.errors[error.code] += 1
        session.send(messages.build_error(error, None))
        if session.link is not None:
            session.link.close(error.kind.close or NORMAL_CLOSE, error.code)
        return self._leave(session, reason, now, keep=keep)

    def _close(self, session: Session, reason: LeaveReason) -> None:
        if session.state is State.DETACHED:
            self._metrics.detached -= 1
        session.change(Input.END)
        del self._sessions[session.secret], self._present[session.participant.id]
        self._restored.discard(session.secret)
        link, session.link = session.link, None
        if link is not None:
            link.session = None
            if not link.closed:
                link.close(NORMAL_CLOSE, reason)
        # The two point at each other: cut, they are freed at once and not by the collector.
        session.participant.session = None

    def remove(
        self,
        room: Room,
        participant: Participant,
        reason: LeaveReason,
        now: float,
        *,
        keep: bool = False,
    ) -> Departure:
        """Take one out of the room whose session, if it had one, is closed."""
        self._guests.pop(participant.id, None)
        self._metrics.participants -= 1
        self._delivery.apply(room, room.remove(participant, reason, now))
        self._delivery.notify_left(room, participant, reason)
        if keep:
            return Departure(room)
        promoted = False
        if not self._tokens:
            effects = room.promote()
            self._delivery.apply(room, effects)
            promoted = bool(effects.deliveries)
        over = not room.participants and self._rooms.get(room.name) is room
        if over:
            self._end_room(room)
        unattended = not over and not participant.guest and room.unattended
        return Departure(room, over=over, unattended=unattended, promoted=promoted)

    def close_room(self, room: Room) -> None:
        """Tell everyone of everyone, so that no client has to know what the end of a room is."""
        for participant in list(room.visible):
            left = messages.ParticipantLeft(participant=participant.id, reason="room-closed")
            self._delivery.deliver(room.name, list(room.peers), left)
        for participant in list(room.participants.values()):
            room.participants.pop(participant.id)
            self._guests.pop(participant.id, None)
            self._metrics.participants -= 1
            self._delivery.notify_left(room, participant, "room-closed")
            if participant.session is not None:
                self._close(self._present[participant.id], "room-closed")
        self._relays.send(control.CloseRoom(room.name))
        self._end_room(room)

    # -- From and to other hubs ---------------------------------------------------------

    def take_state(self, name: str) -> RoomState | None:
        """A room as another hub would have to know it."""
        room = self._rooms.get(name)
        return None if room is None else take(room, self._list_sessions(room))

    def _list_sessions(self, room: Room) -> Iterator[Session]:
        return (self._present[id] for id, p in room.participants.items() if not p.guest)

    def restore_room(self, state: RoomState, sent: list[Sent], now: float) -> None:
        """Go on with a room whose hub has died; its sessions wait for their clients."""
        if state.name in self._rooms:
            return
        room = restore(state, self._limits, relay=self._relays.available)
        received = collect(sent)
        self._rooms[room.name] = room
        for known in state.participants:
            participant = room.participants[known.id]
            session = Session(known.session, self._limits, now, self._journal)
            session.room, session.participant = room, participant
            got = received.get(known.id, Received())
            session.restore(known.session, known.seq, got.bodies, got.replies)
            participant.session = session
            self._sessions[known.session] = self._present[participant.id] = session
            self._restored.add(known.session)
            session.change(Input.JOIN)
            session.change(Input.LOSE)
            self._await_resume(session, now)
        self._metrics.participants += len(room.participants)
        self._metrics.detached += len(room.participants)
        self._metrics.rooms = len(self._rooms)
        fields = {"room": room.name, "participants": len(room.participants)}
        log.info("room restored", extra=fields)
        # Its relay has died with its hub.
        self._delivery.apply(room, room.lose_worker()[0])

    def abandon_room(self, name: str) -> Room | None:
        """Another hub owns the room now: say nothing more in it, and have its clients come back.

        Nobody is told that anybody left, for nobody has.
        """
        room = self._rooms.pop(name, None)
        if room is None:
            return None
        room.over = True
        for participant in list(room.participants.values()):
            room.participants.pop(participant.id)
            self._guests.pop(participant.id, None)
            self._metrics.participants -= 1
            session = self._present.get(participant.id)
            if session is not None:
                link = session.link
                if link is not None:
                    link.session = session.link = None
                    link.close(GOING_AWAY_CLOSE, "draining")
                self._close(session, "left")
        self._relays.send(control.CloseRoom(name))
        self._metrics.rooms = len(self._rooms)
        return room


def _plain(seconds: float) -> float:
    """25 rather than 25.0, for clients that read whole numbers only."""
    return int(seconds) if seconds == int(seconds) else seconds
