"""Windows and timeouts."""

from __future__ import annotations

from relay.transport.sctp.congestion import (
    INITIAL_WINDOW,
    MAX_WINDOW,
    RTO_INITIAL,
    RTO_MAX,
    RTO_MIN,
    Congestion,
    Timeout,
)
from relay.transport.sctp.packet import MTU


def test_the_timeout_follows_the_round_trip_within_bounds() -> None:
    timeout = Timeout()
    assert timeout.seconds == RTO_INITIAL
    for _ in range(50):
        timeout.measure(1.0)
    assert 1.0 < timeout.seconds < 1.1
    for _ in range(200):
        timeout.measure(0.01)
    assert timeout.seconds == RTO_MIN
    for _ in range(9):
        timeout.back_off()
    assert timeout.seconds == RTO_MAX
    timeout.restore()
    assert timeout.seconds == RTO_MIN


def test_the_window_grows_by_what_arrives_only_while_it_is_used() -> None:
    one = Congestion()
    one.acknowledge(5000, full=False, cumulative=1)
    assert one.window == INITIAL_WINDOW
    one.acknowledge(5000, full=True, cumulative=2)
    assert one.window == INITIAL_WINDOW + MTU
    for n in range(10_000):
        one.acknowledge(5000, full=True, cumulative=3 + n)
    assert one.window == MAX_WINDOW


def test_a_loss_halves_it_once_for_each_window() -> None:
    one = Congestion()
    one.lose(100)
    one.lose(120)
    assert one.window == INITIAL_WINDOW // 2
    one.acknowledge(5000, full=True, cumulative=99)
    assert one.window == INITIAL_WINDOW // 2
    one.acknowledge(MTU, full=True, cumulative=100)
    one.lose(140)
    assert one.window == 4 * MTU


def test_a_timeout_begins_again_with_one_packet() -> None:
    one = Congestion()
    one.collapse()
    assert one.window == MTU
    for n in range(3):
        one.acknowledge(MTU, full=True, cumulative=n)
    assert one.window == 4 * MTU
