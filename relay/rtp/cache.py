"""The packets that came of a stream lately, to send again to a subscriber that missed it."""

from __future__ import annotations

MAX_PACKETS = 512  # about two seconds of video at 2.5 Mbit/s
MAX_BYTES = 512 * 1200
MAX_AGE = 2.0  # seconds: later than that, no player waits for it


class Cached:
    """One normalised packet, on the publisher's timeline."""

    __slots__ = ("at", "data", "number")

    def __init__(self, number: int, data: bytes, at: float) -> None:
        self.number = number  # extended
        self.data = data
        self.at = at  # monotonic seconds


class PacketCache:
    """The newest packets of one stream, bounded in number, bytes and age."""

    __slots__ = ("_bytes", "_max_age", "_max_bytes", "_oldest", "_ring", "_top")

    def __init__(
        self,
        max_packets: int = MAX_PACKETS,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
    ) -> None:
        self._ring: list[Cached | None] = [None] * max_packets
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._bytes = 0
        self._oldest = 0  # no packet with a smaller number is held
        self._top = -1  # the largest number held

    @property
    def size(self) -> int:
        """Bytes of packets held."""
        return self._bytes

    def add(self, number: int, data: bytes, now: float) -> Cached | None:
        """Keep a packet under its extended number; None: it is older than what is kept."""
        ring = self._ring
        size = len(ring)
        if number > self._top:
            if number - self._top > size:
                self.clear()
                ring = self._ring
                self._oldest = number
            self._top = number
            while self._oldest <= number - size:
                self._drop_oldest()
        elif number < self._oldest:
            return None
        slot = number % size
        held = ring[slot]
        if held is not None:
            self._bytes -= len(held.data)
        cached = ring[slot] = Cached(number, data, now)
        self._bytes += len(data)
        # Off the old end goes what is too old or too much; the newest always stays.
        while self._oldest < self._top:
            oldest = ring[self._oldest % size]
            if (
                oldest is not None
                and self._bytes <= self._max_bytes
                and now - oldest.at <= self._max_age
            ):
                break
            self._drop_oldest()
        return cached

    def get(self, number: int, now: float) -> Cached | None:
        """The packet with that extended number, unless it is gone or too old."""
        if not self._oldest <= number <= self._top:
            return None
        cached = self._ring[number % len(self._ring)]
        if cached is None or now - cached.at > self._max_age:
            return None
        return cached

    def is_new(self, number: int) -> bool:
        """Return whether a packet is not held, and not so old that it may have been."""
        if number > self._top:
            return True
        return number >= self._oldest and self._ring[number % len(self._ring)] is None

    def clear(self, first: int = 0) -> None:
        """Forget all; packets with numbers below `first` are not new any more."""
        self._ring = [None] * len(self._ring)
        self._bytes = 0
        self._oldest = first
        self._top = first - 1

    def _drop_oldest(self) -> None:
        slot = self._oldest % len(self._ring)
        cached = self._ring[slot]
        if cached is not None and cached.number == self._oldest:
            self._bytes -= len(cached.data)
            self._ring[slot] = None
        self._oldest += 1


class ResendBudget:
    """A token bucket of bytes that may be sent again to one subscriber.

    Without it, a peer that asks for everything again and again makes the relay send many
    times what the publisher sends.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate` in bytes per second, `burst` in bytes."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, size: int, now: float) -> bool:
        """Return whether `size` bytes may be sent now."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < size:
            return False
        self._tokens -= size
        return True
