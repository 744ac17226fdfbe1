"""y-webrtc's rules: topics, publishing, bounds."""

from __future__ import annotations

import json
from typing import Any

from signaling.access.addresses import AddressLimits
from signaling.foreign.ywebrtc import MAX_TOPICS, Subscriber, YWebRtc
from signaling.metrics import Metrics
from signaling.settings.config import Limits
from tests.unit.signaling.foreign.peers import Clock, Outlet


class World:
    def __init__(self, **limits: Any) -> None:
        self.metrics, self.limits = Metrics(), Limits(**limits)
        guard = AddressLimits.of(self.limits)
        self.rules = YWebRtc(self.limits, self.metrics, guard, clock=Clock())

    def join(self, *topics: str) -> tuple[Subscriber, Outlet]:
        outlet = Outlet()
        subscriber = self.rules.connect(outlet, address="198.51.100.1")
        self.say(subscriber, type="subscribe", topics=list(topics))
        return subscriber, outlet

    def say(self, subscriber: Subscriber, **fields: Any) -> None:
        self.rules.receive(subscriber, json.dumps(fields).encode())


def test_what_is_published_reaches_all_of_the_topic_with_their_number() -> None:
    world = World()
    (ada, one), (_, two), (_, other) = world.join("doc"), world.join("doc"), world.join("else")
    world.say(ada, type="publish", topic="doc", data={"x": [1]}, more="kept")
    expected = {"type": "publish", "topic": "doc", "data": {"x": [1]}, "more": "kept", "clients": 2}
    assert one.take() == two.take() == [expected]
    assert other.take() == []


def test_the_number_is_ours_whatever_a_client_says() -> None:
    world = World()
    ada, outlet = world.join("doc")
    world.rules.receive(ada, b' {"type":"publish","topic":"doc","clients":99} ')
    assert outlet.take()[0]["clients"] == 1


def test_who_leaves_a_topic_or_is_gone_hears_no_more() -> None:
    world = World()
    (ada, one), (bob, two) = world.join("doc", "more"), world.join("doc")
    world.say(bob, type="unsubscribe", topics=["doc", "never"])
    world.say(ada, type="publish", topic="doc")
    assert (len(one.take()), two.take()) == (1, [])
    world.rules.disconnect(ada)
    world.rules.disconnect(bob)
    assert world.rules.topics == []


def test_a_ping_is_answered() -> None:
    world = World()
    ada, outlet = world.join()
    world.say(ada, type="ping")
    assert outlet.take() == [{"type": "pong"}]


def test_topics_and_those_on_one_are_bounded() -> None:
    world = World(max_participants=2, max_rooms=100)
    ada, _ = world.join(*[f"t{n}" for n in range(MAX_TOPICS)])
    world.say(ada, type="subscribe", topics=["one more"])
    assert len(ada.topics) == MAX_TOPICS
    outlets = [world.join("doc")[1] for _ in range(3)]
    bob, _ = world.join()
    world.say(bob, type="publish", topic="doc")
    assert [len(outlet.take()) for outlet in outlets] == [1, 1, 0]
    assert world.metrics.errors["room-full"] == 2


def test_nonsense_and_haste_end_a_connection() -> None:
    world = World(broadcast_rate=1.0, broadcast_burst=3)
    ada, outlet = world.join("doc")
    for data in (b"", b"[]", b"\xff", b'{"type":"x"}', b'{"type":"publish"}'):
        world.rules.receive(ada, data)
    assert outlet.closed == (4400, "bad-request")
    bob, fast = world.join("doc")
    for _ in range(4):
        world.say(bob, type="publish", topic="doc")
    assert fast.closed == (4429, "rate-limited")
    assert len(fast.take()) == 3
