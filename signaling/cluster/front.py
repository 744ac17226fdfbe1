"""The way of each client to the hub that owns its room: this one, or another over a link.

It stands between the WebSockets and the hub, and to both looks like the other. A connection
begins at this hub; a `join` or `resume` for a room of another hub moves it there, and what the
client sends from then on is passed on unread. Rules only, without a socket: where a room is, is
asked of `Whereabouts`.

    HERE ──join/resume──▶ ASKING ──▶ HERE or AWAY
    AWAY ──join/resume, not in a room──▶ ASKING
    any ──the connection ends──▶ ENDED
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol

from relay.control import Message

from ..logs import Log
from ..protocol import messages
from ..protocol.errors import GOING_AWAY_CLOSE, ProtocolError
from . import wire

MAX_WAITING: Final = 64 * 1024
"""Bytes of a client's messages that may wait while it is asked where its room is."""

MAX_HELD: Final = 10_000
"""Messages that may wait while this hub asks for its leases."""

TRIES: Final = 3
"""Hubs that are asked for a room before the client is sent away to try again."""

ForClient = wire.Data | wire.Joined | wire.Moved | wire.Closed

log = Log(__name__)


class Outlet(Protocol):
    """What sends to a client."""

    def send(self, data: bytes) -> None: ...
    def send_soon(self, data: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


class Hub(Protocol):
    """What is needed of this hub."""

    def connect(self, outlet: Outlet, *, address: str) -> Any: ...
    def receive(self, link: Any, data: bytes) -> None: ...
    def reject(self, link: Any, code: str) -> None: ...
    def disconnect(self, link: Any) -> None: ...


class Way(Protocol):
    """A link to the hub that owns a room."""

    def send(self, message: Message) -> bool: ...


class Whereabouts(Protocol):
    """Where rooms are. Answers come later, by `Front.go`."""

    def is_here(self, room: str) -> bool:
        """Whether this hub owns the room, as far as is known without asking."""

    def seek(self, splice: Splice, message: messages.Join | messages.Resume) -> None:
        """Find out where the client has to go, and call `Front.go` with it."""


class State(enum.Enum):
    HERE = "here"
    ASKING = "asking"
    AWAY = "away"
    ENDED = "ended"


class Splice:
    """One client's connection at the hub that it reached."""

    __slots__ = (
        "address",
        "channel",
        "joined",
        "link",
        "outlet",
        "room",
        "state",
        "tries",
        "waiting",
        "waiting_bytes",
        "way",
    )

    def __init__(self, outlet: Outlet, address: str, link: Any) -> None:
        self.outlet = outlet
        self.address = address
        self.state = State.HERE
        self.link = link  # of this hub, while the client is here
        self.way: Way | None = None
        self.channel = 0
        self.room = ""
        self.joined = False
        self.tries = 0
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0


class Front:
    """What `Connections` takes for the hub."""

    def __init__(
        self, hub: Hub, whereabouts: Whereabouts, *, may_speak: Callable[[], bool]
    ) -> None:
        self._hub = hub
        self._whereabouts = whereabouts
        self._may_speak = may_speak
        self._numbers = itertools.count(1)
        self._away: dict[int, Splice] = {}
        self._held: list[tuple[Splice, bytes]] = []
        self.spliced = 0
        """Connections that were ever moved to another hub."""
        self.broken = 0
        """Connections that ended because their room's hub was gone."""

    @property
    def away(self) -> int:
        """Clients of this hub that are in other hubs' rooms."""
        return len(self._away)

    # -- As the hub seen by a WebSocket -------------------------------------------------

    def connect(self, outlet: Outlet, *, address: str) -> Splice:
        return Splice(outlet, address, self._hub.connect(outlet, address=address))

    def receive(self, splice: Splice, data: bytes) -> None:
        """One text frame of a client. Never raises."""
        if not self._may_speak():
            if len(self._held) < MAX_HELD:
                self._held.append((splice, data))
            else:
                self.send_away(splice)
        elif splice.state is State.ASKING:
            self._wait(splice, data)
        elif splice.state is not State.ENDED:
            self._pass_on(splice, data)

    def reject(self, splice: Splice, code: str) -> None:
        if splice.state is State.AWAY and splice.way is not None:
            splice.way.send(wire.Reject(splice.channel, code))
        elif splice.link is not None:
            self._hub.reject(splice.link, code)

    def disconnect(self, splice: Splice) -> None:
        self._leave(splice)
        splice.state = State.ENDED
        splice.waiting.clear()

    def _pass_on(self, splice: Splice, data: bytes) -> None:
        message = None if self._is_in_room(splice) else find_request_untrusted(data)
        if message is None or self._is_for_here(splice, message):
            self._deliver(splice, data)
            return
        splice.state, splice.tries = State.ASKING, 0
        self._wait(splice, data)
        self._whereabouts.seek(splice, message)

    def _is_in_room(self, splice: Splice) -> bool:
        return splice.joined if splice.link is None else splice.link.session is not None

    def _is_for_here(self, splice: Splice, message: messages.Join | messages.Resume) -> bool:
        return (
            splice.state is State.HERE
            and isinstance(message, messages.Join)
            and self._whereabouts.is_here(message.room)
        )

    def _deliver(self, splice: Splice, data: bytes) -> None:
        if splice.way is not None:
            splice.way.send(wire.Data(splice.channel, data))
        elif splice.link is not None:
            self._hub.receive(splice.link, data)

    def _wait(self, splice: Splice, data: bytes) -> None:
        splice.waiting.append(data)
        splice.waiting_bytes += len(data)
        if splice.waiting_bytes > MAX_WAITING and len(splice.waiting) > 1:
            self.send_away(splice)

    def resume_speaking(self) -> None:
        """This hub has asked for its leases after a stall: what came meanwhile is carried out."""
        held, self._held = self._held, []
        for splice, data in held:
            self.receive(splice, data)

    # -- Where it goes ------------------------------------------------------------------

    def go(self, splice: Splice, room: str, way: Way | None) -> None:
        """The answer to `seek`: the way to the room's hub, None for this one."""
        if splice.state is not State.ASKING:
            return
        self._leave(splice)
        splice.room = room
        if way is None:
            splice.state = State.HERE
            if splice.link is None:
                splice.link = self._hub.connect(splice.outlet, address=splice.address)
        else:
            splice.state, splice.way, splice.channel = State.AWAY, way, next(self._numbers)
            self._away[splice.channel] = splice
            self.spliced += 1
            way.send(wire.Open(splice.channel, room, splice.address))
        waiting, splice.waiting, splice.waiting_bytes = splice.waiting, [], 0
        for data in waiting:
            self._deliver(splice, data)
        if way is not None:
            # Kept for the case that the room has moved on meanwhile.
            splice.waiting, splice.waiting_bytes = waiting, sum(map(len, waiting))

    def send_away(self, splice: Splice) -> None:
        """The room's hub cannot be reached: the client is to come back, and will be taken then."""
        if splice.state is State.ENDED:
            return
        self._leave(splice)
        splice.state = State.ENDED
        splice.waiting.clear()
        self.broken += 1
        splice.outlet.close(GOING_AWAY_CLOSE, "draining")

    def _leave(self, splice: Splice) -> None:
        """Take a client away from where it was."""
        link, splice.link = splice.link, None
        if link is not None:
            self._hub.disconnect(link)
        way, splice.way, splice.joined = splice.way, None, False
        if way is not None:
            del self._away[splice.channel]
            way.send(wire.Gone(splice.channel))

    # -- From the hubs that own rooms ---------------------------------------------------

    def receive_from_owner(
        self, message: wire.Data | wire.Joined | wire.Moved | wire.Closed
    ) -> None:
        """What another hub has to say to one of this hub's clients."""
        splice = self._away.get(message.channel)
        if splice is None:
            return
        match message:
            case wire.Data(soon=True):
                splice.outlet.send_soon(message.frame)
            case wire.Data():
                splice.outlet.send(message.frame)
            case wire.Joined():
                splice.joined = message.joined
                splice.waiting, splice.waiting_bytes = [], 0
            case wire.Closed():
                splice.outlet.close(message.code, message.reason)
            case wire.Moved():
                self._ask_again(splice)

    def _ask_again(self, splice: Splice) -> None:
        splice.tries += 1
        message = find_request_untrusted(splice.waiting[0]) if splice.waiting else None
        if splice.tries >= TRIES or message is None:
            self.send_away(splice)
            return
        self._leave(splice)
        splice.state = State.ASKING
        self._whereabouts.seek(splice, message)

    def lose_way(self, way: Way) -> None:
        """A hub is gone: its rooms' clients are to come back."""
        for splice in [s for s in self._away.values() if s.way is way]:
            splice.way = None
            del self._away[splice.channel]
            self.send_away(splice)


def find_request_untrusted(data: bytes) -> messages.Join | messages.Resume | None:
    """The message if it asks for a room, None for any other and for what is none."""
    # A backslash may hide the word, as \u006a does.
    if b"join" not in data and b"resume" not in data and b"\\" not in data:
        return None
    try:
        message = messages.parse_client_message_untrusted(data)
    except ProtocolError:
        return None
    return message if isinstance(message, messages.Join | messages.Resume) else None
