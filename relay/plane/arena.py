"""The memory that packets lie in: rows of fixed size, allocated once, seen as numpy columns by
the forwarder and as pointers by SRTP and the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import cffi
import numpy as np
import numpy.typing as npt

from ..transport.ice import Address

_ffi = cffi.FFI()

Pointer = Any
"""A cffi pointer. Other bindings accept it where they want `void *` or `int *`."""

ROW: Final = 1600
"""Bytes per row: more than any datagram that fits an Ethernet frame, and an odd number of cache
lines, so that one header field of all rows does not fall into the same few cache sets."""

HEADROOM: Final = 32
"""Free bytes before each datagram that is read, for a header that grows (`rtp.packet.HEADROOM`).
A multiple of 4, as SRTP wants its packets aligned."""

MAX_DATAGRAM: Final = ROW - HEADROOM
"""What is read of one datagram at most."""

NAME: Final = 28
"""sizeof(struct sockaddr_in6), the larger of the two."""

# struct iovec of a 64-bit system.
IOVEC: Final = np.dtype([("base", "u8"), ("len", "u8")])


class Destination:
    """The place that a subscriber's packets go to. Its memory stays in place, so that a new address
    reaches every table that points at it."""

    __slots__ = ("address", "memory", "pointer")

    def __init__(self) -> None:
        self.memory = _ffi.new("char[]", NAME)
        self.pointer = int(_ffi.cast("uintptr_t", self.memory))
        self.address: Address | None = None

    def set(self, address: Address) -> None:
        _ffi.memmove(self.memory, address, len(address))
        self.address = address


class Destinations:
    """Those of one fan-out, in order, with their pointers as a column.

    `prepared` is the outbox's: what it has composed for them before, by their runs.
    """

    __slots__ = ("items", "pointers", "prepared")

    def __init__(self, items: Sequence[Destination]) -> None:
        self.items = list(items)
        self.pointers = np.array([item.pointer for item in items], np.uint64)
        self.prepared: dict[tuple[int, ...], Any] = {}


class Arena:
    """Rows of `ROW` bytes in one block, each with a length, as numpy columns and as pointers.

    `data[row, byte]`; `halves` and `words` are the same memory as big-endian 16 and 32 bits.
    `lengths[row]` is an int; `pointers[row]` and `length_pointers[row]` are its `char *`, `int *`.
    The pointers, and what is read, start `headroom` bytes into the row.
    """

    def __init__(self, rows: int, headroom: int = 0) -> None:
        self.rows = rows
        self.data: npt.NDArray[np.uint8] = np.zeros((rows, ROW), np.uint8)
        self.halves = self.data.view(">u2")
        self.words = self.data.view(">u4")
        self.view = self.data.reshape(-1).data
        self.iovec = np.zeros(rows, IOVEC)
        base = self.data.ctypes.data + headroom
        self.iovec["base"] = base + np.arange(rows, dtype=np.uint64) * ROW
        # An int at the low half of iov_len (little-endian): what SRTP writes there is at once
        # the length that the kernel reads.
        self.lengths: npt.NDArray[np.int32] = self.iovec.view(np.int32).reshape(rows, 4)[:, 2]
        lengths = self.iovec.ctypes.data + 8
        self.pointers: list[Pointer] = [_ffi.cast("char *", base + i * ROW) for i in range(rows)]
        self.length_pointers: list[Pointer] = [
            _ffi.cast("int *", lengths + i * IOVEC.itemsize) for i in range(rows)
        ]
        self._columns: dict[int, npt.NDArray[np.uint16]] = {}

    def column(self, at: int) -> npt.NDArray[np.uint16]:
        """The two bytes at `at`, aligned or not, of every row as a big-endian number."""
        column = self._columns.get(at)
        if column is None:
            column = self.data[:, at : at + 2].view(">u2")[:, 0]
            self._columns[at] = column
        return column


class Outbox(Protocol):
    """Rows to send. Blocks are laid out subscriber by subscriber: row `first + k * packets + p`
    is packet p for destination k. Everything that cannot be sent at once is dropped and counted."""

    arena: Arena

    def reserve(self, rows: int) -> int:
        """The first of `rows` free rows; sends what is there when they would not fit."""
        ...

    def commit(self, first: int, destinations: Destinations, runs: Sequence[int]) -> None:
        """The block at `first` is written: `runs` are how many consecutive packets are of equal
        length, but for a shorter last one; they sum up to the packets per destination."""
        ...

    def send(self) -> None:
        """Send every block that was committed, and forget it."""
        ...


def runs_of(sizes: Sequence[int]) -> list[int]:
    """Return how packets of these sizes fall into runs for `Outbox.commit`: equal ones, and a
    shorter one may end the run. [9, 9, 4, 9] → [3, 1]."""
    runs: list[int] = []
    size = -1
    for current in sizes:
        if current == size:
            runs[-1] += 1
        elif current < size:
            runs[-1] += 1
            size = -1
        else:
            runs.append(1)
            size = current
    return runs
