"""Judges whether a worker hangs: rules only, looked at every `INTERVAL` seconds.

A worker speaks every second. One that is silent is asked first. Whoever watches may itself have
been stopped, or late: the time that it missed is nobody's silence.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

INTERVAL: Final = 0.5
"""Seconds between two looks."""

LATE: Final = 0.5
"""Seconds by which a look may come late before that is taken off the worker's silence."""

ASK_AFTER: Final = 1.5
"""Seconds of silence after which the worker is asked for a sign of life: its metrics, which come
every second, are half a second late."""

HUNG_AFTER: Final = 2.5
"""Seconds of silence after which a worker that does not even run counts as hung. With the second
in which the next one starts, and the one in which clients publish anew, media are back in five."""

SILENCE_TIMEOUT: Final = 15.0
"""Seconds of silence after which it counts as hung though it runs: a busy machine may leave a
worker that long without its turn, an endless loop never ends."""

READY_TIMEOUT: Final = 30.0
"""Seconds a worker may take to start, imports included, on a machine that is busy."""


class Verdict(Enum):
    """A look's result: what is to be done with the worker."""

    FINE = "fine"
    ASK = "ask"
    LOST = "lost"


class Watchdog:
    """One life of a worker. `runs` tells whether its process has or waits for a processor."""

    def __init__(self, now: float, runs: Callable[[], bool]) -> None:
        self._runs = runs
        self._heard = now
        self._looked = now
        self._asked = False
        self._ready = False

    def hear(self, now: float) -> None:
        """It said something."""
        self._heard = max(self._heard, now)
        self._asked = False
        self._ready = True

    def get_silence(self, now: float) -> float:
        """Seconds since it said something, less those in which nobody could listen."""
        return now - self._heard

    def look(self, now: float) -> Verdict:
        """Judge it now."""
        late = now - self._looked - INTERVAL
        self._looked = now
        if late > LATE:
            self._heard = min(self._heard + late, now)
        silence = self.get_silence(now)
        if not self._ready:
            return Verdict.LOST if silence >= READY_TIMEOUT else Verdict.FINE
        if silence >= ASK_AFTER and not self._asked:
            self._asked = True
            return Verdict.ASK
        if silence >= SILENCE_TIMEOUT:
            return Verdict.LOST
        if self._asked and silence >= HUNG_AFTER and not self._runs():
            return Verdict.LOST
        return Verdict.FINE


def is_running(stat: str) -> bool:
    """Return whether a process has a processor or waits for one, by its line in /proc/PID/stat: not
    if it is stopped, sleeps though there is something to read, or is gone.

    proc(5): pid (name) state …; R is running, D waiting for the disk.
    """
    state = stat.rpartition(")")[2].split()
    return bool(state) and state[0] in ("R", "D")
