"""`/ws`: from an HTTP request to a WebSocket of the hub."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from aiohttp import web

from ..access.addresses import AddressLimits
from ..metrics import Metrics
from ..protocol.errors import ProtocolError
from ..settings.config import Config, find_public_hosts
from ..websocket import fast, portable
from ..websocket.connection import Connect, Connections
from ..websocket.handshake import Refusal, accept_upgrade, check_origin
from .proxy import is_trusted, parse_networks
from .requests import ADDRESS, names_this_machine, strip_port
from .responses import make_error


class Upgrade:
    """Lets WebSockets in."""

    def __init__(
        self, config: Config, connections: Connections, metrics: Metrics, addresses: AddressLimits
    ) -> None:
        self._config = config
        self._connections = connections
        self._metrics = metrics
        self._addresses = addresses
        self._trusted = parse_networks(config.trusted_proxy) if config.redis_url is None else ()
        self._draining = False
        self._direct = config.websocket == "direct" or (
            config.websocket == "auto" and fast.is_available()
        )
        # Nobody but this machine is meant, and no token keeps others' pages out.
        self._only_local = not (
            config.api_key
            or config.api_key_file
            or config.open
            or config.trusted_proxy
            or find_public_hosts(config.host)
        )

    def add_to(self, app: web.Application) -> None:
        # RFC 6455, 4.1: "The method of the request MUST be GET".
        app.router.add_get("/ws", self.websocket, allow_head=False)

    def drain(self) -> None:
        """Let nobody in from now on."""
        self._draining = True

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        return await self.open(request, self._connections)

    async def open(
        self, request: web.Request, connections: Connections, connect: Connect | None = None
    ) -> web.StreamResponse:
        """Make a connection of a request, or refuse it; see `Connection` for `connect`."""
        address = request[ADDRESS]
        try:
            accept = accept_upgrade(request.headers)
            self._check_host(request)
            self._check_way(request)
            check_origin(request.headers.get("Origin"), request.host, self._config.allow_origin)
            self._check_room_for_one_more()
            self._check_address(address)
        except Refusal as refusal:
            self._metrics.refused[refusal.code] += 1
            headers = {"Sec-WebSocket-Version": "13"} if refusal.status == 426 else {}
            return make_error(refusal.status, refusal.code, refusal.message, headers)
        if not self._direct:
            return await portable.serve(request, connections, address, connect)
        fast.take_over(request, accept, connections, address, connect)
        return web.Response()

    def _check_host(self, request: web.Request) -> None:
        """DNS rebinding: a stranger's page whose name now points at 127.0.0.1 has an origin that
        equals its Host, and would be let in. Raises Refusal."""
        if not self._only_local or names_this_machine(request):
            return
        host = strip_port(request.host).lower()
        origins = self._config.allow_origin
        if "*" not in origins and host not in {urlsplit(o).hostname for o in origins}:
            raise Refusal(
                403,
                "forbidden",
                "This server is for this machine alone and knows no such Host: it needs"
                " --trusted-proxy, --allow-origin or --api-key to be called otherwise.",
            )

    def _check_way(self, request: web.Request) -> None:
        """A proxy that spreads rooms over hubs knew of none: two of one room would be on two hubs
        and never meet. Raises Refusal."""
        chosen_by = request.headers.get("X-Tandem-Room", "").strip()
        if chosen_by == "room=" and is_trusted(request.remote or "", self._trusted):
            raise Refusal(
                400,
                "bad-request",
                "Rooms are spread over several hubs here: name the room in the address, as in"
                " /ws?room=demo.",
            )

    def _check_room_for_one_more(self) -> None:
        if self._draining:
            raise Refusal(503, "draining", "This server is going away.")
        if len(self._connections) >= self._config.limits.max_connections:
            raise Refusal(503, "overloaded", "This server has all the connections it may have.")

    def _check_address(self, address: str) -> None:
        refused = self._addresses.connect(address, time.monotonic())
        if refused is not None:
            self._metrics.refused["rate-limited"] += 1
            text = "Too many connections from your network."
            raise ProtocolError("rate-limited", text, retry_after=refused[1])
