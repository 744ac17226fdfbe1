"""Key frames are asked for once for all, and not too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.plane.keyframes import MAX_ATTEMPTS, MIN_INTERVAL, KeyFrameRequests


def test_nothing_is_asked_for_when_nobody_wants_it() -> None:
    requests = KeyFrameRequests()
    assert requests.get_timer() is None
    assert not requests.take(0.0)


def test_fifty_impatient_subscribers_cost_one_request_per_interval() -> None:
    requests = KeyFrameRequests()
    sent = []
    for tick in range(200):
        now = tick / 100
        for _ in range(50):
            requests.request()
        if requests.take(now):
            sent.append(now)
    assert sent == [0.0, 0.5, 1.0, 1.5]


def test_a_request_is_repeated_until_a_key_frame_comes() -> None:
    requests = KeyFrameRequests()
    requests.request()
    assert requests.take(1.0)
    assert not requests.take(1.0)
    assert requests.get_timer() == 1.0 + MIN_INTERVAL
    assert requests.take(1.0 + MIN_INTERVAL)
    requests.receive_key_frame()
    assert not requests.wanted
    assert requests.get_timer() is None


def test_a_silent_publisher_is_not_asked_for_ever() -> None:
    requests = KeyFrameRequests()
    requests.request()
    assert sum(requests.take(float(second)) for second in range(100)) == MAX_ATTEMPTS
    requests.request()
    assert requests.take(200.0)


@given(st.lists(st.tuples(st.floats(0, 0.3), st.sampled_from(["request", "key", "take"]))))
def test_two_requests_are_never_closer_than_the_interval(steps: list[tuple[float, str]]) -> None:
    requests = KeyFrameRequests()
    now, last = 0.0, None
    for elapsed, step in steps:
        now += elapsed
        if step == "request":
            requests.request()
        elif step == "key":
            requests.receive_key_frame()
        elif requests.take(now):
            assert last is None or now - last >= MIN_INTERVAL - 1e-9
            last = now
