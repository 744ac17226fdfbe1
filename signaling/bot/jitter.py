"""A jitter buffer for sound: puts packets in order, waits for what is lost only as long as it may
still come, and says what to ask for again. Rules alone: no clock, no socket.

A packet that is next in turn leaves at once, so without loss nothing is delayed. A gap is held
open for `depth` seconds, which follows what gaps have taken to be filled: by packets that were
overtaken, or sent again. Times are monotonic seconds; sequence numbers have 16 bits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LEAST: Final = 0.02
"""Seconds that a gap is held open at least: one packet's time."""
MOST: Final = 0.4
"""Seconds at most: a conversation bears no more."""
FIRST_NEED: Final = 0.06
"""Seconds that filling a gap is taken to need before anything is known."""
MARGIN: Final = 1.25
"""Of the depth over what filling a gap has needed."""
FORGET: Final = 0.999
"""What is left of the need with each packet: half of it after 14 seconds of sound."""
FORGET_LOST: Final = 0.97
"""What is left of it with each packet that never came, for which waiting was of no use."""
REORDER: Final = 0.01
"""Seconds that a packet may be overtaken by before it is asked for."""
FIRST_ROUND_TRIP: Final = 0.08
ASK_EVERY: Final = 0.03
"""Seconds between two requests for one packet at least."""
MAX_TRIES: Final = 5
MAX_ASKED: Final = 48
"""Packets asked for at a time: a second of sound."""
MAX_HELD: Final = 200
"""Packets that wait behind a gap: four seconds; then it is given up."""
MAX_JUMP: Final = 1000
"""Numbers; what is further off belongs to a stream that began anew."""
REMEMBERED: Final = 256
"""Packets given up whose coming late is still noticed."""


@dataclass(slots=True)
class _Gap:
    since: float
    asked_at: float = 0.0
    tries: int = 0


@dataclass(slots=True, frozen=True)
class Ready(Generic[T]):
    """A packet in its turn, and how many right before it never came."""

    item: T
    lost: int


class JitterBuffer(Generic[T]):
    """One stream's packets. After `add`, and when `timer` says, `take` what is ready and ask for
    what `to_ask` names."""

    def __init__(self, least: float = LEAST, most: float = MOST) -> None:
        self.least = least
        self.most = max(most, least)
        self.depth = min(max(FIRST_NEED * MARGIN, least), self.most)
        self.round_trip = FIRST_ROUND_TRIP
        self.received = 0
        self.lost = 0
        """Packets that were given up."""
        self.late = 0
        """Of these, those that came afterwards."""
        self.recovered = 0
        """Packets that filled a gap in time."""
        self.timer: float | None = None
        self._need = FIRST_NEED
        self._next: int | None = None
        self._newest = 0
        self._held: dict[int, T] = {}
        self._gaps: dict[int, _Gap] = {}
        self._given_up: OrderedDict[int, _Gap] = OrderedDict()
        self._lost_before = 0
        self._leaving: list[Ready[T]] = []

    def add(self, sequence: int, item: T, now: float) -> None:
        """Take a packet; one that was here already is left out."""
        number = self._newest + _distance(sequence, self._newest & 0xFFFF)
        if self._next is None or abs(number - self._newest) > MAX_JUMP:
            self.begin_anew()
            self._next = self._newest = number = sequence
        if number < self._next:
            self._receive_late(number, now)
            return
        if number in self._held:
            return
        self.received += 1
        self._held[number] = item
        if number > self._newest:
            for missing in range(max(self._newest + 1, self._next), number):
                self._gaps[missing] = _Gap(now)
            self._newest = number
        elif gap := self._gaps.pop(number, None):
            self.recovered += 1
            self._learn(gap, now)
        self._set_need(self._need * FORGET)

    def begin_anew(self) -> None:
        """Another stream follows: what is held leaves, and what is missing is no loss."""
        self._leaving += [Ready(self._held[number], 0) for number in sorted(self._held)]
        self._held.clear()
        self._gaps.clear()
        self._given_up.clear()
        self._next = None
        self._lost_before = 0

    def take(self, now: float) -> list[Ready[T]]:
        """What is in its turn, in order; gives up what need not be waited for any longer."""
        ready, self._leaving = self._leaving, []
        while self._held and self._next is not None:
            if self._next in self._held:
                ready.append(Ready(self._held.pop(self._next), self._lost_before))
                self._lost_before = 0
            elif not self._give_up(self._next, now):
                break
            self._next += 1
        self._set_timer(now)
        return ready

    def to_ask(self, now: float) -> list[int]:
        """Sequence numbers to ask for again now, where the round trip allows it."""
        asked: list[int] = []
        for number, gap in self._gaps.items():
            if now >= self._ask_at(gap) and self._is_worth_asking(gap, now):
                gap.asked_at, gap.tries = now, gap.tries + 1
                asked.append(number & 0xFFFF)
                if len(asked) == MAX_ASKED:
                    break
        self._set_timer(now)
        return asked

    def _receive_late(self, number: int, now: float) -> None:
        if gap := self._given_up.pop(number, None):
            self.late += 1
            self._learn(gap, now)

    def _give_up(self, number: int, now: float) -> bool:
        gap = self._gaps.get(number)
        waits = gap is not None and now < gap.since + self.depth
        if waits and len(self._held) <= MAX_HELD:
            return False
        self.lost += 1
        self._lost_before += 1
        self._set_need(self._need * FORGET_LOST)
        if gap is not None:
            del self._gaps[number]
            self._given_up[number] = gap
            if len(self._given_up) > REMEMBERED:
                self._given_up.popitem(last=False)
        return True

    def _learn(self, gap: _Gap, now: float) -> None:
        """A gap was filled, in time or not: so long it has taken."""
        took = now - gap.since
        if took <= self.most:
            self._set_need(max(self._need, took))
        if gap.tries:
            answered = min(now - gap.asked_at, self.most)
            self.round_trip += (answered - self.round_trip) / (4 if gap.tries == 1 else 16)

    def _set_need(self, need: float) -> None:
        self._need = need
        self.depth = min(max(need * MARGIN, self.least), self.most)

    def _ask_at(self, gap: _Gap) -> float:
        if not gap.tries:
            return gap.since + REORDER
        return gap.asked_at + max(self.round_trip * MARGIN, ASK_EVERY)

    def _is_worth_asking(self, gap: _Gap, now: float) -> bool:
        return gap.tries < MAX_TRIES and now + self.round_trip <= gap.since + self.most

    def _set_timer(self, now: float) -> None:
        times = [
            self._ask_at(gap) for gap in self._gaps.values() if self._is_worth_asking(gap, now)
        ]
        if self._held and self._next in self._gaps:
            times.append(self._gaps[self._next].since + self.depth)
        self.timer = min(times, default=None)


def _distance(sequence: int, origin: int) -> int:
    """From one number of 16 bits to another, the short way round."""
    return (sequence - origin + 0x8000 & 0xFFFF) - 0x8000
