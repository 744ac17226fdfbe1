"""Timers for what is given its time: virtual ones, and those of the running loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class VirtualTiming:
    """Time that moves only when a test says so; timers go off in order."""

    def __init__(self, now: float = 100.0) -> None:
        self._now = now
        self._count = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def call_at(self, at: float, callback: Callable[[], None]) -> Callable[[], None]:
        entry = (at, next(self._count), callback)
        heapq.heappush(self._timers, entry)

        def cancel() -> None:
            if entry in self._timers:
                self._timers.remove(entry)
                heapq.heapify(self._timers)

        return cancel

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, callback = heapq.heappop(self._timers)
            self._now = max(self._now, at)
            callback()
        self._now = end


class LoopTiming:
    """The running loop's clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, at: float, callback: Callable[[], None]) -> Callable[[], None]:
        return asyncio.get_running_loop().call_at(at, callback).cancel
