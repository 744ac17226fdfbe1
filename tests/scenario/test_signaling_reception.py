"""What tiles need goes to the relay; what becomes of it comes back to whom it concerns."""

from __future__ import annotations

from typing import Any

import pytest

from relay import control
from relay.control import ParticipantQuality, Preference, Track, TrackReception
from signaling.access.tokens import Access
from signaling.protocol.messages import Grant
from tests.support.hub import FakeRelays, World


@pytest.fixture
def relays() -> FakeRelays:
    return FakeRelays()


@pytest.fixture
def world(relays: FakeRelays) -> World:
    return World(relays=relays)


def publish(world: World, participant: str, track: str) -> None:
    world.hub.receive_relay(
        control.TrackPublished("demo", participant, Track(track, "video", "camera"))
    )


def test_what_a_tile_needs_is_told_to_the_relay(world: World, relays: FakeRelays) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    publish(world, bob.id, "t_1")
    publish(world, bob.id, "t_2")
    told = [
        {"track": "t_1", "width": 320, "height": 180, "priority": 0},
        {"track": "t_2", "width": 0, "height": 0},
    ]
    assert ada.ask("prefer", tracks=told)["type"] == "ok"
    expected = [Preference("t_1", 320, 180, 0), Preference("t_2", 0, 0, 2)]
    assert relays.take()[-1] == control.Prefer("demo", ada.id, expected)
    assert ada.ask("prefer", reset=True)["type"] == "ok"
    assert relays.take()[-1] == control.Prefer("demo", ada.id, [], True)


def test_tracks_that_are_not_received_are_refused_and_the_others_count(
    world: World, relays: FakeRelays
) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    publish(world, ada.id, "t_own")
    publish(world, bob.id, "t_1")
    size = {"width": 320, "height": 180}
    tracks = [{"track": track, **size} for track in ("t_own", "t_1", "t_none")]
    assert ada.refusal("prefer", tracks=tracks) == "unknown-track"
    assert relays.take()[-1] == control.Prefer("demo", ada.id, [Preference("t_1", 320, 180)])
    assert ada.refusal("prefer", tracks=tracks[:1]) == "unknown-track"
    assert not any(isinstance(command, control.Prefer) for command in relays.take())


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**9},
        {"height": -1},
        {"width": 1.5},
        {"priority": 4},
        {"priority": -1},
        {"track": "t" * 65},
        {"track": None},
    ],
)
def test_absurd_sizes_are_refused(world: World, change: dict[str, Any]) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    publish(world, bob.id, "t_1")
    entry = {"track": "t_1", "width": 320, "height": 180} | change
    assert ada.refusal("prefer", tracks=[entry]) == "bad-request"
    many = [{"track": "t_1", "width": 1, "height": 1}] * 513
    assert ada.refusal("prefer", tracks=many) == "bad-request"


def test_who_may_not_subscribe_prefers_nothing() -> None:
    def authorize(_token: str | None, room: str) -> Access:
        return Access(Grant(subscribe=False), room=room, name="Ada")

    world = World(authorize=authorize, relays=FakeRelays())
    assert world.join("Ada", token="any").refusal("prefer", reset=True) == "forbidden"


def test_layers_and_reception_reach_whom_they_concern_and_quality_everyone(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    for client in (ada, bob):
        client.read()
    world.hub.receive_relay(control.Layers("demo", ada.id, "t_1", ["q", "h"]))
    world.hub.receive_relay(control.Reception("demo", bob.id, [TrackReception("t_1", "paused")]))
    quality = [ParticipantQuality(ada.id, 3, None), ParticipantQuality("p_gone", 1, 1)]
    world.hub.receive_relay(control.Quality("demo", quality))
    told = [{"participant": ada.id, "up": 3}]
    assert [one["type"] for one in ada.read()] == ["layers", "quality"]
    reception, heard = bob.read()
    assert reception["tracks"] == [{"track": "t_1", "state": "paused"}]
    assert heard["participants"] == told
    for event in (
        control.Layers("none", ada.id, "t_1", []),
        control.Reception("demo", "p_none", []),
        control.Quality("none", quality),
        control.Quality("demo", [ParticipantQuality("p_gone", 1, 1)]),
    ):
        world.hub.receive_relay(event)
    assert ada.read() == bob.read() == []
