"""What is read of one connection: a little in each turn of the event loop, and no more than it may
send.

Everything that arrives counts, also pings, pongs and what follows a refusal, before and after
joining: a frame is a unit, and so are `UNIT` bytes. Over it, reading stops until the debt is paid,
so that TCP holds the sender back; one that is over for `PATIENCE` seconds is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from ..access.ratelimit import TokenBucket
from ..settings.config import Limits
from .connection import READ_BUFFER, Connection, State

UNIT: Final = 16 * 1024
"""Bytes that count as much as a frame: they cost as much to read."""
PATIENCE: Final = 10.0
"""Seconds that reading may have to stop before the connection is closed."""
FORGIVEN: Final = 0.05
"""Seconds of them that are forgiven each second."""
FRAMES: Final = 32
"""Of one connection in one turn of the event loop, as far as can be foreseen: some 0.1 ms of
control frames. How many bytes hold them is learned from what came last."""
LEAST: Final = 256
MOST: Final = READ_BUFFER
"""Bytes that are read of one connection in one turn."""
FIRST: Final = 2048
"""The same before anything is known of it; an ordinary message is shorter."""


class Allowance:
    """What one connection may send."""

    __slots__ = ("_bucket", "_patience", "exhausted")

    def __init__(self, limits: Limits, now: float) -> None:
        self._bucket = TokenBucket(2.0 * limits.message_burst, now)
        self._patience: TokenBucket | None = None  # made when it is first over
        self.exhausted = False
        """It was over for too long."""

    def spend(self, frames: int, size: int, now: float, limits: Limits) -> float:
        """Count what has come; return the seconds for which no more is to be read.

        Twice what is allowed of messages: these are refused in words before reading stops.
        """
        wait = self._bucket.spend(
            frames + size / UNIT, now, 2.0 * limits.message_rate, 2.0 * limits.message_burst
        )
        if wait:
            if self._patience is None:
                self._patience = TokenBucket(PATIENCE, now)
            self.exhausted = bool(self._patience.spend(wait, now, FORGIVEN, PATIENCE))
        return wait


def choose_window(window: int, size: int, frames: int) -> int:
    """How many bytes to read in the next turn, after `size` bytes held so many frames."""
    if frames > FRAMES:
        return max(LEAST, size * FRAMES // frames)
    return min(2 * window, MOST) if size >= window else window


class Intake(asyncio.BufferedProtocol):
    """Reads for one connection. `feed` parses, and has the connection count its frames; `lost` is
    told of the end. Writing is paused and resumed by the two functions of that name. `delayed`: the
    frames are counted in a later turn, so nothing is known of them before."""

    __slots__ = (
        "_allowance",
        "_connection",
        "_delayed",
        "_feed",
        "_lost",
        "_owner",
        "_rest",
        "_seen",
        "_transport",
        "_view",
        "_window",
        "pause_writing",
        "resume_writing",
    )

    pause_writing: Callable[[], None]
    resume_writing: Callable[[], None]

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        *,
        feed: Callable[[bytes], Any],
        lost: Callable[[Exception | None], None],
        pause_writing: Callable[[], None],
        resume_writing: Callable[[], None],
        delayed: bool = False,
    ) -> None:
        self._connection = connection
        self._owner = owner = connection.owner
        self._transport = transport
        self._feed = feed
        self._lost = lost
        self._allowance = Allowance(owner.limits, owner.clock())
        self._seen = 0
        self._view = owner.read_buffer
        self._delayed = delayed
        self._window = LEAST if delayed else FIRST
        self._rest = b""  # came behind the handshake, and waits for its turn
        self.pause_writing = pause_writing
        self.resume_writing = resume_writing

    def begin(self, tail: bytes) -> None:
        """Take over a transport, behind whose handshake `tail` has come already."""
        transport = self._transport
        # Reading starts anew, for a loop that chose how when it began.
        transport.pause_reading()
        transport.set_protocol(self)
        transport.resume_reading()
        if tail:
            self._rest = tail
            self._hold(0.0)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The one buffer of all connections: what is read is taken out at once."""
        del sizehint
        return self._view[: self._window]

    def buffer_updated(self, nbytes: int) -> None:
        self.receive(bytes(self._view[:nbytes]))

    def receive(self, data: bytes) -> None:
        """Parse what has come, and decide how much is read next, and when."""
        self._feed(data)
        connection, size = self._connection, len(data)
        frames, self._seen = connection.frames - self._seen, connection.frames
        owner = self._owner
        wait = self._allowance.spend(frames, size, owner.clock(), owner.limits)
        full = size >= self._window
        if frames or not self._delayed:
            self._window = choose_window(self._window, size, frames)
        if wait or full or self._rest:
            # Where more has come already, it is the others' turn.
            self._hold(wait)

    def _hold(self, seconds: float) -> None:
        """Read nothing for so long."""
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if seconds and self._connection.state is not State.OPEN:
            self._connection.end_unread()
        elif self._allowance.exhausted:
            self._owner.metrics.dropped["intake"] += 1
            self._connection.fail_frame("rate-limited")
        else:
            self._owner.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._transport.is_closing():
            return
        if not self._rest:
            self._transport.resume_reading()
            return
        data, self._rest = self._rest[: self._window], self._rest[self._window :]
        self.receive(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)
