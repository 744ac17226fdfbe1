"""Where foreign clients come in: the routes of PeerJS and y-webrtc, and what keeps their time."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Final

from aiohttp import web

from ..access.addresses import AddressLimits
from ..access.credentials import Credentials
from ..http.requests import ADDRESS
from ..http.responses import make_error, make_json
from ..http.upgrade import Upgrade
from ..logs import Log
from ..metrics import Metrics
from ..settings.config import Config
from ..websocket.connection import Connections
from ..websocket.handshake import Refusal, check_origin
from .peerjs import PeerJs, Visit
from .ywebrtc import YWebRtc

TICK: Final = 0.5
"""Seconds between two looks at messages that wait for too long."""
Y_WEBRTC_PATH: Final = "/yjs"

log = Log(__name__)


class Foreign:
    """The clients of other systems that this server takes; none where none is switched on."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        guard: AddressLimits,
        credentials: Credentials,
        upgrade: Upgrade,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._upgrade = upgrade
        loop = asyncio.get_running_loop()
        self._all: list[Connections] = []
        self._peerjs: PeerJs | None = None
        self._ywebrtc: YWebRtc | None = None
        if config.peerjs:
            self._peerjs = PeerJs(
                config.peerjs_key,
                config.limits,
                metrics,
                guard,
                clock=time.monotonic,
                token=lambda: secrets.token_hex(16),
            )
            self._peers = Connections(self._peerjs, config.limits, metrics, loop, sampled=False)
            self._all.append(self._peers)
        if config.y_webrtc:
            self._ywebrtc = YWebRtc(config.limits, metrics, guard, clock=time.monotonic)
            self._docs = Connections(self._ywebrtc, config.limits, metrics, loop, sampled=False)
            self._all.append(self._docs)

    def add_to(self, app: web.Application) -> None:
        if self._peerjs is not None:
            base = self._config.peerjs_path.rstrip("/")
            key = self._config.peerjs_key
            app.router.add_get(f"{base}/peerjs", self._open_peer, allow_head=False)
            app.router.add_get(f"{base}/{key}/id", self._make_id)
            app.router.add_get(f"{base}/{key}/peers", self._list_peers)
        if self._ywebrtc is not None:
            app.router.add_get(Y_WEBRTC_PATH, self._open_doc, allow_head=False)

    # -- Requests -----------------------------------------------------------------------

    async def _open_peer(self, request: web.Request) -> web.StreamResponse:
        assert self._peerjs is not None
        query = request.query
        visit = Visit(query.get("key", ""), query.get("id", ""), query.get("token", ""))
        servers = self._credentials.ice_servers(visit.id[:64])
        connect = partial(self._peerjs.enter, visit, servers)
        return await self._upgrade.open(request, self._peers, connect)

    async def _open_doc(self, request: web.Request) -> web.StreamResponse:
        return await self._upgrade.open(request, self._docs)

    async def _make_id(self, request: web.Request) -> web.Response:
        assert self._peerjs is not None
        return self._allow(request, web.Response(text=self._peerjs.make_id()))

    async def _list_peers(self, request: web.Request) -> web.Response:
        assert self._peerjs is not None
        if not self._config.peerjs_discovery:
            text = "Listing peers is switched off (--peerjs-discovery)."
            return self._allow(request, make_error(401, "unauthorized", text))
        return self._allow(request, make_json(self._peerjs.ids))

    def _allow(self, request: web.Request, response: web.Response) -> web.Response:
        """Have a page of an allowed origin read the answer; no other one gets it."""
        origin = request.headers.get("Origin")
        try:
            check_origin(origin, request.host, self._config.allow_origin)
        except Refusal as refusal:
            return make_error(refusal.status, refusal.code, refusal.message)
        response.headers["Cache-Control"] = "no-store"
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        log.debug("PeerJS asked", extra={"address": request[ADDRESS]})
        return response

    # -- Life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after silent connections and late messages until cancelled."""
        async with asyncio.TaskGroup() as group:
            for connections in self._all:
                group.create_task(connections.run_sweeps())
            if self._peerjs is not None:
                group.create_task(self._keep_time(self._peerjs))

    async def _keep_time(self, peerjs: PeerJs) -> None:
        while True:
            await asyncio.sleep(TICK)
            peerjs.handle_timer(time.monotonic())

    def drain(self) -> None:
        """Send everyone elsewhere."""
        for rules in (self._peerjs, self._ywebrtc):
            if rules is not None:
                rules.drain()

    async def abort_all(self) -> None:
        """Cut what is left."""
        for connections in self._all:
            await connections.abort_all()
