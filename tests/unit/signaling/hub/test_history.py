"""The chat that those who come later get."""

from __future__ import annotations

from typing import Any

from signaling.hub.room import HISTORY_BYTES
from tests.support.hub import World


def joined(world: World) -> dict[str, Any]:
    """What somebody who comes now is told."""
    eve = world.client()
    eve.send("join", room="demo", name="Eve")
    return eve.take("joined")


def test_who_comes_late_gets_what_was_said_before() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("chat", content="one")
    bob.ask("chat", content="two")
    history = joined(world)["history"]
    assert [(line["from"], line["user"], line["content"]) for line in history] == [
        (ada.id, "Ada", "one"),
        (bob.id, "Bob", "two"),
    ]
    assert history[0]["timestamp"] <= history[1]["timestamp"]


def test_nothing_is_told_where_nothing_was_said() -> None:
    world = World()
    world.join("Ada")
    assert "history" not in joined(world)


def test_private_messages_are_nobody_elses() -> None:
    world = World()
    ada, bob = world.join_all("Ada", "Bob")
    ada.ask("chat", content="for Bob", to=bob.id)
    assert "history" not in joined(world)


def test_only_the_last_are_kept() -> None:
    world = World(chat_history=3)
    (ada,) = world.join_all("Ada")
    for number in range(5):
        ada.ask("chat", content=str(number))
    assert [line["content"] for line in joined(world)["history"]] == ["2", "3", "4"]


def test_long_messages_are_bounded_in_bytes() -> None:
    world = World(message_burst=100)
    (ada,) = world.join_all("Ada")
    for number in range(20):
        ada.ask("chat", content=f"{number:02}" + "\N{PILE OF POO}" * 4000)
    kept = [line["content"] for line in joined(world)["history"]]
    assert [content[:2] for content in kept] == ["16", "17", "18", "19"]
    assert sum(len(content.encode()) for content in kept) <= HISTORY_BYTES


def test_none_is_kept_where_none_is_wanted() -> None:
    world = World(chat_history=0)
    (ada,) = world.join_all("Ada")
    ada.ask("chat", content="one")
    assert "history" not in joined(world)


def test_a_room_that_ends_takes_its_chat_along() -> None:
    world = World()
    (ada,) = world.join_all("Ada")
    ada.ask("chat", content="one")
    ada.ask("leave")
    assert "history" not in joined(world)
