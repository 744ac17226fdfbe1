"""Datagrams sent in batches: by one sendmmsg, runs for one destination as one UDP_SEGMENT send, or
with the standard library, for other systems and for tests."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..stats import DropReason, Stats
from .addresses import get_name_length, sockaddr
from .arena import IOVEC, ROW, Arena, Destination, Destinations, Pointer
from .batch import MMSGHDR, ffi, list_pointers

MAX_SEGMENTS: Final = 64
"""Datagrams in one UDP_SEGMENT send: UDP_MAX_SEGMENTS of the oldest kernels that know it."""

MAX_SEGMENTED: Final = 65000
"""Bytes in one such send; the kernel's limit is 65535 less the headers."""

SAFE_RUN: Final = min(MAX_SEGMENTS, MAX_SEGMENTED // ROW)
"""Packets that one such send takes even if each fills its row."""

MAX_PREPARED: Final = 32
"""Ways to fall into runs for which a fan-out's messages are kept."""

MAX_KEPT: Final = 64
"""Messages up to which a block's are kept: to compose more of them costs little for each."""

UDP_SEGMENT: Final = 103
CMSG: Final = np.dtype(
    [("len", "u8"), ("level", "i4"), ("type", "i4"), ("size", "u2"), ("pad", "V6")]
)


class _Blocks:
    """The part that both outboxes share: rows given out, blocks committed."""

    def __init__(self, rows: int, stats: Stats) -> None:
        self.arena = Arena(rows)
        self._stats = stats
        self._next = 0
        self._blocks: list[tuple[int, Destinations, Sequence[int]]] = []

    def reserve(self, rows: int) -> int:
        if self._next + rows > self.arena.rows:
            self.send()
        return self._next

    def commit(self, first: int, destinations: Destinations, runs: Sequence[int]) -> None:
        self._blocks.append((first, destinations, runs))
        packets, count = sum(runs), len(destinations.items)
        self._next = first + count * packets
        size = 0
        for row in range(first, first + packets):
            size += self.arena.length_pointers[row][0]
        # As of the first destination: the others may have another tag.
        self._stats.bytes_out += size * count

    def send(self) -> None:
        raise NotImplementedError

    def _count(self, dropped: int) -> None:
        self._stats.packets_out += self._next - dropped
        self._next = 0
        self._blocks.clear()


_Sizes = tuple[npt.NDArray[np.uint16], npt.NDArray[np.int32]]


class _Prepared:
    """The messages of a block that starts at row 0, to be sent again and again: rows and
    destinations stay where they are, the kernel reads the rows' lengths from the arena, so only
    the size of segments is written anew."""

    __slots__ = ("count", "headers", "pointer", "sizes")

    def __init__(self, headers: npt.NDArray[Any], sizes: list[_Sizes]) -> None:
        self.headers = headers
        self.count = len(headers)
        self.pointer: Pointer = ffi.cast("struct mmsghdr *", headers.ctypes.data)
        self.sizes = sizes
        """(column of UDP_SEGMENT sizes, lengths of the rows that they are taken from)"""


class MmsgOutbox(_Blocks):
    """`Outbox` by sendmmsg; runs of packets for one destination leave as one UDP_SEGMENT send."""

    def __init__(
        self, sock: socket.socket, stats: Stats, rows: int = 512, segment: bool | None = None
    ) -> None:
        super().__init__(rows, stats)
        self._libc: Any = ffi.dlopen(None)
        self._fd = sock.fileno()
        self._segment = _can_segment(sock) if segment is None else segment
        # One message per row, whose only changing field is the destination ...
        self._single = np.zeros(rows, MMSGHDR)
        self._single["namelen"] = get_name_length(sock)
        self._iovecs = list_pointers(self.arena.iovec)
        self._single["iov"] = self._iovecs
        self._single["iovlen"] = 1
        self._single_pointer = ffi.cast("struct mmsghdr *", self._single.ctypes.data)
        self._single_names = self._single["name"]
        # ... and messages of several rows each.
        self._runs = np.zeros(rows, MMSGHDR)
        self._runs["namelen"] = get_name_length(sock)
        self._runs_pointer = ffi.cast("struct mmsghdr *", self._runs.ctypes.data)
        self._cmsgs = np.zeros(rows, CMSG)
        _fill_cmsgs(self._cmsgs)
        self._runs["control"] = list_pointers(self._cmsgs)

    def send(self) -> None:
        if not self._next:
            return
        blocks = self._blocks
        if len(blocks) == 1 and self._segment and len(blocks[0][1].items) > 1:
            # One track's packets, as nearly always, so from row 0: the same messages as before.
            prepared = self._prepare(blocks[0][1], blocks[0][2]) if not blocks[0][0] else None
            if prepared is not None:
                for sizes, lengths in prepared.sizes:
                    sizes[:] = lengths
                self._count(self._send_messages(prepared.pointer, prepared.count, prepared.headers))
                return
        if self._segment and any(sum(runs) > 1 for _, _, runs in blocks):
            dropped = self._send_messages(self._runs_pointer, self._compose(), self._runs)
        else:
            self._address()
            dropped = self._send_messages(self._single_pointer, self._next, None)
        self._count(dropped)

    def _prepare(self, destinations: Destinations, runs: Sequence[int]) -> _Prepared | None:
        """Return what `_compose` makes of such a block, kept for the next one; None where that is
        not worth its memory, or its runs are longer than one send takes, at any size of packets."""
        key = tuple(runs)
        prepared: _Prepared | None = destinations.prepared.get(key)
        if prepared is not None:
            return prepared
        count = len(key) * len(destinations.items)
        if max(key) > SAFE_RUN or count > MAX_KEPT:
            return None
        headers, cmsgs = np.zeros(count, MMSGHDR), np.zeros(count, CMSG)
        _fill_cmsgs(cmsgs)
        headers["namelen"] = self._single["namelen"][0]
        # What `_fill` returns keeps the memory of `cmsgs` alive.
        headers["control"] = list_pointers(cmsgs)
        sizes = self._fill(headers, cmsgs, 0, destinations, key)
        if len(destinations.prepared) >= MAX_PREPARED:
            destinations.prepared.clear()
        prepared = destinations.prepared[key] = _Prepared(headers, sizes)
        return prepared

    def _address(self) -> None:
        """Write the destination of each row's own message."""
        for first, destinations, runs in self._blocks:
            names = destinations.pointers
            if sum(runs) > 1:
                names = names.repeat(sum(runs))
            self._single_names[first : first + len(names)] = names

    def _compose(self) -> int:
        """Fill the messages of several rows; returns how many."""
        count = 0
        lengths = self.arena.lengths
        for first, destinations, runs in self._blocks:
            largest = int(lengths[first : first + sum(runs)].max())
            parts = _split(runs, largest)
            sizes = self._fill(self._runs[count:], self._cmsgs[count:], first, destinations, parts)
            for column, sources in sizes:
                column[:] = sources
            count += len(parts) * len(destinations.items)
        return count

    def _fill(
        self,
        headers: npt.NDArray[Any],
        cmsgs: npt.NDArray[Any],
        first: int,
        destinations: Destinations,
        runs: Sequence[int],
    ) -> list[_Sizes]:
        """Write the messages of the block at row `first`, one for each run and destination;
        returns where sizes of segments are still to be written, and from what."""
        packets, subs = sum(runs), len(destinations.items)
        offset, end = first, first + packets * subs
        sizes: list[_Sizes] = []
        for number, run in enumerate(runs):
            part = slice(number * subs, (number + 1) * subs)
            headers["name"][part] = destinations.pointers
            headers["iov"][part] = self._iovecs[offset:end:packets]
            headers["iovlen"][part] = run
            headers["controllen"][part] = CMSG.itemsize if run > 1 else 0
            if run > 1:
                sizes.append((cmsgs["size"][part], self.arena.lengths[offset:end:packets]))
            offset += run
        return sizes

    def _send_messages(
        self, pointer: Pointer, count: int, composed: npt.NDArray[Any] | None
    ) -> int:
        """Send `count` messages; returns how many packets were dropped."""
        done = dropped = 0
        while done < count:
            sent: int = self._libc.sendmmsg(
                self._fd, pointer + done, count - done, socket.MSG_DONTWAIT
            )
            if sent > 0:
                done += sent
                continue
            # Nothing was sent: the error is that of the first message.
            code = ffi.errno
            if code == errno.EINTR:
                continue
            if code in (errno.EAGAIN, errno.ENOBUFS):
                lost = count - done if composed is None else int(composed["iovlen"][done:].sum())
                self._stats.drops[DropReason.SOCKET_FULL] += lost
                return dropped + lost
            if composed is not None and composed["iovlen"][done] > 1:
                # Too large for the path's MTU, or a device that cannot segment.
                self._segment = self._segment and code != errno.EIO
                dropped += self._send_apart(composed[done])
            else:
                self._stats.drops[DropReason.SEND_FAILED] += 1
                dropped += 1
            done += 1
        return dropped

    def _send_apart(self, message: Any) -> int:
        first = (int(message["iov"]) - int(self._iovecs[0])) // IOVEC.itemsize
        count = int(message["iovlen"])
        self._single_names[first : first + count] = message["name"]
        return self._send_messages(self._single_pointer + first, count, None)


class PortableOutbox(_Blocks):
    """`Outbox` by sendto."""

    def __init__(self, sock: socket.socket, stats: Stats, rows: int = 512) -> None:
        super().__init__(rows, stats)
        self._sock = sock

    def send(self) -> None:
        dropped = 0
        for first, destinations, runs in self._blocks:
            packets = sum(runs)
            for k, destination in enumerate(destinations.items):
                for row in range(first + k * packets, first + (k + 1) * packets):
                    dropped += not self._send_row(row, destination)
        if self._next:
            self._count(dropped)

    def _send_row(self, row: int, destination: Destination) -> bool:
        start = row * ROW
        data = self.arena.view[start : start + int(self.arena.lengths[row])]
        try:
            if destination.address is None:
                raise OSError(errno.EDESTADDRREQ, "no address yet")
            self._sock.sendto(data, sockaddr(destination.address))
        except OSError as error:
            full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            reason = DropReason.SOCKET_FULL if full else DropReason.SEND_FAILED
            self._stats.drops[reason] += 1
            return False
        return True


def _split(runs: Sequence[int], size: int) -> list[int]:
    """Runs no longer than one send takes."""
    limit = min(MAX_SEGMENTS, MAX_SEGMENTED // max(size, 1))
    if max(runs) <= limit:
        return list(runs)
    parts: list[int] = []
    for run in runs:
        parts += [limit] * (run // limit)
        if run % limit:
            parts.append(run % limit)
    return parts


def _fill_cmsgs(cmsgs: npt.NDArray[Any]) -> None:
    cmsgs["len"] = 18  # CMSG_LEN(sizeof(uint16_t))
    cmsgs["level"] = socket.IPPROTO_UDP
    cmsgs["type"] = UDP_SEGMENT


def _can_segment(sock: socket.socket) -> bool:
    """Return whether the kernel knows UDP_SEGMENT (Linux 4.18)."""
    try:
        return sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT) == 0
    except OSError:
        return False
