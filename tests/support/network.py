"""A network in virtual time: packets that are lost, late, out of order or there twice.

Everything random comes from one seed, and time passes only between events, so that a
minute of a bad call is a unit test that always goes the same way.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HEADERS: Final = 28
"""Bytes of IPv4 and UDP."""


class Simulation:
    """Virtual time: events in order, those of one instant in the order they were scheduled.

    `now` is monotonic seconds and does not start at zero, as no real clock does.
    """

    def __init__(self, seed: int = 1, start: float = 1000.0) -> None:
        self.now = start
        self.seed = seed
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def rng(self, name: str) -> random.Random:
        """A source of randomness of its own, so that one part's use does not change another's."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do it at `when`; what lies in the past is done next."""
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def every(self, interval: float, action: Callable[[], bool | None], first: float = 0.0) -> None:
        """Do it again and again, until it returns False."""

        def step() -> None:
            if action() is not False:
                self.after(interval, step)

        self.after(first, step)

    def run_until(self, when: float) -> None:
        while self._events and self._events[0][0] <= when:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = max(self.now, when)

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now + seconds)


@dataclass
class Conditions:
    """What a path does to its packets; may be changed while it is used. Times in seconds."""

    delay: float = 0.02
    jitter: float = 0.0  # added to the delay, evenly spread; alone it does not reorder
    loss: float = 0.0  # probability
    duplicate: float = 0.0  # probability that a packet comes a second time
    reorder: float = 0.0  # probability that a packet is held back
    held_back: float = 0.03  # by how long
    rate: float = 0.0  # bit/s of the link; 0: packets do not wait for each other
    queue: float = 0.3  # seconds that a packet waits at most for those before it


class Bottleneck:
    """A link that packets pass one after the other; several paths may share it."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self.overflowed = 0
        self.waits: list[tuple[float, float]] = []
        """When each packet came to it, and the seconds that it waited."""

    def pass_through(self, size: int, conditions: Conditions, now: float) -> float | None:
        """When a packet of `size` bytes is across; None: the queue is full."""
        start = max(now, self.free_at)
        if start - now > conditions.queue:
            self.overflowed += 1
            return None
        self.waits.append((now, start - now))
        self.free_at = start + 8 * size / conditions.rate
        return self.free_at


class Path:
    """One direction between two peers."""

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        conditions: Conditions,
        deliver: Callable[[bytes], None],
        bottleneck: Bottleneck | None = None,
    ) -> None:
        self.conditions = conditions
        self.bottleneck = bottleneck or Bottleneck()
        self.sent = 0
        self.lost = 0
        self._simulation = simulation
        self._rng = simulation.rng(name)
        self._deliver = deliver
        self._last = 0.0

    def send(self, data: bytes) -> None:
        conditions, rng = self.conditions, self._rng
        self.sent += 1
        copies = 2 if rng.random() < conditions.duplicate else 1
        for copy in range(copies):
            if rng.random() < conditions.loss:
                self.lost += 1
                continue
            arrival = self._simulation.now
            if conditions.rate:
                across = self.bottleneck.pass_through(len(data) + HEADERS, conditions, arrival)
                if across is None:
                    self.lost += 1
                    continue
                arrival = across
            arrival += conditions.delay
            if conditions.jitter:
                # A queue keeps its order: jitter alone never lets one overtake another.
                arrival = max(arrival + rng.random() * conditions.jitter, self._last)
                self._last = arrival
            if copy:
                arrival += rng.random() * 0.01
            if rng.random() < conditions.reorder:
                arrival += conditions.held_back
            self._simulation.at(arrival, lambda: self._deliver(data))
