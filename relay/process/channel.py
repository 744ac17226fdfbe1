"""One stream between a node and a worker: MessagePack messages, each behind its length.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                   length of the message                       |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                   MessagePack, `type` first ...
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar, cast

import msgspec

_HEAD = 4
MAX_MESSAGE = 1 << 20
"""Bytes of one message: an offer with 256 m-lines is about 300 KiB."""

MAX_BUFFERED = 8 << 20
"""Bytes that may wait for the other side; beyond, it counts as hung."""

LOSSY_ABOVE = 256 << 10
"""Bytes waiting above which messages that a newer one supersedes are dropped."""

T = TypeVar("T")


class ChannelError(Exception):
    """The stream does not carry what it should; it can't be read any further."""


def build_frame(message: msgspec.Struct) -> bytes:
    """A message as it goes over the stream."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_MESSAGE:
        raise ChannelError(f"A message of {len(body)} bytes is over {MAX_MESSAGE}.")
    return len(body).to_bytes(_HEAD, "big") + body


class FrameReader(Generic[T]):
    """Turns a stream's pieces, however cut, into messages of the union it was made for."""

    def __init__(self, union: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(union)
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[T]:
        """The messages that `data` completes. Raises `ChannelError`, and nothing else."""
        self._buffer += data
        messages: list[T] = []
        start = 0
        while len(self._buffer) - start >= _HEAD:
            length = int.from_bytes(self._buffer[start : start + _HEAD], "big")
            if length > MAX_MESSAGE:
                raise ChannelError(f"A message of {length} bytes is over {MAX_MESSAGE}.")
            end = start + _HEAD + length
            if len(self._buffer) < end:
                break
            try:
                messages.append(self._decoder.decode(self._buffer[start + _HEAD : end]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ChannelError(f"A message can't be read: {error}") from error
            start = end
        if start:
            del self._buffer[:start]
        return messages


class Channel(asyncio.Protocol, Generic[T]):
    """One end of the stream.

    `on_message` gets each message; `on_close` is called once, with None when the other end
    closed in order. With `backpressure` set, nothing is read while the other end does not take
    what is written to it: a worker stops taking commands before its answers pile up. Messages
    take `turn` seconds of one turn of the event loop, then the others that live in it have theirs.
    """

    def __init__(
        self,
        union: Any,
        on_message: Callable[[T], None],
        on_close: Callable[[Exception | None], None],
        *,
        on_open: Callable[[], None] = lambda: None,
        backpressure: bool = False,
        turn: float = inf,
    ) -> None:
        self._on_open = on_open
        self._reader: FrameReader[T] = FrameReader(union)
        self._on_message = on_message
        self._on_close = on_close
        self._backpressure = backpressure
        self._turn = turn
        self._came: deque[T] = deque()
        self._transport: asyncio.Transport | None = None
        self._fault: Exception | None = None
        self._holds: set[str] = set()
        """Why nothing is read now."""
        self.dropped: dict[str, int] = {}
        """Messages that were not sent, by type."""

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        union: Any,
        on_message: Callable[[T], None],
        on_close: Callable[[Exception | None], None],
        *,
        backpressure: bool = False,
        turn: float = inf,
    ) -> Channel[T]:
        """A channel over a connected stream socket, which it owns from here on."""
        sock.setblocking(False)
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: cls(union, on_message, on_close, backpressure=backpressure, turn=turn),
            sock=sock,
        )
        return protocol

    @property
    def waiting(self) -> int:
        """Bytes that the other end has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: msgspec.Struct, *, lossy: bool = False) -> bool:
        """Write one message; False, and counted, when it was dropped. Never blocks or raises.

        A `lossy` message is dropped as soon as the other end falls behind. Any other is written
        until `MAX_BUFFERED` bytes wait: then the other end counts as hung, and the channel closes.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            self._drop(message)
            return False
        waiting = self.waiting
        if lossy and waiting > LOSSY_ABOVE:
            self._drop(message)
            return False
        try:
            frame = build_frame(message)
        except ChannelError:
            self._drop(message)
            return False
        if waiting + len(frame) > MAX_BUFFERED:
            self._drop(message)
            self._fail(ChannelError("The other end does not read."))
            return False
        transport.write(frame)
        return True

    def close(self) -> None:
        """Write out what waits, then close; idempotent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the stream at once; `on_close` follows."""
        if self._transport is not None:
            self._transport.abort()

    def get_extra_info(self, name: str) -> Any:
        """What asyncio's transport knows: `peername`, `ssl_object`, …"""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def _drop(self, message: msgspec.Struct) -> None:
        name = type(message).__name__.lower()
        self.dropped[name] = self.dropped.get(name, 0) + 1

    def _fail(self, fault: Exception) -> None:
        self._fault = fault
        self.abort()

    # -- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape alone
        self._on_open()

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._reader.receive_data(data)
        except ChannelError as error:
            self._fail(error)
            return
        idle = not self._came
        self._came.extend(messages)
        if idle:
            self._deliver()

    def _deliver(self) -> None:
        """Hand on what came, as far as this turn of the loop goes; nothing is read meanwhile."""
        # Not the loop's clock, which uvloop reads once a turn.
        until = time.monotonic() + self._turn
        while self._came and self.is_open:
            self._on_message(self._came.popleft())
            if self._came and time.monotonic() >= until:
                self._hold("messages wait")
                asyncio.get_running_loop().call_soon(self._deliver)
                return
        self._release("messages wait")

    def pause_writing(self) -> None:
        if self._backpressure:
            self._hold("answers wait")

    def resume_writing(self) -> None:
        self._release("answers wait")

    def _hold(self, reason: str) -> None:
        if not self._holds and self._transport is not None:
            self._transport.pause_reading()
        self._holds.add(reason)

    def _release(self, reason: str) -> None:
        if reason in self._holds:
            self._holds.remove(reason)
            if not self._holds and self.is_open and self._transport is not None:
                self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_close(self._fault or exc)
