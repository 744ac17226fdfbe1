"""Which worker gets a room, what it is told, and what becomes of it when one ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay import control
from relay.process.placement import Placement


def make(*workers: int) -> Placement:
    placement = Placement()
    for worker in workers:
        placement.add_worker(worker)
    return placement


def test_rooms_go_where_least_is_going_on() -> None:
    placement = make(0, 1)
    assert placement.place(control.Join("big", "p_1")) == 0
    for number in range(2, 9):
        assert placement.place(control.Join("big", f"p_{number}")) == 0
    assert placement.place(control.Join("a", "p_1")) == 1
    assert placement.place(control.Join("b", "p_1")) == 1


def test_new_rooms_avoid_a_worker_that_does_not_keep_up_while_there_is_another() -> None:
    placement = make(0, 1)
    placement.set_overloaded(0, True)
    assert [placement.place(control.Join(f"r{n}", "p_1")) for n in range(3)] == [1, 1, 1]
    placement.set_overloaded(1, True)
    assert placement.place(control.Join("r4", "p_1")) == 0
    placement.set_overloaded(0, False)
    placement.remove_worker(1)
    assert placement.place(control.Join("r5", "p_1")) == 0


def test_a_room_stays_where_it_is_until_it_is_empty() -> None:
    placement = make(0, 1)
    first = placement.place(control.Join("demo", "p_1"))
    assert placement.place(control.Publish("demo", "p_1", 1, "v=0")) == first
    assert placement.place(control.Leave("demo", "p_1")) == first
    assert placement.place(control.Leave("demo", "p_1")) is None
    assert placement.place(control.GetStats("demo", 2)) is None


def test_a_closed_room_is_forgotten_once_its_worker_was_told() -> None:
    placement = make(0)
    placement.place(control.Join("demo", "p_1"))
    assert placement.place(control.CloseRoom("demo")) == 0
    assert placement.place(control.CloseRoom("demo")) is None


def test_each_request_is_answered_once() -> None:
    placement = make(0)
    placement.place(control.Join("demo", "p_1"))
    placement.place(control.Publish("demo", "p_1", 7, "v=0"))
    assert placement.receive_reply(7)
    assert not placement.receive_reply(7)


def test_what_a_lost_worker_leaves_is_named() -> None:
    placement = make(0, 1)
    for room in ("a", "b", "c"):
        placement.place(control.Join(room, "p_1"))
    placement.place(control.Publish("a", "p_1", 1, "v=0"))
    placement.place(control.Publish("b", "p_1", 2, "v=0"))
    assert placement.remove_worker(0) == ([1], ["a", "c"])
    assert placement.available
    assert placement.place(control.Join("a", "p_1")) == 1
    assert placement.remove_worker(1) == ([2], ["a", "b"])
    assert not placement.available


def test_who_comes_while_there_is_no_worker_is_housed_later() -> None:
    placement = make()
    assert placement.place(control.Join("demo", "p_1")) is None
    assert placement.place(control.Route("demo", "p_1", ["p_2"])) is None
    assert placement.place(control.Join("demo", "p_2")) is None
    assert placement.place(control.Join("demo", "p_1", publish=False)) is None
    assert placement.place(control.Publish("demo", "p_1", 1, "v=0")) is None
    assert placement.place(control.Join("gone", "p_9")) is None
    assert placement.place(control.Leave("gone", "p_9")) is None
    assert placement.house() == []
    placement.add_worker(3)
    assert placement.house() == [
        (3, control.Join("demo", "p_1", publish=False)),
        (3, control.Route("demo", "p_1", ["p_2"])),
        (3, control.Join("demo", "p_2")),
    ]
    assert placement.house() == []
    assert placement.place(control.Publish("demo", "p_1", 1, "v=0")) == 3


class Placements(RuleBasedStateMachine):
    """Whatever comes and goes: a room has one worker, which is up, and no request is lost."""

    rooms = st.sampled_from(["a", "b", "c"])
    people = st.sampled_from(["p_1", "p_2"])

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement()
        self.up: set[int] = set()
        self.homes: dict[str, int] = {}
        self.members: dict[str, set[str]] = {}
        self.open: dict[int, int] = {}
        self.number = 0

    @rule(worker=st.integers(0, 2))
    def add(self, worker: int) -> None:
        if worker not in self.up:
            self.up.add(worker)
            self.placement.add_worker(worker)
            for home, command in self.placement.house():
                self.homes[command.room] = home

    @rule(worker=st.integers(0, 2))
    def remove(self, worker: int) -> None:
        if worker in self.up:
            self.up.discard(worker)
            requests, rooms = self.placement.remove_worker(worker)
            assert sorted(requests) == sorted(n for n, w in self.open.items() if w == worker)
            assert rooms == sorted(room for room, home in self.homes.items() if home == worker)
            self.open = {n: w for n, w in self.open.items() if w != worker}
            for room in rooms:
                del self.homes[room]
                del self.members[room]

    @rule(room=rooms, name=people)
    def join(self, room: str, name: str) -> None:
        worker = self.placement.place(control.Join(room, name))
        self.members.setdefault(room, set()).add(name)
        if worker is not None:
            assert self.homes.setdefault(room, worker) == worker

    @rule(room=rooms, name=people)
    def leave(self, room: str, name: str) -> None:
        assert self.placement.place(control.Leave(room, name)) == self.homes.get(room)
        if room in self.members:
            self.members[room].discard(name)
            if not self.members[room]:
                del self.members[room]
                self.homes.pop(room, None)

    @rule(room=rooms)
    def ask(self, room: str) -> None:
        self.number += 1
        worker = self.placement.place(control.Publish(room, "p_1", self.number, ""))
        assert worker == self.homes.get(room)
        if worker is not None:
            self.open[self.number] = worker

    @invariant()
    def rooms_live_on_workers_that_are_up(self) -> None:
        assert set(self.homes.values()) <= self.up
        assert self.placement.available == bool(self.up)


TestPlacements = Placements.TestCase
TestPlacements.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
