"""Two SCTP associations, or one and anything else, on a seeded network in virtual time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relay.stats import DropReason
from relay.transport.sctp.association import Association
from relay.transport.sctp.reassembly import Received
from relay.transport.sctp.states import Established, Event


class Endpoint(Protocol):
    def receive(self, data: bytes, now: float) -> DropReason | None: ...
    def datagrams_to_send(self, now: float) -> list[bytes]: ...
    def get_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_event(self) -> Event | None: ...


@dataclass
class Path:
    """One direction. Chances are of 1, times in seconds."""

    loss: float = 0.0
    twice: float = 0.0
    delay: float = 0.02
    jitter: float = 0.0
    down: bool = False
    sent: int = 0


class Pair:
    """Ada and Bob, and what happened to each."""

    def __init__(self, seed: int = 1, *, max_message: int = 524288, **path: float) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.max_message = max_message
        self.ends: list[Association] = [self.make(), self.make()]
        self.paths = [Path(**path), Path(**path)]
        self.events: list[list[Event]] = [[], []]
        self.drops: list[DropReason] = []
        self.on_packet: Callable[[int, bytes], bytes | None] = lambda _, data: data
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    @property
    def ada(self) -> Association:
        return self.ends[0]

    @property
    def bob(self) -> Association:
        return self.ends[1]

    def make(self) -> Association:
        return Association(random=self.rng.randbytes, max_message=self.max_message)

    def open(self) -> Pair:
        self.ada.connect(self.now)
        self.bob.connect(self.now)
        self.run(20)
        assert [sum(isinstance(e, Established) for e in events) for events in self.events] == [1, 1]
        return self

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass; fails where it would stand still."""
        end = self.now + seconds
        steps = 0
        while not until():
            for who in (0, 1):
                self.flush(who)
            timers = [t for t in (one.get_timer() for one in self.ends) if t is not None]
            due = min([*timers, *(entry[0] for entry in self._flying[:1])], default=math.inf)
            if due > end:
                break
            self.now = max(self.now, due)
            steps += 1
            assert steps < 2_000_000, "time stands still"
            while self._flying and self._flying[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self._flying)
                reason = self.ends[to].receive(data, self.now)
                if reason is not None:
                    self.drops.append(reason)
                self.flush(to)
            for who, one in enumerate(self.ends):
                at = one.get_timer()
                if at is not None and at <= self.now:
                    one.handle_timer(self.now)
                    self.flush(who)
        if not until():
            self.now = max(self.now, end)

    def flush(self, who: int) -> None:
        one = self.ends[who]
        while (event := one.next_event()) is not None:
            self.events[who].append(event)
        for data in one.datagrams_to_send(self.now):
            assert len(data) <= 1191
            self.carry(who, data)

    def carry(self, who: int, data: bytes) -> None:
        """Send a packet on its way."""
        path = self.paths[who]
        path.sent += 1
        changed = self.on_packet(who, data)
        if changed is None or path.down:
            return
        copies = 1 + (self.rng.random() < path.twice)
        for _ in range(copies):
            if self.rng.random() >= path.loss:
                self._count += 1
                at = self.now + path.delay + path.jitter * self.rng.random()
                heapq.heappush(self._flying, (at, self._count, 1 - who, changed))

    def got(self, who: int) -> list[Received]:
        return [event for event in self.events[who] if isinstance(event, Received)]

    def payloads(self, who: int, stream: int | None = None) -> list[bytes]:
        return [m.payload for m in self.got(who) if stream in (None, m.stream)]
