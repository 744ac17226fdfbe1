"""Times at which members are to be called, in a heap: who has to wait costs nothing."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

MAX_STALE: Final = 4
"""Entries of the heap for each member before those that hold no longer are thrown out."""

T = TypeVar("T", bound=Hashable)


class Timers(Generic[T]):
    """One time for each member, the latest that was set."""

    def __init__(self) -> None:
        self._times: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._times)

    def set(self, member: T, at: float) -> None:
        """Call the member at `at`, and not when it was to be called before."""
        if self._times.get(member) == at:
            return
        self._times[member] = at
        heappush(self._heap, (at, next(self._numbers), member))
        if len(self._heap) > MAX_STALE * (len(self._times) + MAX_STALE):
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapify(self._heap)

    def discard(self, member: T) -> None:
        """Do not call it."""
        self._times.pop(member, None)

    def get_timer(self) -> float | None:
        """The earliest time; None: nobody is to be called."""
        heap = self._heap
        while heap and not self._holds(heap[0]):
            heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: float) -> list[T]:
        """Those whose time has come, in its order; they are called no more until set again."""
        due: list[T] = []
        while (at := self.get_timer()) is not None and at <= now:
            member = heappop(self._heap)[2]
            del self._times[member]
            due.append(member)
        return due

    def _holds(self, entry: tuple[float, int, T]) -> bool:
        return self._times.get(entry[2]) == entry[0]
