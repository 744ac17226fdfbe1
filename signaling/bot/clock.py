"""The clock of all media in the process."""

from __future__ import annotations

import time


def media_time() -> float:
    """Seconds on the clock that every frame, sent or received, is stamped with: monotonic,
    and so far from zero that a file's own timestamps are not taken for it."""
    return time.monotonic() + 100_000
