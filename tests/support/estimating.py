"""A flow of video whose sender follows its estimate, over a simulated link, with feedback."""

from __future__ import annotations

from functools import partial

from relay.bwe.estimate import Probe, SendEstimate
from relay.bwe.probing import Probing, State
from relay.plane.history import SendHistory
from relay.rtp.twcc import ArrivalRecord, parse_feedback_untrusted
from tests.support.network import Bottleneck, Conditions, Path, Simulation

PACKET = 1100
FRAME_INTERVAL = 1 / 25
KEY_EVERY = 100  # frames
PACE = 2.5  # times the rate at which a publisher's pacer sends a frame
CLUMP = 3  # packets that come together at least


class Flow:
    """Sends as much as the estimate says, up to `most`, in frames; probes for more."""

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        down: Conditions,
        *,
        up: Conditions | None = None,
        bottleneck: Bottleneck | None = None,
        most: float = 6_000_000,
        share: float = 0.9,
        steps: tuple[float, ...] = (),
    ) -> None:
        """`share` of the estimate is used; `steps`: only these rates can be sent."""
        self.simulation = simulation
        self.history = SendHistory()
        self.index = self.history.open()
        self.estimate = SendEstimate()
        self.probing = Probing()
        self.most = most
        self.rates: list[tuple[float, float]] = []
        self.down = Path(simulation, f"{name}/down", down, self._arrive, bottleneck)
        self.up = Path(simulation, f"{name}/up", up or Conditions(), self._receive_feedback)
        self.sent = 0
        self.probed = 0
        self._share, self._steps = share, steps
        self._rng = simulation.rng(f"flow/{name}")
        self._record = ArrivalRecord()
        self._frames = self._rng.randrange(KEY_EVERY)
        self._rate = 0.0
        self._before = 0.0
        self._cluster = Probe(0)
        self._seen = 0
        simulation.every(FRAME_INTERVAL, self._send_frame, first=self._rng.random() * 0.04)
        simulation.every(0.02, self._feed_back)
        simulation.every(0.005, self._probe)

    @property
    def rate(self) -> float:
        return self.estimate.rate

    def _send_frame(self) -> None:
        rate = min(self.most, self._share * self.estimate.get_budget(self.simulation.now))
        if self._steps:
            rate = max((step for step in self._steps if step <= rate), default=self._steps[0])
            above = [step for step in self._steps if step > rate and step <= self.most]
            self.probing.want(above[0] / self._share if above else 0.0)
        else:
            self.probing.want(self.most if rate < self.most else 0.0)
        self._rate = rate
        self.rates.append((self.simulation.now, self.estimate.rate))
        size = rate / 8 * FRAME_INTERVAL * self._rng.uniform(0.7, 1.2)
        if self._frames % KEY_EVERY == 0:
            size *= 4
        self._frames += 1
        spacing, delay = 8 * CLUMP * PACKET / (PACE * rate), 0.0
        while size > 0:
            part = min(size, CLUMP * PACKET)
            self.simulation.after(delay, partial(self._send_all, part))
            size -= part
            delay += spacing

    def _send_all(self, size: float) -> None:
        while size > 0:
            self._send(min(PACKET, max(100, int(size))))
            size -= PACKET

    def _send(self, size: int) -> None:
        self.sent += size
        self.history.now = self.simulation.now
        number = self.history.take(self.index, size)
        self.down.send(number.to_bytes(2, "big") + bytes(size - 2))

    def _probe(self) -> None:
        now, probing = self.simulation.now, self.probing
        probing.receive_reduction(self.estimate.lowered_at)
        if probing.begin(self.rate, now):
            self._before = self.rate
            self._seen = self.sent
            self._cluster = Probe(int(self.history.values[self.index]))
            self.estimate.begin_probe(self._cluster)
        if probing.state is State.SENDING:
            octets = probing.take(self.sent - self._seen, now)
            while octets > 100:
                size = min(octets, PACKET)
                self.probed += size
                self._send(size)
                octets -= size
            self._seen = self.sent
            if probing.state is State.WAITING:
                self._cluster.last = int(self.history.values[self.index]) - 1 & 0xFFFF
                self._cluster.ended = now
        elif probing.state is State.WAITING and not self.estimate.is_probing:
            probing.receive_result(self._before, self.rate, now)

    def _arrive(self, data: bytes) -> None:
        self._record.on_packet(int.from_bytes(data[:2], "big"), self.simulation.now)

    def _feed_back(self) -> None:
        due = self._record.get_timer()
        if due is not None and due <= self.simulation.now:
            for body in self._record.feedback_to_send(self.simulation.now):
                self.up.send(body)

    def _receive_feedback(self, data: bytes) -> None:
        feedback = parse_feedback_untrusted(data)
        at, sizes, known = self.history.find(self.index, feedback.base, feedback.offsets)
        lost = self.history.count_lost(
            self.index, feedback.base, feedback.total, len(feedback.offsets)
        )
        self.estimate.receive_feedback(
            (feedback.base + feedback.offsets[known]) & 0xFFFF,
            at[known],
            sizes[known],
            feedback.ticks[known],
            lost,
            self.simulation.now,
        )
