"""The rate that follows from the verdicts: down at once, up carefully (AIMD).

draft-ietf-rmcat-gcc-02, 5.5 and 6.
"""

from __future__ import annotations

from typing import Final

from .delay import Usage

FIRST: Final = 600_000.0
"""Bit/s until feedback tells: a picture that one can see, on nearly every line."""

MIN: Final = 30_000.0
MAX: Final = 100_000_000.0
"""Bit/s; beyond, an estimate is no use to anybody."""

BACK_OFF: Final = 0.85
"""Of the acknowledged rate, where a queue grows: "beta [...] RECOMMENDED value is 0.85"."""

LIGHT_BACK_OFF: Final = 0.93
"""Of the rate, where the queue was that of a large frame."""

GROWTH: Final = 1.08
"""Per second, far from where the line was full: "eta = 1.08^min(time_since_last_update, 1.0)"."""

RESPONSE: Final = 0.2
"""Seconds, about: feedback's interval and a round trip, in which one packet more is added near
the line's known limit."""

PACKET: Final = 1200 * 8

APP_LIMITED: Final = 1.5
"""Times the acknowledged rate to which an estimate may grow: what was not sent proved nothing."""

MIN_INTERVAL: Final = 0.2
"""Seconds between two reductions: the first has to be seen to work."""

LOW_LOSS: Final = 0.05
"""The share lost up to which the rate grows without a probe."""

HIGH_LOSS: Final = 0.10
"""The share lost from which a full line is believed, where packets are late as well."""

RANDOM_LOSS: Final = 0.20
"""The share lost from which it is believed anyhow: no radio loses so much for long."""

LATE: Final = 0.025
"""Seconds of queue that make lost packets a sign of a full line."""

FULL: Final = 1.08
"""Stretch of the arrivals above which what arrives is what the line carries."""


class RateControl:
    """One estimate in bit/s. `rate` may be raised from outside by what a probe has shown."""

    __slots__ = ("_capacity", "_deviation", "_grown_at", "lowered_at", "rate")

    def __init__(self, rate: float = FIRST) -> None:
        self.rate = rate
        self._grown_at: float | None = None
        self.lowered_at = float("-inf")
        self._capacity: float | None = None
        """Bit/s that arrived when the line was full; None: it has not been."""
        self._deviation = 0.4

    def receive_usage(
        self,
        usage: Usage,
        acked: float | None,
        now: float,
        *,
        stretch: float = 1.0,
        lossy: bool = False,
    ) -> None:
        """The verdict on the delay, and the bit/s that arrived; `lossy`: so much is lost that the
        rate does not grow by itself."""
        if usage is Usage.OVER:
            if acked is not None and now - self.lowered_at >= MIN_INTERVAL:
                self._lower(acked, now, stretch)
            self._grown_at = now
        elif usage is Usage.UNDER or lossy:
            # "the queue is being emptied [...]: Hold": what is sent now does not tell.
            self._grown_at = now
        else:
            self._grow(acked, now)

    def receive_loss(self, lost: float, queue: float, acked: float | None, now: float) -> bool:
        """The share lost lately, and the seconds of queue; whether the rate is lowered."""
        full = lost > HIGH_LOSS and queue > LATE
        if not (full or lost > RANDOM_LOSS) or now - self.lowered_at < 2 * MIN_INTERVAL:
            return False
        # "As_hat(i) = As_hat(i-1)(1-0.5p)"; where the line is full, what arrived is what it has.
        lower = self.rate * (1 - 0.5 * lost)
        if full and acked is not None:
            lower = acked
        self._set(min(self.rate, lower), now)
        self.lowered_at = now
        return True

    def raise_to(self, rate: float, now: float) -> None:
        """A probe has shown that this arrives."""
        if rate > self.rate:
            self._set(rate, now)
            if self._capacity is not None and rate > self._capacity * (1 + 3 * self._deviation):
                self._capacity = None

    def _lower(self, acked: float, now: float, stretch: float) -> None:
        target = BACK_OFF * acked
        if stretch < FULL:
            # The line was not full all the time: a large frame alone made the queue. Had the
            # estimate been too high by much, packets would come apart.
            target = max(target, LIGHT_BACK_OFF * self.rate)
        self._note_capacity(acked)
        self.lowered_at = now
        if target < self.rate:
            self._set(target, now)

    def _grow(self, acked: float | None, now: float) -> None:
        since = 0.0 if self._grown_at is None else min(now - self._grown_at, 1.0)
        self._grown_at = now
        if self._is_near(acked):
            grown = self.rate + PACKET * since / RESPONSE
        else:
            grown = self.rate * GROWTH**since
        if acked is not None:
            grown = max(self.rate, min(grown, APP_LIMITED * acked + 10_000))
        self._set(grown, now)

    def _is_near(self, acked: float | None) -> bool:
        """Whether what arrives is about what arrived when the line was full."""
        if self._capacity is None or acked is None:
            return False
        if acked > self._capacity * (1 + 3 * self._deviation):
            self._capacity = None
            return False
        return True

    def _note_capacity(self, acked: float) -> None:
        """ "an exponential moving average [...] of the received bitrate" when the line is full."""
        if self._capacity is None or acked < self._capacity * (1 - 3 * self._deviation):
            self._capacity, self._deviation = acked, 0.1
            return
        difference = abs(acked - self._capacity) / self._capacity
        self._capacity += 0.2 * (acked - self._capacity)
        self._deviation = min(0.2, max(0.05, 0.9 * self._deviation + 0.1 * difference))

    def _set(self, rate: float, now: float) -> None:
        self.rate = min(max(rate, MIN), MAX)
        self._grown_at = now
