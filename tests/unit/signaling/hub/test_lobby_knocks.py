"""Knocking, admitting, inviting and keeping out, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.access.tokens import Access
from signaling.hub.lobby import KNOCK_TIMEOUT, MAX_KNOCKS
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant
from tests.support.hub import Client, FakeRelays, World


def authorize(token: str | None, room: str) -> Access:
    """A token is an identity; the admin's allows to moderate."""
    if not token:
        raise ProtocolError("unauthorized", "This server needs a token.")
    grant = Grant(moderate=token.startswith("admin"))
    return Access(grant, room=room, identity=token, name=token.title())


def knock(world: World, name: str, *, address: str = "127.0.0.1", **fields: Any) -> Client:
    client = world.client(address)
    client.send("join", id="j", room="demo", name=name, **fields)
    assert client.read() == [{"type": "knocking", "id": "j"}]
    return client


def open_lobby(world: World) -> Client:
    ada = world.join("Ada")
    assert ada.ask("lobby", enabled=True)["type"] == "ok"
    return ada


def test_a_room_without_a_lobby_says_nothing_of_it() -> None:
    client = World().client()
    client.send("join", room="demo", name="Ada")
    assert "lobby" not in client.take("joined")["room"]


def test_a_moderator_opens_the_lobby_and_the_room_hears_of_it() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("lobby", enabled=True)
    assert bob.take("room-updated")["room"]["lobby"] is True
    ada.ask("lobby", enabled=True)
    assert bob.read() == []
    ada.ask("lobby", enabled=False)
    assert "lobby" not in bob.take("room-updated")["room"]
    assert bob.refusal("lobby", enabled=True) == "forbidden"


def test_who_knocks_is_announced_to_moderators_only_and_comes_in_when_admitted() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("lobby", enabled=True)
    bob.read()
    eve = knock(world, "Eve")
    said = ada.take("knock")
    assert said["name"] == "Eve"
    assert bob.read() == []
    assert ada.ask("admit", knock=said["knock"])["type"] == "ok"
    joined = eve.take("joined")
    assert (joined["id"], joined["seq"]) == ("j", 1)
    assert [p["name"] for p in joined["participants"]] == ["Ada", "Bob"]
    assert bob.take("participant-joined")["participant"]["name"] == "Eve"
    assert world.hub.get_timer() is None


def test_the_end_of_a_knock_is_told_before_what_comes_of_it() -> None:
    world = World()
    ada = open_lobby(world)
    knock(world, "Eve")
    said = ada.take("knock")
    ada.send("admit", knock=said["knock"])
    ended, joined, ok = ada.read()
    assert (ended["type"], ended["knock"], ended["reason"]) == (
        "knock-ended",
        said["knock"],
        "admitted",
    )
    assert (joined["type"], ok["type"]) == ("participant-joined", "ok")


def test_one_that_is_declined_hears_so_and_may_go_elsewhere() -> None:
    world = World()
    ada = open_lobby(world)
    eve = knock(world, "Eve")
    assert ada.ask("decline", knock=ada.take("knock")["knock"])["type"] == "ok"
    refused = eve.take("error")
    assert (refused["id"], refused["code"]) == ("j", "forbidden")
    assert "seq" not in refused
    eve.send("join", room="other", name="Eve")
    eve.take("joined")


@pytest.mark.parametrize("kind", ["admit", "decline"])
def test_only_a_moderator_answers_and_only_a_knock_that_is_there(kind: str) -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.refusal(kind, knock="k_none") == "unknown-participant"
    assert bob.refusal(kind, knock="k_none") == "forbidden"
    ada.ask("lobby", enabled=True)
    knock(world, "Eve")
    other = world.join("Mallory", "elsewhere")
    assert other.refusal(kind, knock=ada.take("knock")["knock"]) == "unknown-participant"


def test_who_waits_can_do_nothing_but_wait_and_say_that_it_lives() -> None:
    world = World()
    open_lobby(world)
    eve = knock(world, "Eve")
    assert eve.refusal("join", room="other", name="Eve") == "already-joined"
    assert eve.refusal("resume", session="s_x", seq=0) == "already-joined"
    assert eve.refusal("chat", content="hello") == "already-joined"
    assert eve.ask("heartbeat", timestamp=1)["type"] == "heartbeat"


def test_who_closes_the_connection_waits_no_longer() -> None:
    world = World()
    ada = open_lobby(world)
    eve = knock(world, "Eve")
    said = ada.take("knock")
    eve.cut()
    assert ada.take("knock-ended")["reason"] == "left"
    assert ada.refusal("admit", knock=said["knock"]) == "unknown-participant"


def test_nobody_waits_for_ever() -> None:
    world = World(join_timeout=10)
    ada = open_lobby(world)
    eve = knock(world, "Eve")
    world.advance(KNOCK_TIMEOUT - 1)
    assert eve.read() == []
    world.advance(2)
    assert eve.take("error")["code"] == "forbidden"
    assert ada.take("knock-ended")["reason"] == "timeout"
    assert eve.closed is None
    world.advance(11)
    assert eve.closed == (4410, "join-timeout")


def test_so_many_wait_and_no_more() -> None:
    world = World()
    open_lobby(world)
    for number in range(MAX_KNOCKS):
        knock(world, f"Eve {number}")
    assert world.client().refusal("join", room="demo", name="Eve") == "room-full"


def test_closing_the_lobby_lets_all_in() -> None:
    world = World(max_participants=3)
    ada = open_lobby(world)
    waiting = [knock(world, name) for name in ("Bob", "Eve", "Joe")]
    ada.ask("lobby", enabled=False)
    assert [client.types()[0] for client in waiting] == ["joined", "joined", "error"]


def test_closing_the_lobby_lets_all_in_also_where_the_room_is_locked() -> None:
    world = World()
    ada = open_lobby(world)
    bob = knock(world, "Bob")
    ada.ask("lock", locked=True)
    ada.read()
    ada.send("lobby", enabled=False)
    assert ada.take("knock-ended")["reason"] == "admitted"
    assert bob.types() == ["joined"]


def test_moderators_are_not_told_that_one_came_in_for_whom_there_is_no_place() -> None:
    world = World(max_participants=2)
    ada = open_lobby(world)
    knock(world, "Bob")
    eve = knock(world, "Eve")
    ada.read()
    ada.send("lobby", enabled=False)
    ended = [m["reason"] for m in ada.read() if m["type"] == "knock-ended"]
    assert ended == ["admitted", "declined"]
    assert eve.take("error")["code"] == "room-full"


def test_when_only_a_stream_is_left_who_waits_comes_in_and_moderates() -> None:
    world = World(relays=FakeRelays())
    ada = world.join("Ada")
    world.hub.join_guest("demo", name="Stage", grant=Grant())
    ada.ask("lobby", enabled=True)
    bob, eve = knock(world, "Bob"), knock(world, "Eve")
    ada.send("leave")
    assert bob.take("joined")["grants"]["moderate"] is True
    assert bob.take("knock")["name"] == "Eve"
    assert eve.read() == []


def test_a_full_room_refuses_the_moderator_and_the_other_goes_on_waiting() -> None:
    world = World(max_participants=2)
    ada = open_lobby(world)
    waiting = [knock(world, name) for name in ("Bob", "Eve")]
    knocks = [message["knock"] for message in ada.read()]
    ada.ask("admit", knock=knocks[0])
    assert ada.refusal("admit", knock=knocks[1]) == "room-full"
    assert waiting[1].read() == []


def test_closing_the_room_sends_those_away_who_wait() -> None:
    world = World()
    ada = open_lobby(world)
    eve = knock(world, "Eve")
    ada.send("close-room")
    assert eve.take("error")["code"] == "forbidden"
    assert world.hub.rooms() == []


def test_when_the_last_one_leaves_nobody_is_left_waiting_before_an_empty_room() -> None:
    world = World()
    ada = open_lobby(world)
    bob, eve = knock(world, "Bob"), knock(world, "Eve")
    ada.send("leave")
    assert bob.take("joined")["grants"]["moderate"] is True
    assert eve.take("joined")["grants"]["moderate"] is False


def test_without_tokens_the_first_moderates_and_the_others_wait() -> None:
    world = World(lobby=True)
    ada = world.join("Ada")
    bob, eve = knock(world, "Bob"), knock(world, "Eve")
    assert [message["type"] for message in ada.read()] == ["knock", "knock"]
    ada.send("leave")
    assert bob.take("joined")["grants"]["moderate"] is True
    assert bob.take("knock")["name"] == "Eve"
    assert eve.read() == []


def test_who_becomes_moderator_hears_who_waits() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("lobby", enabled=True)
    knock(world, "Eve")
    bob.read()
    ada.send("leave")
    assert bob.types() == ["participant-left", "grants-updated", "knock"]


def test_with_tokens_all_but_moderators_wait_also_where_none_is_there_yet() -> None:
    world = World(lobby=True, authorize=authorize)
    eve = knock(world, "x", token="eve")
    assert world.hub.rooms() == []
    admin = world.client()
    admin.send("join", room="demo", name="x", token="admin")
    assert admin.take("joined")["room"]["lobby"] is True
    said = admin.take("knock")
    assert said["name"] == "Eve"
    admin.ask("admit", knock=said["knock"])
    assert eve.take("joined")["grants"]["moderate"] is False
    second = world.client()
    second.send("join", room="demo", name="x", token="admin2")
    second.take("joined")


def test_with_tokens_who_waits_goes_on_waiting_when_the_room_empties() -> None:
    world = World(lobby=True, authorize=authorize)
    admin = world.join("x", token="admin")
    eve = knock(world, "x", token="eve")
    admin.send("leave")
    assert eve.read() == []
    again = world.client()
    again.send("join", room="demo", name="x", token="admin")
    assert again.take("knock")["name"] == "Eve"


def test_a_knock_reaches_a_moderator_who_resumes() -> None:
    world = World()
    ada = open_lobby(world)
    ada.cut()
    knock(world, "Eve")
    ada.resume()
    assert ada.take("knock")["name"] == "Eve"


def test_whip_and_whep_do_not_pass_by_the_lobby() -> None:
    world = World(lobby=True, relays=FakeRelays(), authorize=authorize)
    world.join("x", token="admin")
    for hidden in (False, True):
        with pytest.raises(ProtocolError) as caught:
            world.hub.join_guest(
                "demo", name="OBS", grant=Grant(), hidden=hidden, access=authorize("obs", "demo")
            )
        assert caught.value.code == "forbidden"
    world.hub.join_guest("demo", name="OBS", grant=Grant(), access=authorize("admin", "demo"))


# -- Keeping out ------------------------------------------------------------------------


def test_a_kick_alone_keeps_nobody_out() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("kick", participant=bob.id)
    world.join("Bob")


def test_without_tokens_a_ban_holds_for_the_network() -> None:
    world = World()
    ada = world.join("Ada")
    eve = world.client("2001:db8::1")
    eve.send("join", room="demo", name="Eve")
    assert ada.ask("kick", participant=eve.id, ban=True)["type"] == "ok"
    assert eve.closed == (4403, "kicked")
    again = world.client("2001:db8::2")
    assert again.refusal("join", room="demo", name="Somebody") == "forbidden"
    again.send("join", room="other", name="Eve")
    again.take("joined")
    world.join("Bob")


def test_without_tokens_a_ban_holds_for_whip_and_whep_too() -> None:
    world = World(relays=FakeRelays())
    ada = world.join("Ada")
    eve = world.client("198.51.100.7")
    eve.send("join", room="demo", name="Eve")
    obs = world.hub.join_guest("demo", name="OBS", grant=Grant(), address="203.0.113.5")
    ada.ask("kick", participant=eve.id, ban=True)
    ada.ask("kick", participant=obs, ban=True)
    for address in ("198.51.100.7", "203.0.113.5"):
        with pytest.raises(ProtocolError) as caught:
            world.hub.join_guest("demo", name="OBS", grant=Grant(), address=address)
        assert caught.value.code == "forbidden"
    world.hub.join_guest("demo", name="OBS", grant=Grant(), address="192.0.2.1")


def test_with_tokens_a_ban_holds_for_the_identity() -> None:
    world = World(authorize=authorize, relays=FakeRelays())
    admin = world.join("x", token="admin")
    eve = world.join("x", token="eve")
    admin.ask("kick", participant=eve.id, ban=True)
    again = world.client("198.51.100.7")
    assert again.refusal("join", room="demo", name="x", token="eve") == "forbidden"
    world.join("x", token="bob")
    with pytest.raises(ProtocolError) as caught:
        world.hub.join_guest("demo", name="x", grant=Grant(), access=authorize("eve", "demo"))
    assert caught.value.code == "forbidden"


def test_a_ban_ends_with_the_room() -> None:
    world = World(authorize=authorize)
    admin = world.join("x", token="admin")
    eve = world.join("x", token="eve")
    admin.ask("kick", participant=eve.id, ban=True)
    admin.send("leave")
    world.join("x", token="eve")


def test_an_operator_may_ban_too() -> None:
    world = World()
    ada = world.join("Ada")
    assert world.hub.kick("demo", ada.id, ban=True)
    assert not world.hub.kick("demo", ada.id, ban=True)


# -- Inviting ---------------------------------------------------------------------------


def test_a_moderator_gets_a_token_for_the_room() -> None:
    world = World(authorize=authorize, invite=lambda room: (f"token for {room}", 1.5))
    admin, eve = world.join("x", token="admin"), world.join("x", token="eve")
    reply = admin.ask("invite")
    assert (reply["type"], reply["token"], reply["expires"]) == (
        "invitation",
        "token for demo",
        1500,
    )
    assert eve.refusal("invite") == "forbidden"


def test_where_no_token_is_needed_none_is_given() -> None:
    ada = World().join("Ada")
    reply = ada.ask("invite")
    assert set(reply) == {"type", "id", "seq"}


# -- Being late, and too often ----------------------------------------------------------


def test_a_connection_that_joins_nothing_is_closed_even_if_it_says_that_it_lives() -> None:
    world = World(join_timeout=10)
    client, joined = world.client(), world.join("Ada")
    world.advance(5)
    client.send("heartbeat", timestamp=1)
    client.take("heartbeat")
    world.advance(4.9)
    assert client.closed is None
    world.advance(0.2)
    assert client.take("error")["code"] == "join-timeout"
    assert client.closed == (4410, "join-timeout")
    assert joined.closed is None
    assert world.hub.get_timer() is None


def test_one_that_was_declined_has_the_whole_time_again() -> None:
    world = World(join_timeout=10)
    ada = open_lobby(world)
    eve = knock(world, "Eve")
    world.advance(8)
    ada.ask("decline", knock=ada.take("knock")["knock"])
    world.advance(9)
    assert eve.closed is None
    world.advance(2)
    assert eve.closed == (4410, "join-timeout")


def test_joins_of_one_address_are_limited_and_the_connection_stays() -> None:
    world = World(join_rate=1.0, join_burst=2)
    clients = [world.client("198.51.100.7") for _ in range(3)]
    for client in clients[:2]:
        client.send("join", room="demo", name="Eve")
        client.take("joined")
    reply = clients[2].ask("join", room="demo", name="Eve")
    assert (reply["code"], reply["retry_after"]) == ("rate-limited", 1.0)
    world.advance(1)
    clients[2].send("join", room="demo", name="Eve")
    clients[2].take("joined")


def test_what_goes_to_a_whole_room_has_a_rate_of_its_own() -> None:
    world = World(broadcast_rate=10.0, broadcast_burst=5)
    ada, bob = world.join_all("Ada", "Bob")
    for kind, fields in (("chat", {"content": "x"}), ("update", {"name": "Ada"})) * 2:
        assert ada.ask(kind, **fields)["type"] == "ok"
    ada.ask("chat", content="x")
    reply = ada.ask("chat", content="x")
    assert (reply["code"], reply["retry_after"]) == ("rate-limited", 0.1)
    assert ada.ask("candidate", to=bob.id, candidate=None)["type"] == "ok"
    world.advance(0.1)
    assert ada.ask("chat", content="x")["type"] == "ok"


@pytest.mark.parametrize("fault", ["too-large", "garbage", "unauthorized"])
def test_what_is_closed_for_a_violation_counts_towards_a_ban(fault: str) -> None:
    world = World(authorize=authorize, join_burst=100)
    for _ in range(20):
        client = world.client("198.51.100.7")
        assert client.link is not None
        if fault == "too-large":
            world.hub.reject(client.link, "too-large")
        elif fault == "unauthorized":
            client.send("join", room="demo", name="Eve")
        else:
            for _ in range(5):
                client.send_raw(b"?")
        assert client.closed is not None
        client.cut()
    assert world.hub.addresses.banned(world.clock()) == 1


def test_silence_and_a_slow_network_are_no_violation() -> None:
    world = World()
    for _ in range(50):
        client = world.client("198.51.100.7")
        assert client.link is not None
        world.hub.reject(client.link, "heartbeat-timeout")
        client.cut()
    assert world.hub.addresses.banned(world.clock()) == 0
