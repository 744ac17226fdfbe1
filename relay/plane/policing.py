"""The bitrate that a publisher may send, enforced.

A browser obeys REMB, which is lower, long before. Whoever does not is cut: from the end of a
frame on nothing of the track goes further until the allowance has grown again, and it goes on
with a key frame. So those who watch see whole frames, and no gap in the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BURST: Final = 1.0
"""Seconds of the allowed bitrate that may come at once: a key frame after a scene change."""

MAX_DEBT: Final = 0.25
"""Seconds of the allowed bitrate that may be overdrawn to end a frame: one that does not end is
cut, and so is its debt."""

LEAST_SIZE: Final = 250
"""Bytes as which a packet of video counts at least: to forward a small one costs as much as a large
one, and a browser's are some 1,100."""

RESUME_AT: Final = 0.5
"""Seconds of the allowed bitrate there have to be before a track goes on: the key frame with which
it does is not to end it at once."""


@dataclass(frozen=True, slots=True)
class Bitrates:
    """Bit/s that a publisher may send."""

    video: int = 8_000_000
    """One picture, all its layers together."""
    audio: int = 512_000
    """One sound."""
    participant: int = 20_000_000
    """All tracks of one participant; sound goes on where that is too much."""


class Allowance:
    """Bytes that may pass, growing with time."""

    __slots__ = ("_at", "_level", "_most", "_rate")

    def __init__(self, bitrate: int) -> None:
        self._rate = bitrate / 8
        self._most = self._level = BURST * self._rate
        self._at = 0.0

    def spend(self, size: int, now: float) -> None:
        """Let `size` bytes pass, on credit where there are none."""
        self._grow(now)
        self._level = max(self._level - size, -MAX_DEBT * self._rate)

    def _grow(self, now: float) -> None:
        if now > self._at:
            self._level = min(self._most, self._level + (now - self._at) * self._rate)
            self._at = now

    @property
    def is_spent(self) -> bool:
        """Return whether nothing is left."""
        return self._level < 0

    @property
    def is_overdrawn(self) -> bool:
        """Return whether there is no more credit either."""
        return self._level <= -MAX_DEBT * self._rate

    def has_recovered(self, now: float) -> bool:
        """Return whether enough has grown to go on with."""
        self._grow(now)
        return self._level >= RESUME_AT * self._rate


class Policer:
    """One track's share of what may be sent, and of what its participant may send in all.

    Sound counts in the latter, but does not end with it (`obeys` False).
    """

    __slots__ = ("_counting", "_least", "_limiting", "stopped")

    def __init__(self, own: Allowance, shared: Allowance, *, obeys: bool = True) -> None:
        self._counting = own, shared
        self._limiting = (own, shared) if obeys else (own,)
        self._least = LEAST_SIZE if obeys else 0
        self.stopped = False
        """True while the track's packets are dropped, until there is enough again."""

    def take(self, size: int, begins_frame: bool, now: float) -> bool:
        """Count a packet; False: it is to be dropped. A `begins_frame` of False is a packet
        whose frame has gone out in part."""
        size = max(size, self._least)
        if self.stopped:
            for allowance in self._limiting:
                if not allowance.has_recovered(now):
                    return False
            self.stopped = False
        for allowance in self._counting:
            allowance.spend(size, now)
        for allowance in self._limiting:
            if allowance.is_spent and (begins_frame or allowance.is_overdrawn):
                self.stopped = True
        return not self.stopped
