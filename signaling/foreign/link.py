"""What is the same for all foreign clients: one connection, what it may send, how it is refused."""

from __future__ import annotations

from typing import Final, Protocol

from ..access.addresses import AddressLimits
from ..access.ratelimit import TokenBucket
from ..metrics import Metrics
from ..protocol.errors import KINDS
from ..settings.config import Limits

MAX_BAD: Final = 5
"""Messages in a row that make no sense, after which a client is taken for a broken one."""


class Outlet(Protocol):
    """What is needed of a connection."""

    def send(self, data: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class Link:
    """One connection."""

    def __init__(self, outlet: Outlet, address: str, limits: Limits, now: float) -> None:
        self.outlet = outlet
        self.address = address
        self.closed = False
        self._limits = limits
        self._messages = TokenBucket(limits.message_burst, now)
        self._broadcasts = TokenBucket(limits.broadcast_burst, now)
        self._bad = 0

    def spend(self, now: float, *, broadcast: bool = False) -> bool:
        """Count a message; whether it is within the rate."""
        limits = self._limits
        wait = self._messages.take(now, limits.message_rate, limits.message_burst)
        if not wait and broadcast:
            wait = self._broadcasts.take(now, limits.broadcast_rate, limits.broadcast_burst)
        return not wait

    def note(self, good: bool) -> bool:
        """Whether the client may go on after a message that made sense, or none."""
        self._bad = 0 if good else self._bad + 1
        return self._bad < MAX_BAD


class Links:
    """Opens and ends the connections of one kind of client, and counts."""

    def __init__(self, limits: Limits, metrics: Metrics, guard: AddressLimits) -> None:
        self.limits = limits
        self.metrics = metrics
        self._guard = guard

    def opened(self, address: str, now: float) -> None:
        self._guard.opened(address, now)

    def closed(self, link: Link) -> None:
        """The socket is gone."""
        link.closed = True
        self._guard.closed(link.address)

    def send(self, link: Link, data: bytes) -> None:
        if not link.closed:
            self.metrics.sent += 1
            link.outlet.send(data)

    def refuse(self, link: Link, code: str, now: float) -> None:
        """End a connection for a fault of the client's."""
        if link.closed:
            return
        link.closed = True
        self.metrics.errors[code] += 1
        if code in ("bad-request", "rate-limited", "too-large"):
            self._guard.violate(link.address, now, code)
        link.outlet.close(KINDS[code].close or 4400, code)
