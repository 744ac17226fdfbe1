"""The hub: owns rooms and sessions; a client's message in, messages to clients and relay out.

Synchronous and without sockets: connections call in, and what is to be sent goes to their
outlets at once. What participants say in a room is in `exchange`, what concerns the relay in
`relaying`. Longer than most files: connections, sessions and rooms end each other here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
from msgspec import UNSET

from relay import control

from ..access.addresses import MAX_ADDRESSES, Guard
from ..access.ratelimit import KeyedBuckets, TokenBucket
from ..logs import Log
from ..metrics import Metrics
from ..protocol import messages
from ..protocol.errors import GOING_AWAY_CLOSE, NORMAL_CLOSE, ProtocolError
from ..protocol.messages import ClientMessage, Grant, LeaveReason, ServerMessage
from ..settings.config import Config
from .details import RoomDetails, describe
from .entrance import Entrance
from .journal import SEPARATOR, Journal, digest
from .lobby import Applicant, Knock, make_ban_key
from .relaying import Relaying, StatsReceiver
from .relayrequests import NoRelay, Receive, Relays
from .requests import HANDLERS, get_fields
from .room import NO_METADATA, Effects, Participant, Room
from .session import PENDING, Input, Session, State
from .snapshot import Received, RoomState, Sent, collect, restore, take
from .turns import Soon, Turns, call_now

if TYPE_CHECKING:
    from ..access.tokens import Access
    from ..access.turn import IceServer

# Refusals in a row after which a client is taken for a broken one.
MAX_BAD_REQUESTS: Final = 5
# Of those over the rate, a client gets as many refused as it may send in a burst; this share of
# the rate is forgiven each second. Then it is closed.
FORGIVEN: Final = 0.1
COME_BACK: Final = 0.5
"""Seconds after which clients of a server that goes away ask again, here or elsewhere."""
# What is closed for these, was no mistake of the network or of the person.
VIOLATIONS: Final = frozenset({"bad-request", "unauthorized", "too-large", "rate-limited"})
# Refusals after which nothing has been done, and a message may be sent again.
UNREAD: Final = frozenset({"bad-request", "rate-limited"})

log = Log(__name__)


class Outlet(Protocol):
    """What the hub needs of a connection."""

    def send(self, data: bytes) -> None:
        """Send one text frame. Never blocks, never raises."""

    def send_soon(self, data: bytes) -> None:
        """The same, in order, but at best together with what is sent next."""

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket after what was sent."""


class Link:
    """One connection as the hub sees it; opaque to the connection."""

    __slots__ = (
        "address",
        "bad",
        "broadcasts",
        "closed",
        "join_by",
        "knock",
        "limit",
        "outlet",
        "patience",
        "session",
        "waiting",
    )

    def __init__(self, outlet: Outlet, address: str, limit: TokenBucket) -> None:
        self.outlet = outlet
        self.address = address
        self.session: Session | None = None
        self.knock: Knock | None = None  # while it waits to be let into a room
        self.join_by = 0.0
        self.waiting = 0  # messages that are kept for later turns
        self.closed = False
        self.bad = 0  # refused as bad-request in a row
        self.limit = limit
        self.broadcasts: TokenBucket | None = None  # made with the first message to a whole room
        self.patience: TokenBucket | None = None  # made with the first message over the rate


class Notify(Protocol):
    """Tells programs elsewhere of what happens in rooms."""

    def __call__(self, event: str, room: str, **fields: object) -> None:
        """Never blocks, never raises."""


def notify_nobody(event: str, room: str, **fields: object) -> None:
    """Where nobody wants to know."""


# What is wrong where the connection, and not the hub, saw it.
REJECTIONS: Final = {
    "bad-request": "Frames are text.",
    "too-large": "The frame is too large.",
    "heartbeat-timeout": "Nothing was heard for two heartbeats.",
    "overloaded": "The client does not read fast enough.",
    "rate-limited": "Too much is sent.",
    "draining": "The server is going away.",
    "internal": "The server made a mistake.",
}


class Hub:
    """Times: `clock` is monotonic seconds, `wall` seconds since the epoch.

    `token` makes unguessable strings of at least 128 bits. `authorize` gets a join's token and
    room and raises ProtocolError `unauthorized`; without it anyone may join, and the first in a
    room moderates. `ice_servers` gets a participant's id. `invite` gets a room and makes a
    token for it, and says when it ends; None where none is needed. `soon` has a function called in
    the next turn of the event loop.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        token: Callable[[], str],
        relays: Relays | None = None,
        ice_servers: Callable[[str], list[IceServer]] = lambda _: [],
        authorize: Callable[[str | None, str], Access] | None = None,
        guard: Guard | None = None,
        invite: Callable[[str], tuple[str, float] | None] = lambda _: None,
        notify: Notify = notify_nobody,
        journal: Journal | None = None,
        soon: Soon = call_now,
    ) -> None:
        self._notify = notify
        self._journal = journal
        self.turns = Turns(soon, self._read)
        self.guard = guard or Guard.of(config.limits)
        self._relays: Relays = relays or NoRelay()
        self.limits = config.limits
        self.metrics = metrics
        self.clock = clock
        self.wall = wall
        self._token = token
        self._ice_servers = ice_servers
        self._authorize = authorize
        self.invite = invite
        self._links: set[Link] = set()
        self._newcomers: deque[tuple[float, Link]] = deque()  # all may take equally long
        self._rooms: dict[str, Room] = {}
        self._sessions: dict[str, Session] = {}  # by secret
        self._restored: set[str] = set()  # hashes in place of secrets, until these are shown
        self._guests: dict[str, Room] = {}  # by participant
        self._unconnected: deque[tuple[float, Participant]] = deque()  # guests, in order
        self._once = config.identity == "once"
        self._token_joins = KeyedBuckets(
            self.limits.token_join_rate, self.limits.token_join_burst, MAX_ADDRESSES
        )
        self._timers: list[tuple[float, int, Session | Room]] = []
        self._timer_count = 0
        self._draining = False
        self.arrived = 0.0  # when the message that is carried out came
        self.relaying = Relaying(self._relays, self)
        self.entrance = Entrance(
            self,
            always=config.lobby,
            tokens=authorize is not None,
            once=config.identity == "once",
            token=token,
        )

    # -- Connections --------------------------------------------------------------------

    def connect(self, outlet: Outlet, *, address: str) -> Link:
        """A new WebSocket."""
        limit = TokenBucket(self.limits.message_burst, self.clock())
        link = Link(outlet, address, limit)
        self.guard.opened(address, self.clock())
        if self._draining:
            self._send_away(link)
        else:
            self._links.add(link)
            self._await_join(link)
        return link

    def _await_join(self, link: Link) -> None:
        link.join_by = self.clock() + self.limits.join_timeout
        self._newcomers.append((link.join_by, link))

    def receive(self, link: Link, data: bytes) -> None:
        """One text frame. Never raises."""
        if link.closed:
            return
        if len(data) > self.limits.max_frame and not _may_be_long(link, data):
            self.reject(link, "too-large")
            return
        now = self.clock()
        session = link.session
        if session is None or not self.turns.has_to_wait(session.room.name):
            self._read(link, data, now)
        elif not self.turns.wait(session.room.name, link, data, now):
            self._limit(link, messages.find_id_untrusted(data), 1.0, now)

    def _read(self, link: Link, data: bytes, now: float) -> None:
        if link.closed:
            return
        self.arrived = now
        try:
            message = messages.parse_client_message_untrusted(data)
        except ProtocolError as error:
            self.metrics.messages["invalid"] += 1
            self._refuse(link, error, messages.find_id_untrusted(data))
            return
        id = message.id
        kind = messages.TYPES[type(message)]
        self.metrics.messages[kind] += 1
        try:
            retry_after = link.limit.take(now, self.limits.message_rate, self.limits.message_burst)
            if not retry_after and _is_broadcast(message):
                retry_after = self._count_broadcast(link, now)
            if retry_after:
                self._limit(link, id, retry_after, now)
                return
            self._carry_out(link, message)
        except ProtocolError as error:
            self._refuse(link, error, id, remember=True)
        except Exception:
            # A fault of ours: it costs the client this message and nobody else anything.
            log.exception("a message could not be handled", extra={"kind": kind})
            self._refuse(
                link, ProtocolError("internal", "The server made a mistake."), id, remember=True
            )

    def _count_broadcast(self, link: Link, now: float) -> float:
        """Seconds to wait, 0 for none: each of these costs as much as the room is large."""
        limits = self.limits
        if link.broadcasts is None:
            link.broadcasts = TokenBucket(limits.broadcast_burst, now)
        return link.broadcasts.take(now, limits.broadcast_rate, limits.broadcast_burst)

    def reject(self, link: Link, code: str) -> None:
        """The connection saw a fault of the client: `code` says which."""
        if not link.closed:
            error = ProtocolError(code, REJECTIONS[code])
            self._refuse(link, error, None)
            if code == "rate-limited":
                self._end_link(link, error)

    def disconnect(self, link: Link) -> None:
        """The socket is gone; the session lives on for `resume_within`."""
        link.closed = True
        self._links.discard(link)
        self.guard.closed(link.address)
        self._detach(link)

    def drain(self) -> None:
        """Send everyone elsewhere, and take nobody in any more."""
        self._draining = True
        for link in list(self._links):
            self._send_away(link)

    def _send_away(self, link: Link) -> None:
        text = "The server is going away."
        self._refuse(link, ProtocolError("draining", text, retry_after=COME_BACK), None)

    # -- Replies ------------------------------------------------------------------------

    def _carry_out(self, link: Link, message: ClientMessage) -> None:
        """Carry out a message once, and reply to it."""
        session, id = link.session, message.id
        if isinstance(message, messages.Heartbeat):
            self._heartbeat(link, message)
        elif session is None:
            self._let_in(link, message)
        else:
            first = None if id is None else session.recall(id)
            if first is None:
                self._carry_out_in_room(session, message)
            elif first is not PENDING:
                self.send(session, first)
        link.bad = 0

    def _carry_out_in_room(self, session: Session, message: ClientMessage) -> None:
        handler = HANDLERS.get(type(message))
        if handler is not None:
            reply = handler(self, session, message)
            if reply is not None:
                self._reply_once_written(session, message.id, reply, self.send)
        elif isinstance(message, messages.Leave):
            self._leave(session, message)
        else:
            raise ProtocolError("already-joined", "This connection has joined a room.")

    def _heartbeat(self, link: Link, message: messages.Heartbeat) -> None:
        if link.session is not None:
            if message.seq is not None:
                link.session.acknowledge(message.seq)
            link.session.age(self.arrived)
        reply = messages.HeartbeatReply(
            timestamp=message.timestamp, server_time=int(self.wall() * 1000)
        )
        reply.id = UNSET if message.id is None else message.id
        self.metrics.sent += 1
        link.outlet.send(messages.encode(reply))

    def reply(self, session: Session, id: str | None, body: bytes) -> None:
        if id is not None:
            session.remember(id, body)
        self.send(session, body)

    def acknowledge(self, session: Session, id: str | None) -> None:
        """Reply `ok` to what was passed on; nobody waits for that, so it may wait for company."""
        self._reply_once_written(session, id, messages.build_ok(id), self._send_soon)

    def _reply_once_written(
        self, session: Session, id: str | None, body: bytes, send: Callable[[Session, bytes], None]
    ) -> None:
        """Reply, in a cluster once it is written down: what is acknowledged is not lost."""

        def reply() -> None:
            if id is not None:
                session.remember(id, body)
            if session.state is not State.CLOSED:
                send(session, body)

        if self._journal is None:
            reply()
            return
        if id is not None:
            session.remember(id, PENDING)
            self._journal.note(session.room.name, session.participant.id, 0, body)
        self._journal.after(session.room.name, reply)

    def _send_soon(self, session: Session, body: bytes) -> None:
        frame = session.number(body)
        if session.link is not None:
            self.metrics.sent += 1
            session.link.outlet.send_soon(frame)

    def fail(self, session: Session, id: str | None, error: ProtocolError) -> None:
        """Reply with an error to a message that was under way."""
        self.metrics.errors[error.code] += 1
        self.reply(session, id, messages.build_error(error, id))

    def send(self, session: Session, body: bytes) -> None:
        """Number a message for a session, and send it if somebody is there to get it."""
        frame = session.number(body)
        if session.link is not None:
            self.metrics.sent += 1
            session.link.outlet.send(frame)

    def _refuse(
        self, link: Link, error: ProtocolError, id: str | None, *, remember: bool = False
    ) -> None:
        """Reply with an error, and close where the table says so.

        `remember` it as the reply to `id`, unless the message was not looked at; what is
        refused for its rate or its shape may be sent again under the same `id`.
        """
        self.metrics.errors[error.code] += 1
        close = error.kind.at_once
        if error.code == "bad-request":
            link.bad += 1
            close = link.bad >= MAX_BAD_REQUESTS
        elif error.code != "rate-limited":
            link.bad = 0
        body = messages.build_error(error, id)
        session = link.session
        if error.code == "overloaded":
            pass  # comes as a close alone: the client would not read it
        elif session is None:
            self.metrics.sent += 1
            link.outlet.send(messages.build_frame(body))
        else:
            if id is not None and remember and error.code not in UNREAD:
                session.remember(id, body)
            self.send(session, body)
        if close:
            self._end_link(link, error)

    def _limit(self, link: Link, id: str | None, retry_after: float, now: float) -> None:
        burst = self.limits.message_burst
        if link.patience is None:
            link.patience = TokenBucket(burst, now)
        error = ProtocolError("rate-limited", "Too many messages.", retry_after=retry_after)
        self._refuse(link, error, id)
        if link.patience.take(now, self.limits.message_rate * FORGIVEN, burst):
            self._end_link(link, error)

    def _close_link(self, link: Link, code: str, text: str) -> None:
        """Tell a client why, and close its connection."""
        self._refuse(link, ProtocolError(code, text), None)

    def _end_link(self, link: Link, error: ProtocolError) -> None:
        if not link.closed:
            assert error.kind.close is not None
            if error.code in VIOLATIONS:
                self.guard.violate(link.address, self.clock(), error.code)
            log.info(
                "connection closed by the hub",
                extra={"code": error.code, "address": link.address, **get_fields(link.session)},
            )
            self._drop_link(link, error.kind.close, error.code)
            self._detach(link)

    def _drop_link(self, link: Link, code: int, reason: str) -> None:
        link.closed = True
        self._links.discard(link)
        link.outlet.close(code, reason)

    def _detach(self, link: Link) -> None:
        if link.knock is not None:
            self.entrance.end(link.knock, "left")
        session, link.session = link.session, None
        if session is None or session.link is not link:
            return
        session.link = None
        session.change(Input.LOSE)
        session.expires = self.clock() + self.limits.resume_within
        self.metrics.detached += 1
        self._schedule(session.expires, session)
        log.debug("participant lost its connection", extra=get_fields(session))

    # -- Joining, resuming, leaving -----------------------------------------------------

    def _let_in(self, link: Link, message: ClientMessage) -> None:
        if link.knock is not None:
            raise ProtocolError("already-joined", "This connection waits to be let in.")
        if isinstance(message, messages.Join):
            self._join(link, message)
        elif isinstance(message, messages.Resume):
            self._resume(link, message)
        else:
            raise ProtocolError("not-joined", "Join a room first.")

    def _join(self, link: Link, message: messages.Join) -> None:
        refused = self.guard.join(link.address, self.arrived)
        if refused is not None:
            text = "Too many joins from your network."
            raise ProtocolError("rate-limited", text, retry_after=refused[1])
        self.check_name(message.name)
        metadata = messages.parse_metadata_untrusted(message.metadata, self.limits.max_metadata)
        access = self._authorize and self._authorize(message.token, message.room)
        self._check_token(access, self.arrived)
        applicant = Applicant(
            link, message.id, message.room, message.name, metadata or NO_METADATA, access
        )
        applicant.data = message.data
        self.entrance.receive(applicant, self.arrived)

    def admit(self, applicant: Applicant, *, invited: bool = False) -> None:
        """Take one into its room. Raise ProtocolError."""
        grant = Grant() if applicant.access is None else applicant.access.full_grant
        hidden = grant.hidden is True
        former = self._find_former(applicant.room, applicant.identity, hidden=hidden)
        room = self._enter(
            applicant.room, applicant.ban_key, invited=invited, replaces=former is not None
        )
        if former is not None:
            self._supersede(former)
        now = self.clock()
        link, access = applicant.link, applicant.access
        secret = f"s_{self._token()}{SEPARATOR}{room.name}"
        session = Session(secret, self.limits, now, self._journal)
        participant = Participant(
            "p_" + self._token(),
            applicant.shown_name[: self.limits.max_name],
            grant,
            metadata=applicant.metadata,
            session=session,
            identity=applicant.identity,
            ban_key=applicant.ban_key,
            data=applicant.data,
        )
        if access is None and room.unattended:
            participant.grant = Grant(moderate=True)
        self._open(room)
        self._sessions[session.secret] = session
        session.room, session.participant = room, participant
        session.link, link.session = link, session
        session.change(Input.JOIN)
        self.metrics.participants += 1
        effects = room.add(participant, now)
        self.reply(session, applicant.id, self._build_joined(session, applicant.id))
        log.info("participant joined", extra=get_fields(session) | {"address": link.address})
        if not hidden:
            self._notify("participant-joined", room.name, participant=_outline(participant))
        self.apply(room, effects)
        self.entrance.greet(participant, room.name)

    def turn_away(self, applicant: Applicant, error: ProtocolError) -> None:
        """One that has waited is not let in; it may ask for another room."""
        self._refuse(applicant.link, error, applicant.id)
        self._await_join(applicant.link)

    def replace(self, applicant: Applicant) -> None:
        """The same person waits on another connection now."""
        error = ProtocolError("replaced", "Somebody of the same identity waits now.")
        self._refuse(applicant.link, error, applicant.id)

    def tell(self, applicant: Applicant, message: ServerMessage) -> None:
        self.metrics.sent += 1
        applicant.link.outlet.send(messages.encode(message))

    def check_name(self, name: str) -> None:
        if len(name) > self.limits.max_name:
            raise ProtocolError("bad-request", f"`name` is over {self.limits.max_name} characters.")

    def _find_former(
        self, room: str, identity: str, *, guest: bool = False, hidden: bool = False
    ) -> Participant | None:
        """Whom a participant of this identity replaces."""
        found = self._rooms.get(room)
        if not (self._once and identity and found):
            return None
        return found.find_same(identity, guest=guest, hidden=hidden)

    def _supersede(self, former: Participant) -> None:
        """The same person has come again: the first one goes, the room stays."""
        session = former.session
        if session is None:
            self.leave_guest(former.id, keep=True)
            return
        error = ProtocolError("replaced", "Somebody of the same identity has joined.")
        self._dismiss(session, error)
        self._end_session(session, "left", keep=True)

    def _dismiss(self, session: Session, error: ProtocolError) -> None:
        """Tell a client why its session ends, and close its connection."""
        self.metrics.errors[error.code] += 1
        self.send(session, messages.build_error(error, None))
        if session.link is not None:
            assert error.kind.close is not None
            self._drop_link(session.link, error.kind.close, error.code)

    def _check_token(self, access: Access | None, now: float) -> None:
        """Raise ProtocolError where one token joins too often."""
        wait = self._token_joins.take(access.serial, now) if access and access.serial else 0.0
        if wait:
            self.guard.refused["token-join-rate"] += 1
            raise ProtocolError("rate-limited", "Too many joins with this token.", retry_after=wait)

    def _enter(
        self, name: str, ban_key: str = "", *, invited: bool = False, replaces: bool = False
    ) -> Room:
        """Return the room, a new one where there is none. Raise ProtocolError."""
        room = self._rooms.get(name)
        if room is not None:
            room.check_entry(ban_key, invited=invited, replaces=replaces)
            return room
        if len(self._rooms) >= self.limits.max_rooms:
            raise ProtocolError("room-full", "The server has no room for another room.")
        return Room(name, self.limits, relay=self._relays.available, lobby=self.entrance.always)

    def _open(self, room: Room) -> None:
        if room.name not in self._rooms:
            self._rooms[room.name] = room
            self.metrics.rooms = len(self._rooms)
            log.info("room opened", extra={"room": room.name})
            self._notify("room-started", room.name)

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
            heartbeat=_plain(self.limits.heartbeat),
            resume_within=_plain(self.limits.resume_within),
            history=room.history or UNSET,
        )
        joined.id = UNSET if id is None else id
        return messages.encode_body(joined)

    def _resume(self, link: Link, message: messages.Resume) -> None:
        session = self._find_session(message)
        if session is None:
            raise ProtocolError("session-expired", "The session is over. Join again.")
        if not session.can_replay_after(message.seq):
            if session.state is State.DETACHED and message.seq < session.seq:
                self._end_session(session, "timeout")
            raise ProtocolError(
                "session-expired", f"What came after {message.seq} is not there. Join again."
            )
        if session.link is not None:
            self._replace(session.link, session)
        else:
            self.metrics.detached -= 1
        session.change(Input.RESUME)
        session.link, link.session = link, session
        self.metrics.resumed += 1
        log.debug("participant resumed", extra=get_fields(session))
        self._take_up(link, session, message)

    def _find_session(self, message: messages.Resume) -> Session | None:
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

    def _take_up(self, link: Link, session: Session, message: messages.Resume) -> None:
        """Send what the client has missed.

        What it names is not taken for acknowledged: a client whose new connection is lost at
        once may come back with an older number, and the bounds hold without it.
        """
        resumed = messages.Resumed(participant=session.participant.id)
        resumed.id = UNSET if message.id is None else message.id
        self.metrics.sent += 1
        link.outlet.send(messages.encode(resumed))
        for frame in session.replay_after(message.seq):
            self.metrics.sent += 1
            link.outlet.send(frame)

    def _replace(self, link: Link, session: Session) -> None:
        """End the connection from which a session is taken away.

        Its error is numbered as the next message would be, but not kept: the session goes on
        elsewhere, and there it is no news.
        """
        error = ProtocolError("replaced", "The session was resumed on another connection.")
        self.metrics.errors[error.code] += 1
        self.metrics.sent += 1
        link.session = None
        link.outlet.send(messages.build_frame(messages.build_error(error, None), session.seq + 1))
        self._end_link(link, error)

    def _leave(self, session: Session, message: messages.Leave) -> None:
        self.reply(session, message.id, messages.build_ok(message.id))
        self._end_session(session, "left")

    def _end_session(self, session: Session, reason: LeaveReason, *, keep: bool = False) -> None:
        """Take a participant out of its room for good; `keep` an empty room for who comes now."""
        self._close_session(session, reason)
        self._remove(session.room, session.participant, reason, keep=keep)
        log.info("participant left", extra=get_fields(session) | {"reason": reason})

    def _close_session(self, session: Session, reason: LeaveReason) -> None:
        if session.state is State.DETACHED:
            self.metrics.detached -= 1
        session.change(Input.END)
        del self._sessions[session.secret]
        self._restored.discard(session.secret)
        link, session.link = session.link, None
        if link is not None:
            link.session = None
            if not link.closed:
                self._drop_link(link, NORMAL_CLOSE, reason)
        # The two point at each other: cut, they are freed at once and not by the collector.
        session.participant.session = None

    def _remove(
        self, room: Room, participant: Participant, reason: LeaveReason, *, keep: bool = False
    ) -> None:
        self.metrics.participants -= 1
        self.apply(room, room.remove(participant, reason, self.clock()))
        self._notify_left(room, participant, reason)
        if keep:
            return
        if self._authorize is None:
            effects = room.promote()
            self.apply(room, effects)
            if effects.deliveries:
                self.entrance.welcome(room)
        if not room.participants and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            if self._journal is not None:
                self._journal.forget(room.name)
            self.metrics.rooms = len(self._rooms)
            log.info("room closed", extra={"room": room.name})
            self._notify("room-ended", room.name)
            self.entrance.leave_room(room.name)
        elif not participant.guest and room.unattended:
            self.entrance.leave_guests(room.name)

    def _notify_left(self, room: Room, participant: Participant, reason: LeaveReason) -> None:
        if not participant.hidden:
            self._notify(
                "participant-left", room.name, participant=_outline(participant), reason=reason
            )

    # -- Sending out --------------------------------------------------------------------

    def expel(self, participant: Participant) -> None:
        session = participant.session
        if session is None:
            self.leave_guest(participant.id, "kicked")
            return
        self._dismiss(session, ProtocolError("kicked", "A moderator has removed you."))
        self._end_session(session, "kicked")

    def end_room(self, room: Room) -> None:
        """Tell everyone of everyone, so that no client has to know what the end of a room is."""
        everyone = list(room.visible)
        for participant in everyone:
            left = messages.ParticipantLeft(participant=participant.id, reason="room-closed")
            self.deliver(room.peers, left)
        for participant in list(room.participants.values()):
            room.participants.pop(participant.id)
            self.metrics.participants -= 1
            self._guests.pop(participant.id, None)
            self._notify_left(room, participant, "room-closed")
            if participant.session is not None:
                self._close_session(participant.session, "room-closed")
        self._relays.send(control.CloseRoom(room.name))
        self._rooms.pop(room.name, None)
        if self._journal is not None:
            self._journal.forget(room.name)
        self.metrics.rooms = len(self._rooms)
        log.info("room closed", extra={"room": room.name})
        self._notify("room-ended", room.name)
        self.entrance.close_room(room.name)

    def restore_room(self, state: RoomState, sent: Iterable[Sent]) -> None:
        """Go on with a room whose hub has died; its sessions wait for their clients."""
        if state.name in self._rooms:
            return
        now = self.clock()
        room = restore(state, self.limits, relay=self._relays.available)
        received = collect(sent)
        self._rooms[room.name] = room
        for known in state.participants:
            participant = room.participants[known.id]
            session = Session(known.session, self.limits, now, self._journal)
            session.room, session.participant = room, participant
            got = received.get(known.id, Received())
            session.restore(known.session, known.seq, got.bodies, got.replies)
            participant.session = session
            self._sessions[known.session] = session
            self._restored.add(known.session)
            session.change(Input.JOIN)
            session.change(Input.LOSE)
            session.expires = now + self.limits.resume_within
            self._schedule(session.expires, session)
        self.metrics.participants += len(room.participants)
        self.metrics.detached += len(room.participants)
        self.metrics.rooms = len(self._rooms)
        fields = {"room": room.name, "participants": len(room.participants)}
        log.info("room restored", extra=fields)
        # Its relay has died with its hub.
        self.apply(room, room.lose_worker()[0])

    def take_state(self, name: str) -> RoomState | None:
        """A room as another hub would have to know it."""
        room = self._rooms.get(name)
        return None if room is None else take(room)

    def abandon_room(self, name: str) -> None:
        """Another hub owns the room now: say nothing more in it, and have its clients come back.

        Nobody is told that anybody left, for nobody has.
        """
        room = self._rooms.pop(name, None)
        if room is None:
            return
        for participant in list(room.participants.values()):
            room.participants.pop(participant.id)
            self.metrics.participants -= 1
            self._guests.pop(participant.id, None)
            session = participant.session
            if session is not None:
                link = session.link
                if link is not None:
                    link.session = session.link = None
                    self._drop_link(link, GOING_AWAY_CLOSE, "draining")
                self._close_session(session, "left")
        self._relays.send(control.CloseRoom(name))
        self.metrics.rooms = len(self._rooms)
        self.entrance.close_room(name)

    # -- Effects ------------------------------------------------------------------------

    def apply(self, room: Room, effects: Effects) -> None:
        """Send what follows from an input to a room, and arm its timer."""
        for command in effects.commands:
            self._relays.send(command)
        for to, message in effects.deliveries:
            self.turns.spend(room.name, len(to))
            self.deliver(to, message)
            if isinstance(message, (messages.TrackPublished, messages.TrackUnpublished)):
                self._notify_track(room, message)
        if self._journal is not None and _changes(effects):
            self._journal.change(room.name)
        deadline = room.get_timer()
        if deadline is not None and (room.scheduled is None or deadline < room.scheduled):
            room.scheduled = deadline
            self._schedule(deadline, room)

    def _notify_track(
        self, room: Room, message: messages.TrackPublished | messages.TrackUnpublished
    ) -> None:
        owner = room.participants.get(message.participant)
        outline = {"id": message.participant} if owner is None else _outline(owner)
        track: object = message.track
        if isinstance(message, messages.TrackUnpublished):
            track = {"id": message.track}
        event = str(type(message).__struct_config__.tag)
        self._notify(event, room.name, participant=outline, track=track)

    def deliver(self, to: Iterable[Participant], message: ServerMessage) -> bytes:
        """Send to each, encoding once; return the body."""
        body = messages.encode_body(message)
        for participant in to:
            if participant.session is not None:
                self.send(participant.session, body)
        return body

    # -- The relay ----------------------------------------------------------------------

    def receive_relay(self, event: control.Event) -> None:
        """What a relay worker, or the one who watches the workers, tells. Never raises."""
        try:
            self.relaying.receive_event(event, self.clock())
        except Exception:
            # A fault of ours: it costs this event, and not the channel that all others come by.
            log.exception("an event could not be handled", extra={"kind": type(event).__name__})

    def ask_stats(self, room: str, receiver: StatsReceiver) -> None:
        """Have `receiver` called, once, with what the relay measures in `room`, or with None."""
        self.relaying.ask_stats(room, receiver, self.clock())

    def ask_for_guest(
        self,
        kind: Literal["publish", "play"],
        participant: str,
        sdp: str,
        receiver: Receive,
        *,
        address: str = "",
    ) -> None:
        """Have `receiver` called, once, with the relay's answer to a guest's offer, or with a
        ProtocolError. Raise one as well."""
        room = self._guests.get(participant)
        guest = room and room.participants.get(participant)
        if room is None or not guest:
            raise ProtocolError("session-expired", "The session is over.")
        self.relaying.ask_for_guest(kind, guest, room.name, address, sdp, receiver, self.clock())

    def find_room(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def list_rooms(self) -> list[Room]:
        return list(self._rooms.values())

    def join_guest(
        self,
        room: str,
        *,
        name: str,
        grant: Grant,
        metadata: msgspec.Raw = NO_METADATA,
        hidden: bool = False,
        watches: str | None = None,
        access: Access | None = None,
        address: str = "",
    ) -> str:
        """Let one in who has no WebSocket, and return its participant id.

        A WHIP publisher is seen by all. A hidden one is a WHEP player: nobody is told, and it
        gets the media of `watches`, or of everyone. `access` is what its token opens, `address`
        where it comes from. Raise ProtocolError.
        """
        if self._draining:
            raise ProtocolError("draining", "The server is going away.")
        if not self._relays.available:
            raise ProtocolError("relay-unavailable", "There is no media relay now.")
        now = self.clock()
        self._check_token(access, now)
        identity = access.identity if access else ""
        ban_key = make_ban_key(identity, address) if identity or address else ""
        self.entrance.check_guest(self._rooms.get(room), access)
        former = self._find_former(room, identity, guest=True, hidden=hidden)
        entered = self._enter(room, ban_key, replaces=former is not None)
        if watches is not None:
            entered.find(watches)
        if former is not None:
            self._supersede(former)
        guest = Participant(
            "p_" + self._token(),
            name[: self.limits.max_name],
            grant,
            metadata=metadata,
            hidden=hidden,
            watches=watches,
            identity=identity,
            ban_key=ban_key,
        )
        self._open(entered)
        self._guests[guest.id] = entered
        self._unconnected.append((now + self.limits.media_timeout, guest))
        self.metrics.participants += 1
        effects = entered.add(guest, now)
        if not hidden:
            self._notify("participant-joined", room, participant=_outline(guest))
        self.apply(entered, effects)
        log.info("guest joined", extra={"room": room, "participant": guest.id, "hidden": hidden})
        return guest.id

    def leave_guest(
        self, participant: str, reason: LeaveReason = "left", *, keep: bool = False
    ) -> None:
        """Take a guest out; one that is out already stays so."""
        room = self._guests.pop(participant, None)
        guest = room and room.participants.get(participant)
        if room is not None and guest:
            self._remove(room, guest, reason, keep=keep)
            fields = {"room": room.name, "participant": participant, "reason": reason}
            log.info("guest left", extra=fields)

    # -- Operations ---------------------------------------------------------------------

    def rooms(self) -> list[RoomDetails]:
        """All rooms now, by name."""
        return [describe(self._rooms[name]) for name in sorted(self._rooms)]

    def room(self, name: str) -> RoomDetails | None:
        room = self._rooms.get(name)
        return None if room is None else describe(room)

    def close_room(self, name: str) -> bool:
        """Send everyone out of a room; whether there was one."""
        room = self._rooms.get(name)
        if room is not None:
            self.end_room(room)
        return room is not None

    def kick(self, room: str, participant: str, *, ban: bool = False) -> bool:
        """Remove one from a room, with `ban` for as long as that lasts; whether it was there."""
        found = self._rooms.get(room)
        target = None if found is None else found.participants.get(participant)
        if found is None or target is None:
            return False
        if ban:
            found.ban(target)
        self.expel(target)
        return True

    def set_grant(self, room: str, participant: str, grant: Grant) -> bool:
        """Change what one in a room may do, at once; whether it was there."""
        found = self._rooms.get(room)
        target = None if found is None else found.participants.get(participant)
        if found is None or target is None or target.guest:
            return False
        self.apply(found, found.set_grant(target, grant))
        return True

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called next, on the clock; None: not at all."""
        while self._newcomers and not _is_late(*self._newcomers[0]):
            self._newcomers.popleft()
        deadlines = (
            self._timers[0][0] if self._timers else None,
            self._newcomers[0][0] if self._newcomers else None,
            self._unconnected[0][0] if self._unconnected else None,
            self.relaying.requests.get_timer(),
            self.entrance.get_timer(),
        )
        return min((d for d in deadlines if d is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        while self._timers and self._timers[0][0] <= now:
            when, _, subject = heapq.heappop(self._timers)
            if isinstance(subject, Session):
                # One that came back, and was lost again, has a later entry of its own.
                if subject.state is State.DETACHED and subject.expires <= now:
                    self._end_session(subject, "timeout")
            elif subject.scheduled == when:
                subject.scheduled = None
                if self._rooms.get(subject.name) is subject:
                    self.apply(subject, subject.handle_timer(now))
        while self._unconnected and self._unconnected[0][0] <= now:
            guest = self._unconnected.popleft()[1]
            if not guest.connected:
                self.leave_guest(guest.id, "timeout")
        self.relaying.requests.handle_timer(now)
        self.entrance.handle_timer(now)
        while self._newcomers and self._newcomers[0][0] <= now:
            deadline, link = self._newcomers.popleft()
            if _is_late(deadline, link):
                self._close_link(link, "join-timeout", "Nobody joined a room here.")

    def _schedule(self, when: float, subject: Session | Room) -> None:
        # The count makes entries comparable that are due at the same time.
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, subject))


def _changes(effects: Effects) -> bool:
    """Whether there is something to write down: who talks is not."""
    told = [message for _, message in effects.deliveries]
    return not told or any(not isinstance(m, messages.SpeakersChanged) for m in told)


def _is_broadcast(message: ClientMessage) -> bool:
    """Whether a message costs as much as the room is large."""
    if isinstance(message, messages.Data):
        return message.to is None or len(message.to) > 1
    return isinstance(message, (messages.Chat, messages.Update))


def _may_be_long(link: Link, data: bytes) -> bool:
    """Only what is said to the relay grows with the room."""
    return link.session is not None and messages.is_for_relay_untrusted(data)


def _outline(participant: Participant) -> dict[str, object]:
    """What webhooks say of one in a room."""
    return {
        "id": participant.id,
        "identity": participant.identity,
        "name": participant.name,
        "guest": participant.guest,
    }


def _is_late(deadline: float, link: Link) -> bool:
    """Whether a connection will be late at `deadline`, as it stands now."""
    waits = link.closed or link.session is not None or link.knock is not None
    return not waits and link.join_by == deadline


def _plain(seconds: float) -> float:
    """25 rather than 25.0, for clients that read whole numbers only."""
    return int(seconds) if seconds == int(seconds) else seconds
