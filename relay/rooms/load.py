"""Judges whether the worker keeps up: one that does not takes no more, and serves who is in.

Both have to say so: the delay of its event loop, which on a busy machine may be another's fault,
and its share of a processor, which alone only says that it is well used.
"""

from __future__ import annotations

from typing import Final

LATE: Final = 0.1
"""Seconds by which the event loop was late at most since the last measure: frames come every 33 ms,
and who is three of them behind does not keep up."""

BUSY: Final = 0.85
"""The share of a processor that is as much as the whole, with what the kernel does beside it."""

CALM: Final = 0.75
"""The share below which there is room for more again: less than `BUSY`, so that nothing flaps."""

ENTER_AFTER: Final = 2
LEAVE_AFTER: Final = 3
"""Measures in a row that have to say so; they are made every second."""


class Load:
    """The judgement of the last seconds' measures."""

    def __init__(self) -> None:
        self.overloaded = False
        """True while the worker takes nobody new."""
        self._in_a_row = 0

    def measure(self, lag: float, cpu: float) -> bool:
        """Take the loop's delay in seconds and the share of a processor since the last measure;
        returns whether `overloaded` has changed."""
        behind = lag >= LATE and cpu >= BUSY
        calm = lag < LATE / 2 or cpu < CALM
        says_so = calm if self.overloaded else behind
        self._in_a_row = self._in_a_row + 1 if says_so else 0
        if self._in_a_row < (LEAVE_AFTER if self.overloaded else ENTER_AFTER):
            return False
        self.overloaded = not self.overloaded
        self._in_a_row = 0
        return True
