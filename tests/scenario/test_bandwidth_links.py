"""An estimate on links of all kinds, in virtual time: where it comes to, how soon, and what queue
it leaves at the link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.estimating import Flow
from tests.support.network import Bottleneck, Conditions, Simulation

FAST = Conditions(rate=5_000_000, delay=0.03)
LAYERS = (150_000.0, 500_000.0, 1_500_000.0)


class Line:
    """A link that starts fast, and a flow on it."""

    def __init__(
        self,
        seed: int = 1,
        conditions: Conditions = FAST,
        steps: tuple[float, ...] = (),
        most: float = 6_000_000,
    ) -> None:
        self.simulation = Simulation(seed)
        self.down = replace(conditions)
        self.up = Conditions(delay=0.03)
        self.flow = Flow(self.simulation, "bob", self.down, up=self.up, steps=steps, most=most)

    def run_for(self, seconds: float) -> None:
        self.simulation.run_for(seconds)

    def get_mean_rate(self, seconds: float) -> float:
        rates = [rate for at, rate in self.flow.rates if at > self.simulation.now - seconds]
        return sum(rates) / len(rates)

    def get_queue(self, seconds: float) -> float:
        """The 95th percentile of the link's queue lately, in seconds."""
        return get_queue(self.flow.down.bottleneck, self.simulation.now - seconds)


def get_queue(link: Bottleneck, since: float) -> float:
    waits = sorted(wait for at, wait in link.waits if at > since)
    return waits[int(0.95 * len(waits))]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [600_000, 250_000])
def test_the_estimate_follows_a_link_down_and_up(seed: int, rate: int) -> None:
    line = Line(seed)
    line.run_for(10)
    line.down.rate = rate
    line.run_for(5)
    assert line.flow.rate == pytest.approx(rate, rel=0.2)
    line.run_for(20)
    assert line.get_mean_rate(15) == pytest.approx(rate, rel=0.2)
    assert line.get_queue(15) < 0.2
    line.down.rate = 5_000_000
    line.run_for(15)
    assert line.get_mean_rate(5) == pytest.approx(5_000_000, rel=0.2)


@pytest.mark.parametrize("queue", [2.0, 0.05])
def test_a_deep_queue_is_emptied_and_a_shallow_one_not_overrun(queue: float) -> None:
    line = Line(conditions=replace(FAST, queue=queue))
    line.run_for(10)
    line.down.rate = 600_000
    line.run_for(5)
    assert line.flow.rate == pytest.approx(600_000, rel=0.2)
    line.run_for(5)
    lost, sent = line.flow.down.lost, line.flow.down.sent
    line.run_for(20)
    # A key frame overruns 50 ms of queue by itself: some of the link stays unused for that.
    assert 0.7 * 600_000 < line.get_mean_rate(20) < 1.2 * 600_000
    assert line.get_queue(20) < 0.2
    assert line.flow.down.lost - lost < 0.08 * (line.flow.down.sent - sent)


def test_random_loss_without_a_queue_keeps_the_rate() -> None:
    line = Line(conditions=Conditions(loss=0.1), most=2_000_000)
    line.run_for(5)
    before = line.flow.rate
    line.run_for(25)
    assert before > 1_500_000
    assert line.flow.rate >= before
    assert line.flow.estimate.loss == pytest.approx(0.1, abs=0.05)


def test_jitter_is_no_queue() -> None:
    line = Line(conditions=replace(FAST, jitter=0.03))
    line.run_for(30)
    assert line.get_mean_rate(20) == pytest.approx(5_000_000, rel=0.2)


def test_feedback_that_is_lost_for_two_seconds_changes_little() -> None:
    line = Line(conditions=replace(FAST, rate=1_500_000))
    line.run_for(10)
    line.up.loss = 1.0
    line.run_for(2)
    line.up.loss = 0.0
    line.run_for(3)
    assert line.flow.rate == pytest.approx(1_500_000, rel=0.25)
    line.run_for(10)
    assert line.get_mean_rate(10) == pytest.approx(1_500_000, rel=0.2)


def test_two_on_one_link_share_it() -> None:
    simulation, link = Simulation(7), Bottleneck()
    shared = Conditions(rate=2_000_000, delay=0.03)
    flows = [
        Flow(simulation, name, shared, up=Conditions(delay=0.03), bottleneck=link, most=1_400_000)
        for name in ("bob", "eve")
    ]
    simulation.run_for(40)
    since = simulation.now - 20
    means = []
    for flow in flows:
        rates = [rate for at, rate in flow.rates if at > since]
        means.append(sum(rates) / len(rates))
    assert sum(means) == pytest.approx(2_000_000, rel=0.25)
    assert min(means) > 0.25 * sum(means)
    assert get_queue(link, since) < 0.2


def test_other_traffic_is_given_room() -> None:
    line = Line(conditions=replace(FAST, rate=1_500_000))
    line.run_for(10)
    link = line.flow.down.bottleneck
    # 700 kbit/s of somebody else's, who does not yield.
    ends = line.simulation.now + 20

    def cross() -> bool:
        link.pass_through(875, line.down, line.simulation.now)
        return line.simulation.now < ends

    line.simulation.every(0.01, cross)
    line.run_for(19.5)
    assert line.get_mean_rate(12) == pytest.approx(800_000, rel=0.25)
    line.run_for(15)
    assert line.get_mean_rate(5) == pytest.approx(1_500_000, rel=0.25)


@pytest.mark.parametrize("rate", [600_000, 250_000])
def test_a_flow_of_layers_comes_down_at_once_and_up_by_probes(rate: int) -> None:
    line = Line(steps=LAYERS, most=1_500_000)
    line.run_for(10)
    assert line.flow.rate > 1_666_667
    line.down.rate = rate
    line.run_for(5)
    assert line.flow.rate < 1.2 * rate
    line.run_for(15)
    assert line.get_queue(15) < 0.2
    # Who has enough does not probe.
    line.down.rate = 5_000_000
    line.run_for(15)
    assert line.flow.rate > 1_666_667
    probed = line.flow.probed
    line.run_for(10)
    assert line.flow.probed == probed
