"""The clock of all media in the process."""

from __future__ import annotations

import time
from typing import Final

LOOK_BACK: Final = 10.0
"""Seconds in which something must have come in time, or the clock is moved."""
STEP: Final = 0.02
"""Seconds by which it is moved at a time, which nobody hears or sees."""
JUMP: Final = 30.0
"""Seconds; who is further off has set a clock, and nothing is made up for."""


def media_time() -> float:
    """Seconds on the clock that every frame, sent or received, is stamped with: monotonic,
    and so far from zero that a file's own timestamps are not taken for it."""
    return time.monotonic() + 100_000


class SharedClock:
    """One participant's clock, in this process's terms: sound and picture that were made together
    are shown together, whatever delays each on its way.

    The offset is that of what came the fastest: what comes later was only held up.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._since = 0.0
        self._least_lag = float("inf")

    def place(self, captured: float, arrived: float, otherwise: float) -> float:
        """Media time of what was made at `captured` on the participant's clock and has come at
        `arrived`; the first time `otherwise`, so that no track jumps when its clock is known."""
        if self._offset is None:
            self._offset, self._since = otherwise - captured, arrived
        lag = arrived - captured - self._offset
        if abs(lag) > JUMP:
            self._offset += lag
            lag = 0.0
        elif lag < 0:
            self._offset += max(lag, -STEP)
        self._least_lag = min(self._least_lag, lag)
        if arrived - self._since > LOOK_BACK:
            if self._least_lag > 0:
                self._offset += min(self._least_lag, STEP)
            self._since, self._least_lag = arrived, float("inf")
        return captured + self._offset
