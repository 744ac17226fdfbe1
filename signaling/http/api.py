"""The operations API: rooms and participants, with a token that administers them."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from relay.control import TrackStats

from ..access.credentials import Credentials
from ..hub.details import RoomDetails
from ..hub.hub import Hub
from .requests import authorize_local, find_token
from .responses import make_error, make_json


class Api:
    """`/api`. Without keys it is for this machine alone."""

    def __init__(self, hub: Hub, credentials: Credentials) -> None:
        self._hub = hub
        self._credentials = credentials

    def add_to(self, app: web.Application) -> None:
        router = app.router
        router.add_get("/api/rooms", self.list_rooms)
        router.add_get("/api/rooms/{room}", self.get_room)
        router.add_delete("/api/rooms/{room}", self.close_room)
        router.add_delete("/api/rooms/{room}/participants/{participant}", self.kick)
        router.add_delete("/api/rooms/{room}/identities/{identity}", self.kick_identity)
        router.add_get("/api/ice-servers", self.list_ice_servers)

    async def list_rooms(self, request: web.Request) -> web.Response:
        scope = self._authorize_list(request)
        rooms = self._hub.rooms()
        return make_json({"rooms": [room for room in rooms if scope in ("", room.name)]})

    async def get_room(self, request: web.Request) -> web.Response:
        room = self._find_room(request)
        media = [
            {**msgspec.structs.asdict(track), "path": "relay"}
            for track in await self._collect_stats(room.name)
        ]
        return make_json({**msgspec.structs.asdict(room), "media": media})

    async def _collect_stats(self, room: str) -> list[TrackStats]:
        """What the relay measures of the room's tracks; nothing where it does not answer."""
        waiting: asyncio.Future[list[TrackStats]] = asyncio.get_running_loop().create_future()

        def receive(tracks: list[TrackStats] | None) -> None:
            if not waiting.done():
                waiting.set_result(tracks or [])

        self._hub.ask_stats(room, receive)
        return await waiting

    async def close_room(self, request: web.Request) -> web.Response:
        self._hub.close_room(self._find_room(request).name)
        return web.Response(status=204)

    async def kick(self, request: web.Request) -> web.Response:
        room = self._find_room(request)
        participant = request.match_info["participant"]
        if self._hub.kick(room.name, participant, ban=_wants_ban(request)):
            return web.Response(status=204)
        text = f"No participant {participant} in room {room.name}."
        return make_error(404, "unknown-participant", text)

    async def kick_identity(self, request: web.Request) -> web.Response:
        """Remove all who came with one identity: an application knows no participant's id."""
        room, identity = self._find_room(request), request.match_info["identity"]
        found = [p.id for p in room.participants if identity and p.identity == identity]
        for participant in found:
            self._hub.kick(room.name, participant, ban=_wants_ban(request))
        if found:
            return web.Response(status=204)
        text = f"Nobody with identity {identity} in room {room.name}."
        return make_error(404, "unknown-participant", text)

    async def list_ice_servers(self, request: web.Request) -> web.Response:
        """What a token's holder puts into its RTCConfiguration; without keys, anyone's."""
        identity = "guest"
        if self._credentials.needs_tokens:
            identity = self._credentials.verify(find_token(request)).identity or identity
        return make_json({"ice_servers": self._credentials.ice_servers(identity)})

    def _authorize_list(self, request: web.Request) -> str:
        """Return the one room that may be listed, empty for all. Raises ProtocolError."""
        if self._credentials.needs_tokens:
            return self._credentials.authorize_list(find_token(request)).room
        authorize_local(request)
        return ""

    def _find_room(self, request: web.Request) -> RoomDetails:
        """The room in the path, for whoever may administer it. Raises for all others."""
        name = request.match_info["room"]
        self._authorize(request, name)
        room = self._hub.room(name)
        if room is None:
            raise web.HTTPNotFound(reason=f"No room {name}.")
        return room

    def _authorize(self, request: web.Request, room: str | None) -> str:
        """Return the one room that may be administered, empty for all. Raises ProtocolError."""
        if self._credentials.needs_tokens:
            return self._credentials.authorize_admin(find_token(request), room).room
        authorize_local(request)
        return ""


def _wants_ban(request: web.Request) -> bool:
    return request.query.get("ban") == "true"
