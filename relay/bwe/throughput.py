"""How much arrived per second: the acknowledged rate, beside what was sent meanwhile."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW: Final = 0.5
"""Seconds over which arrivals are counted: less than a change of the link, more than a frame."""

MIN_SPAN: Final = 0.15
"""Seconds of arrivals before they tell a rate."""


class Throughput:
    """Rates by feedback, one entry for each."""

    __slots__ = ("_entries", "_octets")

    def __init__(self) -> None:
        # First arrival, last arrival, first and last sending, octets.
        self._entries: deque[tuple[float, float, float, float, int]] = deque()
        self._octets = 0

    def receive_packets(self, sent: list[float], arrived: list[float], octets: int) -> None:
        """What one feedback says arrived, in bytes in all."""
        last = max(arrived)
        if self._entries and not 0 <= last - self._entries[-1][1] < 4 * WINDOW:
            # After a silence, or on another clock: no rate goes across it.
            self._entries.clear()
            self._octets = 0
        self._entries.append((min(arrived), last, sent[0], sent[-1], octets))
        self._octets += octets
        while len(self._entries) > 2 and last - self._entries[1][0] >= WINDOW:
            self._octets -= self._entries.popleft()[4]

    def get_rate(self) -> float | None:
        """Bit/s that arrived over the window; None: too little to tell."""
        entries = self._entries
        if len(entries) < 2:
            return None
        # The first entry's packets mark the beginning: what came with them was under way before.
        span = entries[-1][1] - entries[0][1]
        if span < MIN_SPAN:
            return None
        return 8 * (self._octets - entries[0][4]) / span

    def get_stretch(self) -> float:
        """By how much longer what was sent in the window took to arrive than to be sent; above 1
        the link is full."""
        entries = self._entries
        if len(entries) < 2:
            return 1.0
        sent = entries[-1][3] - entries[0][3]
        arrived = entries[-1][1] - entries[0][1]
        return arrived / sent if sent > 0.05 else 1.0
