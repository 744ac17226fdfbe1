"""When a line is tried, and with how much."""

from __future__ import annotations

from relay.bwe.probing import DURATION, FIRST_INTERVAL, MAX_INTERVAL, STEP, Probing, State


def send(probing: Probing, now: float, others: int = 0) -> tuple[int, float]:
    """Send a cluster to its end, with `others` bytes of media in each step."""
    total = 0
    while probing.state is State.SENDING:
        now += STEP
        total += probing.take(others, now)
    return total, now


def test_nobody_who_has_enough_probes() -> None:
    probing = Probing()
    assert not probing.begin(600_000, 10.0)
    probing.want(500_000)
    assert not probing.begin(600_000, 10.0)
    assert probing.get_timer(600_000) is None


def test_a_cluster_is_what_is_needed_with_what_is_sent_anyhow() -> None:
    probing = Probing()
    probing.want(1_000_000)
    assert probing.begin(600_000, 10.0)
    total, now = send(probing, 10.0)
    assert 0.9 < total / (1_100_000 / 8 * DURATION) < 1.1
    assert now - 10.0 < DURATION + 2 * STEP
    assert probing.state is State.WAITING
    probing = Probing()
    probing.want(1_000_000)
    assert probing.begin(600_000, 10.0)
    assert send(probing, 10.0, others=400)[0] < 0.5 * total


def test_it_is_never_far_above_the_estimate() -> None:
    probing = Probing()
    probing.want(50_000_000)
    assert probing.begin(300_000, 10.0)
    assert probing.target == 600_000


def test_attempts_in_vain_become_rarer_and_success_is_followed_up() -> None:
    probing = Probing()
    probing.want(2_000_000)
    now, waits = 10.0, []
    for _ in range(5):
        assert probing.begin(600_000, now)
        _, now = send(probing, now)
        probing.receive_result(600_000, 600_000, now)
        due = probing.get_timer(600_000)
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits[0] == FIRST_INTERVAL
    assert waits == sorted(waits)
    assert waits[-1] == MAX_INTERVAL
    assert probing.begin(600_000, now)
    _, now = send(probing, now)
    probing.receive_result(600_000, 1_100_000, now)
    due = probing.get_timer(1_100_000)
    assert due is not None
    assert due - now < FIRST_INTERVAL


def test_a_line_just_found_full_is_left_alone() -> None:
    probing = Probing()
    probing.want(2_000_000)
    probing.receive_reduction(10.0)
    assert not probing.begin(600_000, 11.0)
    assert probing.begin(600_000, 12.5)
