"""Turns of the event loop, taken one by one: no room waits for another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from signaling.hub.turns import ALL, MAX_WAITING, SHARE
from tests.support.hub import Client, World


class Loop:
    """What is to be called soon, a turn at a time."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()

    def __call__(self, function: Callable[[], None]) -> None:
        self.soon.append(function)

    def turn(self) -> None:
        for _ in range(len(self.soon)):
            self.soon.popleft()()


def make(size: int = 32, rooms: int = 1) -> tuple[World, Loop, list[list[Client]]]:
    loop = Loop()
    world = World(soon=loop, mesh_limit=100, message_burst=10_000, broadcast_burst=10_000)
    full = [[world.join(f"p{n}", f"r{room}") for n in range(size)] for room in range(rooms)]
    while loop.soon:
        loop.turn()
    for clients in full:
        for client in clients:
            client.read()
    return world, loop, full


def count_chats(client: Client) -> int:
    return client.types().count("chat")


def test_one_turn_carries_a_room_s_share_and_the_rest_follows_in_order() -> None:
    _, loop, ((ada, *_, bob),) = make()
    for n in range(20):
        ada.send("chat", content=str(n))
    heard = [message["content"] for message in bob.read() if message["type"] == "chat"]
    assert len(heard) == SHARE // 32
    while loop.soon:
        loop.turn()
        more = [message["content"] for message in bob.read() if message["type"] == "chat"]
        assert len(more) <= SHARE // 32 + 1
        heard += more
    assert heard == [str(n) for n in range(20)]


def test_another_room_is_heard_at_once_beside_a_flooded_one() -> None:
    world, loop, ((ada, *_),) = make()
    carol, dave = world.join_all("Carol", "Dave", room="quiet")
    for n in range(200):
        ada.send("update", metadata={"n": n})
    carol.send("chat", content="hello")
    assert count_chats(dave) == 1
    loop.turn()
    carol.send("chat", content="and again")
    assert count_chats(dave) == 1


def test_rooms_that_wait_take_turns() -> None:
    _, loop, rooms = make(rooms=4)
    for ada, *_ in rooms:
        for n in range(20):
            ada.send("chat", content=str(n))
    for clients in rooms:
        count_chats(clients[-1])
    served = [0] * 4
    for _ in range(4):
        loop.turn()
        heard = [count_chats(clients[-1]) for clients in rooms]
        assert sum(heard) * 32 <= ALL + 4 * 32
        served = [before + now for before, now in zip(served, heard, strict=True)]
    assert min(served) >= SHARE // 32


def test_everything_said_in_a_busy_room_keeps_its_order_private_words_too() -> None:
    _, loop, ((ada, *_, bob),) = make()
    for n in range(10):
        ada.send("update", name=f"ada{n}")
    ada.send("chat", content="last", to=bob.id)
    while loop.soon:
        loop.turn()
    kinds = [kind for kind in bob.types() if kind in ("participant-updated", "chat")]
    assert kinds == ["participant-updated"] * 10 + ["chat"]


def test_what_waits_of_one_connection_is_bounded_and_refused_in_words() -> None:
    world, loop, ((ada, *_),) = make()
    for n in range(MAX_WAITING + 50):
        ada.send("chat", content=str(n), id=str(n))
    assert len(world.hub.turns) == MAX_WAITING
    refused = [message for message in ada.read() if message["type"] == "error"]
    assert {(one["code"], one["retry_after"]) for one in refused} == {("rate-limited", 1.0)}
    while loop.soon:
        loop.turn()
    assert len(world.hub.turns) == 0


def test_what_one_said_who_is_gone_costs_nothing_more() -> None:
    world, loop, ((ada, *_, bob),) = make()
    for n in range(100):
        ada.send("chat", content=str(n))
    ada.cut()
    heard = count_chats(bob)
    while loop.soon:
        loop.turn()
    assert count_chats(bob) == 0
    assert heard == SHARE // 32
    assert len(world.hub.turns) == 0
