"""The table of what clients may say: nothing is missing, and each is legal where it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from signaling.hub.requests import ANYWHERE, INSIDE, OUTSIDE, TABLE
from signaling.protocol import messages
from signaling.protocol.messages import ClientMessage
from tests.support.hub import Client, World

FIELDS: dict[str, Any] = {
    "room": "demo",
    "name": "x",
    "session": "s_1",
    "seq": 0,
    "timestamp": 1,
    "to": "p_1",
    "sdp": "v=0",
    "candidate": None,
    "participant": "p_1",
    "content": "x",
    "track": "t_1",
    "tracks": [],
    "muted": True,
    "locked": True,
    "enabled": True,
    "knock": "k_1",
}


def say(client: Client, message: type[ClientMessage]) -> str:
    """Send such a message; the code of the refusal, or nothing."""
    kind = messages.TYPES[message]
    fields = {name: FIELDS[name] for name in message.__struct_fields__ if name in FIELDS}
    if kind == "data":
        fields["to"] = ["p_1"]
    client.read()
    client.send_raw(json.dumps({"type": kind, **fields}).encode())
    return next((reply["code"] for reply in client.read() if reply["type"] == "error"), "")


def test_every_message_has_one_row() -> None:
    assert set(TABLE) == set(messages.TYPES)
    assert {places for _, places in TABLE.values()} == {OUTSIDE, INSIDE, ANYWHERE}


@pytest.mark.parametrize("message", TABLE)
def test_what_is_for_a_room_needs_one(message: type[ClientMessage]) -> None:
    refused = say(World().client(), message)
    assert (refused == "not-joined") is (TABLE[message][1] == INSIDE)


@pytest.mark.parametrize("message", TABLE)
def test_who_is_in_a_room_joins_no_other(message: type[ClientMessage]) -> None:
    refused = say(World().join("Ada"), message)
    assert (refused == "already-joined") is (TABLE[message][1] == OUTSIDE)


@pytest.mark.parametrize("message", TABLE)
def test_who_waits_sends_heartbeats_and_nothing_else(message: type[ClientMessage]) -> None:
    world = World()
    world.join("Ada").ask("lobby", enabled=True)
    eve = world.client()
    eve.send("join", room="demo", name="Eve")
    refused = say(eve, message)
    assert (refused == "already-joined") is (TABLE[message][1] != ANYWHERE)
