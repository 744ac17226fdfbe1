"""The receiving half: which TSNs came, what is acknowledged when, and how much may still come."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from ...stats import DropReason
from .packet import SACK, MalformedSctp, build_chunk
from .parameters import MAX_DUPLICATES, MAX_GAPS, build_sack
from .reassembly import BadPeer, Fragment, Reassembly, Received

WINDOW: Final = 1024 * 1024
"""Bytes that may be kept of what is not complete or not in order yet."""
MAX_STREAMS: Final = 1024
"""As many as Chromium uses."""
MAX_AHEAD: Final = 16384
"""TSNs past the first gap."""
SACK_DELAY: Final = 0.05
"""Seconds; RFC 9260, 6.2: at most 0.5, and at every second packet."""

IMMEDIATE: Final = 0x08
DATA_HEADER: Final = Struct("!IHHI")


class Inbound:
    """What comes from a peer whose first TSN is `tsn`."""

    def __init__(self, tsn: int, max_message: int) -> None:
        self.ack_at: float | None = None
        self.cumulative = tsn - 1
        self._ahead: set[int] = set()
        self._again: list[int] = []
        self._packets = 0  # with DATA since the last SACK
        self._reassembly = Reassembly(max_message)
        self._kept = 0

    @property
    def held(self) -> int:
        """Bytes that are kept here or by the owner."""
        return self._reassembly.held + self._kept

    def keep(self, size: int, now: float) -> None:
        """The owner keeps `size` bytes more of what was passed on; negative: less."""
        before = self.held
        self._kept = max(0, self._kept + size)
        if before >= WINDOW // 2 > self.held:
            self.ack_at = now  # the peer may be waiting for the window to open

    def unwrap(self, tsn: int) -> int:
        """The number that is `tsn` in 32 bits and nearest to what came last."""
        return self.cumulative + ((tsn - self.cumulative + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def receive_data(self, flags: int, value: bytes, now: float) -> Iterable[Received] | DropReason:
        """One DATA chunk. Raise MalformedSctp or BadPeer."""
        if len(value) <= DATA_HEADER.size:
            # "If an endpoint receives a DATA chunk with no user data it MUST send an ABORT"
            raise BadPeer("no user data") if len(value) == DATA_HEADER.size else MalformedSctp
        number, stream, ssn, ppid = DATA_HEADER.unpack_from(value)
        tsn = self.unwrap(number)
        ahead = self._ahead
        if tsn <= self.cumulative or tsn in ahead:
            if len(self._again) < MAX_DUPLICATES:
                self._again.append(tsn)
            self.ack_at = now
            return DropReason.SCTP_DUPLICATE
        held = self._reassembly.held + self._kept
        if tsn != self.cumulative + 1:
            if tsn > self.cumulative + MAX_AHEAD or held + len(value) > WINDOW:
                self.ack_at = now
                return DropReason.SCTP_WINDOW
        elif held > 2 * WINDOW:
            raise BadPeer("window overrun")
        if stream >= MAX_STREAMS:
            raise BadPeer("stream out of range")
        self._note(tsn)
        if flags & IMMEDIATE or ahead or self.ack_at is None:
            soon = flags & IMMEDIATE or ahead
            self.ack_at = now if soon else now + SACK_DELAY
        return self._reassembly.add(
            Fragment(tsn, flags, stream, ssn, ppid, value[DATA_HEADER.size :])
        )

    def end_packet(self, now: float) -> None:
        """The packet that held DATA is done with: every second one is acknowledged at once."""
        self._packets += 1
        if self._packets >= 2:
            self.ack_at = now

    def receive_forward(
        self, number: int, skipped: Iterable[tuple[int, int]], now: float
    ) -> list[Received]:
        """FORWARD-TSN: the peer will not send again what is missing up to `number`."""
        tsn = self.unwrap(number)
        self.ack_at = now
        if tsn <= self.cumulative:
            return []
        if tsn > self.cumulative + MAX_AHEAD:
            raise BadPeer("skipped too far")
        self._ahead = {t for t in self._ahead if t > tsn}
        self.cumulative = tsn
        self._close_gap()
        return self._reassembly.skip(tsn, ((s, n) for s, n in skipped if s < MAX_STREAMS))

    def reset(self, streams: Iterable[int]) -> None:
        """The peer begins anew on streams; none stand for all."""
        self._reassembly.reset(streams)

    def take_sack(self) -> bytes:
        """Return a SACK of everything, and owe none."""
        again, self._again = self._again, []
        self._packets = 0
        self.ack_at = None
        window = max(0, WINDOW - self.held)
        gaps = self._list_gaps() if self._ahead else []
        return build_chunk(SACK, build_sack(self.cumulative, window, gaps, again))

    def _note(self, tsn: int) -> None:
        if tsn == self.cumulative + 1:
            self.cumulative = tsn
            if self._ahead:
                self._close_gap()
        else:
            self._ahead.add(tsn)

    def _close_gap(self) -> None:
        ahead = self._ahead
        while self.cumulative + 1 in ahead:
            self.cumulative += 1
            ahead.remove(self.cumulative)

    def _list_gaps(self) -> list[tuple[int, int]]:
        gaps: list[tuple[int, int]] = []
        first = last = -1
        for tsn in sorted(self._ahead):
            offset = tsn - self.cumulative
            if offset == last + 1 and first > 0:
                last = offset
                continue
            if first > 0:
                gaps.append((first, last))
            if len(gaps) == MAX_GAPS:
                return gaps
            first = last = offset
        gaps.append((first, last))
        return gaps
