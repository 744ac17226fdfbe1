"""Clients on their way to the hub that owns their room: two hubs in one process, no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.control import Message
from signaling.cluster.front import MAX_WAITING, Front, Splice, State, find_request_untrusted
from signaling.cluster.remote import RemoteClients
from signaling.protocol import messages
from tests.support.hub import World

Json = dict[str, Any]


class Outlet:
    """A client's WebSocket."""

    def __init__(self) -> None:
        self.got: list[Json] = []
        self.closed: tuple[int, str] | None = None

    def send(self, data: bytes) -> None:
        self.got.append(json.loads(data))

    send_soon = send

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def types(self) -> list[str]:
        return [message["type"] for message in self.got]


class Whereabouts:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.here: set[str] = set()
        self.asked: list[tuple[Splice, messages.Join | messages.Resume]] = []

    def is_here(self, room: str) -> bool:
        return room in self.here

    def seek(self, splice: Splice, message: messages.Join | messages.Resume) -> None:
        self.asked.append((splice, message))


class Pipe:
    """A link, at once, in both directions."""

    def __init__(self) -> None:
        self.to_owner: Callable[[Any], None] = lambda _: None
        self.sent: list[Message] = []

    def send(self, message: Message) -> bool:
        self.sent.append(message)
        self.to_owner(message)
        return True


class Pair:
    """Hub `near`, which a client reaches, and hub `far`, which owns room far."""

    def __init__(self) -> None:
        self.near, self.far = World(), World()
        self.whereabouts = Whereabouts()
        self.awake = True
        self.front = Front(self.near.hub, self.whereabouts, may_speak=lambda: self.awake)
        self.remote = RemoteClients(
            self.far.hub, owns=lambda room: room == "far", may_speak=lambda: True
        )
        self.pipe = Pipe()
        self.back = Pipe()
        self.pipe.to_owner = lambda message: self.remote.receive(self.back, message)
        self.back.to_owner = self._come_back

    def _come_back(self, message: Any) -> None:
        self.front.receive_from_owner(message)

    def connect(self) -> tuple[Splice, Outlet]:
        outlet = Outlet()
        return self.front.connect(outlet, address="198.51.100.7"), outlet

    def send(self, splice: Splice, type: str, **fields: Any) -> None:
        self.front.receive(splice, json.dumps({"type": type, **fields}).encode())

    def answer(self, room: str, way: Pipe | None) -> None:
        splice, _ = self.whereabouts.asked.pop(0)
        self.front.go(splice, room, way)

    def join_far(self) -> tuple[Splice, Outlet]:
        splice, outlet = self.connect()
        self.send(splice, "join", id="1", room="far", name="Ada")
        self.answer("far", self.pipe)
        return splice, outlet


def test_a_room_of_this_hub_is_joined_without_asking() -> None:
    pair = Pair()
    pair.whereabouts.here.add("demo")
    splice, outlet = pair.connect()
    pair.send(splice, "join", room="demo", name="Ada")
    assert outlet.types() == ["joined"]
    assert pair.whereabouts.asked == []


def test_a_room_of_another_hub_is_joined_there_and_chat_goes_both_ways() -> None:
    pair = Pair()
    bob = pair.far.join("Bob", room="far")
    splice, outlet = pair.join_far()
    assert outlet.types() == ["joined"]
    assert splice.joined
    pair.send(splice, "chat", id="2", content="hello")
    assert bob.take("chat")["content"] == "hello"
    bob.send("chat", content="hi")
    assert outlet.got[-1]["content"] == "hi"
    assert pair.near.hub.list_rooms() == []


def test_what_comes_while_it_is_asked_is_carried_out_in_order() -> None:
    pair = Pair()
    splice, outlet = pair.connect()
    pair.send(splice, "join", id="1", room="far", name="Ada")
    pair.send(splice, "chat", id="2", content="early")
    assert outlet.got == []
    pair.answer("far", pair.pipe)
    assert [m.get("id") for m in outlet.got if "id" in m] == ["1", "2"]


def test_a_join_may_be_written_with_escapes() -> None:
    data = b'{"type":"jo\\u0069n","room":"far","name":"Ada"}'
    assert isinstance(find_request_untrusted(data), messages.Join)


@pytest.mark.parametrize("data", [b"", b"join", b'{"type":"join"}', b'["join"]', b"\xff\\"])
def test_what_is_no_request_stays_where_it_is(data: bytes) -> None:
    assert find_request_untrusted(data) is None


def test_a_hub_that_does_not_own_the_room_says_so_and_another_one_is_asked() -> None:
    pair = Pair()
    splice, outlet = pair.connect()
    pair.send(splice, "join", room="demo", name="Ada")
    pair.answer("demo", pair.pipe)  # far owns only "far"
    assert splice.state is State.ASKING
    pair.whereabouts.here.add("demo")
    pair.answer("demo", None)
    assert outlet.types() == ["joined"]


def test_a_client_whose_room_is_always_elsewhere_is_told_to_come_back() -> None:
    pair = Pair()
    splice, outlet = pair.connect()
    pair.send(splice, "join", room="demo", name="Ada")
    while pair.whereabouts.asked:
        pair.answer("demo", pair.pipe)
    assert outlet.closed == (1001, "draining")


def test_when_the_owner_is_gone_its_clients_are_told_to_come_back() -> None:
    pair = Pair()
    splice, outlet = pair.join_far()
    pair.front.lose_way(pair.pipe)
    assert outlet.closed == (1001, "draining")
    assert splice.state is State.ENDED
    pair.front.disconnect(splice)
    assert pair.front.away == 0


def test_a_client_that_is_gone_leaves_its_session_waiting_at_the_owner() -> None:
    pair = Pair()
    splice, outlet = pair.join_far()
    pair.front.disconnect(splice)
    assert len(pair.remote) == 0
    room = pair.far.hub.find_room("far")
    assert room is not None
    assert len(room.participants) == 1
    again, outlet2 = pair.connect()
    pair.send(again, "resume", session=outlet.got[0]["session"], seq=1)
    pair.answer("far", pair.pipe)
    assert outlet2.types() == ["resumed"]


def test_a_fault_that_the_websocket_saw_is_refused_by_the_owner() -> None:
    pair = Pair()
    splice, outlet = pair.join_far()
    pair.front.reject(splice, "heartbeat-timeout")
    assert outlet.got[-1]["code"] == "heartbeat-timeout"
    assert outlet.closed == (4408, "heartbeat-timeout")


def test_after_leaving_a_client_may_join_another_room_on_the_same_connection() -> None:
    pair = Pair()
    splice, outlet = pair.connect()
    pair.send(splice, "resume", session="s_nobody", seq=0)
    pair.answer("", None)
    assert outlet.got[-1]["code"] == "session-expired"
    pair.send(splice, "join", room="far", name="Ada")
    pair.answer("far", pair.pipe)
    assert outlet.types()[-1] == "joined"


def test_a_hub_that_slept_carries_nothing_out_until_it_has_its_leases_again() -> None:
    pair = Pair()
    pair.whereabouts.here.add("demo")
    splice, outlet = pair.connect()
    pair.awake = False
    pair.send(splice, "join", room="demo", name="Ada")
    assert outlet.got == []
    pair.awake = True
    pair.front.resume_speaking()
    assert outlet.types() == ["joined"]


def test_a_client_that_floods_while_it_is_asked_is_sent_away() -> None:
    pair = Pair()
    splice, outlet = pair.connect()
    pair.send(splice, "join", room="far", name="Ada")
    for _ in range(MAX_WAITING // 1000 + 1):
        pair.send(splice, "chat", content="x" * 1000)
    assert outlet.closed == (1001, "draining")
    pair.answer("far", pair.pipe)
    assert pair.pipe.sent == []
