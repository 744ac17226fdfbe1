"""WebSockets by aiohttp's public API alone: the twin that `direct` is compared with.

A task for each connection reads message by message; frames are written to the transport as in
`direct`. One thing is coarser: what aiohttp's parser refuses, a frame over four times the limit or
one that makes no sense, ends with aiohttp's own close, 1009 or 1002, and no `error` before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from .connection import CLOSE_TIMEOUT, WRITE_BUFFER, Connect, Connection, Connections, State
from .intake import Intake

# aiohttp ends a connection by itself at its limit; up to there the client is told why.
_TOLERANCE = 4


class PlainConnection(Connection):
    """A connection whose transport tells only those who ask that it is full."""

    __slots__ = ("_drained", "_draining", "_stream")

    def __init__(
        self,
        owner: Connections,
        transport: asyncio.Transport,
        address: str,
        writer: AbstractStreamWriter,
        connect: Connect | None = None,
    ) -> None:
        self._stream = transport
        self._drained = writer.drain
        self._draining: asyncio.Task[None] | None = None
        super().__init__(owner, transport, address, connect)

    def _put(self, data: bytes) -> None:
        super()._put(data)
        if self._outbox is None and self._stream.get_write_buffer_size() > WRITE_BUFFER:
            self.pause_writing()
            if self._draining is None:
                self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        # One task for each slow client, as long as it is slow.
        with contextlib.suppress(ConnectionError):
            while self._outbox is not None:
                await self._drained()
                self.resume_writing()
        self._draining = None

    async def finish(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)


async def serve(
    request: web.Request,
    connections: Connections,
    address: str,
    connect: Connect | None = None,
) -> web.StreamResponse:
    """Speak to one client until it is gone."""
    # Which messages may be longer than max_frame, the hub knows.
    limit = max(connections.limits.max_frame, connections.limits.max_description)
    socket = web.WebSocketResponse(
        autoping=False,
        autoclose=False,
        compress=False,
        decode_text=False,
        max_msg_size=limit * _TOLERANCE,
        timeout=CLOSE_TIMEOUT,
    )
    writer = await socket.prepare(request)
    transport = request.transport
    if transport is None:
        return socket
    transport.set_write_buffer_limits(high=WRITE_BUFFER)
    connection = PlainConnection(connections, transport, address, writer, connect)
    handler = request.protocol
    Intake(
        connection,
        transport,
        feed=handler.data_received,
        lost=handler.connection_lost,
        pause_writing=handler.pause_writing,
        resume_writing=handler.resume_writing,
        delayed=True,
    ).begin(b"")
    try:
        while connection.state is not State.CLOSED and await _receive(socket, connection, limit):
            pass
    finally:
        await connection.finish()
        connection.lost()
    return socket


async def _receive(socket: web.WebSocketResponse, connection: Connection, limit: int) -> bool:
    """Pass on one message; whether there may be another."""
    message = await socket.receive()
    kind, data = message.type, message.data
    connection.frames += 1
    if kind in (WSMsgType.TEXT, WSMsgType.BINARY) and len(data) > limit:
        connection.fail("too-large")
    elif kind is WSMsgType.TEXT:
        # Bytes, because decode_text is off.
        connection.receive_text(cast(bytes, data))
    elif kind is WSMsgType.BINARY:
        connection.receive_binary()
    elif kind is WSMsgType.PING:
        connection.receive_ping(bytes(data))
    elif kind is WSMsgType.PONG:
        connection.receive_pong()
    elif kind is WSMsgType.CLOSE:
        connection.receive_close(data)
        return False
    else:
        return False
    return True
