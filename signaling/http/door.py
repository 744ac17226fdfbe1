"""Sockets before they are anybody: how many there are, and from where.

Each accepted socket is looked at before aiohttp gets it, and cut where nobody takes the response.
A header that does not arrive in time is cut by aiohttp's own keep-alive timer, and a socket that
became a WebSocket is the business of `connection`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import MutableMapping, Sequence
from socket import socket
from typing import Any, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from ..access.addresses import key_of
from ..logs import Log
from ..metrics import Metrics
from ..settings.config import Limits
from .proxy import Network, is_trusted

# Connections that the kernel may hold before they are accepted; it caps this at somaxconn.
BACKLOG = 4096
# Seconds for a response to be taken; the page and its scripts are some 300 KB.
RESPONSE_TIMEOUT = 60.0
# How often deadlines are looked at. Seconds.
SWEEP = 0.5
# At most so often it is looked who is gone when there is no place left. Seconds.
RECOUNT = 0.05
# Seconds for a client to answer when TLS is taken down.
_TLS_SHUTDOWN = 2.0
# What is the client's fault, or its network's.
_FAULTS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


class RequestLog(Log):
    """What aiohttp logs of requests that no handler sees. Its errors quote what the client sent,
    a token perhaps, and anybody can cause them: they are named only, and only for debugging."""

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


class _Visit:
    __slots__ = ("deadline", "key")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.deadline: float | None = None  # for the response to be taken


class Door:
    """All sockets of one server that are not WebSockets. `trusted` are proxies: not limited."""

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        metrics: Metrics,
        *,
        trusted: Sequence[Network],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server = server
        self._limits = limits
        self._metrics = metrics
        self._trusted = trusted
        self._loop = loop
        self._visits: dict[web.RequestHandler, _Visit] = {}
        self._by_address: Counter[str] = Counter()
        self._counted = 0.0  # when

    def __len__(self) -> int:
        return len(self._visits)

    async def listen(self, sock: socket, tls: ssl.SSLContext | None) -> asyncio.AbstractServer:
        """Accept on a bound socket."""
        options: dict[str, Any] = {}
        if tls is not None:
            options = {
                "ssl": tls,
                "ssl_handshake_timeout": self._limits.handshake_timeout,
                "ssl_shutdown_timeout": _TLS_SHUTDOWN,
            }
        return await self._loop.create_server(
            lambda: _Visitor(self), sock=sock, backlog=BACKLOG, **options
        )

    # -- Sockets ------------------------------------------------------------------------

    def receive(self, transport: asyncio.Transport) -> None:
        """Hand an accepted socket to aiohttp, or cut it."""
        key = self._find_key(transport)
        reason = self._find_refusal(key)
        if reason is not None:
            self._metrics.refused[reason] += 1
            transport.abort()
            return
        handler = self._server()
        self._visits[handler] = _Visit(key)
        if key is not None:
            self._by_address[key] += 1
        transport.set_protocol(handler)
        handler.connection_made(transport)

    def _find_key(self, transport: asyncio.Transport) -> str | None:
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        return None if is_trusted(address, self._trusted) else key_of(address)

    def _find_refusal(self, key: str | None) -> str | None:
        limits = self._limits
        for attempt in range(2):
            if len(self._visits) + self._metrics.connections >= limits.max_sockets:
                reason = "sockets"
            elif key is not None and self._by_address[key] >= limits.address_connections:
                reason = "address-sockets"
            else:
                return None
            now = self._loop.time()
            if attempt or now < self._counted + RECOUNT:
                return reason
            self._counted = now
            self._forget_gone()
        return None

    # -- Requests -----------------------------------------------------------------------

    def begin(self, handler: web.RequestHandler) -> None:
        """A request's header is there, and it is being handled."""
        visit = self._visits.get(handler)
        if visit is not None:
            visit.deadline = None

    def end(self, handler: web.RequestHandler) -> None:
        """Its response is made. aiohttp itself ends a connection that is idle afterwards."""
        visit = self._visits.get(handler)
        if visit is not None:
            visit.deadline = self._loop.time() + RESPONSE_TIMEOUT

    # -- Time ---------------------------------------------------------------------------

    async def run_sweeps(self) -> None:
        """Cut what is late until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep(self._loop.time())

    def sweep(self, now: float) -> None:
        self._forget_gone()
        for handler, visit in self._visits.items():
            late = visit.deadline is not None and visit.deadline <= now
            if late and handler.transport is not None:
                handler.transport.abort()

    def _forget_gone(self) -> None:
        """Those that are closed, or have become WebSockets and left aiohttp."""
        for handler in [h for h in self._visits if h.transport is None]:
            key = self._visits.pop(handler).key
            if key is not None:
                self._by_address[key] -= 1
                if not self._by_address[key]:
                    del self._by_address[key]


class _Visitor(asyncio.Protocol):
    """Stands in until it is known whether a socket is let in; for TLS that is after the handshake,
    which has a time-out of its own."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.receive(cast(asyncio.Transport, transport))
