"""WebSockets handled in the callback that parsed them: the quick twin of `plain`.

aiohttp wakes a task for each message and keeps a request, a response and two tasks for each open
WebSocket. Here the connection is taken over from aiohttp once its request is parsed: the transport
gets a protocol of ours, aiohttp's compiled frame parser hands each message straight to the
connection, and all that aiohttp had built for the request is freed. At 10,000 connections this
takes about a fifth off the CPU for a message and half off the memory for a connection.

It leans on names that aiohttp does not promise. They are all in this file, `is_available` says
whether this aiohttp has them, and `tests/unit/signaling/websocket/test_fast.py` pins each one.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http import WebSocketError, WebSocketReader

from ..logs import Log
from .connection import WRITE_BUFFER, Connect, Connection, Connections
from .intake import Intake

try:
    from aiohttp._websocket.reader import WebSocketDataQueue
except ImportError:
    WebSocketDataQueue = cast(Any, object)

_FOUND = WebSocketDataQueue.__name__ != "object" and hasattr(web.RequestHandler, "_message_tail")

_log = Log(__name__)

_TEXT = WSMsgType.TEXT
_RESPONSE = (
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n"
)


def is_available() -> bool:
    """Whether this aiohttp has the private names that this file uses."""
    return _FOUND


class FrameSink(WebSocketDataQueue):
    """Stands where aiohttp's parser queues messages, and handles them instead.

    The compiled parser reads the base's `_size` and `_limit` from its C struct; nothing is ever
    queued here, so that it never stalls.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(cast(Any, None), 1, loop=loop)
        self.connection = connection

    def feed_data(self, data: Any, size: int) -> None:  # noqa: ARG002 (the parser's signature)
        # The parser gives a named tuple of kind, data and extra.
        kind = data[0]
        connection = self.connection
        connection.frames += 1
        if kind is _TEXT:
            connection.receive_text(data[1])
        elif kind is WSMsgType.PING:
            connection.receive_ping(bytes(data[1]))
        elif kind is WSMsgType.PONG:
            connection.receive_pong()
        elif kind is WSMsgType.CLOSE:
            connection.receive_close(data[1])
        else:
            connection.receive_binary()

    def set_exception(self, exc: BaseException, *_: object) -> None:
        """The parser gives up: the frames make no sense, or handling one raised."""
        if isinstance(exc, WebSocketError):
            large = exc.code == WSCloseCode.MESSAGE_TOO_BIG
            self.connection.fail_frame("too-large" if large else "bad-request")
        else:
            _log.error("a message could not be handled", exc_info=exc)
            self.connection.fail_frame("internal")

    def feed_eof(self) -> None:
        """Nothing waits here for the end."""


def take_over(
    request: web.Request,
    accept: str,
    connections: Connections,
    address: str,
    connect: Connect | None = None,
) -> None:
    """Answer the handshake and make a connection of the request's socket.

    What the handler returns afterwards goes nowhere: aiohttp believes that the client left.
    """
    handler = request.protocol
    transport = handler.transport
    if transport is None or transport.is_closing():
        return
    transport.write(_RESPONSE.format(accept).encode("ascii"))
    connection = Connection(connections, transport, address, connect)
    sink = FrameSink(connection, asyncio.get_running_loop())
    # The parser refuses a message of max_msg_size; ours is the largest that is allowed. Which
    # messages may be longer than max_frame, the hub knows.
    longest = max(connections.limits.max_frame, connections.limits.max_description)
    reader = WebSocketReader(sink, longest + 1, compress=False, decode_text=False)
    # What came right behind the request's header.
    tail = handler._message_tail
    # Without its transport, aiohttp's protocol can close nothing; told that the connection is
    # lost, it forgets it, and its task ends.
    handler.transport = None
    handler.connection_lost(None)
    transport.set_write_buffer_limits(high=WRITE_BUFFER)
    intake = Intake(
        connection,
        transport,
        feed=reader.feed_data,
        lost=lambda _: connection.lost(),
        pause_writing=connection.pause_writing,
        resume_writing=connection.resume_writing,
    )
    intake.begin(tail)
