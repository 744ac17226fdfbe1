"""Transport-wide congestion control feedback, made and read.

draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .rtcp import RtcpError
from .seq import Unwrapper

INTERVAL = 0.1  # seconds between two feedback packets at most, while packets come
TICK = 250e-6  # seconds: "delta [...] in multiples of 250us"
TICKS_PER_REFERENCE = 256  # "reference time [...] in multiples of 64ms"
MAX_STATUSES = 400  # per feedback packet: 800 bytes of large deltas and 116 of chunks
MAX_REORDER = 500  # packets; one that comes later than this is not reported
MAX_BODIES = 8  # feedback packets for one interval

_FIXED = struct.Struct("!HHI")
_LOST, _SMALL, _LARGE, _RESERVED = range(4)
_SYMBOLS = tuple(bytes((symbol,)) for symbol in range(4))


class Feedback(NamedTuple):
    """One feedback packet's word on `base` and the packets after it, as columns.

    Arrivals are in ticks of 250 µs, counted from a zero of the receiver's choice.
    """

    base: int
    number: int  # "feedback packet count", 8 bits
    total: int  # packets reported on
    offsets: npt.NDArray[np.int64]  # from `base`, of those that arrived, ascending
    ticks: npt.NDArray[np.int64]  # when each of these did

    @property
    def arrivals(self) -> tuple[int | None, ...]:
        """The arrival of each packet, None where it is lost."""
        known = dict(zip(self.offsets.tolist(), self.ticks.tolist(), strict=True))
        return tuple(known.get(offset) for offset in range(self.total))


class ArrivalRecord:
    """The times at which a publisher's packets came, and the feedback to send about them."""

    __slots__ = ("_arrivals", "_count", "_first", "_next", "_sent_at", "_timer", "_unwrapper")

    def __init__(self) -> None:
        self._unwrapper = Unwrapper()
        self._arrivals: dict[int, int] = {}  # ticks by extended number
        self._next = -1  # the number after the newest reported
        self._first = -1  # the oldest not reported; -1: nothing to report
        self._count = 0
        self._sent_at = -1e9
        self._timer: float | None = None

    def on_packet(self, number: int, now: float) -> None:
        """A packet with the transport-wide `number` (16 bits) came at `now` (monotonic seconds)."""
        extended = self._unwrapper.unwrap(number)
        if extended < self._unwrapper.newest - MAX_REORDER or extended in self._arrivals:
            return
        self._arrivals[extended] = int(now / TICK)
        if self._first < 0 or extended < self._first:
            self._first = extended
        if self._timer is None:
            self._timer = max(now, self._sent_at + INTERVAL)

    def get_timer(self) -> float | None:
        """Return when to call `feedback_to_send`; None: nothing to report."""
        return self._timer

    def feedback_to_send(self, now: float) -> list[bytes]:
        """The bodies of the feedback packets that are due, for `rtcp.build_transport_feedback`."""
        if self._timer is None or now < self._timer:
            return []
        newest = self._unwrapper.newest
        first = self._first if self._next < 0 else min(self._first, self._next)
        first = max(first, newest + 1 - MAX_BODIES * MAX_STATUSES)
        bodies: list[bytes] = []
        while first <= newest and len(bodies) < MAX_BODIES:
            body, first = self._build(first, newest)
            bodies.append(body)
        self._next = newest + 1
        self._first = -1
        self._sent_at = now
        self._timer = None
        self._forget()
        return bodies

    def _build(self, first: int, newest: int) -> tuple[bytes, int]:
        """The body that reports from `first` on, and the first number it does not report."""
        symbols: list[int] = []
        deltas = bytearray()
        reference = 0
        before: int | None = None
        number = first
        while number <= newest and len(symbols) < MAX_STATUSES:
            tick = self._arrivals.get(number)
            number += 1
            if tick is None:
                symbols.append(_LOST)
                continue
            if before is None:
                reference = tick // TICKS_PER_REFERENCE
                before = reference * TICKS_PER_REFERENCE
            delta = tick - before
            if 0 <= delta <= 0xFF:
                symbols.append(_SMALL)
                deltas.append(delta)
            elif -0x8000 <= delta <= 0x7FFF:
                symbols.append(_LARGE)
                deltas += delta.to_bytes(2, "big", signed=True)
            else:
                # "If the delta exceeds even the larger limits, a new feedback message must
                # be used": it begins with this packet.
                number -= 1
                break
            before = tick
        head = _FIXED.pack(
            first & 0xFFFF, len(symbols), (reference & 0xFFFFFF) << 8 | self._count & 0xFF
        )
        self._count += 1
        return head + build_chunks(symbols) + deltas, number

    def _forget(self) -> None:
        """Keep only what a late packet may make us report again."""
        oldest = self._unwrapper.newest - MAX_REORDER
        for number in [number for number in self._arrivals if number < oldest]:
            del self._arrivals[number]


#  run length:     |0| S |       run length (13)   |
#  one-bit vector: |1|0|  14 symbols of one bit    |   lost, small
#  two-bit vector: |1|1|   7 symbols of two bits   |   lost, small, large
def build_chunks(symbols: list[int]) -> bytes:
    """The packet status chunks for a list of symbols 0 to 2."""
    out = bytearray()
    at = 0
    while at < len(symbols):
        symbol = symbols[at]
        run = 1
        while at + run < len(symbols) and symbols[at + run] == symbol and run < 0x1FFF:
            run += 1
        fits_one_bit = all(one < _LARGE for one in symbols[at : at + 14])
        if run >= (14 if fits_one_bit else 7) or at + run == len(symbols):
            chunk = symbol << 13 | run
            at += run
        elif fits_one_bit:
            chunk = 0x8000
            for place, one in enumerate(symbols[at : at + 14]):
                chunk |= one << (13 - place)
            at += 14
        else:
            chunk = 0xC000
            for place, one in enumerate(symbols[at : at + 7]):
                chunk |= one << (12 - 2 * place)
            at += 7
        out += chunk.to_bytes(2, "big")
    return bytes(out)


#   0                   1                   2                   3
#   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |      base sequence number     |      packet status count      |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |                 reference time                | fb pkt. count |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |         chunks (2 bytes each), then deltas (1 or 2 each)      |
def parse_feedback_untrusted(body: bytes) -> Feedback:
    """Parse the body of a `rtcp.TransportFeedback`. Raises RtcpError and nothing else."""
    if len(body) < 8:
        raise RtcpError("transport feedback is cut off")
    base, count, reference = _FIXED.unpack_from(body)
    symbols, at = _read_chunks(body, count)
    statuses: npt.NDArray[np.uint8] = np.frombuffer(symbols, np.uint8)
    first = (reference >> 8) * TICKS_PER_REFERENCE
    if _LARGE in symbols or _RESERVED in symbols:
        offsets, ticks = _read_mixed(body, at, statuses)
    else:
        # As a rule: every delta has one byte, so that the rest of the body is a column.
        offsets = np.flatnonzero(statuses)
        if at + len(offsets) > len(body):
            raise RtcpError("transport feedback has too few deltas")
        ticks = np.frombuffer(body, np.uint8, len(offsets), at).cumsum(dtype=np.int64)
    return Feedback(base, reference & 0xFF, count, offsets, ticks + first)


def _read_chunks(body: bytes, count: int) -> tuple[bytes, int]:
    """The symbols of `count` packets, a byte each, and where the deltas begin."""
    parts: list[bytes] = []
    at, missing = 8, count
    while missing > 0:
        if at + 2 > len(body):
            raise RtcpError("transport feedback has too few chunks")
        chunk = body[at] << 8 | body[at + 1]
        at += 2
        if chunk < 0x8000:
            if not chunk & 0x1FFF:
                raise RtcpError("transport feedback has an empty run")
            part = _SYMBOLS[chunk >> 13] * min(chunk & 0x1FFF, missing)
        else:
            part = _read_vector(chunk)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)[:count], at


@cache
def _read_vector(chunk: int) -> bytes:
    """The symbols of a vector chunk: 32,768 are possible, a few dozen usual."""
    if chunk < 0xC000:
        return bytes(chunk >> shift & 1 for shift in range(13, -1, -1))
    return bytes(chunk >> shift & 3 for shift in range(12, -1, -2))


def _read_mixed(
    body: bytes, at: int, statuses: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The same where some deltas have two bytes."""
    offsets = np.flatnonzero((statuses == _SMALL) | (statuses == _LARGE))
    sizes = statuses[offsets].astype(np.int64)
    ends = sizes.cumsum() + at
    if len(ends) and ends[-1] > len(body):
        raise RtcpError("transport feedback has too few deltas")
    column = np.frombuffer(body, np.uint8)
    last = column[ends - 1].astype(np.int64)
    high = column[ends - sizes].astype(np.int8).astype(np.int64)
    return offsets, np.where(sizes == _LARGE, high * 256 + last, last).cumsum()
