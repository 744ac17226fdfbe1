"""Gives memory back to the system after many have left.

What a peak needed is free afterwards, but in pieces between what is still used: glibc keeps it
unless it is told, and the process stays as large as it ever was.
"""

from __future__ import annotations

import ctypes
from typing import Final

LEAST: Final = 200
"""Transports or connections that a peak has at least: 20 MB or more. Below, it is not worth it."""

CALM: Final = 10.0
"""Seconds without another one after which those who left are taken to be gone: to give back what
is asked for again at once would only cost time."""


class Peaks:
    """Judges when it is worth it, by how many there are."""

    def __init__(self) -> None:
        self._peak = 0
        self._last = 0
        self._grew_at = 0.0

    def look(self, count: int, now: float) -> bool:
        """Note how many there are now; True: most of many have left, and nobody new has come."""
        if count > self._last:
            self._grew_at = now
        self._last = count
        self._peak = max(self._peak, count)
        if self._peak < LEAST or count > self._peak // 2 or now - self._grew_at < CALM:
            return False
        self._peak = count
        return True


def give_back() -> None:
    """Return free memory to the system, where its library can: some 10 ms for 100 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
