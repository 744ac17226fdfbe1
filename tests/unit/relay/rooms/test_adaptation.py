"""What a room makes of wishes and lines, and what the hub hears of it."""

from __future__ import annotations

from relay import control
from relay.control import Preference
from tests.unit.relay.rooms.rooms import World
from tests.unit.relay.sdp.offers import VIDEO


def set_up(world: World, *names: str) -> None:
    world.join("ada", *names)
    world.publish("ada", VIDEO)
    for offer in world.offers().values():
        world.answer(offer)
    for transport in world.router.transports:
        world.connect(transport)


def get_target(world: World) -> tuple[bool, object]:
    (receiver,) = world.router.receivers
    (down,) = receiver.downs
    return down.withheld, down.target


def test_a_tile_that_nobody_sees_is_not_sent_and_not_missed() -> None:
    world = World()
    set_up(world, "bob")
    track = world.track("ada")
    world.do(control.Prefer("demo", "bob", [Preference(track, 0, 0)]))
    events = world.advance(2)
    assert get_target(world)[0]
    assert world.find(control.Reception, events) == []
    world.do(control.Prefer("demo", "bob", [], True))
    world.advance(2)
    assert not get_target(world)[0]


def test_wishes_about_what_is_not_there_are_forgotten() -> None:
    world = World()
    set_up(world, "bob")
    wishes = [Preference(f"t_{number}", 1, 1) for number in range(100)]
    world.do(control.Prefer("demo", "bob", wishes))
    world.do(control.Prefer("demo", "nobody", wishes))
    world.do(control.Prefer("demo", "bob", [Preference(world.track("ada"), 1, 1)]))
    assert [len(known) for known in world.router._adaptation._preferences.values()] == [1]
    world.do(control.Leave("demo", "ada"))
    assert [len(known) for known in world.router._adaptation._preferences.values()] == [0]
    world.do(control.Leave("demo", "bob"))
    assert world.router._adaptation._preferences == {}


def test_a_line_that_carries_nothing_is_told_and_graded() -> None:
    world = World()
    set_up(world, "bob")
    (receiver,) = world.router.receivers
    bandwidth = receiver.transport.leg.bandwidth
    bandwidth.begin(world.now - 10)
    bandwidth.measure(0, world.now)
    (track,) = world.router.tracks
    track.leg._bind(track.up, 0, 0x1234, None)
    world.advance(4)
    bandwidth.measure(250_000, world.now)
    bandwidth.receive_remb(0, (1,), 250_000, world.now)
    events = world.advance(2)
    (told,) = world.find(control.Reception, events)
    assert told.participant == "bob"
    assert [one.state for one in told.tracks] == ["paused"]
    (quality,) = world.find(control.Quality, events)
    assert quality.participants[0].participant == "bob"
    assert quality.participants[0].down == 1
    bandwidth.receive_remb(3_000_000, (1,), 250_000, world.now)
    events = world.advance(6)
    assert [one.state for one in world.find(control.Reception, events)[-1].tracks] == ["full"]


def test_figures_name_each_subscribers_layer_and_line() -> None:
    world = World()
    set_up(world, "bob")
    world.advance(1)
    (stats,) = world.find(control.RoomStats, world.do(control.GetStats("demo", 7)))
    ((receiver,),) = [track.receivers for track in stats.tracks]
    assert receiver == control.ReceiverStats("bob", "", "full", 600_000)
    assert world.router.count_states()["full"] == 1
