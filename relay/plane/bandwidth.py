"""What one leg's line carries: feedback in, an estimate out, and probes where somebody would gain.

Rules only: the leg sends what is to be sent.
"""

from __future__ import annotations

from typing import Final

from ..bwe.estimate import Probe, SendEstimate
from ..bwe.probing import Probing, State
from ..bwe.remb import RembEstimate
from ..rtp.rtcp import RtcpError
from ..rtp.twcc import parse_feedback_untrusted
from ..stats import DropReason, Stats
from .history import LENGTH, SendHistory

PATIENCE: Final = 1.5
"""Seconds in which a receiver that tells anything has told it: one that does not gets all."""

LATEST: Final = 0.25
"""Seconds since the last measurement that make one of their own."""

NEW: Final = 3.0
"""Seconds in which everybody gets the smallest picture: not much is known of the line."""

MAX_FEEDBACK: Final = 100
"""Feedback packets that are read in a second: browsers send 20 at most."""

MEASURE: Final = 0.5
"""Seconds over which what is sent is measured."""


REPAIRS: Final = 0.3
"""Of what is to be sent, the share that may be pictures sent again: on a line that is full, what is
asked for again is what made it so."""

REPAIR_BURST: Final = 0.5
"""Seconds of that share that may go at once."""

MAX_REPAIRS: Final = 2_000_000.0
"""Bit/s of them at most."""


class Bandwidth:
    """`rate` is what the line carries, `budget` what is to be sent now; both in bit/s."""

    def __init__(self, history: SendHistory, index: int, stats: Stats) -> None:
        self.probing = Probing()
        self.sent = 0.0
        """Bit/s that went out lately, all packets."""
        self.probed = 0
        """Bytes of probes."""
        self._history = history
        self._index = index
        self._stats = stats
        self._estimate = SendEstimate()
        self._remb = RembEstimate()
        self._probe = Probe(0)
        self._before = 0.0
        self._octets = 0
        self._seen = 0
        self._measured_at = float("-inf")
        self._window_at = float("-inf")
        self._window = 0
        self._began: float | None = None
        self._repairs = 0.0
        self._repaired_at: float | None = None

    @property
    def has_feedback(self) -> bool:
        """Whether transport-wide feedback tells, and not REMB and reports alone."""
        return self._estimate.at > float("-inf")

    @property
    def rate(self) -> float:
        """What the line carries."""
        return self._estimate.rate if self.has_feedback else self._remb.rate

    @property
    def loss(self) -> float:
        """The share of packets lost lately, 0 to 1."""
        return self._estimate.loss if self.has_feedback else self._remb.loss

    def begin(self, now: float) -> None:
        """Something is received from now on."""
        if self._began is None:
            self._began = now

    def get_budget(self, now: float) -> float:
        """What is to be sent: less, while a queue has to empty."""
        if self.has_feedback:
            return self._estimate.get_budget(now)
        if self._remb.judges or self._began is None or now - self._began < PATIENCE:
            return self._remb.rate
        return float("inf")

    def is_new(self, now: float) -> bool:
        """Whether little is known of the line yet."""
        return self._began is None or now - self._began < NEW

    def get_queue(self, now: float) -> float:
        """Seconds that packets wait on the way, about."""
        return self._estimate.get_queue(now)

    # -- In ---------------------------------------------------------------------------------

    def receive_feedback_untrusted(self, body: bytes, now: float) -> None:
        """The body of one transport-wide feedback packet. Raises RtcpError."""
        if now >= self._window_at:
            self._window_at = now + 1.0
            self._window = 0
        self._window += 1
        if self._window > MAX_FEEDBACK:
            self._stats.drops[DropReason.FEEDBACK_RATE] += 1
            return
        if len(body) >= 4 and int.from_bytes(body[2:4], "big") > LENGTH:
            raise RtcpError("transport feedback on more packets than are remembered")
        base, _, total, offsets, ticks = parse_feedback_untrusted(body)
        history, index = self._history, self._index
        at, sizes, known = history.find(index, base, offsets)
        lost = history.count_lost(index, base, total, len(offsets))
        numbers = base + offsets & 0xFFFF
        unknown = len(known) - int(known.sum())
        if unknown:
            self._stats.drops[DropReason.FEEDBACK_UNSENT] += unknown
            numbers, at, sizes, ticks = numbers[known], at[known], sizes[known], ticks[known]
        if len(at) or lost:
            self._estimate.receive_feedback(numbers, at, sizes, ticks, lost, now)
            self.probing.receive_reduction(self._estimate.lowered_at)

    def receive_remb(self, bitrate: int, ssrcs: tuple[int, ...], octets: int, now: float) -> None:
        """`octets` were sent in all."""
        elapsed = now - self._measured_at
        # Right after a change to less, what was measured before it says nothing.
        latest = 8 * (octets - self._octets) / elapsed if elapsed > LATEST else float("inf")
        self._remb.receive_remb(bitrate, ssrcs, min(self.sent, latest), now)

    def receive_loss(self, lost: float, now: float) -> None:
        """What a report says of the worst stream."""
        self._remb.receive_loss(lost, now)

    def measure(self, octets: int, now: float) -> None:
        """`octets` were sent in all; to be called about once a second."""
        elapsed = now - self._measured_at
        if elapsed < MEASURE:
            return
        # What has come from another leg, or was taken off this one, is no rate.
        self.sent = max(0.0, 8 * (octets - self._octets) / elapsed)
        self._octets, self._measured_at = octets, now
        self._remb.handle_timer(now)

    def take_repair(self, size: int, now: float) -> bool:
        """Whether `size` bytes of a picture may be sent again now."""
        rate = min(REPAIRS * self.get_budget(now), MAX_REPAIRS) / 8
        most = max(REPAIR_BURST * rate, 2.0 * size)
        since = REPAIR_BURST if self._repaired_at is None else now - self._repaired_at
        self._repairs = min(most, self._repairs + since * rate)
        self._repaired_at = now
        if self._repairs < size:
            return False
        self._repairs -= size
        return True

    # -- Probes -----------------------------------------------------------------------------

    def take_probe(self, sent: int, now: float) -> int:
        """Bytes of a probe to send now; `sent` bytes of media have gone out in all."""
        probing = self.probing
        if probing.state is State.IDLE:
            if not self.has_feedback or not probing.begin(self._estimate.rate, now):
                return 0
            self._before = self._estimate.rate
            self._probe = Probe(int(self._history.values[self._index]))
            self._estimate.begin_probe(self._probe)
            self._seen = sent
            return 0
        if probing.state is State.WAITING:
            if not self._estimate.is_probing or now >= probing.listens_until:
                probing.receive_result(self._before, self._estimate.rate, now)
            return 0
        octets = probing.take(sent - self._seen, now)
        self._seen = sent
        return octets

    def end_step(self, asked: int, probed: int, now: float) -> None:
        """`probed` bytes were sent of the `asked` that `take_probe` asked for."""
        self.probed += probed
        self.probing.charge(probed - asked)
        if self.probing.state is State.WAITING and self._probe.last is None:
            last = int(self._history.values[self._index]) - 1 & 0xFFFF
            self._probe.last, self._probe.ended = last, now

    def get_timer(self) -> float | None:
        """When to call `take_probe`; None: nobody would gain."""
        if not self.has_feedback:
            return None
        return self.probing.get_timer(self._estimate.rate)
