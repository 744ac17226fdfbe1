"""Networks that go and come, by the clock alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable

import pytest

from signaling.bot.liveness import Liveness

STEP = 0.25


class Scene:
    """A bot's connections on a network with holes. The hub answers a probe in `round_trip`; its
    connection is lost a second and a half after a probe that nobody answers, and found again
    `back_after` the network is."""

    def __init__(
        self, *, holes: list[tuple[float, float]], forgotten: Collection[str] = ()
    ) -> None:
        self.rules = Liveness()
        self.holes = holes
        self.forgotten = set(forgotten)
        """Connections that the other side ends in a hole."""
        self.silent: dict[Hashable, tuple[float, float]] = {}
        self.now = 100.0
        self.probes: list[float] = []
        self.remade: list[tuple[float, Hashable]] = []
        self._hub_heard = 100.0
        self._connected = True
        self._asked: float | None = None
        self._lost: set[Hashable] = set()

    def is_there(self) -> bool:
        return not any(start <= self.now < end for start, end in self.holes)

    def run(self, until: float) -> Scene:
        while self.now < until:
            self.now += STEP
            if not self.is_there():
                self._lost |= self.forgotten
            for key in ("publisher", "subscriber"):
                start, end = self.silent.get(key, (0.0, 0.0))
                talks = self.is_there() and key not in self._lost and not start <= self.now < end
                if talks:
                    self.rules.hear(key, self.now, alone=key != "subscriber")
            self._run_hub()
            verdict = self.rules.check(
                self.now, connected=self._connected, hub_heard_at=self._hub_heard
            )
            if verdict.probe:
                self.probes.append(self.now)
                self._asked = self._asked or self.now
            self.remade += [(self.now, key) for key in verdict.remake]
            self._lost -= set(verdict.remake)
        return self

    def _run_hub(self) -> None:
        if self.is_there() and (self._asked is not None or not self._connected):
            self._connected, self._asked, self._hub_heard = True, None, self.now
        elif self._asked is not None and self.now - self._asked > 1.5:
            self._connected = False


def test_a_quiet_network_is_left_alone() -> None:
    scene = Scene(holes=[]).run(200)
    assert scene.probes == []
    assert scene.remade == []


@pytest.mark.parametrize("length", [5.0, 12.0, 20.0, 35.0, 600.0])
def test_what_is_heard_again_after_an_outage_is_kept(length: float) -> None:
    scene = Scene(holes=[(110.0, 110.0 + length)]).run(120 + length)
    assert scene.remade == []
    assert scene.probes[0] == pytest.approx(112, abs=0.5)


@pytest.mark.parametrize("length", [5.0, 12.0, 20.0, 35.0, 600.0])
@pytest.mark.parametrize("forgotten", [{"publisher"}, {"publisher", "subscriber"}])
def test_what_the_other_side_has_forgotten_is_made_anew_within_a_second(
    length: float, forgotten: set[str]
) -> None:
    scene = Scene(holes=[(110.0, 110.0 + length)], forgotten=forgotten).run(130 + length)
    assert {key for _, key in scene.remade} == forgotten
    assert len(scene.remade) == len(forgotten)
    assert max(at for at, _ in scene.remade) - (110 + length) <= 1.25


def test_a_move_to_another_address_makes_all_anew_once_the_hub_is_there() -> None:
    rules = Liveness()
    for tick in range(8):
        rules.hear("publisher", 100 + tick / 4)
    rules.move(102.0)
    assert rules.check(102.0, connected=True, hub_heard_at=101.9).remake == []
    assert rules.check(102.2, connected=False, hub_heard_at=101.9).remake == []
    assert rules.check(102.4, connected=True, hub_heard_at=102.3).remake == []
    assert rules.check(103.2, connected=True, hub_heard_at=102.3).remake == ["publisher"]
    assert rules.check(110.0, connected=True, hub_heard_at=109.0).remake == []


def test_one_connection_that_is_dead_alone_is_made_anew_once() -> None:
    scene = Scene(holes=[])
    scene.silent["publisher"] = (110.0, 150.0)
    scene.run(150)
    assert [key for _, key in scene.remade] == ["publisher"]
    assert scene.remade[0][0] == pytest.approx(116, abs=0.5)


def test_a_subscriber_to_whom_nobody_talks_is_asked_after_ever_more_seldom() -> None:
    scene = Scene(holes=[])
    scene.silent["subscriber"] = (110.0, 310.0)
    scene.run(310)
    assert scene.remade == []
    assert len(scene.probes) < 12


def test_what_has_hardly_been_heard_is_expected_to_say_nothing() -> None:
    rules = Liveness()
    rules.hear("publisher", 100.0)
    rules.hear("publisher", 100.1)
    verdict = rules.check(120.0, connected=True, hub_heard_at=119.0)
    assert (verdict.probe, verdict.remake) == (False, [])
    rules.hear("publisher", 100.2)
    assert rules.is_silent("publisher", 120.0)
    rules.forget("publisher")
    assert not rules.is_silent("publisher", 120.0)
