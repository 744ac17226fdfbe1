"""One identity once: whoever comes again replaces the one that was there."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from relay import control
from signaling.access.tokens import Access
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant
from tests.support.hub import Client, FakeRelays, World


def authorize(token: str | None, room: str) -> Access:
    """A token is an identity, and the part behind a slash tells tokens of one apart."""
    identity = (token or "").partition("/")[0]
    return Access(Grant(), room=room, identity=identity, serial=token or "")


def make(identity: Literal["once", "many"] = "once", **options: Any) -> World:
    return World(authorize=authorize, identity=identity, relays=FakeRelays(), **options)


def join(world: World, token: str) -> Client:
    return world.join("x", token=token)


def test_a_second_join_replaces_the_first_and_the_others_hear_of_it() -> None:
    world = make()
    bob, ada = join(world, "bob"), join(world, "ada")
    bob.read()
    again = world.client()
    again.send("join", room="demo", name="x", token="ada")
    assert [one["id"] for one in again.take("joined")["participants"]] == [bob.id]
    assert ada.take("error")["code"] == "replaced"
    assert ada.closed == (4409, "replaced")
    assert bob.types() == ["participant-left", "participant-joined"]
    ada.resume()
    assert ada.read()[-1]["code"] == "session-expired"
    assert world.metrics.participants == 2


def test_one_who_was_alone_and_comes_again_finds_the_room_as_it_was() -> None:
    told: list[str] = []
    world = make(notify=lambda event, _room, **_fields: told.append(event))
    join(world, "ada")
    room = world.hub.find_room("demo")
    join(world, "ada")
    assert world.hub.find_room("demo") is room
    assert told == ["room-started", "participant-joined", "participant-left", "participant-joined"]


def test_one_who_lost_the_connection_and_joins_anew_leaves_no_ghost() -> None:
    world = make()
    bob, ada = join(world, "bob"), join(world, "ada")
    ada.cut()
    bob.read()
    join(world, "ada")
    assert bob.types() == ["participant-left", "participant-joined"]
    world.advance(60)
    assert "participant-left" not in bob.types()


def test_a_full_room_takes_who_is_in_it_once_more_and_nobody_else() -> None:
    world = make(max_participants=2)
    join(world, "ada")
    join(world, "bob")
    eve = world.client()
    assert eve.refusal("join", room="demo", name="x", token="eve") == "room-full"
    join(world, "ada")


def test_where_it_is_allowed_one_identity_is_there_many_times() -> None:
    world = make("many")
    ada = join(world, "ada")
    join(world, "ada")
    assert ada.closed is None
    assert world.metrics.participants == 2


def test_who_has_no_identity_replaces_nobody() -> None:
    world = make()
    first = join(world, "")
    join(world, "")
    assert first.closed is None


def test_one_identity_knocks_once() -> None:
    world = World(authorize=authorize, lobby=True)
    first, second = world.client(), world.client()
    first.send("join", room="demo", name="x", token="eve")
    assert first.types() == ["knocking"]
    second.send("join", room="demo", name="x", token="eve")
    assert first.take("error")["code"] == "replaced"
    assert first.closed == (4409, "replaced")
    assert second.types() == ["knocking"]
    assert len(world.hub.lobby) == 1


def guest(world: World, token: str = "ada", **options: Any) -> str:
    access = authorize(token, "demo")
    return world.hub.join_guest("demo", name="x", grant=Grant(), access=access, **options)


def test_whip_and_whep_of_one_identity_are_there_once_each() -> None:
    world = make()
    ada = join(world, "ada")
    first, player = guest(world), guest(world, hidden=True)
    second = guest(world)
    room = world.hub.find_room("demo")
    assert room is not None
    assert set(room.participants) == {ada.id, player, second}
    assert control.Leave("demo", first) in (world.relays or FakeRelays()).commands


def test_a_whip_session_without_media_ends_and_one_with_them_stays() -> None:
    world = make("many")
    idle, live = guest(world, "ada"), guest(world, "bob")
    world.hub.receive_relay(control.TransportChanged("demo", live, "publish", "connected"))
    world.advance(14)
    room = world.hub.find_room("demo")
    assert room is not None
    assert set(room.participants) == {idle, live}
    world.advance(2)
    assert set(room.participants) == {live}


def test_joins_with_one_token_are_limited_also_by_whip() -> None:
    world = make(token_join_rate=1, token_join_burst=3)
    for _ in range(2):
        join(world, "ada/1")
    guest(world, "ada/1")
    late = world.client()
    reply = late.ask("join", room="demo", name="x", token="ada/1")
    assert (reply["code"], reply["retry_after"]) == ("rate-limited", 1.0)
    with pytest.raises(ProtocolError, match="rate-limited"):
        guest(world, "ada/1")
    join(world, "ada/2")
    world.advance(1)
    join(world, "ada/1")
