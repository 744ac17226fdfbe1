"""What is due when."""

from __future__ import annotations

from signaling.hub.timers import Timers


def test_what_is_due_is_called_in_order_and_once() -> None:
    timers, called = Timers(), list[tuple[str, float]]()
    timers.call_at(2.0, lambda now: called.append(("second", now)))
    timers.call_at(1.0, lambda now: called.append(("first", now)))
    timers.call_at(2.0, lambda now: called.append(("third", now)))
    timers.call_at(9.0, lambda now: called.append(("late", now)))
    assert timers.get_timer() == 1.0
    timers.handle_timer(3.0)
    assert called == [("first", 3.0), ("second", 3.0), ("third", 3.0)]
    timers.handle_timer(3.0)
    assert len(called) == 3
    assert timers.get_timer() == 9.0


def test_what_is_set_while_another_is_called_may_be_due_at_once() -> None:
    timers, called = Timers(), list[float]()
    timers.call_at(1.0, lambda now: timers.call_at(now, called.append))
    timers.handle_timer(1.0)
    assert called == [1.0]
    assert timers.get_timer() is None
