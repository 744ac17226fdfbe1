"""What one network address may cost: connections, joins, and a ban for who goes on misbehaving.

An address is an IPv4 address or an IPv6 /64: that is what one subscriber line gets
(RFC 6177), so a single attacker has 2^64 addresses but one /64. Loopback is never
limited: it is the operator's own machine, or a proxy on it, and a proxy's clients are told
apart by `--trusted-proxy`. A proxy elsewhere that is not named there counts as one client.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Literal

from ..logs import Log
from ..settings.config import Limits
from .ratelimit import TokenBucket

_log = Log(__name__)

Refusal = Literal["banned", "connection-rate", "connections", "join-rate", "request-rate"]

VIOLATIONS_FOR_BAN = 20
"""Within `VIOLATION_WINDOW`; one confused client makes five and is closed (bad-request)."""
VIOLATION_WINDOW = 60.0
FORGIVEN = 0.1
"""Share of the rate of requests at which those over it are forgiven; who goes on is banned."""
FLOOD_LOG = 60.0
"""Seconds between two lines about refused requests."""
PRUNE_EVERY = 30.0
MAX_FRESH = 1000
"""Bans that wait to be told to other hubs."""

MAX_ADDRESSES = 100_000
"""About 40 MB of them; beyond it the one that has been silent longest is forgotten."""


def key_of(address: str) -> str | None:
    """Return what is counted under for `address`; None where nothing is counted."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""  # a Unix socket, or nothing known: one entry for all
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif not ip.is_loopback:
            return str(ipaddress.ip_network((ip, 64), strict=False))
    return None if ip.is_loopback else str(ip)


class _Address:
    __slots__ = (
        "banned_until",
        "connecting",
        "connections",
        "joining",
        "patience",
        "requesting",
        "seen",
        "violations",
    )

    def __init__(self, burst: float, join_burst: float, now: float) -> None:
        self.connections = 0
        self.connecting = TokenBucket(burst, now)
        self.joining = TokenBucket(join_burst, now)
        self.requesting: TokenBucket | None = None  # made with the first request
        self.patience: TokenBucket | None = None  # made with the first one over the rate
        self.violations: list[float] = []
        self.banned_until = 0.0
        self.seen = now


class AddressLimits:
    """Rates in events a second; `ban` in seconds; `now` is monotonic seconds."""

    def __init__(
        self,
        *,
        connection_rate: float = 10.0,
        connection_burst: int = 20,
        join_rate: float = 10.0,
        join_burst: int = 20,
        request_rate: float = 100.0,
        request_burst: int = 500,
        max_connections: int = 200,
        ban: float = 300.0,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.bans = 0
        self._connection = (connection_rate, float(connection_burst))
        self._join = (join_rate, float(join_burst))
        self._request = (request_rate, float(request_burst))
        self._max_connections = max_connections
        self._ban = ban
        self._addresses: dict[str, _Address] = {}
        self._fresh: dict[str, float] = {}
        self._next_prune = 0.0
        self._flooded = 0
        self._next_flood_log = 0.0

    @classmethod
    def of(cls, limits: Limits) -> AddressLimits:
        """The limits that the settings describe."""
        return cls(
            connection_rate=limits.connection_rate,
            connection_burst=limits.connection_burst,
            join_rate=limits.join_rate,
            join_burst=limits.join_burst,
            request_rate=limits.request_rate,
            request_burst=limits.request_burst,
            max_connections=limits.address_connections,
            ban=limits.ban,
        )

    def __len__(self) -> int:
        return len(self._addresses)

    def banned(self, now: float) -> int:
        """How many addresses are banned at the moment."""
        return sum(entry.banned_until > now for entry in self._addresses.values())

    def check_ban(self, address: str, now: float) -> float:
        """Seconds for which `address` stays banned, 0 for one that is not. Counts a refusal."""
        key = key_of(address)
        entry = self._addresses.get(key) if key is not None else None
        if entry is None or entry.banned_until <= now:
            return 0.0
        self._refuse("banned", 0.0)
        return entry.banned_until - now

    def connect(self, address: str, now: float) -> tuple[Refusal, float] | None:
        """Let a connection in, or return why not and the seconds after which to try again.

        One that is let in is counted by `opened`, and out by `closed`.
        """
        entry = self._entry(address, now)
        if entry is None:
            return None
        if entry.banned_until > now:
            return self._refuse("banned", entry.banned_until - now)
        if entry.connections >= self._max_connections:
            return self._refuse("connections", 1.0)
        wait = entry.connecting.take(now, *self._connection)
        if wait:
            return self._refuse("connection-rate", wait)
        return None

    def opened(self, address: str, now: float) -> None:
        """Count a connection in."""
        entry = self._entry(address, now)
        if entry is not None:
            entry.connections += 1

    def closed(self, address: str) -> None:
        """Count a connection out; once for each that `opened` counted in."""
        key = key_of(address)
        entry = self._addresses.get(key) if key is not None else None
        if entry is not None and entry.connections:
            entry.connections -= 1

    def join(self, address: str, now: float) -> tuple[Refusal, float] | None:
        """Count a join, or return why not and the seconds after which to try again."""
        entry = self._entry(address, now)
        wait = entry.joining.take(now, *self._join) if entry is not None else 0.0
        return self._refuse("join-rate", wait) if wait else None

    def request(self, address: str, now: float) -> tuple[Refusal, float] | None:
        """Count an HTTP request, or return why not and the seconds after which to try again.

        As many are refused as may come at once; who goes on then, is banned.
        """
        entry = self._entry(address, now)
        if entry is None:
            return None
        burst = self._request[1]
        if entry.requesting is None:
            entry.requesting = TokenBucket(burst, now)
        wait = entry.requesting.take(now, *self._request)
        if not wait:
            return None
        if entry.patience is None:
            entry.patience = TokenBucket(burst, now)
        if entry.patience.take(now, self._request[0] * FORGIVEN, burst):
            self._shut_out(entry, address, now, "request-rate")
        self._log_flood(address, now)
        return self._refuse("request-rate", wait)

    def _log_flood(self, address: str, now: float) -> None:
        self._flooded += 1
        if now >= self._next_flood_log:
            self._next_flood_log = now + FLOOD_LOG
            _log.warning("requests refused", extra={"last": address, "count": self._flooded})
            self._flooded = 0

    def violate(self, address: str, now: float, code: str) -> bool:
        """Count a violation; return whether it is the one that brought a ban.

        Those of the address that are connected stay: it may be a whole office's.
        """
        entry = self._entry(address, now)
        if entry is None or entry.banned_until > now:
            return False
        entry.violations = [t for t in entry.violations if t > now - VIOLATION_WINDOW] + [now]
        if len(entry.violations) < VIOLATIONS_FOR_BAN:
            return False
        self._shut_out(entry, address, now, code)
        return True

    def _shut_out(self, entry: _Address, address: str, now: float, code: str) -> None:
        entry.violations.clear()
        entry.banned_until = now + self._ban
        self.bans += 1
        key = key_of(address)
        if key and len(self._fresh) < MAX_FRESH:
            self._fresh[key] = self._ban
        _log.warning(
            "address banned", extra={"address": address, "code": code, "seconds": self._ban}
        )

    # -- With other hubs ----------------------------------------------------------------

    def take_fresh_bans(self) -> dict[str, float]:
        """The bans since the last call: what is shut out (see `key_of`), and seconds."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def shut_out(self, key: str, seconds: float, now: float) -> None:
        """Another hub has shut this out; never longer than one of ours would be."""
        entry = self._entry_of(key, now)
        entry.banned_until = max(entry.banned_until, now + min(seconds, self._ban))

    def _refuse(self, reason: Refusal, retry_after: float) -> tuple[Refusal, float]:
        self.refused[reason] += 1
        return reason, retry_after

    def _entry(self, address: str, now: float) -> _Address | None:
        if now >= self._next_prune:
            self._prune(now)
        key = key_of(address)
        return None if key is None else self._entry_of(key, now)

    def _entry_of(self, key: str, now: float) -> _Address:
        entry = self._addresses.pop(key, None)
        if entry is None:
            self._make_room()
            entry = _Address(self._connection[1], self._join[1], now)
        self._addresses[key] = entry  # at the end: the order is that of being heard
        entry.seen = now
        return entry

    def _make_room(self) -> None:
        if len(self._addresses) >= MAX_ADDRESSES:
            silent = (key for key, entry in self._addresses.items() if not entry.connections)
            oldest = next(silent, None)
            if oldest is not None:
                del self._addresses[oldest]

    def _prune(self, now: float) -> None:
        """Forget who left nothing to remember: no connection, no ban, buckets full again."""
        self._next_prune = now + PRUNE_EVERY
        full_after = max(
            VIOLATION_WINDOW,
            self._connection[1] / self._connection[0],
            self._join[1] / self._join[0],
            self._request[1] / self._request[0] / FORGIVEN,
        )
        for key, entry in list(self._addresses.items()):
            idle = entry.seen + full_after < now and entry.banned_until <= now
            if idle and not entry.connections:
                del self._addresses[key]
