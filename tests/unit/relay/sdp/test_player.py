"""A WHEP player's own offer is answered with tracks, and with room for those that come later."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relay.sdp.capabilities import CODECS, H264_BASELINE, OPUS, RED, VP8
from relay.sdp.description import BadSdp, UnsupportedCodec
from relay.sdp.player import Playback
from relay.sdp.reading import parse_description_untrusted
from relay.sdp.slots import Carried
from tests.unit.relay.sdp.offers import (
    AUDIO,
    LOCAL,
    RESTARTED,
    VIDEO,
    answer_player,
    count_ssrcs,
    make_offer,
    read_corpus,
)

AV1 = next(c for c in CODECS if c.name == "AV1")
BASELINE = next(c for c in CODECS if c.profile == "baseline/1")
TRACKS = [Carried("audio", "p_1", "t_1", [OPUS]), Carried("video", "p_1", "t_2", [VP8])]


def play(
    offer: str, tracks: Sequence[Carried] = TRACKS, previous: Playback | None = None
) -> Playback:
    return answer_player(
        offer,
        LOCAL if previous is None else RESTARTED,
        tracks,
        session_id=3,
        cname="relay",
        ssrc=count_ssrcs(),
        previous=previous,
    )


def test_a_browser_is_sent_the_tracks_in_its_own_payload_types() -> None:
    playback = play(read_corpus("chromium-whep"))
    audio, video = playback.slots
    assert (audio.participant, audio.track) == ("p_1", "t_1")
    assert video.track == "t_2"
    assert audio.payload_types[111] == 111
    assert video.payload_types[VP8.payload_type] == 96
    answer = parse_description_untrusted(playback.answer)
    assert [m.direction for m in answer.media] == ["sendonly", "sendonly"]
    assert answer.media[1].msid == ("p_1", "t_2")
    assert answer.media[1].fid == {video.ssrc: video.rtx_ssrc}
    assert answer.media[0].transport is not None
    assert answer.media[0].transport.setup == "passive"


def test_the_tracks_own_codec_comes_first() -> None:
    playback = play(read_corpus("chromium-whep"), [Carried("video", "p_1", "t_2", [AV1])])
    first = parse_description_untrusted(playback.answer).media[1].formats[0]
    assert first.name == "AV1"


def test_a_player_that_can_take_nothing_of_what_is_sent_is_refused_in_words() -> None:
    offer = make_offer(VIDEO, direction="recvonly")
    with pytest.raises(UnsupportedCodec, match="video in AV1"):
        play(offer, [Carried("video", "p", "t", [AV1, VP8])])


def test_a_player_that_cannot_take_one_of_the_tracks_is_told_so_on_its_line() -> None:
    tracks = [Carried("audio", "p", "t_1", [OPUS]), Carried("video", "p", "t_2", [BASELINE])]
    playback = play(make_offer(AUDIO, VIDEO, VIDEO, direction="recvonly"), tracks)
    audio, refused, free = parse_description_untrusted(playback.answer).media
    assert [m.direction for m in (audio, refused, free)] == ["sendonly", "inactive", "sendonly"]
    assert [slot.mid for slot in playback.slots] == ["0", "2"]
    assert "i=The offer lacks what is sent here: video in H264 (baseline/1)." in playback.answer


def test_a_player_of_a_wider_profile_is_sent_what_lies_within() -> None:
    lines = [
        "rtpmap:98 VP8/90000",
        "rtpmap:100 H264/90000",
        "fmtp:100 profile-level-id=64002a;packetization-mode=1",
        "rtpmap:101 rtx/90000",
        "fmtp:101 apt=100",
    ]
    offer = make_offer(("video", "98 100 101", lines), direction="recvonly")
    playback = play(offer, [Carried("video", "p", "t", [H264_BASELINE])])
    numbers = playback.slots[0].get_numbers()
    assert (numbers[108], numbers[109]) == (100, 101)
    first = parse_description_untrusted(playback.answer).media[0].formats[0]
    assert first.payload_type == 100
    with pytest.raises(UnsupportedCodec):
        play(offer, [Carried("video", "p", "t", [BASELINE])])


def test_a_player_is_sent_what_is_in_red_where_it_has_none() -> None:
    playback = play(make_offer(AUDIO, direction="recvonly"), [Carried("audio", "p", "t", [RED])])
    assert playback.slots[0].track == "t"


def test_a_player_is_told_how_the_sound_is() -> None:
    track = Carried("audio", "p", "t", [OPUS], "sprop-stereo=1;maxaveragebitrate=700000", 60)
    answer = play(make_offer(AUDIO, direction="recvonly"), [track]).answer
    assert (
        "a=fmtp:111 minptime=10;usedtx=1;maxaveragebitrate=510000;sprop-stereo=1;stereo=1\r\n"
        "a=ptime:60\r\n" in answer
    )


def test_a_line_without_a_track_has_room_for_a_later_one() -> None:
    playback = play(read_corpus("chromium-whep"), [])
    assert [s.track for s in playback.slots] == [None, None]
    answer = parse_description_untrusted(playback.answer)
    assert [m.direction for m in answer.media] == ["sendonly", "sendonly"]
    assert {96, 98, 45, 108} <= set(playback.slots[1].payload_types)


def test_only_extensions_under_the_relays_own_ids_are_agreed() -> None:
    extmap = [
        "extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    ]
    playback = play(make_offer((*AUDIO[:2], [*AUDIO[2], *extmap]), direction="recvonly"))
    assert playback.slots[0].extensions == {1}
    assert [e.id for e in parse_description_untrusted(playback.answer).media[0].extensions] == [1]


def test_a_line_without_rtx_announces_no_second_ssrc() -> None:
    plain = ("video", "96", ["rtpmap:96 VP8/90000"])
    media = parse_description_untrusted(play(make_offer(plain, direction="recvonly")).answer)
    assert media.media[0].fid == {}
    assert len(media.media[0].ssrcs) == 1


def test_more_tracks_than_lines_and_more_lines_than_tracks_both_work() -> None:
    tracks = [*TRACKS, Carried("audio", "p_2", "t_3", [OPUS])]
    assert [s.track for s in play(make_offer(AUDIO, direction="recvonly"), tracks).slots] == ["t_1"]
    slots = play(make_offer(AUDIO, AUDIO, AUDIO, direction="recvonly"), tracks).slots
    assert [s.track for s in slots] == ["t_1", "t_3", None]


def test_an_ice_restart_keeps_the_slots() -> None:
    first = play(make_offer(AUDIO, VIDEO, direction="recvonly"))
    second = play(make_offer(AUDIO, VIDEO, direction="recvonly", ufrag="zzzz"), [], first)
    assert second.slots == first.slots
    assert second.version == 2
    before, after = (parse_description_untrusted(p.answer).media for p in (first, second))
    assert [m.ssrcs for m in before] == [m.ssrcs for m in after]
    assert [m.msid for m in before] == [m.msid for m in after]
    assert second.remote.ufrag == "zzzz"


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (make_offer(AUDIO, direction="sendonly"), "no-media"),
        (make_offer(AUDIO, VIDEO, direction="inactive"), "no-media"),
        (make_offer(("application", "webrtc-datachannel", []), direction="recvonly"), "no-media"),
        (
            make_offer(AUDIO, ("video", "99", ["rtpmap:99 theora/90000"]), direction="recvonly"),
            "unsupported-codec",
        ),
        (
            make_offer(
                ("audio", "111", ["rtpmap:111 opus/48000/2", "fmtp:111 stereo=yes"]),
                direction="recvonly",
            ),
            "bad-sdp",
        ),
    ],
)
def test_half_an_offer_is_refused_as_a_whole(offer: str, code: str) -> None:
    with pytest.raises(BadSdp) as refusal:
        play(offer)
    assert refusal.value.code == code
