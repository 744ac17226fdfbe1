"""A room's rules: who is told what, and what the relay is to do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from relay import control
from relay.control import Track
from signaling.hub.participant import Effects, Participant
from signaling.hub.room import MESH_OVERLAP, Room
from signaling.hub.session import Session
from signaling.protocol import messages
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant
from signaling.settings.config import Limits

CAMERA = Track("t_1", "video", "camera")


def make_room(*, relay: bool = True, **limits: Any) -> Room:
    return Room("demo", Limits(**limits), relay=relay)


def add(
    room: Room, id: str, now: float = 0.0, *, grant: Grant | None = None, **fields: Any
) -> tuple[Participant, Effects]:
    session = Session("s_" + id, room.limits, now)
    participant = Participant(id, id.upper(), grant or Grant(), session=session, **fields)
    return participant, room.add(participant, now)


def add_guest(room: Room, id: str, **fields: Any) -> tuple[Participant, Effects]:
    participant = Participant(id, id.upper(), Grant(), **fields)
    return participant, room.add(participant, 0.0)


def fill(room: Room, count: int) -> list[Participant]:
    return [add(room, f"p{n}")[0] for n in range(count)]


def told(effects: Effects) -> list[tuple[str, str]]:
    """Who gets which type of message."""
    return [
        (p.id, message.__struct_config__.tag)  # type: ignore[misc]  # a tag may be an int
        for to, message in effects.deliveries
        for p in to
    ]


def test_others_hear_of_one_who_joins_and_leaves() -> None:
    room = make_room()
    a, _ = add(room, "a")
    b, effects = add(room, "b")
    assert told(effects) == [("a", "participant-joined")]
    assert told(room.remove(b, "left", 0.0)) == [("a", "participant-left")]
    assert list(room.participants) == ["a"]
    assert told(room.remove(a, "left", 0.0)) == []


def test_the_relay_hears_of_nobody_who_does_not_need_it() -> None:
    room = make_room()
    *_, last = fill(room, 4)
    assert room.remove(last, "left", 0.0).commands == []


def test_the_fifth_participant_moves_the_room_to_the_relay() -> None:
    room = make_room()
    fill(room, 4)
    assert room.topology == "mesh"
    _, effects = add(room, "e")
    assert room.topology == "relay"
    assert [who for who, kind in told(effects) if kind == "topology"] == [*room.participants]
    assert effects.commands == [
        command
        for id in room.participants
        for command in (control.Join("demo", id), control.Route("demo", id, None))
    ]


def test_a_room_goes_back_when_it_was_small_for_ten_seconds() -> None:
    room = make_room()
    *_, d, e = fill(room, 5)
    room.remove(e, "left", 0.0)
    assert room.get_timer() is None  # at the limit is not below it
    room.remove(d, "left", 100.0)
    assert room.get_timer() == 110.0
    assert room.handle_timer(109.9).deliveries == []
    effects = room.handle_timer(110.0)
    assert {kind for _, kind in told(effects)} == {"topology"}
    assert room.topology == "mesh"


def test_a_room_that_fills_up_again_stays_with_the_relay() -> None:
    room = make_room()
    *_, d, e = fill(room, 5)
    room.remove(e, "left", 0.0)
    room.remove(d, "left", 100.0)
    add(room, "f", 105.0)
    assert room.get_timer() is None
    assert room.topology == "relay"


def test_the_relay_goes_on_sending_until_direct_connections_stand() -> None:
    room = make_room()
    *_, d, e = fill(room, 5)
    room.remove(e, "left", 0.0)
    room.remove(d, "left", 0.0)
    assert room.handle_timer(10.0).commands == []
    assert room.get_timer() == 10.0 + MESH_OVERLAP
    effects = room.handle_timer(10.0 + MESH_OVERLAP)
    assert effects.commands == [control.Route("demo", f"p{n}", []) for n in range(3)]
    assert room.get_timer() is None


def test_without_a_relay_a_room_stays_a_mesh() -> None:
    room = make_room(relay=False)
    fill(room, 6)
    assert room.topology == "mesh"
    effects = room.set_relay(True, 0.0)
    assert room.topology == "relay"
    assert [kind for _, kind in told(effects)] == ["room-updated"] * 6 + ["topology"] * 6


def test_a_failed_pair_alone_moves_to_the_relay() -> None:
    room = make_room()
    a, b, _ = fill(room, 3)
    effects = room.fail_pair(a, b)
    assert told(effects) == [("p0", "route"), ("p1", "route")]
    assert effects.commands == [
        control.Join("demo", "p0"),
        control.Route("demo", "p0", ["p1"]),
        control.Join("demo", "p1"),
        control.Route("demo", "p1", ["p0"]),
    ]
    assert told(room.fail_pair(b, a)) == []


def test_a_second_pair_adds_to_the_routes() -> None:
    room = make_room()
    a, b, c = fill(room, 3)
    room.fail_pair(a, b)
    assert room.fail_pair(a, c).commands[0] == control.Route("demo", "p0", ["p1", "p2"])
    assert room.remove(b, "left", 0.0).commands == [
        control.Leave("demo", "p1"),
        control.Route("demo", "p0", ["p2"]),
    ]


def test_routes_of_a_pair_stand_when_the_room_was_large_in_between() -> None:
    room = make_room()
    a, b, _, d = fill(room, 4)
    room.fail_pair(a, b)
    fifth, _ = add(room, "f")
    room.remove(fifth, "left", 0.0)
    room.remove(d, "left", 0.0)
    room.handle_timer(10.0)
    assert room.handle_timer(30.0).commands == [
        control.Route("demo", "p0", ["p1"]),
        control.Route("demo", "p1", ["p0"]),
        control.Route("demo", "p2", []),
    ]


def test_without_a_relay_a_pair_goes_on_trying() -> None:
    room = make_room(relay=False)
    a, b = fill(room, 2)
    with pytest.raises(ProtocolError, match="relay-unavailable"):
        room.fail_pair(a, b)


def test_a_guest_is_received_through_the_relay_by_all() -> None:
    room = make_room()
    fill(room, 2)
    _, effects = add_guest(room, "g")
    assert told(effects) == [
        ("p0", "participant-joined"),
        ("p1", "participant-joined"),
        ("p0", "route"),
        ("p1", "route"),
    ]
    assert control.Route("demo", "p0", ["g"]) in effects.commands
    _, effects = add(room, "late")
    assert told(effects)[-1] == ("late", "route")


def test_guests_do_not_count_for_the_size_of_a_mesh() -> None:
    room = make_room()
    fill(room, 4)
    add_guest(room, "g")
    assert room.topology == "mesh"


def test_nobody_is_told_of_a_hidden_watcher_but_media_come_to_the_relay() -> None:
    room = make_room()
    a, _ = fill(room, 2)
    watcher, effects = add_guest(room, "w", hidden=True, watches="p1")
    assert told(effects) == [("p0", "topology"), ("p1", "topology")]
    assert effects.deliveries[0][1] == messages.TopologyChanged(topology="relay", reason="whep")
    assert control.Route("demo", "w", ["p1"]) in effects.commands
    assert [p.id for p in room.others(a)] == ["p1"]
    with pytest.raises(ProtocolError, match="unknown-participant"):
        room.find("w")
    room.remove(watcher, "left", 5.0)
    room.handle_timer(15.0)
    assert room.topology == "mesh"


def test_tracks_are_kept_for_those_who_join_later() -> None:
    room = make_room()
    a, _ = fill(room, 2)
    assert told(room.publish_track(a, CAMERA)) == [
        ("p0", "track-published"),
        ("p1", "track-published"),
    ]
    assert a.describe().tracks == [CAMERA]
    assert {kind for _, kind in told(room.unpublish_track(a, "t_1"))} == {"track-unpublished"}
    assert a.describe().tracks == []
    assert told(room.unpublish_track(a, "t_1")) == []


def test_muting_tells_the_room_once() -> None:
    room = make_room()
    a, _ = fill(room, 2)
    room.publish_track(a, CAMERA)
    effects = room.mute(a, "t_1", True)
    muted = Track("t_1", "video", "camera", True)
    assert {kind for _, kind in told(effects)} == {"track-updated"}
    assert effects.commands == [control.Mute("demo", "t_1", True)]
    assert told(room.update_track(a, muted)) == []


def test_only_a_moderator_mutes_others_and_nobody_unmutes_them() -> None:
    room = make_room()
    a, b = fill(room, 2)
    room.publish_track(a, CAMERA)
    with pytest.raises(ProtocolError, match="forbidden"):
        room.mute(b, "t_1", True)
    b.grant = Grant(moderate=True)
    room.mute(b, "t_1", True)
    with pytest.raises(ProtocolError, match="forbidden"):
        room.mute(b, "t_1", False)
    room.mute(a, "t_1", False)
    with pytest.raises(ProtocolError, match="unknown-track"):
        room.mute(a, "t_2", True)


def test_the_longest_present_takes_over_from_the_last_moderator() -> None:
    room = make_room()
    a, b, c = fill(room, 3)
    a.grant = Grant(moderate=True)
    assert told(room.promote()) == []
    room.remove(a, "left", 0.0)
    effects = room.promote()
    assert told(effects) == [("p1", "grants-updated")]
    assert (b.grant.moderate, c.grant.moderate) == (True, False)


def test_after_a_lost_worker_everyone_publishes_anew() -> None:
    room = make_room()
    a, b, _ = fill(room, 3)
    room.fail_pair(a, b)
    room.publish_track(a, CAMERA)
    effects, guests = room.lose_worker()
    assert guests == []
    assert told(effects) == [
        ("p0", "track-unpublished"),
        ("p1", "track-unpublished"),
        ("p2", "track-unpublished"),
        ("p0", "relay-restarted"),
        ("p1", "relay-restarted"),
    ]
    assert control.Route("demo", "p0", ["p1"]) in effects.commands


def test_a_worker_that_comes_back_later_is_told_of_everyone_then() -> None:
    room = make_room()
    a, b = fill(room, 2)
    room.fail_pair(a, b)
    room.set_relay(False, 0.0)
    effects, _ = room.lose_worker()
    assert (told(effects), effects.commands) == ([], [])
    effects = room.set_relay(True, 2.0)
    assert [kind for _, kind in told(effects)][2:] == ["relay-restarted"] * 2
    assert control.Join("demo", "p0") in effects.commands
    assert room.get_timer() is None


def test_a_relay_that_stays_away_sends_all_back_to_direct_connections() -> None:
    room = make_room()
    a, b = fill(room, 2)
    room.fail_pair(a, b)
    room.set_relay(False, 0.0)
    assert room.get_timer() == 10.0
    effects = room.handle_timer(10.0)
    assert told(effects) == [("p0", "route"), ("p1", "route")]
    assert effects.deliveries[0][1] == messages.RouteChanged(
        participant="p1", via="direct", reason="relay-unavailable"
    )


def test_a_large_room_becomes_a_mesh_without_a_relay() -> None:
    room = make_room()
    fill(room, 5)
    room.set_relay(False, 0.0)
    effects = room.handle_timer(10.0)
    assert effects.deliveries[0][1] == messages.TopologyChanged(
        topology="mesh", reason="relay-unavailable"
    )
    assert room.get_timer() is None


def test_a_grant_without_subscribing_gets_no_routes() -> None:
    room = make_room()
    add(room, "b")
    _, effects = add(room, "a", grant=Grant(subscribe=False))
    assert effects.commands == [
        control.Join("demo", "a", True, False),
        control.Join("demo", "b"),
        control.Route("demo", "b", ["a"]),
    ]


RESTRICTED: list[dict[str, Any]] = [
    {"grant": Grant(publish=False)},
    {"grant": Grant(subscribe=False)},
    {"grant": Grant(sources=["microphone"])},
]


def routes(effects: Effects) -> list[tuple[str, str, str, str]]:
    """Who is told which way to whom, and why."""
    return [
        (p.id, message.participant, message.via, message.reason)
        for to, message in effects.deliveries
        if isinstance(message, messages.RouteChanged)
        for p in to
    ]


@pytest.mark.parametrize("restricted", RESTRICTED)
def test_who_is_restricted_goes_through_the_relay_with_everyone(restricted: dict[str, Any]) -> None:
    room = make_room()
    free, _ = add(room, "a")
    other, _ = add(room, "b")
    mute, effects = add(room, "c", **restricted)
    assert routes(effects) == [
        ("c", "a", "relay", "grants"),
        ("a", "c", "relay", "grants"),
        ("c", "b", "relay", "grants"),
        ("b", "c", "relay", "grants"),
    ]
    assert mute.describe().via == "relay"
    for one, two in ((free, "c"), (mute, "a")):
        with pytest.raises(ProtocolError) as refused:
            room.find_direct_peer(one, two)
        assert refused.value.code == "forbidden"
    assert room.find_direct_peer(free, "b") is other


def test_who_is_restricted_hears_of_a_newcomer_that_comes_through_the_relay() -> None:
    room = make_room()
    add(room, "a", grant=Grant(publish=False))
    add(room, "b")
    _, effects = add(room, "c")
    told_of = {
        p.id: message.participant.via
        for to, message in effects.deliveries
        if isinstance(message, messages.ParticipantJoined)
        for p in to
    }
    assert told_of == {"a": "relay", "b": UNSET}


def test_grants_that_change_in_mid_call_hold_at_once() -> None:
    room = make_room()
    a, _ = add(room, "a")
    b, _ = add(room, "b")
    effects = room.set_grant(a, Grant(publish=False))
    assert told(effects)[0] == ("a", "grants-updated")
    assert routes(effects) == [("a", "b", "relay", "grants"), ("b", "a", "relay", "grants")]
    assert control.Join("demo", "a", False, True) in effects.commands
    with pytest.raises(ProtocolError):
        room.find_direct_peer(b, "a")
    effects = room.set_grant(a, Grant())
    assert routes(effects) == [("a", "b", "direct", "grants"), ("b", "a", "direct", "grants")]
    assert effects.commands[0] == control.Join("demo", "a")
    assert room.find_direct_peer(b, "a") is a


def test_who_is_restricted_is_told_where_there_is_no_relay_and_stays_off_direct_ways() -> None:
    room = make_room(relay=False)
    add(room, "a")
    mute, effects = add(room, "b", grant=Grant(sources=["microphone"]))
    error = effects.deliveries[-1]
    assert (error[0], error[1].__struct_config__.tag) == ([mute], "error")
    assert effects.commands == []
    assert routes(effects) == [("b", "a", "relay", "grants"), ("a", "b", "relay", "grants")]
    commands = room.set_relay(True, 0.0).commands
    assert control.Route("demo", "a", ["b"]) in commands
    assert control.Join("demo", "b", sources=["microphone"]) in commands


def test_a_relay_that_goes_for_good_lets_no_restricted_one_connect_directly() -> None:
    room = make_room()
    a, _ = add(room, "a")
    b, _ = add(room, "b")
    c, _ = add(room, "c", grant=Grant(publish=False))
    room.fail_pair(a, b)
    room.set_relay(False, 0.0)
    effects = room.handle_timer(10.0)
    assert routes(effects) == [
        ("a", "b", "direct", "relay-unavailable"),
        ("b", "a", "direct", "relay-unavailable"),
    ]
    assert [who for who, kind in told(effects) if kind == "error"] == ["c"]
    with pytest.raises(ProtocolError):
        room.find_direct_peer(a, c.id)


def test_a_room_that_shrinks_keeps_the_restricted_at_the_relay() -> None:
    room = make_room()
    fill(room, 4)
    add(room, "e", grant=Grant(publish=False))
    room.remove(room.participants["p0"], "left", 0.0)
    room.remove(room.participants["p1"], "left", 0.0)
    effects = room.handle_timer(10.0)
    assert set(routes(effects)) == {
        *((p, "e", "relay", "grants") for p in ("p2", "p3")),
        *(("e", p, "relay", "grants") for p in ("p2", "p3")),
    }
