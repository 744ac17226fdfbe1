"""Whether a queue grows on the way to a receiver, by how packets' delay changes.

draft-ietf-rmcat-gcc-02, 5, with what libwebrtc made of it since: a line through the delays of
the last groups of packets, and a threshold that adapts, so that other flows do not starve this
one. Unlike an encoder's, a relay's packets come in bursts (whole frames, several publishers'):
a group counts by the arrival of its first packet, which sees the queue that others left, not
the one that the burst itself is.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

BURST: Final = 0.005
"""Seconds within which what is sent is one group: "packets [...] within a burst_time interval"."""

WINDOW: Final = 20
"""Groups through which the line goes."""

SMOOTHING: Final = 0.9
GAIN: Final = 4.0
MAX_GROUPS: Final = 60
"""Groups from which the slope counts in full."""

OVERUSE_TIME: Final = 0.010
"""Seconds for which the slope has to be over the threshold."""

FIRST_THRESHOLD: Final = 12.5
MIN_THRESHOLD: Final = 6.0
MAX_THRESHOLD: Final = 600.0
GAIN_UP: Final = 0.0087
GAIN_DOWN: Final = 0.039
"""Of the threshold, per ms: "K_u = 0.01", "K_d = 0.00018" in the draft; libwebrtc's are these."""

MAX_ADAPTATION: Final = 15.0
"""How far over the threshold a slope may be and still move it: a route change is no traffic."""

MAX_GAP: Final = 3.0
"""Seconds without a packet after which delays are not comparable: clocks drift, routes change."""

BASE_WINDOW: Final = 10.0
"""Seconds after which the least delay is looked for anew."""


class Usage(Enum):
    """How the line is used: over means that a queue grows, under that one shrinks."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class DelayTrend:
    """Fed with groups of packets; `usage` is the verdict, `queue` the delay above the least."""

    __slots__ = (
        "_accumulated",
        "_arrived",
        "_base",
        "_groups",
        "_line",
        "_next_base",
        "_over_for",
        "_renew_at",
        "_sent",
        "_slope",
        "_smoothed",
        "_threshold",
        "_updated_at",
        "queue",
        "usage",
    )

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self.queue = 0.0
        """Seconds that packets wait now, about: delay over the least of the last ten seconds."""
        self._sent = self._arrived = float("-inf")
        self._base = self._next_base = float("inf")
        self._renew_at = 0.0
        self._threshold = FIRST_THRESHOLD
        self._updated_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self._groups = 0
        self._accumulated = self._smoothed = self._slope = 0.0
        self._over_for = -1.0
        self._line: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    def receive_packets(self, sent: list[float], arrived: list[float]) -> None:
        """Packets that arrived, in the order they were sent; seconds on each side's clock."""
        judged = False
        for at, arrival in zip(sent, arrived, strict=True):
            if at - self._sent <= BURST:
                continue  # of the same group, or out of order
            if at - self._sent > MAX_GAP:
                self._reset()
                self._base = self._next_base = float("inf")
            else:
                self._add(at, arrival)
                judged = True
            self._sent, self._arrived = at, arrival
            self._note_delay(arrival - at, at)
        if judged:
            self._judge()

    def _add(self, at: float, arrival: float) -> None:
        """ "The inter-group delay variation": d(i) = t(i) - t(i-1) - (T(i) - T(i-1))."""
        delta = 1000 * (arrival - self._arrived - (at - self._sent))
        self._groups += 1
        self._accumulated += delta
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._accumulated
        self._line.append((1000 * arrival, self._smoothed))

    def _note_delay(self, delay: float, at: float) -> None:
        if at >= self._renew_at:
            self._renew_at = at + BASE_WINDOW
            self._base, self._next_base = min(self._next_base, delay), delay
        self._base = min(self._base, delay)
        self._next_base = min(self._next_base, delay)
        self.queue += (delay - self._base - self.queue) / 4

    def _judge(self) -> None:
        line = self._line
        if len(line) < 2:
            return
        before, self._slope = self._slope, _fit(line)
        now = line[-1][0]
        trend = min(self._groups, MAX_GROUPS) * self._slope * GAIN
        elapsed = max(0.0, now - self._updated_at) / 1000
        if trend > self._threshold:
            # "The over-use [...] has to be [...] for at least gamma_2 milliseconds".
            self._over_for = elapsed / 2 if self._over_for < 0 else self._over_for + elapsed
            if self._over_for > OVERUSE_TIME and self._slope >= before:
                self._over_for = 0.0
                self.usage = Usage.OVER
        else:
            self._over_for = -1.0
            self.usage = Usage.UNDER if trend < -self._threshold else Usage.NORMAL
        self._adapt(trend, now)

    def _adapt(self, trend: float, now: float) -> None:
        """ "del_var_th(i) = del_var_th(i-1) + (t(i)-t(i-1)) * K(i) * (|m(i)|-del_var_th(i-1))"."""
        size = abs(trend)
        if size <= self._threshold + MAX_ADAPTATION:
            gain = GAIN_DOWN if size < self._threshold else GAIN_UP
            elapsed = min(now - self._updated_at, 100.0)
            moved = self._threshold + gain * (size - self._threshold) * elapsed
            self._threshold = min(max(moved, MIN_THRESHOLD), MAX_THRESHOLD)
        self._updated_at = now


def _fit(line: deque[tuple[float, float]]) -> float:
    """The slope of the line through the points, by least squares."""
    count = len(line)
    mean_x = sum([x for x, _ in line]) / count
    mean_y = sum([y for _, y in line]) / count
    below = sum([(x - mean_x) ** 2 for x, _ in line])
    if not below:
        return 0.0
    return sum([(x - mean_x) * (y - mean_y) for x, y in line]) / below
