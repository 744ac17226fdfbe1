"""The bus within one process."""

from __future__ import annotations

from signaling.bus.base import Bus
from signaling.bus.memory import MemoryBus
from tests.support.hub import World


def test_subscribers_hear_what_is_published_until_they_unsubscribe() -> None:
    bus: Bus = MemoryBus()
    heard: list[tuple[str, bytes]] = []

    def receive(room: str, body: bytes) -> None:
        heard.append((room, body))

    bus.subscribe(receive)
    bus.publish("demo", b"1")
    bus.unsubscribe(receive)
    bus.publish("demo", b"2")
    assert heard == [("demo", b"1")]


def test_rooms_publish_what_changes_in_them() -> None:
    world = World()
    heard: list[tuple[str, bytes]] = []
    world.bus.subscribe(lambda room, body: heard.append((room, body)))
    world.join("Ada")
    bob = world.join("Bob")
    bob.send("leave")
    assert [room for room, _ in heard] == ["demo"] * len(heard)
    kinds = [body.split(b'"')[3].decode() for _, body in heard]
    assert kinds == ["participant-joined", "participant-joined", "participant-left"]
