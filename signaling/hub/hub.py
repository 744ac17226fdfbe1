"""The hub: a client's message in, messages to clients and to the relay out.

Synchronous and without sockets: connections call in, and what is to be sent goes to their outlets
at once. The clock is read here and nowhere below. The way of a chat message:

    websocket/fast        a frame has come; `connection` hands it to the hub
    hub/hub               receive: how large it may be, whose turn it is; read: parsed and counted
    hub/requests          the table says what carries it out, and whether it is legal now
    hub/talking           chat: may this one, to whom, in which words
    hub/delivery          encoded once, for each who hears it
    hub/session           numbered and kept for a resume, to the connection's outlet
    websocket/connection  framed and written, or kept while the client reads slowly
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Raw

from relay import control

from ..access.addresses import MAX_ADDRESSES, AddressLimits
from ..access.ratelimit import KeyedBuckets
from ..access.tokens import Access
from ..logs import Log
from ..metrics import Metrics
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import Grant, IceServer, LeaveReason
from ..settings.config import Config
from .context import Context
from .delivery import Delivery, Notify, notify_nobody
from .details import RoomDetails, describe
from .guests import Guests
from .journal import Journal
from .links import Links
from .lobby import Lobby
from .members import Members
from .participant import NO_METADATA
from .relaying import Relaying, StatsReceiver
from .relayrequests import NoRelay, Receive, RelayRequests, Relays
from .requests import carry_out, is_broadcast
from .room import Room
from .session import Link, Outlet, Session
from .snapshot import RoomState, Sent
from .timers import Timers
from .turns import Soon, Turns, call_now

REJECTIONS: Final = {
    "bad-request": "Frames are text.",
    "too-large": "The frame is too large.",
    "heartbeat-timeout": "Nothing was heard for two heartbeats.",
    "overloaded": "The client does not read fast enough.",
    "rate-limited": "Too much is sent.",
    "draining": "The server is going away.",
    "internal": "The server made a mistake.",
}
"""What is wrong where the connection, and not the hub, saw it."""

COME_BACK: Final = 0.5
"""Seconds after which clients of a server that goes away ask again, here or elsewhere."""

log = Log(__name__)


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
        addresses: AddressLimits | None = None,
        invite: Callable[[str], tuple[str, float] | None] = lambda _: None,
        notify: Notify = notify_nobody,
        journal: Journal | None = None,
        soon: Soon = call_now,
    ) -> None:
        limits = config.limits
        tokens, once = authorize is not None, config.identity == "once"
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._draining = False
        self._relays: Relays = relays or NoRelay()
        self._timers = Timers()
        self.addresses = addresses or AddressLimits.of(limits)
        self.turns = Turns(soon, self._read)
        self.relay_requests = RelayRequests(self._relays)
        self._links = Links(limits, metrics, self.addresses, self._lose)
        delivery = Delivery(self._relays, self.turns, self._timers, notify, journal)
        self.members = Members(
            limits,
            metrics,
            self._relays,
            delivery,
            self._timers,
            token=token,
            ice_servers=ice_servers,
            tokens=tokens,
            once=once,
            lobby=config.lobby,
            expire=self._expire,
            journal=journal,
        )
        self.lobby = Lobby(
            self.members,
            delivery,
            self._links,
            always=config.lobby,
            tokens=tokens,
            once=once,
            token=token,
        )
        self._context = Context(
            limits=limits,
            metrics=metrics,
            addresses=self.addresses,
            token_joins=KeyedBuckets(
                limits.token_join_rate, limits.token_join_burst, MAX_ADDRESSES
            ),
            members=self.members,
            delivery=delivery,
            lobby=self.lobby,
            guests=Guests(limits, self.members, delivery, self.relay_requests, token),
            relaying=Relaying(self._relays, self.members, delivery, self.relay_requests, metrics),
            journal=journal,
            authorize=authorize,
            invite=invite,
            wall=wall,
        )

    # -- Connections --------------------------------------------------------------------

    def connect(self, outlet: Outlet, *, address: str) -> Link:
        """A new WebSocket."""
        now = self._clock()
        link = Link(outlet, address, self._limits, self._metrics, now)
        self.addresses.opened(address, now)
        if self._draining:
            self._send_away(link)
        else:
            self._links.add(link, now)
        return link

    def receive(self, link: Link, data: bytes) -> None:
        """One text frame. Never raises."""
        if link.closed:
            return
        if len(data) > self._limits.max_frame and not _may_be_long(link, data):
            self.reject(link, "too-large")
            return
        now = self._clock()
        session = link.session
        if session is None or not self.turns.has_to_wait(session.room.name):
            self._read(link, data, now)
        elif not self.turns.wait(session.room.name, link, data, now):
            self._links.limit(link, messages.find_id_untrusted(data), 1.0, now)

    def _read(self, link: Link, data: bytes, now: float) -> None:
        if link.closed:
            return
        try:
            message = messages.parse_client_message_untrusted(data)
        except ProtocolError as error:
            self._metrics.messages["invalid"] += 1
            self._links.refuse(link, error, messages.find_id_untrusted(data), now)
            return
        kind = messages.TYPES[type(message)]
        self._metrics.messages[kind] += 1
        retry_after = link.count(now, broadcast=is_broadcast(message))
        if retry_after:
            self._links.limit(link, message.id, retry_after, now)
            return
        relayed = self._metrics.relayed
        try:
            carry_out(self._context, link, message, now)
        except ProtocolError as error:
            self._links.refuse(link, error, message.id, now, remember=True)
        except Exception:
            # A fault of ours: it costs the client this message and nobody else anything.
            log.exception("a message could not be handled", extra={"kind": kind})
            fault = ProtocolError("internal", REJECTIONS["internal"])
            self._links.refuse(link, fault, message.id, now, remember=True)
        if self._metrics.relayed != relayed:
            self._metrics.observe_relayed(self._clock() - now)

    def reject(self, link: Link, code: str) -> None:
        """The connection saw a fault of the client: `code` says which."""
        if not link.closed:
            now, error = self._clock(), ProtocolError(code, REJECTIONS[code])
            self._links.refuse(link, error, None, now)
            if code == "rate-limited":
                self._links.end(link, error, now)

    def disconnect(self, link: Link) -> None:
        """The socket is gone; the session lives on for `resume_within`."""
        self._links.discard(link)
        self.addresses.closed(link.address)
        self._lose(link, self._clock())

    def drain(self) -> None:
        """Send everyone elsewhere, and take nobody in any more."""
        self._draining = True
        for link in self._links.list_open():
            self._send_away(link)

    def _send_away(self, link: Link) -> None:
        error = ProtocolError("draining", REJECTIONS["draining"], retry_after=COME_BACK)
        self._links.refuse(link, error, None, self._clock())

    def _lose(self, link: Link, now: float) -> None:
        self.lobby.abandon(link)
        self.members.detach(link, now)

    def _expire(self, session: Session, now: float) -> None:
        self.lobby.follow(self.members.leave(session, "timeout", now), now)

    # -- The relay ----------------------------------------------------------------------

    def receive_relay(self, event: control.Event) -> None:
        """What a relay worker, or the one who watches the workers, tells. Never raises."""
        try:
            for guest in self._context.relaying.receive_event(event, self._clock()):
                self.leave_guest(guest.id)
        except Exception:
            # A fault of ours: it costs this event, and not the channel that all others come by.
            log.exception("an event could not be handled", extra={"kind": type(event).__name__})

    def ask_stats(self, room: str, receiver: StatsReceiver) -> None:
        """Have `receiver` called, once, with what the relay measures in `room`, or with None."""
        self._context.relaying.ask_stats(room, receiver, self._clock())

    # -- WHIP and WHEP ------------------------------------------------------------------

    def join_guest(
        self,
        room: str,
        *,
        name: str,
        grant: Grant,
        metadata: Raw = NO_METADATA,
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
        self.relay_requests.check_available()
        now = self._clock()
        self._context.check_token(access, now)
        self.lobby.check_guest(self.members.find_room(room), access)
        return self._context.guests.join(
            room,
            now,
            name=name,
            grant=grant,
            metadata=metadata,
            hidden=hidden,
            watches=watches,
            access=access,
            address=address,
        )

    def leave_guest(self, participant: str, reason: LeaveReason = "left") -> None:
        """Take a guest out; one that is out already stays so."""
        now = self._clock()
        self.lobby.follow(self._context.guests.leave(participant, reason, now), now)

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
        self._context.guests.ask(kind, participant, sdp, receiver, address, self._clock())

    # -- Operations ---------------------------------------------------------------------

    def find_room(self, name: str) -> Room | None:
        return self.members.find_room(name)

    def list_rooms(self) -> list[Room]:
        return self.members.list_rooms()

    def rooms(self) -> list[RoomDetails]:
        """All rooms now, by name."""
        return [describe(room) for room in sorted(self.list_rooms(), key=lambda room: room.name)]

    def room(self, name: str) -> RoomDetails | None:
        room = self.find_room(name)
        return None if room is None else describe(room)

    def close_room(self, name: str) -> bool:
        """Send everyone out of a room; false where there is none."""
        room = self.find_room(name)
        if room is not None:
            self._context.close_room(room, self._clock())
        return room is not None

    def kick(self, room: str, participant: str, *, ban: bool = False) -> bool:
        """Remove one from a room, with `ban` for as long as that lasts; false where it is not."""
        found = self.find_room(room)
        target = found and found.participants.get(participant)
        if found is None or not target:
            return False
        if ban:
            found.ban(target)
        self._context.expel(target, self._clock())
        return True

    def set_grant(self, room: str, participant: str, grant: Grant) -> bool:
        """Change what one in a room may do, at once; false where it is not."""
        found = self.find_room(room)
        target = found and found.participants.get(participant)
        if found is None or not target or target.guest:
            return False
        self._context.delivery.apply(found, found.set_grant(target, grant))
        return True

    # -- Other hubs ---------------------------------------------------------------------

    def take_state(self, name: str) -> RoomState | None:
        """A room as another hub would have to know it."""
        return self.members.take_state(name)

    def restore_room(self, state: RoomState, sent: Iterable[Sent]) -> None:
        """Go on with a room whose hub has died; its sessions wait for their clients."""
        self.members.restore_room(state, list(sent), self._clock())

    def abandon_room(self, name: str) -> None:
        """Another hub owns the room now: say nothing more in it, and have its clients come back."""
        if self.members.abandon_room(name) is not None:
            self.lobby.close_room(name, self._clock())

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called next, on the clock; None: not at all."""
        timed = (self._timers, self._links, self.relay_requests, self.lobby, self._context.guests)
        return min((d for part in timed if (d := part.get_timer()) is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        self._timers.handle_timer(now)
        for departure in self._context.guests.handle_timer(now):
            self.lobby.follow(departure, now)
        self.relay_requests.handle_timer(now)
        self.lobby.handle_timer(now)
        self._links.handle_timer(now)


def _may_be_long(link: Link, data: bytes) -> bool:
    """Only what is said to the relay grows with the room."""
    return link.session is not None and messages.is_for_relay_untrusted(data)
