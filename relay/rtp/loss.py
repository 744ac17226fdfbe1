"""The bitrate that a publisher may send, by the loss on its path.

draft-ietf-rmcat-gcc-02, 6, from the top down: a publisher starts at full quality and
backs off when its path loses packets.
"""

from __future__ import annotations

MIN_BITRATE = 150_000  # bit/s: a picture that one can still recognise


class LossRate:
    """The bitrate to announce to one publisher."""

    __slots__ = ("_max", "bitrate")

    def __init__(self, max_bitrate: int) -> None:
        self._max = max_bitrate
        self.bitrate = max_bitrate  # bit/s

    def on_loss(self, fraction: float) -> int:
        """`fraction` was lost since the last call, about a second ago; the new bitrate."""
        # "if the packet loss is [...] more than 10%, As_hat(i) = As_hat(i-1)(1-0.5p); [...]
        # less than 2%, As_hat(i) = 1.05(As_hat(i-1))".
        if fraction > 0.10:
            self.bitrate = max(MIN_BITRATE, int(self.bitrate * (1 - 0.5 * fraction)))
        elif fraction < 0.02:
            self.bitrate = min(self._max, int(self.bitrate * 1.05))
        return self.bitrate
