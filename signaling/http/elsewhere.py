"""Requests about rooms that other hubs own: asked of those hubs, and answered with what they say.

A hub passes on what it got, with the client's address; the owner answers it like a request of its
own, over a socket that only its own process can reach.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import aiohttp
from aiohttp import hdrs, web

from ..cluster.wire import Ask, Told
from .requests import ADDRESS, FROM_HUB, PREFIX, authorize_local

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SECRET: Final = "X-Tandem-Hub"
_ADDRESS: Final = "X-Tandem-Address"
_PREFIX: Final = "X-Tandem-Prefix"
_PASSED_ON: Final = frozenset(
    name.lower()
    for name in (
        hdrs.ACCEPT,
        hdrs.AUTHORIZATION,
        hdrs.CONTENT_TYPE,
        hdrs.HOST,
        hdrs.IF_MATCH,
        hdrs.ORIGIN,
    )
)
_NOT_BACK: Final = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.CONTENT_LENGTH,
        hdrs.DATE,
        hdrs.SERVER,
        hdrs.TRANSFER_ENCODING,
    )
)
TIMEOUT: Final = 15.0
"""Seconds for an answer; the relay has ten for an offer."""


class Inquiries(Protocol):
    """What is needed of it."""

    async def ask_about(self, room: str, ask: Callable[[int], Ask]) -> Told | None:
        """The owner's answer; None where this hub owns the room. Raises ProtocolError."""


class Elsewhere:
    """The middleware that passes requests on; `keyless` is where only this machine operates."""

    def __init__(self, inquiries: Inquiries, *, keyless: bool) -> None:
        self._inquiries = inquiries
        self._keyless = keyless

    @web.middleware
    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        room = request.match_info.get("room")
        if room is None or request[FROM_HUB]:
            return await handler(request)
        if self._keyless and request.path.startswith("/api/"):
            authorize_local(request)
        body = await request.read()
        headers = [(str(n), v) for n, v in request.headers.items() if n.lower() in _PASSED_ON]
        headers.append((_PREFIX, request[PREFIX]))
        told = await self._inquiries.ask_about(
            room,
            lambda number: Ask(
                number, room, request.method, request.path_qs, headers, body, request[ADDRESS]
            ),
        )
        if told is None:
            return await handler(request)
        response = web.Response(status=told.status, body=told.body)
        for name, value in told.headers:
            response.headers[name] = value
        return response


class Inside:
    """The owner's side: requests of other hubs, carried out by this server itself."""

    def __init__(self) -> None:
        self._secret = secrets.token_urlsafe(32)
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def serve(self, runner: web.AppRunner) -> AsyncIterator[None]:
        """Have `runner` answer on a socket of our own."""
        with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
            path = os.path.join(folder, "inside")
            await web.UnixSite(runner, path).start()
            connector = aiohttp.UnixConnector(path, limit=64)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                self._session = session
                yield
                self._session = None

    def identify(self, request: web.Request) -> bool:
        """True for another hub's request; then whose it is comes from that hub."""
        secret = request.headers.get(_SECRET, "")
        if not secrets.compare_digest(secret.encode(errors="replace"), self._secret.encode()):
            return False
        request[ADDRESS] = request.headers.get(_ADDRESS, "")
        request[PREFIX] = request.headers.get(_PREFIX, "")
        return True

    async def carry_out(self, ask: Ask) -> Told:
        """This server's answer to a request that another hub got."""
        session = self._session
        if session is None:
            return Told(ask.request, 503, [(hdrs.RETRY_AFTER, "2")], b"")
        headers = [*ask.headers, (_SECRET, self._secret), (_ADDRESS, ask.address)]
        url = "http://inside" + ask.path
        try:
            async with session.request(
                ask.method, url, headers=headers, data=ask.body or None, allow_redirects=False
            ) as response:
                kept = [
                    (str(n), v) for n, v in response.headers.items() if n.lower() not in _NOT_BACK
                ]
                return Told(ask.request, response.status, kept, await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return Told(ask.request, 502, [], b"")
