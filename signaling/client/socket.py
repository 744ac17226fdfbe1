"""The WebSocket below a client, and how it is opened."""

from __future__ import annotations

import asyncio
import errno
import re
import ssl as ssl_module
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import gaierror
from typing import Final, Protocol

import aiohttp

from .errors import ServerUnreachable

REACH_WITHIN: Final = 4.0
"""Seconds for a TCP connection alone: a first packet and two more where they are lost."""
NEXT_ATTEMPT_AFTER: Final = 1.0
"""Seconds until another attempt is begun beside one that nobody has answered."""
ATTEMPTS_AT_ONCE: Final = 4
BACKOFF_FIRST: Final = 0.2
BACKOFF_MAX: Final = 8.0
BACKOFF_UNREACHABLE: Final = 0.5
"""Seconds at most between attempts while the network is gone: media are to be back soon."""
BACKOFF_DRAINED: Final = 0.5
"""The same after the server has said that it goes away: another one is there, or soon will be."""
DRAINED_FOR: Final = 60.0
"""Seconds for which a server that went away is expected back soon."""
NETWORK_GONE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ETIMEDOUT, errno.EADDRNOTAVAIL}
)


class SocketClosed(Exception):
    """The connection is gone; `code` is the WebSocket close code, 1006 without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """A WebSocket as far as the client needs one; the tests bring a simulated one."""

    async def send(self, frame: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    async def close(self) -> None: ...


Connect = Callable[[str], Awaitable[Socket]]
"""Opens a socket to a ws:// or wss:// address; raises OSError if it cannot."""


class _AiohttpSocket:
    def __init__(self, session: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._ws = ws

    async def send(self, frame: bytes) -> None:
        try:
            await self._ws.send_str(frame.decode())
        except (ConnectionError, aiohttp.ClientError):
            raise SocketClosed(1006) from None

    async def receive(self) -> bytes:
        message = await self._ws.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            data: str = message.data
            return data.encode()
        raise SocketClosed(self._ws.close_code or 1006, str(message.extra or ""))

    async def close(self) -> None:
        # A server that hangs must not hold the client up.
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._ws.close()
        await self._session.close()


def connect_with(ssl: ssl_module.SSLContext | bool) -> Connect:
    """A `Connect` on aiohttp. `ssl`: True checks certificates, False takes any."""

    async def connect(url: str) -> Socket:
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=REACH_WITHIN))
        try:
            ws = await session.ws_connect(url, ssl=ssl, max_msg_size=0, compress=0)
        except OSError:  # aiohttp's own of the network are, with the number of the reason.
            await session.close()
            raise
        except (aiohttp.ClientError, ValueError) as error:  # The latter for impossible names.
            await session.close()
            raise ConnectionError(str(error)) from error
        except BaseException:
            await session.close()
            raise
        return _AiohttpSocket(session, ws)

    return connect


async def connect_soon(connect: Connect, url: str) -> Socket:
    """The first socket of up to four attempts, begun one after the other: where the network
    comes back, a new attempt's first packet goes out long before an old one's next."""
    attempts: set[asyncio.Task[Socket]] = set()
    try:
        while True:
            if len(attempts) < ATTEMPTS_AT_ONCE:
                attempts.add(asyncio.ensure_future(connect(url)))
            done, attempts = await asyncio.wait(
                attempts, timeout=NEXT_ATTEMPT_AFTER, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    attempts |= done - {task}
                    return task.result()
                if not (isinstance(error, TimeoutError) and attempts):
                    raise error
    finally:
        await _abandon(attempts)


async def _abandon(attempts: set[asyncio.Task[Socket]]) -> None:
    for task in attempts:
        task.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if not isinstance(result, BaseException):
            await result.close()


def is_network_gone(error: OSError) -> bool:
    """Whether nobody answered at all, rather than a server that refuses: then it is of no use
    to wait long before the next attempt, which burdens nobody."""
    return isinstance(error, TimeoutError | gaierror) or error.errno in NETWORK_GONE


def websocket_url(server: str) -> str:
    """The address of `/ws` on a server given as http(s):// or ws(s):// with or without path."""
    url = re.sub(r"^http", "ws", server.rstrip("/"))
    if not url.startswith(("ws://", "wss://")):
        raise ServerUnreachable(f"{server!r} is not an address like http://localhost:8443.")
    return url if url.endswith("/ws") else url + "/ws"


def backoff(attempt: int, random: Callable[[], float], at_most: float = BACKOFF_MAX) -> float:
    """Seconds before attempt 0, 1, …: doubling, with jitter of half, so that the clients of a
    server that restarts do not all come back in one instant."""
    ceiling = min(at_most, BACKOFF_FIRST * 2.0 ** min(attempt, 16))
    return ceiling * (0.5 + 0.5 * random())
