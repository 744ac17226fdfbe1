"""Time that moves only when a test says so."""

from __future__ import annotations

from typing import Protocol

EPOCH = 1_732_406_400.0
"""The wall clock's start: 2024-11-24 00:00:00 UTC."""


class Timed(Protocol):
    """Something with a timer, as rules have it."""

    def get_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> object: ...


class Clock:
    """Call it for monotonic seconds, from 1000 on; `wall` for seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now - 1000.0

    def advance(self, seconds: float, *timed: Timed) -> None:
        """Let time pass, and the timers of `timed` go off when they are due and in order."""
        end = self.now + seconds
        while True:
            due = [(when, n) for n, t in enumerate(timed) if (when := t.get_timer()) is not None]
            if not due or min(due)[0] > end:
                break
            when, n = min(due)
            self.now = max(self.now, when)
            timed[n].handle_timer(self.now)
        self.now = end
