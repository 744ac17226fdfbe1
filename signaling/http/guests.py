"""Those who come by WHIP and WHEP: admitted like any participant, but without a WebSocket.

It is what `signaling.http.whip` asks for, by shape alone; refusals are ProtocolErrors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, Protocol

from ..protocol.errors import ProtocolError
from ..protocol.messages import Grant, Source
from ..relaynode import Relays

if TYPE_CHECKING:
    from ..access.tokens import Access
    from ..access.turn import IceServer

_ROOM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
# What WHIP publishes where nothing says otherwise.
_SOURCES: Final[frozenset[Source]] = frozenset({"camera", "microphone"})
_NAMES: Final = {"publish": "WHIP", "play": "WHEP"}

Action = Literal["publish", "play"]


class Hub(Protocol):
    """What is needed of the hub."""

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
    def room(self, name: str) -> object | None: ...


class Guests:
    """`forget` is called with each guest that is gone, whoever ended it; `find_address` names the
    address of the one who asks now."""

    def __init__(
        self,
        hub: Hub,
        relays: Relays,
        *,
        forget: Callable[[str], None],
        authorize: Callable[[str | None, str], Access] | None = None,
        ice_servers: Callable[[str], list[IceServer]] = lambda _: [],
        find_address: Callable[[], str] = lambda: "",
    ) -> None:
        self._hub = hub
        self._relays = relays
        self._forget = forget
        self._authorize = authorize
        self._ice_servers = ice_servers
        self._find_address = find_address
        self._rooms: dict[str, str] = {}
        relays.watch(on_gone=self._receive_gone, on_end=self._receive_end)

    def admit(self, action: Action, room: str, participant: str | None, token: str | None) -> str:
        """Let a publisher or player in; returns its participant id. Raises ProtocolError."""
        if not _ROOM.match(room):
            raise ProtocolError("bad-request", "A room's name is 1 to 64 of A-Z a-z 0-9 . _ -")
        name = _NAMES[action]
        access: Access | None = None
        if self._authorize is not None:
            access = self._authorize(token, room)
            name = access.name or name
            self._check(action, access)
        if action == "play" and self._hub.room(room) is None:
            raise ProtocolError("unknown-track", f"There is nothing to play in room {room}.")
        publish = action == "publish"
        grant = Grant(publish=publish, subscribe=not publish, chat=False, moderate=False)
        guest = self._hub.join_guest(
            room,
            name=name,
            grant=grant,
            hidden=not publish,
            watches=participant,
            access=access,
            address=self._find_address(),
        )
        self._rooms[guest] = room
        return guest

    async def offer(self, action: Action, guest: str, sdp: str) -> str:
        """The relay's answer. Raises ProtocolError."""
        room = self._rooms.get(guest)
        if room is None:
            raise ProtocolError("session-expired", "The session is over.")
        return await self._relays.ask(action, room, guest, sdp)

    def dismiss(self, guest: str) -> None:
        """The guest has left. Idempotent."""
        if self._rooms.pop(guest, None) is not None:
            self._hub.leave_guest(guest)

    def list_ice_servers(self, guest: str) -> Sequence[Mapping[str, object]]:
        """RTCIceServer dictionaries."""
        return [
            {"urls": server.urls, "username": server.username, "credential": server.credential}
            for server in self._ice_servers(guest)
        ]

    @staticmethod
    def _check(action: Action, access: Access) -> None:
        allowed = access.grant.publish if action == "publish" else access.grant.subscribe
        if action == "publish" and access.sources is not None and not access.sources >= _SOURCES:
            allowed = False
        if not allowed:
            raise ProtocolError("forbidden", f"The token does not allow to {action}.")

    def _receive_gone(self, room: str, participant: str | None) -> None:
        for guest in [g for g, r in self._rooms.items() if r == room and participant in (None, g)]:
            del self._rooms[guest]
            self._forget(guest)

    def _receive_end(self, participant: str) -> None:
        """RFC 9725 4.4: without a transport there is no session."""
        if participant in self._rooms:
            self._hub.leave_guest(participant)
