"""Who comes by WHIP and WHEP: admitted like any participant, but without a WebSocket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol

from relay import control

from ...protocol.errors import ProtocolError
from ...protocol.messages import Grant, Source

if TYPE_CHECKING:
    from ...access.tokens import Access

_ROOM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SOURCES: Final[frozenset[Source]] = frozenset({"camera", "microphone"})
"""What WHIP publishes where nothing says otherwise."""

_NAMES: Final = {"publish": "WHIP", "play": "WHEP"}

RETRY_AFTER: Final = 2
"""Seconds after which it is worth asking again for what is not there yet."""

Action = Literal["publish", "play"]
Quality = Literal["auto", "high", "medium", "low"]

QUALITIES: Final[Mapping[Quality, tuple[int, int] | None]] = {
    "auto": None,
    "high": None,
    "medium": (640, 360),
    "low": (320, 180),
}
"""Width and height that a player wants at most, by what it asks for; None: all there is."""
Receive = Callable[[control.Answer | control.RoomStats | ProtocolError], None]


class Hub(Protocol):
    """The part of the hub that lets participants in and out."""

    def join_guest(
        self,
        room: str,
        *,
        name: str,
        grant: Grant,
        hidden: bool = False,
        watches: str | None = None,
        access: Access | None = None,
        address: str = "",
    ) -> str: ...
    def leave_guest(self, participant: str) -> None: ...
    def ask_for_guest(
        self, kind: Action, participant: str, sdp: str, receiver: Receive, *, address: str
    ) -> None: ...
    def room(self, name: str) -> object | None: ...


class Relay(Protocol):
    """The part of the relay's adapter that says who is gone, and takes what players want."""

    def send(self, command: control.Command) -> None: ...

    def watch(
        self, *, on_gone: Callable[[str, str | None], None], on_end: Callable[[str], None]
    ) -> None: ...


class Admission:
    """WHIP participants of one server. `forget` is called with each that is gone, whoever
    ended it."""

    def __init__(
        self,
        hub: Hub,
        relay: Relay,
        *,
        forget: Callable[[str], None],
        authorize: Callable[[str | None, str], Access] | None = None,
    ) -> None:
        self._hub = hub
        self._relay = relay
        self._forget = forget
        self._authorize = authorize
        self._rooms: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        relay.watch(on_gone=self._receive_gone, on_end=self._receive_end)

    def authorize(self, token: str | None, room: str) -> Access | None:
        """What the token opens; None where none is needed. Raises ProtocolError."""
        if not _ROOM.match(room):
            raise ProtocolError("bad-request", "A room's name is 1 to 64 of A-Z a-z 0-9 . _ -")
        return None if self._authorize is None else self._authorize(token, room)

    def admit(
        self, action: Action, room: str, watched: str | None, token: str | None, address: str
    ) -> str:
        """Let a publisher or player in; returns its participant id. Raises ProtocolError."""
        access = self.authorize(token, room)
        if access is not None:
            _check_grant(action, access)
        if action == "play" and self._hub.room(room) is None:
            text = f"There is nothing to play in room {room}."
            raise ProtocolError("unknown-track", text, retry_after=RETRY_AFTER)
        publish = action == "publish"
        participant = self._hub.join_guest(
            room,
            name=(access and access.name) or _NAMES[action],
            grant=Grant(publish=publish, subscribe=not publish, chat=False, moderate=False),
            hidden=not publish,
            watches=watched,
            access=access,
            address=address,
        )
        self._rooms[participant] = room
        self._addresses[participant] = address
        return participant

    async def offer(self, action: Action, participant: str, sdp: str) -> str:
        """The relay's answer. Raises ProtocolError."""
        address = self._addresses.get(participant)
        if address is None:
            raise ProtocolError("session-expired", "The session is over.")
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def receive(reply: control.Answer | control.RoomStats | ProtocolError) -> None:
            if waiting.done():
                return
            if isinstance(reply, control.Answer):
                waiting.set_result(reply.sdp)
            elif isinstance(reply, ProtocolError):
                waiting.set_exception(reply)

        self._hub.ask_for_guest(action, participant, sdp, receive, address=address)
        return await waiting

    def prefer(self, participant: str, quality: Quality) -> None:
        """Send a player pictures of this quality at most."""
        room, side = self._rooms.get(participant), QUALITIES[quality]
        if room is not None and side is not None:
            default = control.Preference("", *side)
            self._relay.send(control.Prefer(room, participant, [], default=default))

    def dismiss(self, participant: str) -> None:
        """Take a participant out of its room. Idempotent."""
        self._addresses.pop(participant, None)
        if self._rooms.pop(participant, None) is not None:
            self._hub.leave_guest(participant)

    def _receive_gone(self, room: str, participant: str | None) -> None:
        gone = [p for p, r in self._rooms.items() if r == room and participant in (None, p)]
        for one in gone:
            del self._rooms[one], self._addresses[one]
            self._forget(one)

    def _receive_end(self, participant: str) -> None:
        """RFC 9725, 4.4: without a transport there is no session."""
        if participant in self._rooms:
            self._hub.leave_guest(participant)


def _check_grant(action: Action, access: Access) -> None:
    allowed = access.grant.publish if action == "publish" else access.grant.subscribe
    if action == "publish" and access.sources is not None and not access.sources >= _SOURCES:
        allowed = False
    if not allowed:
        raise ProtocolError("forbidden", f"The token does not allow to {action}.")
