"""The heap calls each member once, at the time that was set last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.timers import MAX_STALE, Timers

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["set", "discard", "take"]), st.integers(0, 5), st.integers(0, 20))
)


@given(ACTIONS)
def test_it_does_what_a_table_would(actions: list[tuple[str, int, int]]) -> None:
    timers: Timers[int] = Timers()
    table: dict[int, float] = {}
    for action, member, time in actions:
        if action == "set":
            timers.set(member, time)
            table[member] = time
        elif action == "discard":
            timers.discard(member)
            table.pop(member, None)
        else:
            due = timers.take_due(time)
            assert sorted(due) == sorted(one for one, at in table.items() if at <= time)
            assert [table[one] for one in due] == sorted(table[one] for one in due)
            for one in due:
                del table[one]
        assert timers.get_timer() == min(table.values(), default=None)
        assert len(timers) == len(table)


def test_times_that_change_again_and_again_leave_nothing_behind() -> None:
    timers: Timers[str] = Timers()
    for number in range(10_000):
        timers.set("a", 1e6 - number)
    assert len(timers._heap) <= MAX_STALE * (1 + MAX_STALE) + 1
    assert timers.take_due(1e6) == ["a"]
    assert timers.get_timer() is None
