"""Datagrams read in batches: by one recvmmsg, or with the standard library, for other systems and
for tests."""

from __future__ import annotations

import socket
from typing import Any, Final, Protocol

import numpy as np

from ..transport.ice import Address
from .addresses import get_name_length, pack_sockaddr
from .arena import HEADROOM, MAX_DATAGRAM, NAME, ROW, Arena
from .batch import MMSGHDR, ffi, list_pointers

FEW: Final = 16
"""Rows up to which a loop over them costs less than a numpy operation."""


class Inbox(Protocol):
    """The datagrams that were read last: row `rows[i]` of `arena` holds, after `HEADROOM` free
    bytes, `sizes[i]` bytes from `address(i)`."""

    arena: Arena
    rows: list[int]
    sizes: list[int]

    def receive(self) -> int:
        """Read what there is, at most one arena; returns how many datagrams. One of
        `MAX_DATAGRAM` bytes may have been longer: it is not whole."""
        ...

    def address(self, index: int) -> Address: ...

    def keep(self, index: int) -> bool:
        """Leave `rows[index]` untouched by what is read next; False: too many are kept."""
        ...

    def free(self, row: int) -> None:
        """A row that was kept may be used again."""
        ...


class _Rows:
    """The part that both inboxes share: which row the next datagram goes to."""

    def __init__(self, rows: int, spare: int) -> None:
        self.arena = Arena(rows + spare, HEADROOM)
        self.rows = list(range(rows))
        self.sizes: list[int] = []
        self._spare = list(range(rows, rows + spare))

    def keep(self, index: int) -> bool:
        if not self._spare:
            return False
        self.rows[index] = self._spare.pop()
        return True

    def free(self, row: int) -> None:
        self._spare.append(row)


class MmsgInbox(_Rows):
    """`Inbox` by recvmmsg. `sock` is non-blocking."""

    def __init__(self, sock: socket.socket, rows: int = 64, spare: int = 192) -> None:
        super().__init__(rows, spare)
        self._libc: Any = ffi.dlopen(None)
        self._fd = sock.fileno()
        self._namelen = get_name_length(sock)
        self._names = np.zeros((rows, NAME), np.uint8)
        self._name_view = self._names.reshape(-1).data
        self._headers = np.zeros(rows, MMSGHDR)
        self._headers["name"] = list_pointers(self._names)
        # The kernel writes the length of each name; in one family it is always the same.
        self._headers["namelen"] = self._namelen
        # Not the arena's own: whoever decrypts in place writes lengths there.
        self._iovec = self.arena.iovec[:rows].copy()
        self._iovec["len"] = MAX_DATAGRAM
        self._iovec_pointer = ffi.cast("struct iovec *", self._iovec.ctypes.data)
        self._headers["iov"] = list_pointers(self._iovec)
        self._headers["iovlen"] = 1
        self._pointer = ffi.cast("struct mmsghdr *", self._headers.ctypes.data)
        self._received = self._headers["len"]

    def receive(self) -> int:
        count: int = self._libc.recvmmsg(
            self._fd, self._pointer, len(self.rows), socket.MSG_DONTWAIT, ffi.NULL
        )
        if count <= 0:
            self.sizes = []
            return 0
        headers = self._pointer
        if count == 1:
            self.sizes = [headers.msg_len]
        elif count <= FEW:
            self.sizes = [headers[index].msg_len for index in range(count)]
        else:
            self.sizes = self._received[:count].tolist()
        return count

    def address(self, index: int) -> Address:
        start = index * NAME
        return Address(bytes(self._name_view[start : start + self._namelen]))

    def keep(self, index: int) -> bool:
        if not super().keep(index):
            return False
        self._iovec_pointer[index].iov_base = self.arena.pointers[self.rows[index]]
        return True


class PortableInbox(_Rows):
    """`Inbox` by recvfrom_into."""

    def __init__(self, sock: socket.socket, rows: int = 64, spare: int = 192) -> None:
        super().__init__(rows, spare)
        self._sock = sock
        self._names: list[Address] = []

    def receive(self) -> int:
        self.sizes, self._names = [], []
        for row in self.rows:
            try:
                size, name = self._sock.recvfrom_into(
                    self.arena.view[row * ROW + HEADROOM : (row + 1) * ROW]
                )
            except OSError:
                break
            self.sizes.append(size)
            self._names.append(pack_sockaddr(name, self._sock.family))
        return len(self.sizes)

    def address(self, index: int) -> Address:
        return self._names[index]
