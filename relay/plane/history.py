"""What was sent to each leg under which transport-wide number, in columns: written by the
fan-out for all legs at once, read when feedback comes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

LENGTH: Final = 2048
"""Numbers remembered for each leg: four seconds of 5 Mbit/s. A power of two, so that a number's
place is its low bits."""

MASK: Final = LENGTH - 1

OVERHEAD: Final = 38
"""Bytes of a packet beside RTP: IPv4, UDP and SRTP's tag. What a link carries is judged with it."""

FIRST_ROWS: Final = 64


class Sent(NamedTuple):
    """Packets that feedback names, as columns: seconds, and bytes on the wire."""

    at: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]
    """Which of them were sent at all, and are remembered."""


class SendHistory:
    """The next transport-wide number of every leg, by its index, and what went before."""

    def __init__(self) -> None:
        self.now = 0.0
        """When what is written next is sent: set with each flush."""
        self.values: npt.NDArray[np.uint16] = np.zeros(FIRST_ROWS, np.uint16)
        self._at: npt.NDArray[np.float64] = np.zeros((FIRST_ROWS, LENGTH), np.float64)
        self._sizes: npt.NDArray[np.uint16] = np.zeros((FIRST_ROWS, LENGTH), np.uint16)
        self._free: list[int] = []
        self._used = 0
        self._see()

    def _see(self) -> None:
        # To write one element, a memoryview takes a third of what an array does.
        self._value_view = self.values.data
        self._at_view: memoryview[float] = self._at.reshape(-1).data  # type: ignore[assignment]
        # (Of float64, it has floats: typeshed knows bytes only.)
        self._size_view = self._sizes.reshape(-1).data

    def open(self) -> int:
        """An index for a new leg."""
        if self._free:
            return self._free.pop()
        if self._used == len(self.values):
            self._grow()
        self._used += 1
        return self._used - 1

    def close(self, index: int) -> None:
        self.values[index] = 0
        self._at[index] = 0.0
        self._free.append(index)

    def take(self, index: int, size: int) -> int:
        """The number of one packet of `size` bytes."""
        number: int = self._value_view[index]
        self._value_view[index] = number + 1 & 0xFFFF
        place = index * LENGTH + (number & MASK)
        self._at_view[place] = self.now
        self._size_view[place] = size
        return number

    def note(
        self, indices: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16], size: int
    ) -> None:
        """A packet of `size` bytes goes to each of these legs, under these numbers."""
        places = numbers & MASK
        self._at[indices, places] = self.now
        self._sizes[indices, places] = size

    def find(self, index: int, base: int, offsets: npt.NDArray[np.int64]) -> Sent:
        """What was sent to a leg under `base` and the numbers `offsets` after it."""
        ahead = (int(self.values[index]) - 1 - base & 0xFFFF) - offsets
        places = base + offsets & MASK
        at = self._at[index, places]
        known = (ahead >= 0) & (ahead < LENGTH) & (at > 0)
        return Sent(at, self._sizes[index, places].astype(np.int64) + OVERHEAD, known)

    def count_lost(self, index: int, base: int, count: int, arrived: int) -> int:
        """How many of `count` numbers from `base`, of which `arrived` did, were sent and lost."""
        sent = (int(self.values[index]) - base) & 0xFFFF
        return max(0, min(count, sent) - arrived) if sent <= LENGTH else 0

    def _grow(self) -> None:
        # Zeros, and then the rows that were used: memory that nobody touches costs nothing.
        values, at, sizes = self.values, self._at, self._sizes
        rows = len(values)
        self.values = np.zeros(2 * rows, np.uint16)
        self._at = np.zeros((2 * rows, LENGTH), np.float64)
        self._sizes = np.zeros((2 * rows, LENGTH), np.uint16)
        self.values[:rows], self._at[:rows], self._sizes[:rows] = values, at, sizes
        self._see()
