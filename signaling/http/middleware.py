"""What every request passes: who asks, how much its network may ask, and refusals as HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from ..access.addresses import AddressLimits
from ..logs import Log
from ..protocol.errors import ProtocolError
from ..settings.config import Config, is_local
from .elsewhere import Inside
from .listener import Listener
from .proxy import Network, find_client, find_prefix, find_scheme
from .requests import ADDRESS, FROM_HUB, PREFIX, is_media_path, strip_port
from .responses import make_error, refuse

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Safari before 15.4 does not count WebSockets among 'self', so that our own are named.
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data: blob:;"
    " media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'self'"
)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_HSTS: Final = "max-age=31536000"
"""A year, without subdomains: they may be somebody else's."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self)"
    ),
}
CORS: Final = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: (
        "Accept-Patch, Accept-Post, ETag, Link, Location, Retry-After"
    ),
}
"""On each answer of WHIP and WHEP: their clients are pages of any origin, and show a token."""

PREFLIGHT: Final = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "DELETE, OPTIONS, PATCH, POST",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, If-Match",
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
}
_FAULTS: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""What is the client's fault, or its network's."""

_log = Log(__name__)


class Part(web.Response):
    """A script or style sheet, for which the policies of the page that loads it hold."""


class RequestLog(Log):
    """The log of what aiohttp says of requests that no handler sees. Its errors quote what the
    client sent, a token perhaps, and anybody can cause them: they are named only, and only for
    debugging."""

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        level = logging.DEBUG if isinstance(kwargs.get("exc_info"), _FAULTS) else logging.ERROR
        self.log(level, msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        fault = kwargs.get("exc_info")
        if isinstance(fault, _FAULTS):
            kwargs.update(exc_info=None, extra={"fault": type(fault).__name__})
        return super().process(msg, kwargs)


class Middleware:
    """Wraps all handlers of one server. `trusted` are proxies, whose headers count."""

    def __init__(
        self,
        config: Config,
        addresses: AddressLimits,
        trusted: Sequence[Network],
        count: Callable[[str, int], None],
        inside: Inside | None = None,
    ) -> None:
        self._inside = inside
        self._config = config
        self._addresses = addresses
        self._trusted = trusted
        self._count = count
        self._listener: Listener | None = None

    def add_to(self, app: web.Application) -> None:
        app.middlewares.append(self._wrap)
        app.on_response_prepare.append(self._add_headers)

    def bind(self, listener: Listener) -> None:
        """Tell `listener` of requests from now on."""
        self._listener = listener

    # -- Requests -----------------------------------------------------------------------

    @web.middleware
    async def _wrap(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._identify(request)
        protocol, listener = request.protocol, self._listener
        if listener is not None:
            listener.begin(protocol)
        try:
            response = await self._answer(request, handler)
            self._count(_find_family(request.path), response.status)
            return response
        finally:
            if listener is not None:
                listener.end(protocol)

    def _identify(self, request: web.Request) -> None:
        remote, headers = request.remote or "", request.headers
        forwarded = headers.getall("X-Forwarded-For", [])
        request[ADDRESS] = find_client(remote, forwarded, self._trusted)
        request[PREFIX] = find_prefix(remote, headers.get("X-Forwarded-Prefix"), self._trusted)
        request[FROM_HUB] = self._inside is not None and self._inside.identify(request)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not _is_preflight(request):
                self._check_address(request)
            await self._read_body(request)
            return await handler(request)
        except ProtocolError as error:
            if error.code == "unauthorized":
                self._addresses.violate(request[ADDRESS], time.monotonic(), error.code)
            return refuse(error)
        except TimeoutError:
            return make_error(
                408, "bad-request", "The body took too long.", {"Connection": "close"}
            )
        except web.HTTPException as error:
            return _explain(request, error)
        except Exception:
            _log.exception("a request failed", extra={"path": request.path})
            return make_error(500, "internal", "Something went wrong here.")

    def _check_address(self, request: web.Request) -> None:
        """Raise ProtocolError for an address that is banned, or asks too often."""
        address, now = request[ADDRESS], time.monotonic()
        banned = self._addresses.check_ban(address, now)
        if banned:
            text = "Your network is shut out for a while."
            raise ProtocolError("rate-limited", text, retry_after=banned)
        refused = self._addresses.request(address, now)
        if refused is not None:
            text = "Too many requests from your network."
            raise ProtocolError("rate-limited", text, retry_after=refused[1])
        if request.method == "POST" and is_media_path(request.path):
            refused = self._addresses.join(address, now)
            if refused is not None:
                text = "Too many joins from your network."
                raise ProtocolError("rate-limited", text, retry_after=refused[1])

    async def _read_body(self, request: web.Request) -> None:
        """Have the body there, for which handlers would wait without an end. aiohttp keeps it."""
        if request.body_exists:
            try:
                async with asyncio.timeout(self._config.limits.handshake_timeout):
                    await request.read()
            except (web.RequestPayloadError, ConnectionError):
                # Not what its headers say, or the client went away.
                raise ProtocolError("bad-request", "The body cannot be read.") from None

    # -- Responses ----------------------------------------------------------------------

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 101:
            return
        headers = response.headers
        if isinstance(response, Part):
            headers["X-Content-Type-Options"] = "nosniff"
            return
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Content-Security-Policy", make_policy(request.host))
        headers["Server"] = "tandem"
        if is_media_path(request.path):
            headers.update(CORS)
            if request.method == hdrs.METH_OPTIONS:
                headers.update(PREFLIGHT)
        secure = self._is_secure(request)
        if secure or is_local(strip_port(request.host)):
            # Elsewhere browsers ignore it, and complain in their console.
            headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        # Not with a certificate made in memory: browsers would then let nobody past its warning.
        if secure and self._config.tls != "self-signed":
            headers.setdefault("Strict-Transport-Security", _HSTS)

    def _is_secure(self, request: web.Request) -> bool:
        """True where the browser came by HTTPS, here or at a trusted proxy."""
        scheme = find_scheme(
            request.remote or "", request.headers.get("X-Forwarded-Proto"), self._trusted
        )
        return (scheme or request.scheme) == "https"


def _is_preflight(request: web.Request) -> bool:
    """True for a browser's question that has to be answered with 2xx, or its page learns nothing
    of the refusal that follows. It costs as much to answer as to refuse."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and is_media_path(request.path)
    )


def _explain(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """The same refusals as ours for what aiohttp refuses by itself."""
    if isinstance(error, web.HTTPNotFound) and _is_preflight(request):
        return web.Response(status=204)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        text = f"{request.path} is for {allowed}."
        return make_error(405, "method-not-allowed", text, {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        plain = error.reason == "Not Found"
        text = f"There is nothing at {request.path}." if plain else error.reason
        return make_error(404, "not-found", text)
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return make_error(413, "too-large", "The body is too large.")
    if error.status < 400:
        raise error
    return make_error(error.status, "bad-request", error.reason)


_FAMILIES: Final = ("api", "whip", "whep", "static", "ws", "metrics", "healthz", "readyz")


def _find_family(path: str) -> str:
    """The first part of a path if it is one of ours: a client must not make new time series."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return first if first in _FAMILIES else "page" if not first else "other"


def make_policy(host: str) -> str:
    """The page's Content-Security-Policy on a server that the browser knows as `host`."""
    # The header is the client's: only what can be a host gets into ours.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _CONTENT_SECURITY_POLICY.format(sockets=sockets)
