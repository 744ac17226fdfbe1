"""PeerJS's rules: ids, keys, forwarding, waiting, bounds."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from signaling.access.addresses import AddressLimits
from signaling.foreign.peerjs import (
    EXPIRES,
    MAX_WAITING,
    Client,
    MalformedMessage,
    PeerJs,
    Visit,
    parse_message_untrusted,
)
from signaling.metrics import Metrics
from signaling.settings.config import Limits
from tests.unit.signaling.foreign.peers import Clock, Outlet


class World:
    def __init__(self, **limits: Any) -> None:
        self.clock, self.metrics = Clock(), Metrics()
        self.limits = Limits(**limits)
        numbers = itertools.count()
        self.rules = PeerJs(
            "secret",
            self.limits,
            self.metrics,
            AddressLimits.of(self.limits),
            clock=self.clock,
            token=lambda: f"id{next(numbers)}",
        )

    def join(self, id: str, *, token: str = "t", key: str = "secret") -> tuple[Client, Outlet]:
        outlet = Outlet()
        visit = Visit(key, id, token)
        return self.rules.enter(visit, [], outlet, address="198.51.100.1"), outlet

    def say(self, client: Client, type: str, **fields: Any) -> None:
        self.rules.receive(client, json.dumps({"type": type, **fields}).encode())

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.rules.handle_timer(self.clock.now)


def test_a_client_with_key_id_and_token_is_opened() -> None:
    world = World()
    _, outlet = world.join("ada")
    assert outlet.take() == [{"type": "OPEN"}]
    assert world.rules.ids == ["ada"]


@pytest.mark.parametrize(
    ("fields", "type"),
    [
        ({"key": "wrong"}, "INVALID-KEY"),
        ({"key": "h\u00e9"}, "INVALID-KEY"),
        ({"id": ""}, "ERROR"),
        ({"id": "-x-"}, "ERROR"),
        ({"id": "x" * 65}, "ERROR"),
        ({"id": "a/b"}, "ERROR"),
        ({"token": ""}, "ERROR"),
        ({"token": "x" * 65}, "ERROR"),
    ],
)
def test_others_are_told_why_not_and_closed(fields: dict[str, str], type: str) -> None:
    world = World()
    client, outlet = world.join(**{"id": "ada", **fields})
    assert [message["type"] for message in outlet.take()] == [type]
    assert outlet.closed is not None
    assert world.rules.ids == []
    world.say(client, "OFFER", dst="x")
    world.rules.disconnect(client)


def test_an_id_that_is_taken_is_only_for_the_one_with_its_token() -> None:
    world = World()
    before, old = world.join("ada", token="mine")
    _, thief = world.join("ada", token="other")
    assert thief.take()[0]["type"] == "ID-TAKEN"
    after, new = world.join("ada", token="mine")
    assert new.take() == [{"type": "OPEN"}]
    assert old.closed == (1000, "replaced")
    world.rules.disconnect(before)
    assert world.rules.ids == ["ada"]
    world.rules.disconnect(after)
    assert world.rules.ids == []


def test_messages_go_on_as_they_came_with_their_sender() -> None:
    world = World()
    (ada, heard), (_, outlet) = world.join("ada"), world.join("bob")
    outlet.take()
    payload = {"sdp": {"type": "offer", "sdp": "v=0\r\n"}, "connectionId": "dc_\u00e9"}
    world.say(ada, "OFFER", dst="bob", payload=payload, src="forged")
    world.say(ada, "LEAVE", dst="bob")
    world.say(ada, "HEARTBEAT")
    assert outlet.take() == [
        {"type": "OFFER", "src": "ada", "dst": "bob", "payload": payload},
        {"type": "LEAVE", "src": "ada", "dst": "bob"},
    ]
    assert [message["type"] for message in heard.take()] == ["OPEN"]


def test_messages_wait_for_one_who_comes_soon() -> None:
    world = World()
    ada, _ = world.join("ada")
    for n in range(3):
        world.say(ada, "CANDIDATE", dst="bob", payload=n)
    world.advance(EXPIRES - 1)
    _, outlet = world.join("bob")
    assert [m.get("payload") for m in outlet.take()] == [None, 0, 1, 2]
    world.advance(EXPIRES)
    assert outlet.take() == []


def test_the_sender_is_told_once_of_what_nobody_came_for() -> None:
    world = World()
    ada, outlet = world.join("ada")
    outlet.take()
    for _ in range(3):
        world.say(ada, "OFFER", dst="bob", payload=1)
    world.say(ada, "LEAVE", dst="bob")
    world.advance(EXPIRES)
    assert outlet.take() == [{"type": "EXPIRE", "src": "bob", "dst": "ada"}]
    assert ada.waiting == 0
    assert not world.rules._waiting


def test_what_waits_is_bounded_and_what_does_not_fit_is_told() -> None:
    world = World()
    ada, outlet = world.join("ada")
    outlet.take()
    for n in range(MAX_WAITING + 3):
        world.say(ada, "OFFER", dst=f"nobody{n}", payload=1)
    assert [message["src"] for message in outlet.take()] == [
        f"nobody{MAX_WAITING + n}" for n in range(3)
    ]
    assert world.metrics.dropped["peerjs"] == 3


def test_nonsense_is_counted_and_the_fifth_in_a_row_closes() -> None:
    world = World()
    ada, outlet = world.join("ada")
    for data in (b"", b"[]", b"\xff", b'{"type":"OPEN"}'):
        world.rules.receive(ada, data)
    world.say(ada, "HEARTBEAT")
    assert outlet.closed is None
    for _ in range(5):
        world.rules.receive(ada, b'{"type":"OFFER","dst":7}')
    assert outlet.closed == (4400, "bad-request")
    assert world.metrics.messages["invalid"] == 9


def test_who_is_too_fast_or_too_large_is_closed() -> None:
    world = World(message_rate=1.0, message_burst=3)
    ada, outlet = world.join("ada")
    for _ in range(4):
        world.say(ada, "HEARTBEAT")
    assert outlet.closed == (4429, "rate-limited")
    eve, large = world.join("eve")
    world.say(eve, "OFFER", dst="x", payload="x" * 70_000)
    assert large.closed == (4413, "too-large")


def test_draining_sends_everyone_elsewhere() -> None:
    world = World()
    _, outlet = world.join("ada")
    world.rules.drain()
    assert outlet.closed == (1001, "draining")


def test_nothing_else_is_a_message() -> None:
    for data in (b"[" * 5000, b'{"type":"OFFER","dst":"%b"}' % (b"x" * 65), b"null"):
        with pytest.raises(MalformedMessage):
            parse_message_untrusted(data)
