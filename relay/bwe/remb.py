"""What a receiver's line carries where all that it tells is REMB and its reports' loss: aiortc,
and some players.

Its own estimate knows only what was sent: with little on the line it says little. So what it says
counts as a limit only as far as about that much is sent; else the estimate grows by itself.
"""

from __future__ import annotations

from typing import Final

from .control import FIRST, GROWTH, MAX, MIN

LIMITING: Final = 1.35
"""Times the rate sent below which a REMB is a limit: estimators stop at 1.5 times."""

HIGH_LOSS: Final = 0.10
LOW_LOSS: Final = 0.02

HOLD: Final = 5.0
"""Seconds without growth after a reduction: each attempt costs whoever receives a worse picture."""

MAX_STREAMS: Final = 64
"""Streams whose REMBs are kept: a browser names all in one, aiortc sends one for each track."""


class RembEstimate:
    """One leg's. Fed with REMBs, reports of loss, and what is sent."""

    __slots__ = ("_at", "_held_until", "_said", "heard", "loss", "rate")

    def __init__(self, rate: float = FIRST) -> None:
        self.rate = rate
        """Bit/s."""
        self.loss = 0.0
        self.heard = False
        """Whether a REMB came at all."""
        self._said: dict[int, float] = {}
        self._at: float | None = None
        self._held_until = float("-inf")

    @property
    def judges(self) -> bool:
        """Whether anything was said, or lost, by which to judge."""
        return self.heard or self._held_until > float("-inf")

    def receive_remb(self, bitrate: int, ssrcs: tuple[int, ...], sent: float, now: float) -> None:
        """`sent` is the bit/s that went out lately."""
        self.heard = True
        first, *others = ssrcs or (0,)
        for ssrc in others:
            self._said.pop(ssrc, None)
        self._said[first] = min(float(bitrate), MAX)
        while len(self._said) > MAX_STREAMS:
            del self._said[next(iter(self._said))]
        said = sum(self._said.values())
        if said >= self.rate:
            self._set(said)
        elif said < LIMITING * sent:
            self._set(said)
            self._held_until = now + HOLD

    def receive_loss(self, lost: float, now: float) -> None:
        """The share that reports say was lost of the worst stream; about once a second."""
        self.loss = lost
        if lost > HIGH_LOSS:
            self._set(self.rate * (1 - 0.5 * lost))
            self._held_until = now + HOLD

    def handle_timer(self, now: float) -> None:
        """Grow as time passes; a few times a second."""
        since = 0.0 if self._at is None else min(now - self._at, 1.0)
        self._at = now
        if now >= self._held_until and self.loss < LOW_LOSS:
            self._set(self.rate * GROWTH**since)

    def forget(self, ssrc: int) -> None:
        """The stream is not received any more."""
        self._said.pop(ssrc, None)

    def _set(self, rate: float) -> None:
        self.rate = min(max(rate, MIN), MAX)
