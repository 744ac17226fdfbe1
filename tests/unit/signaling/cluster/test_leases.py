"""Leases, in virtual time, and in any order of what may happen to them."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from signaling.cluster.leases import IDLE, Leases, Owner


def test_a_lease_is_held_until_it_is_given_back() -> None:
    leases = Leases("a")
    leases.take("demo", 3, now=1.0)
    assert "demo" in leases
    assert leases.release("demo") is not None
    assert "demo" not in leases
    assert leases.release("demo") is None
    assert (leases.taken, leases.released, leases.lost) == (1, 1, 0)


def test_a_higher_epoch_takes_a_room_away_and_a_lower_one_does_not() -> None:
    leases = Leases("a")
    leases.take("demo", 3, now=1.0)
    assert not leases.lose("demo", Owner("b", 2))
    assert "demo" in leases
    assert leases.lose("demo", Owner("b", 4))
    assert "demo" not in leases
    assert not leases.lose("demo", Owner("b", 5))
    assert leases.highest == 5


def test_a_renewal_confirms_only_the_lease_that_was_asked_for() -> None:
    leases = Leases("a")
    leases.take("demo", 3, now=1.0)
    leases.confirm("demo", 2, asked=5.0)
    leases.confirm("other", 3, asked=5.0)
    lease = leases.find("demo")
    assert lease is not None
    assert lease.confirmed == 1.0
    leases.confirm("demo", 3, asked=5.0)
    assert lease.confirmed == 5.0


def test_a_room_that_nobody_uses_is_listed_after_a_while() -> None:
    leases = Leases("a")
    leases.take("demo", 1, now=0.0)
    leases.take("busy", 2, now=0.0)
    leases.use("busy", IDLE)
    assert [lease.room for lease in leases.list_idle(IDLE)] == ["demo"]


class TwoHubs(RuleBasedStateMachine):
    """Two hubs and a store that may forget everything: one epoch never has two owners."""

    def __init__(self) -> None:
        super().__init__()
        self.hubs = {"a": Leases("a"), "b": Leases("b")}
        self.store: Owner | None = None
        self.counter = self.fence = 0
        self.granted: dict[int, str] = {}

    @rule(hub=st.sampled_from("ab"), steal=st.booleans())
    def claim(self, hub: str, steal: bool) -> None:
        leases = self.hubs[hub]
        if self.store is not None and not steal:
            return
        self.counter = max(self.counter + 1, self.fence + 1, leases.highest + 1)
        self.fence = self.counter
        self.store = Owner(hub, self.counter)
        assert self.granted.setdefault(self.counter, hub) == hub
        leases.take("demo", self.counter, 0.0)

    @rule(hub=st.sampled_from("ab"))
    def renew(self, hub: str) -> None:
        leases = self.hubs[hub]
        lease = leases.find("demo")
        if lease is None:
            return
        mine = Owner(hub, lease.epoch)
        if self.store == mine or (self.store is None and self.fence <= lease.epoch):
            self.store, self.fence = mine, lease.epoch
        else:
            assert leases.lose("demo", self.store or Owner("", self.fence))

    @rule()
    def expire(self) -> None:
        self.store = None

    @rule(hub=st.sampled_from("ab"))
    def release(self, hub: str) -> None:
        lease = self.hubs[hub].release("demo")
        if lease is not None and self.store == Owner(hub, lease.epoch):
            self.store = None

    @invariant()
    def no_two_hubs_hold_one_epoch(self) -> None:
        epochs = [lease.epoch for leases in self.hubs.values() for lease in leases]
        assert len(epochs) == len(set(epochs))


TestTwoHubs = TwoHubs.TestCase
