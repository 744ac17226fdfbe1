"""The sending half: what is in flight, acknowledged, lost, sent again or given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from .congestion import Congestion, Timeout
from .packet import FORWARD_TSN, build_chunk
from .parameters import Sack, build_forward
from .queues import Message, Queues, SentChunk
from .reassembly import BadPeer

MAX_MISSED: Final = 3
"""RFC 9260, 7.2.4: reports of later arrivals after which a chunk counts as lost."""
MAX_SKIPPED: Final = 200
"""Streams and SSNs in one FORWARD-TSN, so that it fits a packet."""


class Outbound:
    """What goes to a peer, from the first TSN `tsn` on, `window` being what it takes at first."""

    def __init__(self, tsn: int, window: int, queues: Queues, *, forward: bool) -> None:
        self.queues = queues
        self.timeout = Timeout()
        self.congestion = Congestion()
        self.resend_at: float | None = None
        """T3-rtx."""
        self.failures = 0
        """Timeouts in a row."""
        self.last_sent = tsn - 1
        self._cumulative = tsn - 1
        self._window = window
        self._forward = forward
        self._flight = 0
        self._sent: dict[int, SentChunk] = {}
        self._lost: deque[SentChunk] = deque()
        self._skipped_to = tsn - 1  # the Advanced.Peer.Ack.Point
        self._forward_due = False
        self._urgent = False
        """Whether one lost chunk goes out whatever the window (RFC 9260, 7.2.4, 3)."""

    @property
    def idle(self) -> bool:
        """Whether everything has arrived, or was given up and the peer knows."""
        return not self.queues and not self._sent

    # -- What the peer says -----------------------------------------------------------------

    def receive_sack(self, sack: Sack, now: float) -> None:
        """Take note of an acknowledgement. Raise BadPeer."""
        before = self._cumulative
        cumulative = before + ((sack.cumulative - before + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        if cumulative < before:
            return
        if cumulative > self.last_sent:
            raise BadPeer("acknowledged what was not sent")
        self.failures = 0
        full = self._flight >= self.congestion.window - 1500
        acked = self._pass(before, cumulative, now)
        self._cumulative = cumulative
        newest = 0
        if sack.gaps:
            newly, newest = self._mark(cumulative, sack.gaps)
            acked += newly
        self._window = sack.window
        if acked and cumulative > before:
            self.congestion.acknowledge(acked, full=full, cumulative=cumulative)
        if newest:
            self._count_missing(newest, now)
        self._skip()
        if not self._sent:
            self.resend_at = None
        elif cumulative > before:
            self.timeout.restore()
            self.resend_at = now + self.timeout.seconds

    def _pass(self, before: int, cumulative: int, now: float) -> int:
        acked = 0
        round_trip = -1.0
        for tsn in range(before + 1, cumulative + 1):
            chunk = self._sent.pop(tsn)
            self.queues.release(chunk.message.stream, chunk.counts)
            if chunk.acked or chunk.message.abandoned:
                chunk.acked = True
                continue
            chunk.acked = True
            acked += chunk.size
            if not chunk.lost:
                self._flight -= chunk.size
            if not chunk.retransmits:
                round_trip = now - chunk.sent_at
        if round_trip >= 0:
            self.timeout.measure(round_trip)
        return acked

    def _mark(self, cumulative: int, gaps: list[tuple[int, int]]) -> tuple[int, int]:
        """Note what came beyond the first gap; return its bytes, and the highest that is new."""
        acked = newest = 0
        if cumulative + gaps[-1][1] > self.last_sent:
            raise BadPeer("acknowledged what was not sent")
        for first, last in gaps:
            for tsn in range(cumulative + first, cumulative + last + 1):
                chunk = self._sent[tsn]
                if chunk.acked or chunk.message.abandoned:
                    continue
                chunk.acked = True
                acked += chunk.size
                newest = tsn
                if not chunk.lost:
                    self._flight -= chunk.size
        return acked, newest

    def _count_missing(self, newest: int, now: float) -> None:
        for tsn, chunk in list(self._sent.items()):
            if tsn >= newest:
                return
            if chunk.acked or chunk.lost or chunk.message.abandoned:
                continue
            # One that was sent again is missed only by what was sent after that. So it need not
            # wait for the timer when it is lost again, as it has to in RFC 9260, 7.2.4.
            if newest <= chunk.after:
                continue
            chunk.missed += 1
            if chunk.missed == MAX_MISSED:
                self._lose(chunk, now)
                self._urgent = self._urgent or self.congestion.recovery_ends is None
                self.congestion.lose(self.last_sent)

    # -- Loss -------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """T3-rtx: nothing came back in time."""
        self.failures += 1
        self.timeout.back_off()
        self.congestion.collapse()
        self.resend_at = now + self.timeout.seconds
        waiting = [c for c in self._sent.values() if not c.acked and not c.message.abandoned]
        if not waiting and self._skipped_to == self._cumulative:
            # It may take back what it reported beyond a gap (RFC 9260, 6.2, "renege").
            for chunk in self._sent.values():
                if not chunk.message.abandoned:
                    chunk.acked = False
                    chunk.lost = True
                    self._lost.append(chunk)
        for chunk in waiting:
            if not chunk.lost:
                self._lose(chunk, now)
        self._skip()

    def _lose(self, chunk: SentChunk, now: float) -> None:
        if chunk.message.abandoned:
            return
        self._flight -= chunk.size
        chunk.lost = True
        message = chunk.message
        over = message.max_retransmits is not None and chunk.retransmits >= message.max_retransmits
        late = message.expires is not None and now >= message.expires
        if self._forward and (over or late):
            self._abandon(message)
        else:
            self._lost.append(chunk)

    def _abandon(self, message: Message) -> None:
        message.abandoned = True
        for chunk in message.chunks:
            if not chunk.acked and not chunk.lost:
                self._flight -= chunk.size
        self.queues.abandon(message)

    def _skip(self) -> None:
        """Move on over what was given up (RFC 3758, 3.5, A3 and C2)."""
        point = max(self._skipped_to, self._cumulative)
        while (chunk := self._sent.get(point + 1)) is not None and chunk.message.abandoned:
            point += 1
        # "the data sender MUST send the FORWARD TSN chunk", after each SACK that is behind it
        self._forward_due = point > self._cumulative
        self._skipped_to = point

    # -- Sending ----------------------------------------------------------------------------

    def chunks_to_send(self, now: float) -> Iterator[bytes]:
        """What may be sent now, chunk by chunk."""
        if self._forward_due:
            self._forward_due = False
            if self._skipped_to > self._cumulative:
                yield self._build_forward()
                self._arm(now)
        while self._lost:
            chunk = self._lost[0]
            if chunk.acked or chunk.message.abandoned:
                self._lost.popleft()
                continue
            full = self._flight and self._flight + chunk.size > self.congestion.window
            if full and not self._urgent:
                return
            self._urgent = False
            self._lost.popleft()
            chunk.after = self.last_sent
            chunk.lost = False
            chunk.missed = 0
            chunk.retransmits += 1
            self._flight += chunk.size
            self._arm(now)
            yield chunk.data
        while (size := self.queues.next_size(now)) is not None:
            # With nothing in flight one chunk goes even to a full receiver: a window probe.
            flight = self._flight
            if flight and (flight + size > self.congestion.window or flight + size > self._window):
                return
            if not flight and size > self._window and self._sent:
                return
            self.last_sent += 1
            chunk = self.queues.take(self.last_sent, size, now)
            self._sent[self.last_sent] = chunk
            self._flight = flight + size
            self._arm(now)
            yield chunk.data

    def _arm(self, now: float) -> None:
        if self.resend_at is None:
            self.resend_at = now + self.timeout.seconds

    def _build_forward(self) -> bytes:
        skipped: dict[int, int] = {}
        for tsn in range(self._cumulative + 1, self._skipped_to + 1):
            message = self._sent[tsn].message
            if message.ordered and len(skipped) < MAX_SKIPPED:
                skipped[message.stream] = message.ssn
        return build_chunk(FORWARD_TSN, build_forward(self._skipped_to, skipped.items()))
