"""When to try whether a line carries more: only if somebody would gain, and only as much as
that takes."""

from __future__ import annotations

from enum import Enum
from typing import Final

DURATION: Final = 0.1
MAX_DURATION: Final = 0.25
"""Seconds of a cluster: a queue that it makes is shorter than this."""

ENOUGH: Final = 12_000
"""Bits of a cluster at least, if that takes no longer than the longest: some packets tell a rate,
two or three do not."""

CHUNK: Final = 200
"""Bytes that are sent at once at least: less would be headers above all."""

STEP: Final = 0.005
"""Seconds between the bursts of one."""

FIRST_INTERVAL: Final = 1.0
MAX_INTERVAL: Final = 5.0
"""Seconds between two attempts: longer after each that was in vain."""

AFTER_SUCCESS: Final = 0.3
"""Seconds until the next one when the last has shown what it was to show."""

AFTER_REDUCTION: Final = 2.0
"""Seconds after the estimate was lowered during which there is nothing to find out."""

MARGIN: Final = 1.1
"""Times what is needed: what just fits is not taken."""

MAX_RATE: Final = 10_000_000.0
"""Bit/s of one cluster at most, all that is sent meanwhile included."""

FREE: Final = 120_000.0
"""Bit/s that may be tried whatever the estimate: a small picture."""

STEP_UP: Final = 2.0
"""Times the present estimate at most: what is above the line makes a queue of that much."""

LISTEN: Final = 2.0
"""Seconds after an attempt during which its result may still come."""


class State(Enum):
    IDLE = "idle"
    SENDING = "sending"
    WAITING = "waiting"


class Probing:
    """One leg's attempts; says how much to send, and when. Sends nothing itself."""

    __slots__ = ("_debt", "_ends", "_interval", "_next", "_stepped", "needed", "state", "target")

    def __init__(self) -> None:
        self.state = State.IDLE
        self.needed = 0.0
        """Bit/s with which somebody would get a better picture; 0: nobody would."""
        self.target = 0.0
        """Bit/s of the cluster that is under way."""
        self._next = float("-inf")
        self._interval = FIRST_INTERVAL
        self._ends = self._stepped = 0.0
        self._debt = 0.0

    def want(self, needed: float) -> None:
        """Somebody would gain from an estimate of `needed` bit/s; 0: nobody."""
        self.needed = needed

    def receive_reduction(self, at: float) -> None:
        """The line was found full at `at`: that is known for a while."""
        self._next = max(self._next, at + AFTER_REDUCTION)

    def begin(self, estimate: float, now: float) -> bool:
        """Whether a cluster starts now."""
        if self.state is not State.IDLE or now < self._next or self.needed <= estimate:
            return False
        self.state = State.SENDING
        self.target = min(MARGIN * self.needed, max(STEP_UP * estimate, FREE), MAX_RATE)
        self._stepped = now
        self._ends = now + min(max(DURATION, ENOUGH / self.target), MAX_DURATION)
        self._debt = 0.0
        return True

    def take(self, others: int, now: float) -> int:
        """Bytes to send now; `others` were sent anyhow since the last call."""
        elapsed = max(0.0, min(now, self._ends) - self._stepped)
        self._stepped = now
        self._debt += self.target * elapsed / 8 - others
        octets = int(self._debt) if self._debt >= CHUNK else 0
        self._debt -= octets
        if now >= self._ends:
            self.state = State.WAITING
        return octets

    def charge(self, octets: int) -> None:
        """So much more was sent than was asked for."""
        self._debt -= octets

    def receive_result(self, before: float, after: float, now: float) -> None:
        """The estimate was `before` the attempt and is `after`."""
        self.state = State.IDLE
        if after > before * 1.05:
            self._interval = FIRST_INTERVAL
            self._next = now + AFTER_SUCCESS
        else:
            self._next = now + self._interval
            self._interval = min(self._interval * 2, MAX_INTERVAL)

    @property
    def listens_until(self) -> float:
        """Until when the result of an attempt may come."""
        return self._ends + LISTEN

    def get_timer(self, estimate: float) -> float | None:
        """When to come back."""
        if self.state is State.SENDING:
            return self._stepped + STEP
        if self.state is State.WAITING:
            return self.listens_until
        if self.needed > estimate:
            return self._next
        return None
