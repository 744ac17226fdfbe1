"""What is due when: functions by time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Due = Callable[[float], None]
"""Gets the time that it is."""


class Timers:
    """A queue of functions; nothing is cancelled: what is called looks whether it still holds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due]] = []
        self._count = 0

    def call_at(self, when: float, due: Due) -> None:
        # The count makes entries comparable that are due at the same time.
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, due))

    def get_timer(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def handle_timer(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)
