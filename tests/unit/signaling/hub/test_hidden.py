"""Who is sent by an application to look on: nobody is told, and nothing gives them away."""

from __future__ import annotations

import json

import pytest

from signaling.access.tokens import Access
from signaling.protocol.messages import Grant
from tests.support.hub import FakeRelays, World
from tests.unit.signaling.webhooks.test_events import Told

HIDDEN = Grant(publish=False, chat=False, data=False, hidden=True)


def authorize(token: str | None, room: str) -> Access:
    """The token is the identity; a recorder's is hidden."""
    grant = HIDDEN if token == "recorder" else Grant()
    if token == "fixed":
        grant = Grant(update=False)
    return Access(grant, room=room, identity=token or "")


@pytest.mark.parametrize("first", [True, False])
def test_nobody_is_told_of_one_who_is_hidden(first: bool) -> None:
    told = Told()
    world = World(relays=FakeRelays(), authorize=authorize, notify=told)
    if first:
        recorder = world.join("Recorder", token="recorder")
    ada = world.join("Ada", token="ada")
    if not first:
        recorder = world.join("Recorder", token="recorder")
    bob = world.join("Bob", token="bob")
    # What it does, and that it goes, gives it away as little.
    recorder.ask("update", name="Still nobody")
    recorder.cut()
    world.advance(31)
    heard = json.dumps([*ada.read(), *bob.read()])
    assert recorder.id not in heard
    assert "Recorder" not in heard
    assert "nobody" not in heard
    assert not [event for event in told.events if "Recorder" in event]


def test_one_who_is_hidden_sees_everyone_and_gets_media_through_the_relay() -> None:
    relays = FakeRelays()
    world = World(relays=relays, authorize=authorize)
    ada = world.join("Ada", token="ada")
    recorder = world.client()
    recorder.send("join", room="demo", name="Recorder", token="recorder")
    joined = recorder.take("joined")
    assert [p["id"] for p in joined["participants"]] == [ada.id]
    assert joined["grants"]["publish"] is False
    # Nothing of a pair that could connect directly: the room is relayed.
    assert ada.take("topology")["topology"] == "relay"
    routes = [c for c in relays.take() if getattr(c, "participant", "") == joined["participant"]]
    assert routes


def test_nobody_can_speak_of_one_who_is_hidden() -> None:
    world = World(relays=FakeRelays(), authorize=authorize)
    recorder, ada = world.join("R", token="recorder"), world.join("Ada", token="ada")
    reply = ada.ask("chat", content="who is there?", to=recorder.id)
    assert reply["code"] == "unknown-participant"


def test_one_who_is_hidden_does_not_knock() -> None:
    world = World(relays=FakeRelays(), authorize=authorize, lobby=True)
    recorder = world.client()
    recorder.send("join", room="demo", name="Recorder", token="recorder")
    assert recorder.take("joined")


def test_who_may_not_change_name_and_metadata_is_refused_both() -> None:
    world = World(authorize=authorize)
    fixed, ada = world.join("Ada", token="fixed"), world.join("Bob", token="bob")
    for fields in ({"name": "Eve"}, {"metadata": {"role": "boss"}}):
        assert fixed.ask("update", **fields)["code"] == "forbidden"
    assert ada.ask("update", name="Bobby")["type"] == "ok"
