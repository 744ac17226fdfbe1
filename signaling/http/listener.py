"""Sockets before they are anybody: how many there are, from where, and what they speak.

Each accepted socket is looked at before aiohttp gets it, and cut where nobody takes the response.
A header that does not arrive in time is cut by aiohttp's own keep-alive timer, and a socket that
became a WebSocket is the business of `connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import ssl
from collections import Counter
from collections.abc import Coroutine, Sequence
from socket import MSG_PEEK, SHUT_WR, socket
from typing import Any, Final, cast

from aiohttp import web

from ..access.addresses import key_of
from ..logs import Log
from ..metrics import Metrics
from ..settings.config import Limits
from .proxy import Network, is_trusted
from .tls import Tls

RESPONSE_TIMEOUT: Final = 60.0
"""Seconds for a response to be taken; the page and its scripts are some 300 KB."""

SWEEP: Final = 0.5
"""Seconds between two looks at deadlines."""

RECOUNT: Final = 0.05
"""Minimum seconds between two scans for closed sockets when there is no place left."""

ACCEPTS: Final = 128
"""Sockets accepted in one turn of the loop, so that those that are in are served meanwhile."""

STARVED: Final = 1.0
"""Seconds without accepting after the process or the machine has run out of files."""

_TLS_SHUTDOWN: Final = 2.0
"""Seconds for a client to answer when TLS is taken down."""

_NO_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_GONE: Final = (errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM)
"""accept(2): errors of the connection that was to be accepted, not of the listener."""

_PLAIN_BODY: Final = json.dumps(
    {"code": "https-needed", "message": "This port speaks HTTPS: write https:// in the address."}
).encode()
_PLAIN_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nServer: tandem\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_PLAIN_BODY), _PLAIN_BODY)
)

_log = Log(__name__)


class _Visit:
    __slots__ = ("deadline", "key")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.deadline: float | None = None  # for the response to be taken


class Listener:
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
        self._listening: dict[socket, Tls | None] = {}
        self._arriving: set[asyncio.Task[None]] = set()
        self._visits: dict[web.RequestHandler, _Visit] = {}
        self._by_address: Counter[str] = Counter()
        self._counted = 0.0  # when
        self._complained = -60.0  # when

    def __len__(self) -> int:
        return len(self._visits) + len(self._arriving)

    # -- Listening ----------------------------------------------------------------------

    def listen(self, sock: socket, tls: Tls | None = None) -> None:
        """Accept on a bound socket that listens; by TLS as it is configured at the time."""
        self._listening[sock] = tls
        self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Accept nobody any more; those that are in stay. Idempotent."""
        for sock in self._listening:
            self._loop.remove_reader(sock)
            sock.close()
        self._listening.clear()

    async def stop(self) -> None:
        """Close, and cut what has not said anything yet."""
        self.close()
        for task in self._arriving:
            task.cancel()
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def _accept(self, sock: socket) -> None:
        for _ in range(ACCEPTS):
            try:
                conn, peer = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_FILES:
                    self._starve(sock, error)
                    return
                if error.errno in _GONE:
                    continue
                raise
            conn.setblocking(False)
            tls = self._listening[sock]
            self._receive(conn, peer, None if tls is None else tls.context)

    def _starve(self, sock: socket, error: OSError) -> None:
        """No file is left for the next socket, which waits, and would wake us without an end."""
        self._metrics.refused["files"] += 1
        now = self._loop.time()
        if now - self._complained >= 60.0:
            self._complained = now
            _log.error("out of files", extra={"reason": error.strerror, "sockets": len(self)})
        self._loop.remove_reader(sock)
        self._loop.call_later(STARVED, self._resume, sock)

    def _resume(self, sock: socket) -> None:
        if sock in self._listening:
            self._loop.add_reader(sock, self._accept, sock)

    # -- Sockets ------------------------------------------------------------------------

    def _receive(self, conn: socket, peer: Any, tls: ssl.SSLContext | None) -> None:
        """Hand an accepted socket on, or cut it."""
        address = peer[0] if isinstance(peer, tuple) else ""
        key = None if is_trusted(address, self._trusted) else key_of(address)
        reason = self._find_refusal(key)
        if reason is not None:
            self._metrics.refused[reason] += 1
            conn.close()
            return
        if key is not None:
            self._by_address[key] += 1
        self._start(self._greet(conn, key, tls))

    def _start(self, greeting: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(greeting)
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _greet(self, conn: socket, key: str | None, tls: ssl.SSLContext | None) -> None:
        """Give a socket to aiohttp, after the TLS handshake where there is one."""
        options: dict[str, Any] = {}
        visitor = _Visitor(self, key)
        try:
            if tls is not None:
                if await self._speaks_http(conn):
                    self._metrics.refused["plain-http"] += 1
                    await self._answer_plainly(conn)
                    return
                options = {
                    "ssl": tls,
                    "ssl_handshake_timeout": self._limits.handshake_timeout,
                    "ssl_shutdown_timeout": _TLS_SHUTDOWN,
                }
            await self._loop.connect_accepted_socket(lambda: visitor, conn, **options)
        except (OSError, TimeoutError):
            pass  # the client went away, or cannot agree with us on TLS: ssl.SSLError is an OSError
        finally:
            if not visitor.arrived:
                conn.close()
                self._release(key)

    async def _speaks_http(self, conn: socket) -> bool:
        """True where the first byte is a method's and not a TLS record's. Raises TimeoutError."""
        async with asyncio.timeout(self._limits.handshake_timeout):
            while True:
                with contextlib.suppress(BlockingIOError):
                    first = conn.recv(1, MSG_PEEK)
                    return first.isalpha() and first.isupper()
                await self._wait_readable(conn)

    async def _wait_readable(self, conn: socket) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not readable.done():
                readable.set_result(None)

        self._loop.add_reader(conn, wake)
        try:
            await readable
        finally:
            self._loop.remove_reader(conn)

    async def _answer_plainly(self, conn: socket) -> None:
        """Say so in plain HTTP, and read on until the client has gone: data left unread would make
        the kernel reset the connection before the answer is there. Raises TimeoutError."""
        conn.send(_PLAIN_ANSWER)
        conn.shutdown(SHUT_WR)
        async with asyncio.timeout(_TLS_SHUTDOWN):
            while await self._loop.sock_recv(conn, 4096):
                pass

    def receive(self, transport: asyncio.Transport, key: str | None) -> None:
        """A socket is open, its TLS too: aiohttp gets it."""
        handler = self._server()
        self._visits[handler] = _Visit(key)
        transport.set_protocol(handler)
        handler.connection_made(transport)

    def _find_refusal(self, key: str | None) -> str | None:
        limits = self._limits
        for attempt in range(2):
            if len(self) + self._metrics.connections >= limits.max_sockets:
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

    def _release(self, key: str | None) -> None:
        if key is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

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
            self._release(self._visits.pop(handler).key)


class _Visitor(asyncio.Protocol):
    """Stands in until the socket is open; for TLS that is after the handshake."""

    def __init__(self, listener: Listener, key: str | None) -> None:
        self._listener = listener
        self._key = key
        self.arrived = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.arrived = True
        self._listener.receive(cast(asyncio.Transport, transport), self._key)
