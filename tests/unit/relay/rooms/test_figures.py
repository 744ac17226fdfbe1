"""Rooms in figures: states by name, and lines by what they carry."""

from __future__ import annotations

from relay import control
from relay.rooms import figures
from tests.unit.relay.rooms.rooms import World


def test_transports_are_counted_by_their_state() -> None:
    world = World()
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    assert figures.count_transports(world.router.transports) == {"connecting": 2}
    assert figures.count_transports([]) == {}


def test_a_track_is_described_with_who_receives_it() -> None:
    world = World()
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    (stats,) = world.find(control.RoomStats, world.do(control.GetStats("demo", 9)))
    described = stats.tracks
    assert [(track.participant, track.kind, track.subscribers) for track in described] == [
        ("ada", "video", 1),
        ("ada", "audio", 1),
    ]
    assert {track.bitrate for track in described} == {0.0}


def test_round_trips_are_those_that_reports_told() -> None:
    world = World()
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    assert figures.list_rtts(world.router.receivers) == []
    (receiver,) = world.router.receivers
    receiver.downs[0].round_trip.rtt = 0.05
    assert figures.list_rtts(world.router.receivers) == [50.0]
