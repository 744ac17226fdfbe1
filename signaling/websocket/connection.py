"""One WebSocket and its hub link: framing, a bounded outbox, silence, closing.

`Connection` is what a hub sends through; it writes frames to any asyncio transport and is fed by
one of two twins, `direct` (aiohttp's parser calls it) and `plain` (a task reads). `Connections`
owns all of one server's: it counts them, pings the silent ones and ends what does not end.
Above 400 lines, because the two share how a connection ends.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..logs import Log
from ..metrics import Metrics
from ..settings.config import Limits

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A  # opcodes with FIN, RFC 6455, 5.2

# RFC 6455, 5.2, a server's frame, never masked and here never fragmented:
#   FIN+opcode (8) | length < 126 (8)
#   FIN+opcode (8) | 126 (8) | length (16)
#   FIN+opcode (8) | 127 (8) | length (64)
_pack_short = struct.Struct("!BB").pack
_pack_medium = struct.Struct("!BBH").pack
_pack_long = struct.Struct("!BBQ").pack

# What the transport itself may hold before the outbox begins to. Bytes.
WRITE_BUFFER = 64 * 1024
# What is read at most at once, of one connection. Bytes.
READ_BUFFER = 64 * 1024
# How long a client may take to answer our close frame. Seconds.
CLOSE_TIMEOUT = 5.0
# The same for one whose frames cannot be read any more, and so neither can its answer: time for
# our close frame to arrive before unread data makes the kernel reset the connection. Seconds.
FAULT_TIMEOUT = 1.0
# How often a share of the connections is looked at, so that no round takes long. Seconds.
SWEEP_TICK = 0.25
# RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less".
_MAX_REASON = 123

# How long an acknowledgement may wait for another frame to go with. Seconds; long enough for the
# other side's next candidate or two, which saves a tenth of the CPU that a message costs.
SOON = 0.025

ABNORMAL = 1006
GOING_AWAY = 1001
_NO_STATUS = 1005
_OTHER = 3000

_log = Log(__name__)


class Connect(Protocol):
    """Makes a link of a connection."""

    def __call__(self, outlet: Connection, *, address: str) -> Any: ...


class Hub(Protocol):
    """What a connection needs of the hub."""

    @property
    def connect(self) -> Connect: ...
    def receive(self, link: Any, data: bytes) -> None: ...
    def reject(self, link: Any, code: str) -> None: ...
    def disconnect(self, link: Any) -> None: ...


class Transport(Protocol):
    """What a connection needs of asyncio.Transport."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # our close frame is on its way
    CLOSED = "closed"


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole WebSocket frame of a server."""
    size = len(payload)
    if size < 126:
        return _pack_short(opcode, size) + payload
    if size < 65536:
        return _pack_medium(opcode, 126, size) + payload
    return _pack_long(opcode, 127, size) + payload


class Connection:
    """The hub's outlet to one client. Nothing in here waits, and nothing raises."""

    __slots__ = (
        "_deadline",
        "_later",
        "_link",
        "_outbox",
        "_outbox_bytes",
        "_overloaded",
        "_transport",
        "_write",
        "address",
        "close_code",
        "frames",
        "heard",
        "owner",
        "share",
        "silence",
        "state",
    )

    def __init__(
        self,
        owner: Connections,
        transport: Transport,
        address: str,
        connect: Connect | None = None,
    ) -> None:
        """`connect` stands in for the hub's, where that is told more than an address."""
        self.owner = owner
        self._transport = transport
        self._write = transport.write
        self._outbox: deque[bytes] | None = None  # None: the transport takes everything
        self._outbox_bytes = 0
        self._overloaded = False
        self._later = b""  # frames that wait for company
        self._deadline: asyncio.TimerHandle | None = None
        self.address = address
        self.state = State.OPEN
        self.close_code = ABNORMAL
        self.frames = 0  # that have come, of any kind
        self.heard = True
        self.silence = 0  # sweeps since something was heard
        self.share: dict[
            Connection, None
        ]  # the part of all connections that this is looked at with
        self._link: Any = (connect or owner.hub.connect)(self, address=address)
        owner.add(self)

    # -- To the client ------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send one text message, or keep it for when the client reads again."""
        if self.state is State.OPEN:
            self._put(frame(_TEXT, data))

    def send_soon(self, data: bytes) -> None:
        """Send a message that nobody waits for: with the next one, or within SOON.

        Each write is a system call. A reply that says only that a message was passed on goes out
        with whatever comes for the same client; order is kept.
        """
        if self.state is State.OPEN:
            if not self._later:
                self.owner.flush_soon(self)
            self._later += frame(_TEXT, data)

    def flush(self) -> None:
        """Write what waits for company."""
        if self._later:
            self._put(b"")

    def ping(self) -> None:
        if self.state is State.OPEN:
            self._put(frame(_PING, b""))

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the connection ends within CLOSE_TIMEOUT."""
        if self.state is not State.OPEN:
            return
        self.state = State.CLOSING
        self.close_code = code
        self.write_close(code, reason)
        self._end_within(CLOSE_TIMEOUT)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def write_close(self, code: int, reason: str) -> None:
        """Write a close frame after what waits already."""
        payload = code.to_bytes(2, "big") + _truncate(reason)
        self._put(frame(_CLOSE, payload))

    def _put(self, data: bytes) -> None:
        if self._later:
            data, self._later = self._later + data, b""
        if self._outbox is None:
            self._write(data)
            return
        limits = self.owner.limits
        if self._overloaded:
            self.owner.metrics.dropped["outbox"] += 1
        elif (
            len(self._outbox) >= limits.outbox_messages
            or self._outbox_bytes + len(data) > limits.outbox_bytes
        ):
            # The hub is in the middle of a delivery to others: it hears of this afterwards.
            self._overloaded = True
            self.owner.metrics.dropped["outbox"] += 1
            self.owner.call_soon(self._overload)
        else:
            self._outbox.append(data)
            self._outbox_bytes += len(data)

    def _overload(self) -> None:
        if not self._overloaded:
            return  # the client read on in the meantime, and has been told
        # The session still has what is dropped here, for when the client comes back.
        self._later = b""
        if self._outbox is not None:
            self.owner.metrics.dropped["outbox"] += len(self._outbox)
            self._outbox.clear()
            self._outbox_bytes = 0
        self._overloaded = False
        self.fail("overloaded")

    def pause_writing(self) -> None:
        """The transport holds WRITE_BUFFER bytes: what comes now waits here."""
        if self._outbox is None:
            self._outbox = deque()

    def resume_writing(self) -> None:
        """The client reads again."""
        waiting, self._outbox, self._outbox_bytes = self._outbox, None, 0
        later, self._later = self._later, b""  # came after all that waits
        while waiting:
            self._put(waiting.popleft())
            if self._outbox is not None:  # paused again by that very write
                self._outbox.extend(waiting)
                self._outbox_bytes = sum(map(len, self._outbox))
                break
        self._later = later
        if self._overloaded and self._outbox is None:
            # Something is missing after what was written just now: nothing may follow.
            self._overload()

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and bytes in the outbox."""
        return (0, 0) if self._outbox is None else (len(self._outbox), self._outbox_bytes)

    # -- From the client ----------------------------------------------------------------

    def receive_text(self, data: bytes) -> None:
        self.heard = True
        if self.state is State.OPEN:
            self.owner.receive(self._link, data)

    def receive_binary(self) -> None:
        self.heard = True
        if self.state is State.OPEN:
            self.owner.hub.reject(self._link, "bad-request")

    def receive_ping(self, payload: bytes) -> None:
        self.heard = True
        if self.state is State.OPEN:
            self._put(frame(_PONG, payload))

    def receive_pong(self) -> None:
        self.heard = True

    def receive_close(self, code: int) -> None:
        """The client's close frame, its own wish or the answer to ours."""
        if self.state is State.OPEN:
            self.state = State.CLOSING
            self.close_code = _count_as(code)
            # RFC 6455, 5.5.1: "When sending a Close frame in response, the endpoint typically
            # echos the status code it received."; 0 stands for none.
            self._put(frame(_CLOSE, code.to_bytes(2, "big") if code else b""))
            self._end_within(CLOSE_TIMEOUT)
        # RFC 6455, 7.1.1: "the server MUST close the TCP connection immediately" after both.
        self._transport.close()

    def fail(self, code: str) -> None:
        """Something is wrong with the client's frames or silence: the hub says so and closes."""
        if self.state is State.OPEN:
            self.owner.hub.reject(self._link, code)

    def fail_frame(self, code: str) -> None:
        """The same where nothing more can be read from this connection."""
        self.fail(code)
        # Not every rejection closes; here there is no way on.
        self.close(1002, "")
        self._end_within(FAULT_TIMEOUT)

    def end_unread(self) -> None:
        """Nothing more is read of one that is closing: it sends too much after it was told."""
        self._end_within(FAULT_TIMEOUT)

    def lost(self) -> None:
        """The socket is gone."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._outbox = None
            self._later = b""
            if self._deadline is not None:
                self._deadline.cancel()
            link, self._link = self._link, None
            self.owner.discard(self)
            self.owner.hub.disconnect(link)

    def _end_within(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.owner.call_later(seconds, self._transport.abort)


def _count_as(code: int) -> int:
    # What a client chooses must not make new time series.
    if code in (1000, GOING_AWAY):
        return code
    return _OTHER if code else _NO_STATUS


def _truncate(reason: str) -> bytes:
    return reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()


class Connections:
    """All connections of one server."""

    def __init__(
        self,
        hub: Hub,
        limits: Limits,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        *,
        sampled: bool = True,
    ) -> None:
        """`sampled`: what waits for these is in the metrics' gauges."""
        self.hub = hub
        self.limits = limits
        self.metrics = metrics
        self.receive = hub.receive
        self.call_soon: Callable[[Callable[[], None]], Any] = loop.call_soon
        self.call_later = loop.call_later
        self.clock = loop.time
        self.read_buffer = memoryview(bytearray(READ_BUFFER))
        """What is read goes through it; nothing stays in it from one turn to the next."""
        # A connection is looked at twice within a heartbeat; each share in a tick of its own.
        self._shares: list[dict[Connection, None]] = [
            {} for _ in range(max(1, round(limits.heartbeat / 2 / SWEEP_TICK)))
        ]
        self._period = limits.heartbeat / 2 / len(self._shares)
        self._next_share = 0
        self._unflushed: list[Connection] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self._count = 0
        if sampled:
            metrics.add_sampler(self._sample)

    def __iter__(self) -> Iterator[Connection]:
        return (connection for share in self._shares for connection in list(share))

    def __len__(self) -> int:
        return self.metrics.connections

    def add(self, connection: Connection) -> None:
        connection.share = self._shares[self.metrics.connections_opened % len(self._shares)]
        connection.share[connection] = None
        self.metrics.connections_opened += 1
        self.metrics.connections += 1
        self._count += 1
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        del connection.share[connection]
        self.metrics.connections -= 1
        self._count -= 1
        self.metrics.closes[connection.close_code] += 1
        if not self._count:
            self._empty.set()

    def flush_soon(self, connection: Connection) -> None:
        """Have `connection` flushed within SOON."""
        if not self._unflushed:
            self.call_later(SOON, self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        waiting, self._unflushed = self._unflushed, []
        for connection in waiting:
            connection.flush()

    async def run_sweeps(self) -> None:
        """Look after silent connections until cancelled."""
        while True:
            await asyncio.sleep(self._period)
            self.sweep()

    def sweep(self) -> None:
        """Look at the next share: ping who is silent, end who stays so for two heartbeats."""
        share = self._shares[self._next_share]
        self._next_share = (self._next_share + 1) % len(self._shares)
        for connection in list(share):
            if connection.heard:
                connection.heard = False
                connection.silence = 0
                continue
            connection.silence += 1
            # Heard right after a look, a client is silent for half a heartbeat less than this.
            if connection.silence > 4:
                connection.fail("heartbeat-timeout")
            elif connection.silence % 2:
                connection.ping()

    async def wait_closed(self, seconds: float) -> bool:
        """Wait until there are none left, at most so long; whether there are none."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def abort_all(self) -> None:
        """Cut what is left."""
        for connection in self:
            connection.abort()
        await self.wait_closed(CLOSE_TIMEOUT)

    def _sample(self) -> None:
        depths = [connection.waiting for connection in self]
        self.metrics.outbox_messages = sum(messages for messages, _ in depths)
        self.metrics.outbox_bytes = sum(size for _, size in depths)
        self.metrics.outbox_deepest = max((size for _, size in depths), default=0)
