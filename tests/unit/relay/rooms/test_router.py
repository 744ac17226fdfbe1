"""Who receives what, when it is offered, and what the hub hears of it."""

from __future__ import annotations

import itertools
import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import UNSET

from relay import control
from relay.plane.leg import Leg
from relay.rooms.figures import count_transports
from relay.rooms.publisher import Published
from relay.rtp import rtcp
from relay.rtp.packet import header_size
from relay.sdp.reading import parse_description_untrusted
from relay.stats import DropReason
from tests.support.media import build_rtp, build_vp8
from tests.unit.relay.rooms.rooms import World
from tests.unit.relay.sdp.offers import (
    AUDIO,
    AV1,
    DIGEST,
    VIDEO,
    make_answer,
    make_offer,
    read_corpus,
)


@pytest.fixture
def world() -> World:
    return World()


# -- Publishing -------------------------------------------------------------------------


def test_a_publisher_is_answered_first_and_then_the_room_is_told(world: World) -> None:
    world.join("ada", "bob")
    events = world.publish("ada", _0="screen", _1="microphone")
    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        "TransportChanged",
        "Answer",
        "TrackPublished",
        "TrackPublished",
        "Offer",
    ]
    tracks = [event.track for event in world.find(control.TrackPublished)]
    assert [(track.kind, track.source) for track in tracks] == [
        ("video", "screen"),
        ("audio", "microphone"),
    ]


def test_only_who_may_publishes(world: World) -> None:
    world.do(control.Join("demo", "ada", publish=False))
    assert world.find(control.Refused, world.publish("ada"))[0].code == "forbidden"
    assert world.find(control.Refused, world.publish("bob"))[0].code == "unknown-participant"
    assert world.count_remains()["legs"] == 0


@pytest.mark.parametrize("claimed", [{}, {"m0": "other"}, {"m0": "microphone"}])
def test_a_source_that_is_not_allowed_is_refused_whatever_it_is_called(
    world: World, claimed: dict[str, str]
) -> None:
    world.do(control.Join("demo", "ada", sources=["microphone"]))
    assert world.find(control.Refused, world.publish("ada", VIDEO, **claimed))[0].code == (
        "forbidden"
    )
    assert world.count_remains()["legs"] == 0
    assert not world.find(control.Refused, world.publish("ada", AUDIO))
    events = world.publish("ada", AUDIO, m0="screen-audio")
    assert world.find(control.Refused, events)[0].code == "forbidden"


@pytest.mark.parametrize(
    "changed",
    [{"publish": False}, {"sources": ["microphone"]}],
)
def test_what_may_not_be_published_any_more_ends_at_once(
    world: World, changed: dict[str, Any]
) -> None:
    world.join("ada")
    world.publish("ada", VIDEO)
    events = world.do(control.Join("demo", "ada", **changed))
    assert world.find(control.TrackUnpublished, events)
    assert world.count_remains()["legs"] == 0


def test_what_may_still_be_published_goes_on(world: World) -> None:
    world.join("ada")
    world.publish("ada", VIDEO)
    events = world.do(control.Join("demo", "ada", sources=["camera"]))
    assert not world.find(control.TrackUnpublished, events)


def test_a_faulty_offer_is_refused_and_leaves_nothing(world: World) -> None:
    world.join("ada")
    events = world.publish("ada", sdp="v=0\r\nnonsense\r\n")
    assert [(event.code, bool(event.reason)) for event in world.find(control.Refused, events)] == [
        ("bad-sdp", True)
    ]
    assert world.count_remains()["legs"] == 0
    assert world.count_remains()["usernames"] == 0


def test_a_faulty_renegotiation_changes_nothing(world: World) -> None:
    world.join("ada", "bob")
    world.publish("ada")
    before = world.count_remains()
    events = world.publish("ada", sdp="v=0\r\nnonsense\r\n")
    assert [type(event) for event in events] == [control.Refused]
    assert world.count_remains() == before


def test_there_is_a_limit_to_one_participant_s_tracks() -> None:
    world = World(max_tracks=2)
    world.join("ada")
    assert world.find(control.Refused, world.publish("ada", VIDEO, VIDEO, AUDIO))
    assert not world.find(control.Refused, world.publish("ada", VIDEO, AUDIO))


def test_renegotiation_adds_and_removes_tracks(world: World) -> None:
    world.join("ada", "bob")
    world.publish("ada", AUDIO)
    audio = world.track("ada", "audio")
    events = world.publish("ada", AUDIO, VIDEO)
    assert [event.track.kind for event in world.find(control.TrackPublished, events)] == ["video"]
    video = world.track("ada")
    sdp = make_offer(AUDIO, VIDEO)
    head, _, tail = sdp.rpartition("a=sendonly")
    events = world.publish("ada", sdp=f"{head}a=inactive{tail}")
    assert [event.track for event in world.find(control.TrackUnpublished, events)] == [video]
    assert audio in {track.id for track in world.router.tracks}


def test_another_source_on_the_same_line_is_an_update(world: World) -> None:
    world.join("ada")
    world.publish("ada", VIDEO, _0="camera")
    events = world.publish("ada", VIDEO, _0="screen")
    assert [event.track.source for event in world.find(control.TrackUpdated, events)] == ["screen"]


def test_an_ice_restart_of_the_publisher_gets_fresh_credentials(world: World) -> None:
    world.join("ada")
    first = world.find(control.Answer, world.publish("ada"))[0].sdp
    again = world.find(control.Answer, world.publish("ada"))[0].sdp
    restarted = world.find(control.Answer, world.publish("ada", ufrag="efgh"))[0].sdp
    assert _ufrag(first) == _ufrag(again) != _ufrag(restarted)
    assert len(world.find(control.TrackPublished)) == 2


def test_a_restart_that_is_refused_changes_no_credentials(world: World) -> None:
    world.join("ada")
    first = world.find(control.Answer, world.publish("ada", VIDEO))[0].sdp
    many = [VIDEO, *[AUDIO] * 20]
    assert world.find(control.Refused, world.publish("ada", *many, ufrag="efgh"))
    again = world.find(control.Answer, world.publish("ada", VIDEO))[0].sdp
    assert _ufrag(first) == _ufrag(again)


def test_another_certificate_is_another_connection(world: World) -> None:
    world.join("ada", "bob")
    world.publish("ada")
    old = {track.id for track in world.router.tracks}
    offer = make_offer(VIDEO, AUDIO, ufrag="efgh").replace(DIGEST, DIGEST.replace("AB", "CD"))
    events = world.publish("ada", sdp=offer)
    assert {event.track for event in world.find(control.TrackUnpublished, events)} == old
    assert len(world.router.tracks) == 2
    assert world.count_remains()["legs"] == 2


def test_a_publisher_whose_transport_fails_loses_its_tracks(world: World) -> None:
    world.join("ada", "bob")
    world.publish("ada")
    events = world.advance(40)
    states = [(e.direction, e.state) for e in world.find(control.TransportChanged, events)]
    assert ("publish", "failed") in states
    assert len(world.find(control.TrackUnpublished, events)) == 2
    # It may come back with the same offer.
    world.publish("ada")
    assert len(world.router.tracks) == 2


def test_a_publisher_that_comes_back_after_its_transport_failed_shakes_hands_anew(
    world: World,
) -> None:
    """It may restart ICE on the peer connection that it has, and then knows by the certificate
    alone that the other end is another one; of its packets it names neither mid nor rid again."""
    ids = [f"extmap:{n} urn:ietf:params:rtp-hdrext:sdes:{name}" for n, name in RIDS.items()]

    def send(leg: Leg, number: int, ssrc: int, extensions: dict[int, bytes] | None = None) -> None:
        packet = build_rtp(
            payload_type=96,
            sequence=number,
            timestamp=1,
            ssrc=ssrc,
            payload=build_vp8(number, key_frame=True),
            extensions=extensions,
        )
        world.plane.receive(leg, [packet], world.now)

    kind, formats, lines = VIDEO
    video = kind, formats, [*lines, *ids, "rid:h send", "rid:l send", "simulcast:send h;l"]
    world.join("ada")
    first = world.find(control.Answer, world.publish("ada", video))[0].sdp
    leg = world.connect(world.router.transports[0])
    send(leg, 1, 7, {1: b"0", 2: b"h"})
    send(leg, 1, 8, {1: b"0", 2: b"l"})
    world.advance(40)
    again = world.find(control.Answer, world.publish("ada", video, ufrag="efgh"))[0].sdp
    assert _ufrag(first) != _ufrag(again)
    assert _fingerprint(first) != _fingerprint(again)
    leg = world.connect(world.router.transports[0])
    send(leg, 2, 7)
    send(leg, 2, 8)
    layers = world.router.tracks[0].up.layers.values()
    assert {layer.rid: layer.ssrc for layer in layers} == {"h": 7, "l": 8}


def test_a_mute_is_told_once(world: World) -> None:
    world.join("ada")
    world.publish("ada")
    track = world.track("ada")
    assert world.find(control.TrackUpdated, world.do(control.Mute("demo", track, True)))
    assert world.do(control.Mute("demo", track, True)) == []
    assert world.do(control.Mute("demo", "t_unknown", True)) == []
    assert world.find(control.TrackUpdated)[0].track.muted


def test_who_is_muted_does_not_count_as_speaking(world: World) -> None:
    level = "extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    world.join("ada")
    kind, formats, lines = AUDIO
    world.publish("ada", (kind, formats, [*lines, level, "ssrc:77 cname:a"]))
    leg = world.connect(world.router.transports[0])

    def talk(sequence: int) -> list[control.Speakers]:
        packets = [
            build_rtp(
                payload_type=111,
                sequence=number,
                timestamp=number * 960,
                ssrc=77,
                payload=b"sound",
                extensions={1: b"\x94"},  # a voice at -20 dBov
            )
            for number in range(sequence, sequence + 20)
        ]
        events = []
        for packet in packets:
            world.plane.receive(leg, [packet], world.now)
            events += world.advance(0.1)
        return world.find(control.Speakers, events)

    world.do(control.Mute("demo", world.track("ada", "audio"), True))
    assert talk(1) == []
    world.do(control.Mute("demo", world.track("ada", "audio"), False))
    assert [speaker.participant for speaker in talk(100)[0].speakers] == ["ada"]
    # Muted in the midst of a word, one is silent as soon as if one had stopped.
    world.do(control.Mute("demo", world.track("ada", "audio"), True))
    assert talk(200)[-1].speakers == []


# -- Receiving --------------------------------------------------------------------------


def test_nobody_receives_themselves(world: World) -> None:
    world.join("ada", "bob", "carol")
    events = world.publish("ada")
    assert set(world.offers(events)) == {"bob", "carol"}
    carried = world.offers(events)["bob"].tracks
    assert {entry.participant for entry in carried} == {"ada"}
    assert len(carried) == 2


def test_there_is_never_more_than_one_offer_outstanding(world: World) -> None:
    world.join("ada", "bob", "carol", "dan")
    first = world.offers(world.publish("ada"))["dan"]
    assert "dan" not in world.offers(world.publish("bob"))
    assert "dan" not in world.offers(world.publish("carol"))
    # What came up meanwhile is in one later offer.
    events = world.answer(first)
    later = [event for event in events if isinstance(event, control.Offer)]
    assert len(later) == 1
    assert {entry.participant for entry in later[0].tracks} == {"ada", "bob", "carol"}
    assert world.offers(world.answer(later[0])) == {}


def test_offers_of_a_large_room_are_not_all_written_in_one_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.rooms.router.MAX_WRITTEN", 1)
    world.join("ada", "bob", "carol", "dan")
    world.router.receive(control.Publish("demo", "ada", 1, make_offer(VIDEO), []), world.now)
    turns = []
    while True:
        before = len(world.events)
        more = world.router.flush(world.now)
        turns.append(list(world.offers(world.events[before:])))
        if not more:
            break
    assert max(len(names) for names in turns) == 1
    assert sorted(name for names in turns for name in names) == ["bob", "carol", "dan"]


def test_m_lines_stay_and_are_used_again(world: World) -> None:
    world.join("ada", "bob", "carol")
    world.answer(world.offers(world.publish("ada", VIDEO))["carol"])
    offer = world.offers(world.do(control.Leave("demo", "ada")))["carol"]
    assert offer.tracks == []
    assert offer.sdp.count("m=video") == 1
    world.answer(offer)
    offer = world.offers(world.publish("bob", VIDEO))["carol"]
    assert offer.sdp.count("m=video") == 1
    assert [entry.mid for entry in offer.tracks] == ["0"]


def test_a_track_is_attached_only_once_the_client_knows_its_line(world: World) -> None:
    world.join("ada", "bob", "carol")
    first = world.offers(world.publish("ada", VIDEO))["carol"]
    world.do(control.Leave("demo", "ada"))
    world.publish("bob", VIDEO)  # takes the line that Ada's track was offered on
    world.answer(first)
    bob = next(track for track in world.router.tracks if track.participant == "bob")
    assert bob.up.downs == []
    world.answer(world.offers()["carol"])
    assert len(bob.up.downs) == 1


def test_routes_say_whose_tracks_one_receives(world: World) -> None:
    world.join("ada", "bob", "carol", routes=[])
    world.publish("ada")
    assert world.offers() == {}
    offer = world.offers(world.do(control.Route("demo", "bob", ["ada"])))["bob"]
    world.answer(offer)
    assert world.offers(world.do(control.Route("demo", "bob", [])))["bob"].tracks == []
    assert "carol" not in world.offers()


def test_one_may_choose_among_what_is_routed(world: World) -> None:
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    video, audio = world.track("ada"), world.track("ada", "audio")
    offer = world.offers(world.do(control.Select("demo", "bob", [video], False)))["bob"]
    assert [entry.track for entry in offer.tracks] == [audio]
    world.answer(offer)
    offer = world.offers(world.do(control.Select("demo", "bob", [video], True)))["bob"]
    assert {entry.track for entry in offer.tracks} == {audio, video}


def test_before_the_first_route_one_receives_nobody(world: World) -> None:
    world.join("ada")
    world.publish("ada")
    assert world.do(control.Join("demo", "bob")) == []
    assert "bob" in world.offers(world.do(control.Route("demo", "bob", None)))


def test_without_the_grant_one_receives_nothing(world: World) -> None:
    world.join("ada")
    world.do(control.Join("demo", "bob", subscribe=False))
    world.do(control.Route("demo", "bob", None))
    world.publish("ada")
    assert world.offers() == {}
    assert "bob" in world.offers(world.do(control.Join("demo", "bob")))
    before = world.count_remains()["legs"]
    world.do(control.Join("demo", "bob", subscribe=False))
    assert world.count_remains()["legs"] == before - 1


def test_a_refused_line_costs_nothing_and_spares_the_others(world: World) -> None:
    world.join("ada", "bob")
    offer = world.offers(world.publish("ada"))["bob"]
    sdp = make_answer(offer.sdp).replace("m=video 9 ", "m=video 0 ")
    world.do(control.AnswerOffer("demo", "bob", 77, sdp))
    downs = {track.kind: len(track.up.downs) for track in world.router.tracks}
    assert downs == {"video": 0, "audio": 1}


def test_an_answer_is_taken_once(world: World) -> None:
    world.join("ada", "bob")
    offer = world.offers(world.publish("ada"))["bob"]
    bad = world.do(control.AnswerOffer("demo", "bob", 70, "v=0\r\nnonsense"))
    assert world.find(control.Refused, bad)[0].code == "bad-sdp"
    assert world.find(control.Answer, world.answer(offer))
    assert world.find(control.Refused, world.answer(offer))[0].code == "bad-sdp"
    nobody = world.do(control.AnswerOffer("demo", "zoe", 71, "v=0"))
    assert world.find(control.Refused, nobody)[0].code == "unknown-participant"


def test_a_restart_of_ice_is_offered_once_there_is_no_offer_open(world: World) -> None:
    world.join("ada", "bob")
    first = world.offers(world.publish("ada"))["bob"]
    assert world.offers(world.do(control.RestartIce("demo", "bob"))) == {}
    second = world.offers(world.answer(first))["bob"]
    assert _ufrag(first.sdp) != _ufrag(second.sdp)
    assert second.tracks == first.tracks


def test_a_subscriber_whose_transport_failed_is_offered_everything_anew(world: World) -> None:
    world.join("ada", "bob")
    first = world.offers(world.publish("ada"))["bob"]
    world.answer(first)
    world.publish("ada")
    events = world.advance(29)
    assert world.offers(events) == {}
    # Ada's transport fails at the same time, so that another publisher is needed.
    world.join("carol")
    world.publish("carol")
    events = world.advance(10)
    states = [(e.participant, e.state) for e in world.find(control.TransportChanged, events)]
    assert ("bob", "failed") in states
    offer = world.offers(events)["bob"]
    assert _ufrag(first.sdp) != _ufrag(offer.sdp)
    assert _fingerprint(first.sdp) != _fingerprint(offer.sdp)
    assert _session(first.sdp) != _session(offer.sdp)
    assert [entry.participant for entry in offer.tracks] == ["carol", "carol"]


def test_a_publisher_whose_transport_failed_gets_an_answer_of_another_session(
    world: World,
) -> None:
    world.join("ada")
    sessions = [_session(world.find(control.Answer, world.publish("ada"))[0].sdp) for _ in range(2)]
    assert sessions[0] == sessions[1]
    world.advance(40)
    answer = world.find(control.Answer, world.publish("ada"))[0]
    assert _session(answer.sdp) != sessions[0]


def test_who_is_lost_with_an_offer_open_gets_another_and_the_newest_counts(world: World) -> None:
    world.join("ada", "bob", "carol")
    world.answer(world.offers(world.publish("ada"))["bob"])
    unanswered = world.offers(world.do(control.RestartIce("demo", "bob")))["bob"]
    newest = world.offers(world.advance(40))["bob"]
    assert _fingerprint(unanswered.sdp) != _fingerprint(newest.sdp)
    assert world.find(control.Answer, world.answer(newest))
    refused = world.find(control.Refused, world.answer(unanswered))
    assert [event.code for event in refused] == ["bad-sdp"]


@pytest.mark.parametrize("sequence", [0x4000, 0x7FFE])
def test_a_line_of_a_new_transport_goes_on_with_its_numbers(world: World, sequence: int) -> None:
    """It has the same SSRC: a browser that keeps its peer connection takes what is numbered
    from further back for old packets."""
    world._numbers = itertools.count(0x10000 + sequence - 12)
    publish_as_chromium(world)
    bob = _get_leg(world, "bob/subscribe")
    for number in range(1, 6):
        send_frame(world, number, payload_type=96)
    before = read_head(world.plane.take_rtp(bob)[-1])
    world._numbers = itertools.count(0x10000 + 5)
    # Nobody checks: both transports fail, and Carol publishes in Ada's place.
    world.answer(world.offers(world.advance(31))["bob"])
    world.join("carol")
    events = world.publish("carol", sdp=read_corpus("chromium-publish"))
    world.answer(world.offers(events)["bob"])
    for transport in world.router.transports:
        world.connect(transport)
    send_frame(world, 900, payload_type=96, participant="carol")
    (packet,) = world.plane.take_rtp(_get_leg(world, "bob/subscribe"))
    after = read_head(packet)
    assert after.ssrc == before.ssrc
    assert 0 < (after.sequence - before.sequence) & 0xFFFF < 0x8000
    # New keys, so that the first number is in the lower half, or right above it.
    assert after.sequence <= 0x8000
    assert 30 * 90000 < after.timestamp - before.timestamp < 50 * 90000
    assert after.picture == before.picture + 1


def test_an_answer_with_another_certificate_is_of_another_connection(world: World) -> None:
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    offer = world.offers(world.do(control.RestartIce("demo", "bob")))["bob"]
    sdp = make_answer(offer.sdp)
    old = _fingerprint(sdp)
    events = world.do(control.AnswerOffer("demo", "bob", 50, sdp.replace(old, "AA" + old[2:])))
    assert world.find(control.Answer, events)
    assert _ufrag(offer.sdp) in world.network.usernames
    assert world.count_remains()["legs"] == 2
    assert all(len(track.up.downs) == 1 for track in world.router.tracks)


def test_slots_are_limited_and_a_free_one_serves_who_waited() -> None:
    world = World(max_slots=1)
    world.join("ada", "bob", "carol")
    world.publish("ada", VIDEO)
    offer = world.offers()["carol"]
    assert len(offer.tracks) == 1
    world.publish("bob", VIDEO)
    assert world.offers(world.answer(offer)) == {}
    offer = world.offers(world.do(control.Leave("demo", "ada")))["carol"]
    assert [entry.participant for entry in offer.tracks] == ["bob"]


# -- Codecs -----------------------------------------------------------------------------


def test_a_publisher_that_agrees_on_another_codec_is_offered_with_it(world: World) -> None:
    world.join("ada", "bob", "carol")
    world.publish("carol")
    world.publish("ada", VIDEO, AUDIO)
    for _ in range(2):
        world.answer(world.offers()["bob"])
    before = _list_formats(world.offers()["bob"].sdp)
    assert all("AV1" not in names for names in before)
    offer = world.offers(world.publish("ada", AV1, AUDIO))["bob"]
    lines = _list_formats(offer.sdp)
    assert [names for names in lines if names[0] != "AV1"] == [before[0], before[1], before[3]]
    # What it is sent in comes first: some clients take one codec alone.
    assert sum(names[0] == "AV1" for names in lines) == 1
    ada = next(t for t in world.router.tracks if (t.participant, t.kind) == ("ada", "video"))
    assert 45 not in ada.up.downs[0].payload_types
    world.answer(offer)
    assert ada.up.downs[0].payload_types[45] == 45
    # Back again: the line still holds it.
    assert world.offers(world.publish("ada", VIDEO, AUDIO)) == {}


def test_who_has_an_offer_open_gets_the_other_codec_with_the_next(world: World) -> None:
    world.join("ada", "bob")
    first = world.offers(world.publish("ada", VIDEO))["bob"]
    assert world.offers(world.publish("ada", AV1)) == {}
    second = world.offers(world.answer(first))["bob"]
    assert "AV1" in _list_formats(second.sdp)[0]
    assert world.offers(world.answer(second)) == {}


def publish_as_chromium(world: World) -> control.Offer:
    """Ada publishes, Bob has been offered it, and both have a connection."""
    world.join("ada", "bob")
    offer = world.offers(world.publish("ada", sdp=read_corpus("chromium-publish")))["bob"]
    world.answer(offer)
    for transport in world.router.transports:
        world.connect(transport)
    return offer


RIDS = {1: "mid", 2: "rtp-stream-id"}


class Head(NamedTuple):
    sequence: int
    timestamp: int
    ssrc: int
    picture: int


def read_head(packet: bytes) -> Head:
    """Of a packet of VP8 with a 15-bit picture id."""
    at = header_size(packet, 0) + 2
    picture = int.from_bytes(packet[at : at + 2], "big") & 0x7FFF
    sequence, timestamp, ssrc = struct.unpack_from("!HII", packet, 2)
    return Head(sequence, timestamp, ssrc, picture)


def send_frame(world: World, number: int, *, payload_type: int, participant: str = "ada") -> None:
    """Somebody's camera sends one packet, a key frame in VP8 and AV1 alike."""
    track = next(
        t for t in world.router.tracks if (t.kind, t.participant) == ("video", participant)
    )
    payload = b"\x18" if payload_type == 45 else build_vp8(number, key_frame=True)
    packet = build_rtp(
        payload_type=payload_type,
        sequence=number,
        timestamp=3000 * number,
        ssrc=track.up.layers[0].ssrc,
        payload=payload + bytes(40),
        marker=True,
    )
    world.plane.receive(_get_leg(world, f"{participant}/publish"), [packet], world.now)


def test_a_codec_that_was_not_offered_is_offered_once_it_is_sent(world: World) -> None:
    offer = publish_as_chromium(world)
    assert "AV1" not in _list_formats(offer.sdp)[1]
    send_frame(world, 1, payload_type=96)
    assert world.offers(world.advance(1.0)) == {}
    for number in range(2, 5):
        send_frame(world, number, payload_type=45)
    again = world.offers(world.advance(0.2))["bob"]
    assert _list_formats(again.sdp)[1][0] == "AV1"
    assert again.tracks == offer.tracks
    ada, bob = _get_leg(world, "ada/publish"), _get_leg(world, "bob/subscribe")
    world.plane.sent.clear()
    world.answer(again)
    world.plane.forwarder.handle_timer(world.now)
    assert any(isinstance(packet, rtcp.Pli) for packet in world.plane.take_rtcp(ada))
    send_frame(world, 5, payload_type=45)
    (packet,) = world.plane.take_rtp(bob)
    assert packet[1] & 0x7F == 45
    assert world.offers(world.advance(1.0)) == {}
    stats = world.do(control.GetStats("demo", 5))[0]
    assert isinstance(stats, control.RoomStats)
    assert "AV1" in [track.codec for track in stats.tracks]


def test_to_a_subscriber_the_codecs_of_a_publisher_are_one_stream(world: World) -> None:
    publish_as_chromium(world)
    bob = _get_leg(world, "bob/subscribe")
    out = []
    for number in range(1, 10):
        send_frame(world, number, payload_type=45 if 3 < number < 8 else 96)
        out += world.plane.take_rtp(bob)
        if number == 5:
            world.answer(world.offers(world.advance(0.2))["bob"])
    assert world.plane.stats.drops[DropReason.UNKNOWN_PAYLOAD_TYPE] == 2
    heads = [struct.unpack_from("!xBHI", packet) for packet in out]
    assert [number & 0x7F for number, _, _ in heads] == [96, 96, 96, 45, 45, 96, 96]
    assert [sequence - heads[0][1] for _, sequence, _ in heads] == list(range(7))
    frames = [(timestamp - heads[0][2]) // 3000 for _, _, timestamp in heads]
    assert frames == [0, 1, 2, 5, 6, 7, 8]


def test_a_codec_that_the_subscriber_refused_is_not_offered_again(world: World) -> None:
    publish_as_chromium(world)
    send_frame(world, 1, payload_type=45)
    offer = world.offers(world.advance(0.2))["bob"]
    answer = make_answer(offer.sdp, accept=lambda line: ":45 " not in line and ":46 " not in line)
    world.do(control.AnswerOffer("demo", "bob", 60, answer.replace(" 45 46", "")))
    send_frame(world, 2, payload_type=45)
    assert world.offers(world.advance(5.0)) == {}


def test_who_cannot_take_what_a_track_is_sent_in_is_told_and_told_again_when_it_can(
    world: World,
) -> None:
    publish_as_chromium(world)
    send_frame(world, 1, payload_type=45)
    offer = world.offers(world.advance(0.2))["bob"]
    assert world.find(control.Reception) == []  # the answer may take it yet
    answer = make_answer(offer.sdp, accept=lambda line: ":45 " not in line and ":46 " not in line)
    events = world.do(control.AnswerOffer("demo", "bob", 60, answer.replace("45 46 ", "")))
    track = world.track("ada")
    (told,) = world.find(control.Reception, events)
    assert told.participant == "bob"
    assert told.tracks == [control.TrackReception(track, "unsupported")]
    assert world.find(control.Reception, world.advance(2.0)) == []
    send_frame(world, 2, payload_type=96)
    (told,) = world.find(control.Reception, world.advance(0.2))
    assert told.tracks == [control.TrackReception(track, "full")]


def test_a_player_that_cannot_take_what_is_sent_is_refused_with_the_codecs_name(
    world: World,
) -> None:
    world.join("ada")
    world.publish("ada", AV1)
    world.do(control.Join("demo", "tv", publish=False))
    world.do(control.Route("demo", "tv", None))
    events = world.do(control.Pull("demo", "tv", 90, make_offer(VIDEO, direction="recvonly")))
    (refused,) = world.find(control.Refused, events)
    assert refused.code == "unsupported-codec"
    assert "video in AV1" in refused.reason
    assert world.find(control.Answer, events) == []


def test_a_players_line_goes_to_another_track_when_its_own_changes_to_a_codec_it_lacks(
    world: World,
) -> None:
    world.join("ada", "bob")
    world.publish("ada", sdp=read_corpus("chromium-publish"))
    world.do(control.Join("demo", "tv", publish=False))
    world.do(control.Route("demo", "tv", None))
    world.do(control.Pull("demo", "tv", 90, make_offer(VIDEO, direction="recvonly")))
    world.publish("bob", VIDEO)
    for transport in world.router.transports:
        world.connect(transport)
    carried = {t.participant: t.up for t in world.router.tracks if t.kind == "video"}
    tv = next(down for down in carried["ada"].downs)
    send_frame(world, 1, payload_type=45)
    world.advance(0.3)
    assert tv.source is carried["bob"]


# -- Playing ----------------------------------------------------------------------------


def test_a_player_gets_what_there_is_and_is_never_offered_anything(world: World) -> None:
    world.join("ada")
    world.publish("ada")
    world.do(control.Join("demo", "tv", publish=False))
    world.do(control.Route("demo", "tv", None))
    offer = make_offer(VIDEO, AUDIO, direction="recvonly", ufrag="play")
    events = world.do(control.Pull("demo", "tv", 90, offer))
    answer = world.find(control.Answer, events)[0]
    assert answer.request == 90
    assert {entry.participant for entry in answer.tracks} == {"ada"}
    assert all(len(track.up.downs) == 1 for track in world.router.tracks)
    # Another publisher takes the lines over once they are free.
    before = len(world.events)
    world.join("bob")
    world.publish("bob")
    world.do(control.Leave("demo", "ada"))
    assert {len(track.up.downs) for track in world.router.tracks} == {1}
    assert "tv" not in world.offers(world.events[before:])


def test_a_player_restarts_ice_with_its_lines_kept(world: World) -> None:
    world.join("ada")
    world.publish("ada")
    world.do(control.Join("demo", "tv", publish=False))
    world.do(control.Route("demo", "tv", None))
    pulls = [
        world.do(
            control.Pull(
                "demo", "tv", number, make_offer(VIDEO, AUDIO, direction="recvonly", ufrag=ufrag)
            )
        )
        for number, ufrag in ((91, "first"), (92, "again"))
    ]
    answers = [world.find(control.Answer, events)[0].sdp for events in pulls]
    assert _ufrag(answers[0]) != _ufrag(answers[1])
    assert all(len(track.up.downs) == 1 for track in world.router.tracks)


def test_a_player_that_can_play_nothing_is_refused_and_leaves_nothing(world: World) -> None:
    world.do(control.Join("demo", "tv", publish=False))
    events = world.do(control.Pull("demo", "tv", 90, "v=0\r\nnonsense"))
    assert world.find(control.Refused, events)[0].code == "bad-sdp"
    assert world.count_remains()["legs"] == 0
    world.do(control.Join("demo", "tv", publish=False, subscribe=False))
    events = world.do(control.Pull("demo", "tv", 91, make_offer(VIDEO, direction="recvonly")))
    assert world.find(control.Refused, events)[0].code == "forbidden"


def pull(world: World, *media: Any, name: str = "tv") -> None:
    """Somebody plays by WHEP, connected at once."""
    world.do(control.Join("demo", name, publish=False))
    world.do(control.Route("demo", name, None))
    offer = make_offer(*media, direction="recvonly", ufrag=f"{name}-ice")
    assert world.find(control.Answer, world.do(control.Pull("demo", name, 90, offer)))
    connect_all(world)


def connect_all(world: World) -> None:
    for transport in world.router.transports:
        world.connect(transport)


def speak(world: World, seconds: float, *names: str) -> list[control.Event]:
    """These send pictures and sound for a while, the others nothing."""
    before = len(world.events)
    for _ in range(round(10 * seconds)):
        for track in world.router.tracks:
            if track.participant in names:
                send_packet(world, track)
        world.advance(0.1)
    return world.events[before:]


def send_packet(world: World, track: Published) -> None:
    number = round(1000 * world.now)
    sound = track.kind == "audio"
    packet = build_rtp(
        payload_type=111 if sound else 96,
        sequence=number,
        timestamp=90 * number,
        ssrc=next(iter(track.up.layers.values())).ssrc,
        payload=bytes(20) if sound else build_vp8(number, key_frame=True),
        marker=True,
    )
    world.plane.receive(_get_leg(world, f"{track.participant}/publish"), [packet], world.now)


def announce(world: World, name: str, first: int) -> None:
    """Somebody publishes picture and sound, with SSRCs from `first` on."""
    world.join(name)
    lines = [
        (kind, formats, [*attributes, f"ssrc:{first + index} cname:{name}"])
        for index, (kind, formats, attributes) in enumerate((VIDEO, AUDIO))
    ]
    world.publish(name, *lines, ufrag=f"{name}-ice")
    connect_all(world)


def carried_by(world: World, name: str = "tv") -> set[tuple[str, str]]:
    leg = _get_leg(world, f"{name}/subscribe")
    return {
        (track.kind, track.participant)
        for track in world.router.tracks
        for down in track.up.downs
        if down.leg is leg
    }


@pytest.mark.parametrize("announced", ["before", "after"])
def test_a_players_line_goes_over_from_a_publisher_that_died_to_one_that_is_heard(
    world: World, announced: str
) -> None:
    """An encoder was killed and is back as another participant, or another one ran already."""
    if announced == "before":
        announce(world, "new", 0x2000)
        speak(world, 2.0)
    announce(world, "old", 0x1000)
    speak(world, 1.0, "old")
    pull(world, VIDEO, AUDIO)
    speak(world, 1.0, "old")
    assert carried_by(world) == {("video", "old"), ("audio", "old")}
    if announced == "after":
        speak(world, 2.0)
        announce(world, "new", 0x2000)
    speak(world, 1.6, "new")
    assert carried_by(world) == {("video", "new"), ("audio", "new")}
    # Back again it takes nothing away from who is heard.
    speak(world, 3.0, "old", "new")
    assert carried_by(world) == {("video", "new"), ("audio", "new")}


def test_a_viewer_that_comes_meanwhile_gets_who_is_heard(world: World) -> None:
    announce(world, "old", 0x1000)
    speak(world, 1.0, "old")
    speak(world, 2.0)
    pull(world, VIDEO, AUDIO, name="early")
    assert carried_by(world, "early") == {("video", "old"), ("audio", "old")}
    announce(world, "new", 0x2000)
    speak(world, 0.3, "new")
    pull(world, VIDEO, AUDIO, name="late")
    speak(world, 0.3, "new")
    for name in ("early", "late"):
        assert carried_by(world, name) == {("video", "new"), ("audio", "new")}


def test_a_line_stays_with_a_track_that_is_muted_or_a_screen_that_stands_still(
    world: World,
) -> None:
    announce(world, "old", 0x1000)
    announce(world, "new", 0x2000)
    speak(world, 1.0, "old", "new")
    pull(world, VIDEO)
    world.do(control.Mute("demo", world.track("old"), True))
    sound = next(t for t in world.router.tracks if (t.kind, t.participant) == ("audio", "old"))
    for _ in range(30):
        send_packet(world, sound)
        speak(world, 0.1, "new")
    assert carried_by(world) == {("video", "old")}
    world.do(control.Mute("demo", world.track("old"), False))
    speak(world, 1.6, "new")
    assert carried_by(world) == {("video", "new")}


def test_a_player_that_takes_nothing_that_is_sent_any_more_is_let_go(world: World) -> None:
    world.join("ada")
    world.publish("ada", sdp=read_corpus("chromium-publish"))
    pull(world, VIDEO)
    send_frame(world, 1, payload_type=45)
    assert world.find(control.TransportChanged, world.advance(1.5)) == []
    send_frame(world, 2, payload_type=45)
    (told,) = world.find(control.TransportChanged, world.advance(1.5))
    assert (told.participant, told.direction, told.state) == ("tv", "subscribe", "closed")


def test_the_room_is_told_when_media_stop_and_when_they_go_on(world: World) -> None:
    announce(world, "ada", 0x1000)
    world.join("bob")
    world.answer(world.offers()["bob"])
    connect_all(world)
    assert world.find(control.TrackUpdated, speak(world, 5.0, "ada")) == []
    assert world.find(control.TrackUpdated, speak(world, 2.5)) == []
    told = world.find(control.TrackUpdated, speak(world, 2.0))
    assert {event.track.kind for event in told} == {"audio", "video"}
    assert all(event.track.stopped is True for event in told)
    told = world.find(control.TrackUpdated, speak(world, 1.0, "ada"))
    assert len(told) == 2
    assert all(event.track.stopped is UNSET for event in told)


def test_what_nobody_receives_or_is_muted_has_not_stopped(world: World) -> None:
    announce(world, "ada", 0x1000)
    speak(world, 1.0, "ada")
    assert world.find(control.TrackUpdated, speak(world, 10.0)) == []
    world.join("bob")
    world.answer(world.offers()["bob"])
    connect_all(world)
    # It may have sent nothing because nobody was there.
    assert world.find(control.TrackUpdated, speak(world, 2.5)) == []
    world.do(control.Mute("demo", world.track("ada"), True))
    told = world.find(control.TrackUpdated, speak(world, 5.0))
    assert [event.track.kind for event in told] == ["audio"]


# -- The end ----------------------------------------------------------------------------


def test_whoever_leaves_leaves_nothing_behind(world: World) -> None:
    empty = world.count_remains()
    world.join("ada", "bob", "carol")
    for name in ("ada", "bob", "carol"):
        world.publish(name)
    for _ in range(4):
        for offer in world.offers().values():
            world.answer(offer)
    for name in ("ada", "bob", "carol", "nobody"):
        world.do(control.Leave("demo", name))
    assert world.router.is_empty
    assert world.count_remains() == empty


def test_a_closed_room_says_nothing_more(world: World) -> None:
    empty = world.count_remains()
    world.join("ada", "bob")
    world.publish("ada")
    assert world.do(control.CloseRoom("demo")) == []
    assert world.advance(60) == []
    assert world.count_remains() == empty


def test_statistics_name_each_track(world: World) -> None:
    world.join("ada", "bob")
    world.answer(world.offers(world.publish("ada"))["bob"])
    (stats,) = world.do(control.GetStats("demo", 5))
    assert isinstance(stats, control.RoomStats)
    assert [(t.participant, t.kind, t.codec, t.subscribers) for t in stats.tracks] == [
        ("ada", "video", "VP8", 1),
        ("ada", "audio", "opus", 1),
    ]
    assert count_transports(world.router.transports) == {"connecting": 2}


class Rooms(RuleBasedStateMachine):
    """Whatever is asked for, in whatever order: the promises hold."""

    names = st.sampled_from(["ada", "bob", "carol", "dan"])

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.open: dict[str, control.Offer] = {}
        self.published: set[str] = set()

    def do(self, command: control.Command) -> None:
        self._follow(self.world.do(command))

    def _follow(self, events: list[control.Event]) -> None:
        for event in events:
            if isinstance(event, control.Offer):
                assert event.participant not in self.open, "two offers outstanding"
                self.open[event.participant] = event
                assert len({entry.mid for entry in event.tracks}) == len(event.tracks)
                assert all(entry.track in self.published for entry in event.tracks)
                assert all(entry.participant != event.participant for entry in event.tracks)
            elif isinstance(event, control.TrackPublished):
                assert event.track.id not in self.published
                self.published.add(event.track.id)
            elif isinstance(event, control.TrackUnpublished):
                self.published.remove(event.track)

    @rule(name=names, publish=st.booleans(), subscribe=st.booleans())
    def join(self, name: str, publish: bool, subscribe: bool) -> None:
        if not subscribe:
            self.open.pop(name, None)
        self.do(control.Join("demo", name, publish, subscribe))

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.open.pop(name, None)
        self.do(control.Leave("demo", name))

    @rule(
        name=names,
        media=st.sampled_from([(VIDEO,), (VIDEO, AUDIO), (AV1, AUDIO), (VIDEO, AUDIO, VIDEO)]),
    )
    def publish(self, name: str, media: tuple[object, ...]) -> None:
        self._follow(self.world.publish(name, *media))

    @rule(name=names)
    def answer(self, name: str) -> None:
        offer = self.open.pop(name, None)
        if offer is not None:
            self._follow(self.world.answer(offer))

    @rule(name=names, routes=st.none() | st.lists(names, max_size=2))
    def route(self, name: str, routes: list[str] | None) -> None:
        self.do(control.Route("demo", name, routes))

    @rule(name=names, wanted=st.booleans(), count=st.integers(0, 3))
    def select(self, name: str, wanted: bool, count: int) -> None:
        self.do(control.Select("demo", name, sorted(self.published)[:count], wanted))

    @rule(name=names)
    def restart(self, name: str) -> None:
        self.do(control.RestartIce("demo", name))

    @invariant()
    def the_room_is_told_what_is_published(self) -> None:
        assert {track.id for track in self.world.router.tracks} == self.published

    @invariant()
    def nothing_stays_of_who_is_gone(self) -> None:
        remains = self.world.count_remains()
        assert remains["legs"] == len(self.world.router.transports)
        if not remains["participants"]:
            assert not any(remains.values())


TestRooms = Rooms.TestCase
TestRooms.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def _ufrag(sdp: str) -> str:
    return sdp.partition("a=ice-ufrag:")[2].splitlines()[0]


def _list_formats(sdp: str) -> list[list[str]]:
    """The codecs of each m-line."""
    return [[f.name for f in media.formats] for media in parse_description_untrusted(sdp).media]


def _get_leg(world: World, name: str) -> Leg:
    return next(t.leg for t in world.router.transports if t.leg.name == name)


def _fingerprint(sdp: str) -> str:
    return sdp.partition("a=fingerprint:sha-256 ")[2].splitlines()[0]


def _session(sdp: str) -> str:
    return sdp.partition("o=- ")[2].split()[0]


def test_a_worker_that_does_not_keep_up_takes_nobody_new_and_serves_who_is_in() -> None:
    world = World()
    world.join("ada", "bob", "eve")
    world.do(control.Route("demo", "eve", []))
    world.answer(world.offers(world.publish("ada"))["bob"])
    for _ in range(2):
        world.site.load.measure(1.0, 1.0)
    assert world.site.load.overloaded
    # Nobody new, neither publishing nor receiving.
    (refused,) = world.find(control.Refused, world.publish("eve", ufrag="eeee"))
    assert refused.code == "relay-unavailable"
    (refused,) = world.find(
        control.Refused,
        world.do(control.Pull("demo", "eve", 99, make_offer(VIDEO, direction="recvonly"))),
    )
    assert refused.code == "relay-unavailable"
    said = world.do(control.Route("demo", "eve", None))
    assert world.find(control.Unserved, said) == [control.Unserved("demo", "eve")]
    assert world.find(control.Unserved, world.advance(2.0)) == [], "said once"
    # Who is in goes on: another track, and who receives it.
    said = world.publish("ada", VIDEO, AUDIO, VIDEO)
    assert world.find(control.Answer, said)
    assert set(world.offers(said)) == {"bob"}
    for _ in range(3):
        world.site.load.measure(0.0, 0.2)
    assert set(world.offers(world.advance(2.0))) == {"eve"}
    assert world.find(control.Answer, world.publish("eve", ufrag="eeee"))
