"""Asks a publisher for key frames: once for all that want one, and not more often than it
can make them.

A source is whatever has its own key frames: a track, or one layer of a simulcast.
"""

from __future__ import annotations

MIN_INTERVAL = 0.5
"""Seconds between two requests for one source: a key frame costs several times a plain frame."""

MAX_ATTEMPTS = 10
"""Requests without a key frame before giving up until somebody asks again."""


class KeyFrameRequests:
    """Gathers what PLI, FIR and new subscribers ask of one source."""

    def __init__(self) -> None:
        self._wanted = False
        self._last_sent: float | None = None
        self._attempts = 0

    @property
    def wanted(self) -> bool:
        """Return whether somebody still waits for a key frame."""
        return self._wanted

    def request(self) -> None:
        """Somebody can't decode without a key frame."""
        self._wanted = True
        self._attempts = 0

    def receive_key_frame(self) -> None:
        """One came in: whoever waited has it."""
        self._wanted = False
        self._attempts = 0

    def take(self, now: float) -> bool:
        """Return whether a request is to be sent upstream now; counts it as sent."""
        timer = self.get_timer()
        if timer is None or now < timer:
            return False
        self._last_sent = now
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            self._wanted = False
        return True

    def get_timer(self) -> float | None:
        """Return when `take` will next say yes; None while nobody waits."""
        if not self._wanted:
            return None
        if self._last_sent is None:
            return 0.0
        return self._last_sent + MIN_INTERVAL
