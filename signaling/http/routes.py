"""HTTP: the WebSocket's door, the page, health, metrics and the operations API.

Each refusal is JSON with a stable `code` and a `message` for people; no exception's text leaves.
Above 400 lines, because all routes pass one guard, and what it asks of a request is beside it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import mimetypes
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relay.control import TrackStats

from ..access.credentials import Credentials
from ..hub.hub import Hub
from ..logs import Log
from ..metrics import CONTENT_TYPE, Exposition, Metrics
from ..protocol.errors import ProtocolError
from ..settings.config import Config, is_local
from ..websocket import fast, portable
from ..websocket.connection import Connections
from ..websocket.handshake import Refusal, accept_upgrade, check_origin
from .door import Door
from .proxy import find_client, find_scheme, parse_networks

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Names what keeps the server from being ready, one text each.
Readiness = Callable[[], Iterable[str]]

_log = Log(__name__)
_encode = msgspec.json.Encoder().encode

# What browsers have to be told, whatever the machine's own table of types says.
MIME_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wasm": "application/wasm",
}
# Safari before 15.4 does not count WebSockets among 'self', so that our own are named.
_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data: blob:;"
    " media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'self'"
)
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
# A year, without subdomains: they may be somebody else's.
_HSTS = "max-age=31536000"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self)"
    ),
}


def find_static() -> Path:
    """Where the page is: inside the package when installed, beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"


class Routes:
    """The handlers of one server and what they need."""

    def __init__(
        self,
        *,
        config: Config,
        hub: Hub,
        connections: Connections,
        metrics: Metrics,
        readiness: Readiness,
        credentials: Credentials,
        static: Path | None = None,
    ) -> None:
        self._config = config
        self._hub = hub
        self._connections = connections
        self._metrics = metrics
        self._exposition = Exposition(metrics)
        self._readiness = readiness
        self._credentials = credentials
        self._trusted = parse_networks(config.trusted_proxy)
        self._static = (static or find_static()).resolve()
        self._direct = config.websocket == "direct" or (
            config.websocket == "auto" and fast.is_available()
        )
        self.address = ContextVar("address", default="")
        """Of the client whose request is handled."""
        self.draining = False
        self.door: Door | None = None

    def add_to(self, app: web.Application) -> None:
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(self._add_headers)
        # RFC 6455, 4.1: "The method of the request MUST be GET".
        app.router.add_get("/ws", self.websocket, allow_head=False)
        app.router.add_get("/", self.page)
        app.router.add_get("/static/{path:.*}", self.static)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/api/rooms", self.list_rooms)
        app.router.add_get("/api/rooms/{room}", self.get_room)
        app.router.add_delete("/api/rooms/{room}", self.close_room)
        app.router.add_delete("/api/rooms/{room}/participants/{participant}", self.kick)
        app.router.add_get("/api/ice-servers", self.list_ice_servers)

    # -- The protocol -------------------------------------------------------------------

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        address = self.find_address(request)
        try:
            accept = accept_upgrade(request.headers)
            check_origin(request.headers.get("Origin"), request.host, self._config.allow_origin)
            self._check_room_for_one_more()
            self._check_address(address)
        except Refusal as refusal:
            self._metrics.refused[refusal.code] += 1
            headers = {"Sec-WebSocket-Version": "13"} if refusal.status == 426 else {}
            return make_error(refusal.status, refusal.code, refusal.message, headers)
        if not self._direct:
            return await portable.serve(request, self._connections, address)
        fast.take_over(request, accept, self._connections, address)
        return web.Response()

    def _check_room_for_one_more(self) -> None:
        if self.draining:
            raise Refusal(503, "draining", "This server is going away.")
        if len(self._connections) >= self._config.limits.max_connections:
            raise Refusal(503, "overloaded", "This server has all the connections it may have.")

    def _check_address(self, address: str) -> None:
        refused = self._hub.guard.connect(address, time.monotonic())
        if refused is not None:
            self._metrics.refused["rate-limited"] += 1
            text = "Too many connections from your network."
            raise ProtocolError("rate-limited", text, retry_after=refused[1])

    # -- The page -----------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.StreamResponse:
        return self._serve_file(request, "index.html")

    async def static(self, request: web.Request) -> web.StreamResponse:
        return self._serve_file(request, request.match_info["path"])

    def _serve_file(self, request: web.Request, name: str) -> web.StreamResponse:
        if name.endswith("/"):
            name += "index.html"
        try:
            path = (self._static / name).resolve()
            known = path.is_relative_to(self._static) and path.is_file()
        except (OSError, ValueError):  # too long, or a NUL in it
            known = False
        if not known or path.name.startswith("."):
            return make_error(404, "not-found", f"There is nothing at {request.path}.")
        kind = MIME_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        return web.FileResponse(
            path,
            headers={
                "Content-Type": kind or "application/octet-stream",
                # The page changes with the server; an ETag makes asking again cheap.
                "Cache-Control": "no-cache",
                "Content-Security-Policy": make_policy(request.host),
            },
        )

    # -- Health and metrics -------------------------------------------------------------

    async def healthz(self, _request: web.Request) -> web.Response:
        return make_json({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        reasons = (["draining"] if self.draining else []) + list(self._readiness())
        status = "draining" if self.draining else "unready" if reasons else "ready"
        return make_json({"status": status, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=self._exposition.render(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )

    # -- Operations ---------------------------------------------------------------------

    async def list_rooms(self, request: web.Request) -> web.Response:
        scope = self._authorize(request, None)
        rooms = self._hub.rooms()
        return make_json({"rooms": [room for room in rooms if scope in ("", room.name)]})

    async def get_room(self, request: web.Request) -> web.Response:
        name = request.match_info["room"]
        self._authorize(request, name)
        room = self._hub.room(name)
        if room is None:
            return _no_room(name)
        media = [
            {**msgspec.structs.asdict(track), "path": "relay"}
            for track in await self._collect_stats(name)
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
        name = request.match_info["room"]
        self._authorize(request, name)
        return web.Response(status=204) if self._hub.close_room(name) else _no_room(name)

    async def kick(self, request: web.Request) -> web.Response:
        name, participant = request.match_info["room"], request.match_info["participant"]
        self._authorize(request, name)
        if self._hub.kick(name, participant, ban=request.query.get("ban") == "true"):
            return web.Response(status=204)
        return make_error(
            404, "unknown-participant", f"No participant {participant} in room {name}."
        )

    async def list_ice_servers(self, request: web.Request) -> web.Response:
        """What a token's holder puts into its RTCConfiguration; without keys, anyone's."""
        identity = "guest"
        if self._credentials.needs_tokens:
            identity = self._credentials.verify(find_token(request)).identity or identity
        return make_json({"ice_servers": self._credentials.ice_servers(identity)})

    def _authorize(self, request: web.Request, room: str | None) -> str:
        """Return the one room that may be administered, empty for all. Raises ProtocolError."""
        if self._credentials.needs_tokens:
            return self._credentials.authorize_admin(find_token(request), room).room
        authorize_local(request)
        return ""

    # -- Behind proxies -----------------------------------------------------------------

    def find_address(self, request: web.Request) -> str:
        """The client's address, also behind trusted proxies."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return find_client(request.remote or "", forwarded, self._trusted)

    def _is_secure(self, request: web.Request) -> bool:
        """Whether the browser came by HTTPS, here or at a trusted proxy."""
        scheme = find_scheme(
            request.remote or "", request.headers.get("X-Forwarded-Proto"), self._trusted
        )
        return (scheme or request.scheme) == "https"

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 101:
            return
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", make_policy(request.host))
        response.headers["Server"] = "tandem"
        secure = self._is_secure(request)
        if secure or is_local(_strip_port(request.host)):
            # Elsewhere browsers ignore it, and complain in their console.
            response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        # Not with a certificate made in memory: browsers would then let nobody past its warning.
        if secure and self._config.tls != "self-signed":
            response.headers.setdefault("Strict-Transport-Security", _HSTS)

    def _check_request(self, request: web.Request, address: str) -> None:
        """Raise ProtocolError for an address that is banned, or joins too often by WHIP or WHEP."""
        now = time.monotonic()
        banned = self._hub.guard.check_ban(address, now)
        if banned:
            text = "Your network is shut out for a while."
            raise ProtocolError("rate-limited", text, retry_after=banned)
        if request.method == "POST" and request.path.startswith(("/whip/", "/whep/")):
            refused = self._hub.guard.join(address, now)
            if refused is not None:
                text = "Too many joins from your network."
                raise ProtocolError("rate-limited", text, retry_after=refused[1])

    # -- Refusals -----------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        address = self.find_address(request)
        self.address.set(address)
        protocol = request.protocol
        if self.door is not None:
            self.door.begin(protocol)
        try:
            self._check_request(request, address)
            await self._read_body(request)
            response = await handler(request)
            if response.status == 401:  # WHIP and WHEP refuse by themselves
                self._hub.guard.violate(address, time.monotonic(), "unauthorized")
            return response
        except ProtocolError as error:
            if error.code == "unauthorized":
                self._hub.guard.violate(address, time.monotonic(), error.code)
            return make_error(
                error.kind.status, error.code, error.message, _make_error_headers(error)
            )
        except TimeoutError:
            return make_error(
                408, "bad-request", "The body took too long.", {"Connection": "close"}
            )
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            text = f"{request.path} is for {allowed}."
            return make_error(405, "method-not-allowed", text, {"Allow": allowed})
        except web.HTTPNotFound:
            return make_error(404, "not-found", f"There is nothing at {request.path}.")
        except web.HTTPRequestEntityTooLarge:
            return make_error(413, "too-large", "The body is too large.")
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return make_error(error.status, "bad-request", error.reason)
        except Exception:
            _log.exception("a request failed", extra={"path": request.path})
            return make_error(500, "internal", "Something went wrong here.")
        finally:
            if self.door is not None:
                self.door.end(protocol)

    async def _read_body(self, request: web.Request) -> None:
        """Have the body there, for which handlers would wait without an end. aiohttp keeps it."""
        if request.body_exists:
            try:
                async with asyncio.timeout(self._config.limits.handshake_timeout):
                    await request.read()
            except (web.RequestPayloadError, ConnectionError):
                # Not what its headers say, or the client went away.
                raise ProtocolError("bad-request", "The body cannot be read.") from None


def _make_error_headers(error: ProtocolError) -> dict[str, str]:
    headers = {}
    if error.kind.status == 401:
        # RFC 9110, 15.5.2: a 401 "MUST send a WWW-Authenticate header field".
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return headers


def _no_room(name: str) -> web.Response:
    return make_error(404, "not-found", f"No room {name}.")


def make_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=_encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def make_error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """A refusal as JSON: `{"code": …, "message": …}`."""
    response = make_json({"code": code, "message": message}, status)
    response.headers.update(headers or {})
    return response


def make_policy(host: str) -> str:
    """The page's Content-Security-Policy on a server that the browser knows as `host`."""
    # The header is the client's: only what can be a host gets into ours.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _CONTENT_SECURITY_POLICY.format(sockets=sockets)


def find_token(request: web.Request) -> str | None:
    """The Bearer token of a request (RFC 6750, section 2.1)."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def authorize_local(request: web.Request) -> None:
    """Without keys, only this machine may administer, and no proxy or rebound name on it.

    Behind a proxy everyone's address is the proxy's, and a page whose name was made to point at
    127.0.0.1 has a Host that is not local.
    """
    forwarded = any(
        name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
    )
    if forwarded or not _is_loopback(request.remote) or not is_local(_strip_port(request.host)):
        raise ProtocolError("forbidden", "Without a key, only this machine may do that.")


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _strip_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
