"""What a receiver's line carries, by its transport-wide feedback.

Counts what is numbered: video, probes and repairs. Sound is on the line as any other traffic is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..rtp.twcc import TICK
from .control import FIRST, LOW_LOSS, RateControl
from .delay import DelayTrend
from .throughput import Throughput

WRAP: Final = (1 << 24) * 0.064
"""Seconds after which the reference time of feedback starts over."""

LOSS_WINDOW: Final = 1.0
MIN_LOSS_PACKETS: Final = 20
"""Seconds, and packets, over which a share lost means something."""

ENOUGH: Final = 0.8
"""The share of a probe's packets that have to arrive for it to tell anything."""

FLUENT: Final = 0.9
"""Of the rate at which a probe was sent: what arrives slower has filled the line."""

DRAIN_FROM: Final = 0.15
DRAIN_OVER: Final = 0.4
MAX_DRAIN: Final = 0.6
"""Seconds of queue from which on less is sent than the estimate says, seconds over which that
grows, and its most: a deep queue would else stand for long, and sound stands in it."""

SILENCE: Final = 1.0
"""Seconds without feedback after which a queue has emptied: nothing was sent."""

PROBE_PATIENCE: Final = 2.0
"""Seconds after its end until which a probe may be reported on."""


@dataclass(slots=True)
class Probe:
    """One cluster: the packets of a leg from number `first` to `last`, probing or not."""

    first: int
    last: int | None = None
    """None while it is being sent."""
    ended: float = float("inf")
    packets: int = 0
    octets: int = 0
    head: int = 0
    """Bytes of the first packet: they arrived before the time that is measured."""
    sent: tuple[float, float] = (float("inf"), float("-inf"))
    arrived: tuple[float, float] = (float("inf"), float("-inf"))

    @property
    def count(self) -> int:
        """How many packets it has, as far as it has been sent; a half turn at most."""
        return 0x8000 if self.last is None else (self.last - self.first & 0xFFFF) + 1

    def get_rate(self) -> tuple[float, float] | None:
        """Bit/s sent and arrived; None: too few have arrived."""
        sent, arrived = self.sent[1] - self.sent[0], self.arrived[1] - self.arrived[0]
        if self.packets < max(4, ENOUGH * self.count) or sent <= 0 or arrived <= 0:
            return None
        octets = 8 * (self.octets - self.head)
        return octets / sent, octets / arrived


class SendEstimate:
    """One leg's. Fed with feedback that has been matched with what was sent."""

    __slots__ = (
        "_control",
        "_delay",
        "_loss",
        "_offset",
        "_probe",
        "_throughput",
        "_wrapped",
        "at",
    )

    def __init__(self, rate: float = FIRST) -> None:
        self.at = float("-inf")
        """When feedback came last."""
        self._delay = DelayTrend()
        self._throughput = Throughput()
        self._control = RateControl(rate)
        self._loss = LossShare()
        self._probe: Probe | None = None
        self._offset = 0.0
        self._wrapped = float("-inf")

    @property
    def rate(self) -> float:
        """Bit/s."""
        return self._control.rate

    def get_budget(self, now: float) -> float:
        """Bit/s to be sent now: less than the rate while a queue has to empty."""
        excess = self.get_queue(now) - DRAIN_FROM
        return self.rate * (1 - min(max(excess / DRAIN_OVER, 0.0), MAX_DRAIN))

    @property
    def lowered_at(self) -> float:
        """When the rate was lowered last."""
        return self._control.lowered_at

    @property
    def loss(self) -> float:
        """The share of packets lost lately."""
        return self._loss.share

    def get_queue(self, now: float) -> float:
        """Seconds that packets wait on the way, about; 0 where nothing has told for a while."""
        return self._delay.queue if now - self.at < SILENCE else 0.0

    @property
    def acked(self) -> float | None:
        """Bit/s that arrived lately; None: too little to tell."""
        return self._throughput.get_rate()

    def begin_probe(self, probe: Probe) -> None:
        """Judge the line by these packets once they are reported on."""
        self._probe = probe

    def receive_feedback(
        self,
        numbers: npt.NDArray[np.int64],
        sent: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int64],
        ticks: npt.NDArray[np.int64],
        lost: int,
        now: float,
    ) -> None:
        """Packets that arrived, as columns in the order of their `numbers`; `ticks` is when, on
        the receiver's clock. `lost` others did not."""
        self.at = now
        control, delay = self._control, self._delay
        if not len(sent) or sent[-1] > control.lowered_at:
            # What was sent before a reduction says nothing of what it did.
            self._loss.add(len(sent), lost, now)
        if len(sent):
            left = sent.tolist()
            arrived = self._unwrap(ticks).tolist()
            delay.receive_packets(left, arrived)
            self._throughput.receive_packets(left, arrived, int(sizes.sum()))
            if self._probe is not None:
                self._receive_probed(self._probe, numbers.tolist(), left, sizes.tolist(), arrived)
        acked = self._throughput.get_rate()
        control.receive_usage(
            delay.usage,
            acked,
            now,
            stretch=self._throughput.get_stretch(),
            lossy=self._loss.share > LOW_LOSS,
        )
        if control.receive_loss(self._loss.recent, delay.queue, acked, now):
            self._loss.restart(now)
        if self._probe is not None and now > self._probe.ended:
            self._judge_probe(self._probe, now)

    def _unwrap(self, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        seconds = ticks.astype(np.float64) * TICK + self._offset
        first = float(seconds[0])
        if first < self._wrapped - WRAP / 2:
            self._offset += WRAP
            seconds += WRAP
            first += WRAP
        self._wrapped = max(self._wrapped, first)
        return seconds

    def _receive_probed(
        self,
        probe: Probe,
        numbers: list[int],
        sent: list[float],
        sizes: list[int],
        arrived: list[float],
    ) -> None:
        count = probe.count
        for number, at, size, arrival in zip(numbers, sent, sizes, arrived, strict=True):
            if number - probe.first & 0xFFFF >= count:
                continue
            if not probe.packets:
                probe.head = size
            probe.packets += 1
            probe.octets += size
            probe.sent = min(probe.sent[0], at), max(probe.sent[1], at)
            probe.arrived = min(probe.arrived[0], arrival), max(probe.arrived[1], arrival)

    def _judge_probe(self, probe: Probe, now: float) -> None:
        if probe.packets < probe.count and now < probe.ended + PROBE_PATIENCE / 4:
            return  # some are under way
        rates = probe.get_rate()
        if rates is None and now < probe.ended + PROBE_PATIENCE:
            return
        self._probe = None
        if rates is not None:
            sent, arrived = rates
            self._control.raise_to(sent if arrived >= FLUENT * sent else arrived * FLUENT, now)

    @property
    def is_probing(self) -> bool:
        """Whether a probe's result is awaited."""
        return self._probe is not None


class LossShare:
    """The share of packets lost over the last second or so."""

    __slots__ = ("_arrived", "_lost", "_since", "recent", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self.recent = 0.0
        """The same, but 0 until enough packets tell what came of the last `restart`."""
        self._arrived = self._lost = 0
        self._since = float("-inf")

    def add(self, arrived: int, lost: int, now: float) -> None:
        self._arrived += arrived
        self._lost += lost
        total = self._arrived + self._lost
        if now - self._since >= LOSS_WINDOW and total >= MIN_LOSS_PACKETS:
            share = self._lost / total
            # Half of the old one: a second's share of few packets says little.
            self.share = (self.share + share) / 2
            self.recent = (self.recent + share) / 2 if self.recent else share
            self._arrived = self._lost = 0
            self._since = now

    def restart(self, now: float) -> None:
        """The rate was lowered: what was lost before counts no longer against it."""
        self.recent = 0.0
        self._arrived = self._lost = 0
        self._since = now
