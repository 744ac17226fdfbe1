"""How fast to send and how long to wait: congestion window and timeout (RFC 9260, 6.3 and 7.2)."""

from __future__ import annotations

from typing import Final

from .packet import MTU

RTO_INITIAL: Final = 0.5
RTO_MIN: Final = 0.4
RTO_MAX: Final = 5.0
"""Seconds, below the RFC's 60: a path that was gone is found again soon after it is back."""
INITIAL_WINDOW: Final = 10 * MTU
MAX_WINDOW: Final = 1024 * 1024
"""Bytes; more in flight would only fill queues on the way."""
MIN_THRESHOLD: Final = 4 * MTU


class Timeout:
    """The retransmission timeout, from measured round trips."""

    __slots__ = ("_measured", "_smooth", "_variation", "seconds")

    def __init__(self) -> None:
        self.seconds = self._measured = RTO_INITIAL
        self._smooth: float | None = None
        self._variation = 0.0

    def measure(self, round_trip: float) -> None:
        """One round trip of something that was sent once."""
        if self._smooth is None:
            self._smooth, self._variation = round_trip, round_trip / 2
        else:
            off = abs(self._smooth - round_trip)
            self._variation += (off - self._variation) / 4
            self._smooth += (round_trip - self._smooth) / 8
        self._measured = min(RTO_MAX, max(RTO_MIN, self._smooth + 4 * self._variation))
        self.seconds = self._measured

    def back_off(self) -> None:
        """Nothing came back in time."""
        self.seconds = min(RTO_MAX, 2 * self.seconds)

    def restore(self) -> None:
        """Something came again: wait as measured (RFC 6298, 5.7 waits for a measurement, but
        where much is lost there is none, and the collapsed window is careful enough)."""
        self.seconds = self._measured


class Congestion:
    """The congestion window, in bytes of payload."""

    __slots__ = ("_partial", "_threshold", "recovery_ends", "window")

    def __init__(self) -> None:
        self.window = INITIAL_WINDOW
        self.recovery_ends: int | None = None
        """The TSN whose acknowledgement ends fast recovery."""
        self._threshold = MAX_WINDOW
        self._partial = 0

    def acknowledge(self, size: int, *, full: bool, cumulative: int) -> None:
        """`size` bytes arrived; `full`: the window was in use, without which it does not grow."""
        if self.recovery_ends is not None:
            if cumulative < self.recovery_ends:
                return
            self.recovery_ends = None
        if not full:
            return
        if self.window <= self._threshold:
            self.window += min(size, MTU)
        else:
            self._partial += size
            if self._partial >= self.window:
                self._partial -= self.window
                self.window += MTU
        self.window = min(self.window, MAX_WINDOW)

    def lose(self, last_sent: int) -> None:
        """Later packets arrived and an earlier one did not."""
        if self.recovery_ends is None:
            self.recovery_ends = last_sent
            self._threshold = self.window = max(self.window // 2, MIN_THRESHOLD)
            self._partial = 0

    def collapse(self) -> None:
        """Nothing came back in time."""
        self._threshold = max(self.window // 2, MIN_THRESHOLD)
        self.window = MTU
        self._partial = 0
        self.recovery_ends = None
