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


class Sent(NamedTuple):
    """Packets that feedback names, as columns: seconds, and bytes on the wire."""

    at: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]


class SendHistory:
    """The next transport-wide number of every leg, by its index, and what went before."""

    def __init__(self) -> None:
        self.now = 0.0
        """When what is written next is sent: set with each flush."""
        self.values: npt.NDArray[np.uint16] = np.zeros(64, np.uint16)
        self.at: npt.NDArray[np.float64] = np.zeros((64, LENGTH), np.float64)
        self.sizes: npt.NDArray[np.uint16] = np.zeros((64, LENGTH), np.uint16)
        self._free: list[int] = []
        self._used = 0

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
        self.at[index] = 0.0
        self._free.append(index)

    def take(self, index: int, size: int) -> int:
        """The number of one packet of `size` bytes."""
        number = int(self.values[index])
        self.values[index] = number + 1 & 0xFFFF
        self.at[index, number & MASK] = self.now
        self.sizes[index, number & MASK] = size
        return number

    def note(
        self, indices: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16], size: int
    ) -> None:
        """A packet of `size` bytes went to each of these legs, under these numbers."""
        places = numbers & MASK
        self.at[indices, places] = self.now
        self.sizes[indices, places] = size

    def find(
        self, index: int, base: int, offsets: npt.NDArray[np.int64]
    ) -> tuple[Sent, npt.NDArray[np.bool_]]:
        """What was sent to a leg under `base` and the numbers `offsets` after it, and which of
        them were sent at all and are remembered."""
        ahead = (int(self.values[index]) - 1 - base & 0xFFFF) - offsets
        numbers = base + offsets & MASK
        at = self.at[index, numbers]
        known = (ahead >= 0) & (ahead < LENGTH) & (at > 0)
        return Sent(at, self.sizes[index, numbers].astype(np.int64) + OVERHEAD), known

    def count_lost(self, index: int, base: int, count: int, arrived: int) -> int:
        """How many of `count` numbers from `base`, of which `arrived` did, were sent and lost."""
        sent = (int(self.values[index]) - base) & 0xFFFF
        return max(0, min(count, sent) - arrived) if sent <= LENGTH else 0

    def _grow(self) -> None:
        # Zeros, and then the rows that were used: untouched memory costs nothing.
        for name in ("values", "at", "sizes"):
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
