"""Calls through the relay, as client and relay see the hub, in virtual time."""

from __future__ import annotations

import pytest

from relay import control
from relay.control import SlotTrack, Speaker, Track
from signaling.hub.descriptions import MAX_OF_PARTICIPANT
from signaling.hub.relayrequests import ANSWER_TIMEOUT
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant
from tests.support.hub import Client, FakeRelays, World

SDP = "v=0\r\n"
CAMERA = Track("t_1", "video", "camera")


@pytest.fixture
def relays() -> FakeRelays:
    return FakeRelays()


@pytest.fixture
def world(relays: FakeRelays) -> World:
    return World(relays=relays)


def publish(client: Client, relays: FakeRelays, **fields: object) -> int:
    """Send an offer to the relay; the number under which the relay is to answer."""
    client.send("offer", to="relay", sdp=SDP, **fields)
    command = relays.take()[-1]
    assert isinstance(command, control.Publish)
    return command.request


def test_publishing_is_answered_by_the_relay(world: World, relays: FakeRelays) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("offer", id="7", to="relay", sdp=SDP, tracks=[{"mid": "0", "source": "camera"}])
    join, route, offer = relays.take()
    assert join == control.Join("demo", ada.id)
    assert route == control.Route("demo", ada.id, [])
    assert offer == control.Publish("demo", ada.id, 1, SDP, [control.PublishTrack("0", "camera")])
    assert ada.read() == []
    world.hub.receive_relay(control.Answer(1, "answer"))
    assert ada.read() == [
        {"type": "answer", "id": "7", "seq": ada.seq, "from": "relay", "sdp": "answer"}
    ]
    world.hub.receive_relay(control.TrackPublished("demo", ada.id, CAMERA))
    for client in (ada, bob):
        assert client.read() == [
            {
                "type": "track-published",
                "seq": client.seq,
                "participant": ada.id,
                "track": {"id": "t_1", "kind": "video", "source": "camera", "muted": False},
            }
        ]
    late = world.client()
    late.send("join", room="demo", name="Eve")
    assert late.take("joined")["participants"][0]["tracks"][0]["id"] == "t_1"


def test_a_refused_offer_says_why(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays, id="7")
    world.hub.receive_relay(control.Refused(number, "bad-sdp", "No m-line."))
    error = ada.take("error")
    assert (error["id"], error["code"], error["message"]) == ("7", "bad-sdp", "No m-line.")


def test_an_answer_comes_once_and_a_repeat_gets_it_again(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays, id="7")
    ada.send("offer", id="7", to="relay", sdp=SDP)
    assert (relays.take(), ada.read()) == ([], [])
    world.hub.receive_relay(control.Answer(number, "answer"))
    world.hub.receive_relay(control.Answer(number, "again"))
    assert ada.types() == ["answer"]
    ada.send("offer", id="7", to="relay", sdp=SDP)
    assert [m["sdp"] for m in ada.read()] == ["answer"]
    assert relays.take() == []


def test_an_answer_waits_for_a_client_that_is_away(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays)
    ada.cut()
    world.hub.receive_relay(control.Answer(number, "answer"))
    ada.resume()
    assert ada.types() == ["resumed", "answer"]


def test_an_answer_to_one_who_left_is_dropped(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays)
    ada.send("leave")
    assert relays.take() == [control.Leave("demo", ada.id)]
    world.hub.receive_relay(control.Answer(number, "answer"))
    world.hub.receive_relay(control.TrackPublished("demo", ada.id, CAMERA))
    assert ada.types() == ["ok"]


def test_a_relay_that_does_not_answer_is_waited_for_no_longer(
    world: World, relays: FakeRelays
) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays, id="7")
    world.advance(ANSWER_TIMEOUT)
    assert ada.take("error")["code"] == "relay-unavailable"
    world.hub.receive_relay(control.Answer(number, "late"))
    assert ada.read() == []
    assert world.hub.get_timer() is None


def test_one_offer_of_a_client_reaches_the_relay_at_a_time_and_few_wait(
    world: World, relays: FakeRelays
) -> None:
    ada = world.join("Ada")
    first = publish(ada, relays)
    for _ in range(MAX_OF_PARTICIPANT - 1):
        ada.send("offer", to="relay", sdp=SDP)
    assert relays.take() == []
    refused = ada.ask("offer", to="relay", sdp=SDP)
    assert (refused["code"], refused["retry_after"]) == ("rate-limited", 1.0)
    world.hub.receive_relay(control.Answer(first, "answer"))
    (second,) = relays.take()
    assert isinstance(second, control.Publish)
    assert second.request == first + 1


def test_an_offer_refused_because_others_wait_may_be_sent_again_under_its_id(
    world: World, relays: FakeRelays
) -> None:
    ada = world.join("Ada")
    number = publish(ada, relays)
    for _ in range(MAX_OF_PARTICIPANT - 1):
        ada.send("offer", to="relay", sdp=SDP)
    ada.send("offer", id="7", to="relay", sdp=SDP)
    assert ada.take("error")["code"] == "rate-limited"
    world.hub.receive_relay(control.Answer(number, "answer"))
    ada.send("offer", id="7", to="relay", sdp=SDP)
    while commands := relays.take():
        ada.read()
        assert isinstance(commands[-1], control.Publish)
        world.hub.receive_relay(control.Answer(commands[-1].request, "again"))
    assert ada.take("answer")["id"] == "7"


def test_whip_waits_for_its_turn_like_everyone(world: World, relays: FakeRelays) -> None:
    replies: list[object] = []
    guest = world.hub.join_guest("demo", name="OBS", grant=Grant())
    for _ in range(2):
        world.hub.ask_for_guest("publish", guest, SDP, replies.append)
    (offer,) = [c for c in relays.take() if isinstance(c, control.Publish)]
    assert offer.whole  # WHIP's offer is taken as a whole, or not at all
    world.hub.receive_relay(control.Answer(offer.request, "answer"))
    assert replies == [control.Answer(offer.request, "answer")]
    (offer,) = relays.take()  # type: ignore[assignment]
    world.hub.receive_relay(control.Refused(offer.request, "bad-sdp", "No."))
    assert isinstance(replies[1], ProtocolError)
    assert replies[1].code == "bad-sdp"
    with pytest.raises(ProtocolError, match="session-expired"):
        world.hub.ask_for_guest("publish", "p_0", SDP, replies.append)


@pytest.mark.parametrize(
    ("sdp", "tracks", "code"),
    [
        ("", [], "bad-sdp"),
        (7, [], "bad-request"),
        (SDP, 7, "bad-request"),
        (SDP, [{"mid": "0", "source": "window"}], "bad-request"),
        (SDP, [{"mid": 0, "source": "camera"}], "bad-request"),
    ],
)
def test_offers_to_the_relay_are_checked(
    world: World, relays: FakeRelays, sdp: object, tracks: object, code: str
) -> None:
    ada = world.join("Ada")
    assert ada.refusal("offer", to="relay", sdp=sdp, tracks=tracks) == code
    assert relays.take() == []


def test_candidates_to_the_relay_are_accepted_and_ignored(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    assert ada.ask("candidate", to="relay", candidate=None)["type"] == "ok"
    assert ada.refusal("candidate", to="relay", candidate=7) == "bad-request"
    assert relays.take() == []


def test_the_relays_offer_is_passed_on_and_answered(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    slots = [SlotTrack("0", "p_9", "t_9")]
    world.hub.receive_relay(control.Offer("demo", ada.id, SDP, slots))
    assert ada.read() == [
        {
            "type": "offer",
            "seq": ada.seq,
            "from": "relay",
            "sdp": SDP,
            "tracks": [{"mid": "0", "participant": "p_9", "track": "t_9"}],
        }
    ]
    ada.send("answer", id="8", to="relay", sdp=SDP)
    command = relays.take()[-1]
    assert isinstance(command, control.AnswerOffer)
    world.hub.receive_relay(control.Answer(command.request, ""))
    assert ada.read() == [{"type": "ok", "id": "8", "seq": ada.seq}]


def test_choosing_among_tracks(world: World, relays: FakeRelays) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    world.hub.receive_relay(control.TrackPublished("demo", bob.id, CAMERA))
    ada.read()
    assert ada.ask("unsubscribe", tracks=["t_1", "t_1"])["type"] == "ok"
    assert relays.take()[-1] == control.Select("demo", ada.id, ["t_1"], False)
    assert ada.ask("subscribe", tracks=["t_1"])["type"] == "ok"
    assert relays.take()[-1] == control.Select("demo", ada.id, ["t_1"], True)
    assert ada.refusal("subscribe", tracks=["t_1", "t_none"]) == "unknown-track"
    assert ada.ask("restart-ice")["type"] == "ok"
    assert relays.take()[-1] == control.RestartIce("demo", ada.id)


def test_muting_a_track(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    world.hub.receive_relay(control.TrackPublished("demo", bob.id, CAMERA))
    assert bob.ask("mute", track="t_1", muted=True)["type"] == "ok"
    world.hub.receive_relay(
        control.TrackUpdated("demo", bob.id, Track("t_1", "video", "camera", True))
    )
    assert ada.types() == ["track-published", "track-updated"]
    assert ada.refusal("mute", track="t_1", muted=False) == "forbidden"
    assert bob.ask("mute", track="t_1", muted=False)["type"] == "ok"
    assert ada.ask("mute", track="t_1", muted=True)["type"] == "ok"
    assert bob.refusal("mute", track="t_none", muted=True) == "unknown-track"


def test_speakers_are_told_to_all(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    world.hub.receive_relay(control.Speakers("demo", [Speaker(ada.id, -32)]))
    for client in (ada, bob):
        assert client.take("speakers")["speakers"] == [{"participant": ada.id, "level": -32}]


def test_events_about_what_is_gone_are_passed_over(world: World) -> None:
    ada = world.join("Ada")
    for event in (
        control.Speakers("none", []),
        control.Offer("none", ada.id, SDP, []),
        control.Offer("demo", "p_none", SDP, []),
        control.TrackUnpublished("demo", ada.id, "t_none"),
        control.TrackUpdated("demo", ada.id, CAMERA),
        control.TransportChanged("demo", ada.id, "publish", "failed"),
        control.WorkerLost(["none"]),
        control.Answer(99, SDP),
        control.RoomStats(99, []),
    ):
        world.hub.receive_relay(event)
    assert ada.read() == []


def test_a_failed_pair_goes_through_the_relay_and_the_rest_does_not(
    world: World, relays: FakeRelays
) -> None:
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    assert ada.ask("p2p-failed", participant=bob.id, reason="ice-failed")["type"] == "ok"
    assert bob.read()[0] | {"seq": 0} == {
        "type": "route",
        "seq": 0,
        "participant": ada.id,
        "via": "relay",
        "reason": "p2p-failed",
    }
    assert bob.ask("p2p-failed", participant=ada.id, reason="ice-failed")["type"] == "ok"
    assert (ada.read(), bob.read(), eve.read()) == ([], [], [])
    assert relays.take()[1] == control.Route("demo", ada.id, [bob.id])


def test_a_route_outlives_a_resume(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.cut()
    bob.send("p2p-failed", participant=ada.id, reason="ice-failed")
    ada.resume()
    assert ada.types() == ["resumed", "route"]
    (room,) = world.hub.rooms()
    assert [p.routes for p in room.participants] == [[bob.id], [ada.id]]


def test_without_a_relay_everything_of_it_is_unavailable(world: World, relays: FakeRelays) -> None:
    relays.available = False
    ada, bob = world.join_all("Ada", "Bob")
    for kind, fields in {
        "offer": {"to": "relay", "sdp": SDP},
        "answer": {"to": "relay", "sdp": SDP},
        "p2p-failed": {"participant": bob.id, "reason": "x"},
        "subscribe": {"tracks": []},
        "restart-ice": {},
    }.items():
        assert ada.refusal(kind, **fields) == "relay-unavailable"
    with pytest.raises(ProtocolError, match="relay-unavailable"):
        world.hub.join_guest("demo", name="Stage", grant=Grant())


def test_a_room_that_grows_and_shrinks(world: World, relays: FakeRelays) -> None:
    clients = world.join_all("a", "b", "c", "d")
    fifth = world.join("e")
    assert fifth.read()[0] | {"seq": 0} == {
        "type": "topology",
        "seq": 0,
        "topology": "relay",
        "reason": "size",
    }
    for client in clients:
        assert client.types() == ["participant-joined", "topology"]
    assert {c.participant for c in relays.take() if isinstance(c, control.Route)} == {
        client.id for client in (*clients, fifth)
    }
    fifth.send("leave")
    world.advance(60)
    clients[3].send("leave")
    world.advance(9.9)
    assert "topology" not in clients[0].types()
    world.advance(0.1)
    assert clients[0].read()[-1]["topology"] == "mesh"
    relays.take()
    world.advance(10)
    assert relays.take() == [control.Route("demo", c.id, []) for c in clients[:3]]


def test_a_worker_that_dies_and_its_successor(world: World, relays: FakeRelays) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("p2p-failed", participant=bob.id, reason="ice-failed")
    number = publish(ada, relays, id="7")
    world.hub.receive_relay(control.TrackPublished("demo", bob.id, CAMERA))
    ada.read(), bob.read()
    relays.available = False
    world.hub.receive_relay(control.Availability(False))
    world.hub.receive_relay(control.WorkerLost(["demo"]))
    assert ada.types() == ["room-updated", "error", "track-unpublished"]
    world.hub.receive_relay(control.Answer(number, "too late"))
    world.advance(2)
    relays.available = True
    world.hub.receive_relay(control.Availability(True))
    for client in (ada, bob):
        assert client.types()[-2:] == ["room-updated", "relay-restarted"]
    assert control.Route("demo", ada.id, [bob.id]) in relays.take()


def test_one_worker_of_several_dies(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    other = world.join("Bob", "other")
    publish(ada, relays)
    world.hub.receive_relay(control.WorkerLost(["demo"]))
    assert ada.types() == ["error", "relay-restarted"]
    assert other.read() == []


def test_a_whip_publisher_is_in_the_room(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    guest = world.hub.join_guest("demo", name="Stage", grant=Grant(subscribe=False))
    joined, route = ada.read()
    assert joined["participant"] == {
        "id": guest,
        "name": "Stage",
        "metadata": {},
        "tracks": [],
        "via": "relay",
    }
    assert (route["participant"], route["via"], route["reason"]) == (guest, "relay", "whip")
    bob = world.client()
    bob.send("join", room="demo", name="Bob")
    assert bob.types() == ["joined", "route"]
    world.hub.receive_relay(control.TrackPublished("demo", guest, CAMERA))
    assert bob.types() == ["track-published"]
    assert bob.refusal("offer", to=guest, sdp=SDP) == "unknown-participant"
    assert bob.ask("p2p-failed", participant=guest, reason="x")["type"] == "ok"
    assert bob.read() == []
    assert bob.ask("chat", content="x")["type"] == "ok"
    relays.take()
    assert ada.ask("kick", participant=guest)["type"] == "ok"
    assert control.Leave("demo", guest) in relays.take()
    assert bob.read()[-1]["reason"] == "kicked"
    world.hub.leave_guest(guest)


def test_a_whip_publisher_keeps_its_room_and_does_not_moderate(world: World) -> None:
    guest = world.hub.join_guest("demo", name="Stage", grant=Grant())
    ada = world.join("Ada")
    assert ada.ask("lock", locked=True)["type"] == "ok"
    ada.send("leave")
    assert [p.id for room in world.hub.rooms() for p in room.participants] == [guest]
    world.hub.leave_guest(guest)
    assert world.hub.rooms() == []


def test_a_whip_publisher_ends_with_its_worker(world: World, relays: FakeRelays) -> None:
    ada = world.join("Ada")
    guest = world.hub.join_guest("demo", name="Stage", grant=Grant())
    relays.take()
    world.hub.receive_relay(control.WorkerLost(["demo"]))
    assert ada.types()[-1] == "participant-left"
    assert control.Leave("demo", guest) in relays.take()


def test_a_whep_player_has_the_media_brought_to_the_relay(world: World, relays: FakeRelays) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    player = world.hub.join_guest(
        "demo", name="Wall", grant=Grant(publish=False), hidden=True, watches=ada.id
    )
    assert [m["reason"] for m in ada.read()] == ["whep"]
    assert control.Route("demo", player, [ada.id]) in relays.take()
    (room,) = world.hub.rooms()
    assert [p.id for p in room.participants] == [ada.id, bob.id]
    with pytest.raises(ProtocolError, match="unknown-participant"):
        world.hub.join_guest("demo", name="W", grant=Grant(), hidden=True, watches="p_none")
    assert not [p for r in world.hub.rooms() for p in r.participants if p.guest]


def test_guests_are_bound_by_the_rooms_limits(relays: FakeRelays) -> None:
    world = World(relays=relays, max_participants=1)
    ada = world.join("Ada")
    with pytest.raises(ProtocolError, match="room-full"):
        world.hub.join_guest("demo", name="Stage", grant=Grant())
    ada.send("leave")
    world.hub.drain()
    with pytest.raises(ProtocolError, match="draining"):
        world.hub.join_guest("demo", name="Stage", grant=Grant())


def test_what_the_relay_measures_is_asked_for(world: World, relays: FakeRelays) -> None:
    heard: list[object] = []
    world.join("Ada")
    world.hub.ask_stats("demo", heard.append)
    (command,) = relays.take()
    assert isinstance(command, control.GetStats)
    world.hub.receive_relay(control.RoomStats(command.request, []))
    world.hub.ask_stats("demo", heard.append)
    world.advance(ANSWER_TIMEOUT)
    relays.available = False
    world.hub.ask_stats("demo", heard.append)
    assert heard == [[], None, None]
