"""A subscriber's m-lines: reused, never rejected, each with its SSRC for life."""

from __future__ import annotations

import re
from itertools import chain, repeat

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.sdp.capabilities import CODECS, H264_BASELINE, OPUS, RED, VP8, Codec, Kind
from relay.sdp.description import BadSdp, Description
from relay.sdp.matching import match_codecs
from relay.sdp.parameters import read_parameters
from relay.sdp.reading import MAX_SDP, parse_description_untrusted
from relay.sdp.slots import MAX_SLOT_CODECS, Carried, Slot, get_slot_codecs
from relay.sdp.subscription import Subscription
from tests.unit.relay.sdp.offers import LOCAL, count_ssrcs, make_answer, read_corpus

AV1 = next(c for c in CODECS if c.name == "AV1")
VIDEO = [VP8]
AUDIO = [OPUS]


def make_subscription() -> Subscription:
    return Subscription(session_id=7, cname="relay", ssrc=count_ssrcs())


def offer(subscription: Subscription) -> Description:
    return parse_description_untrusted(subscription.build_offer(LOCAL))


def test_an_offer_says_whose_track_each_line_carries() -> None:
    subscription = make_subscription()
    subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    subscription.assign(Carried("video", "p_1", "t_2", VIDEO))
    text = subscription.build_offer(LOCAL)
    audio, video = parse_description_untrusted(text).media
    assert text.startswith("v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\n")
    assert (audio.direction, audio.msid) == ("sendonly", ("p_1", "t_1"))
    assert (video.direction, video.msid) == ("sendonly", ("p_1", "t_2"))
    assert len(audio.ssrcs) == 1
    ((ssrc, rtx),) = video.fid.items()
    assert list(video.ssrcs) == [ssrc, rtx]
    assert [f.payload_type for f in video.formats] == [96, 97, 108, 109]
    assert video.formats[2].parameters == H264_BASELINE.fmtp
    assert video.transport is not None
    assert video.transport.setup == "actpass"
    assert len(audio.candidates) == 2
    assert audio.end_of_candidates


def test_a_released_line_is_inactive_and_keeps_its_ssrc_for_the_next_track() -> None:
    subscription = make_subscription()
    slot = subscription.assign(Carried("video", "p_1", "t_1", VIDEO))
    ssrc, rtx = slot.ssrc, slot.rtx_ssrc
    assert subscription.release("t_1") is slot
    media = offer(subscription).media[0]
    assert (media.direction, media.port, media.msid) == ("inactive", 9, None)
    # Without them a browser would draw nothing of what comes next: see `_offer_slot`.
    assert media.fid == {ssrc: rtx}
    assert subscription.assign(Carried("video", "p_2", "t_2", VIDEO)) is slot
    assert (slot.ssrc, slot.rtx_ssrc) == (ssrc, rtx)
    assert offer(subscription).media[0].msid == ("p_2", "t_2")


def test_a_free_line_of_the_other_kind_is_not_taken() -> None:
    subscription = make_subscription()
    subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    subscription.release("t_1")
    assert subscription.assign(Carried("video", "p_1", "t_2", VIDEO)).mid == "1"


def test_ssrcs_are_kept_apart_and_never_zero() -> None:
    numbers = chain([0, 5, 5, 6], repeat(6, 3), [7, 8, 9])
    subscription = Subscription(session_id=1, cname="c", ssrc=lambda: next(numbers))
    first = subscription.assign(Carried("video", "p", "t_1", VIDEO))
    second = subscription.assign(Carried("video", "p", "t_2", VIDEO))
    assert [first.ssrc, first.rtx_ssrc, second.ssrc, second.rtx_ssrc] == [5, 6, 7, 8]


def test_the_answer_says_what_each_line_may_carry() -> None:
    subscription = make_subscription()
    audio = subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    video = subscription.assign(Carried("video", "p_1", "t_2", VIDEO))
    text = subscription.build_offer(LOCAL)
    answer = make_answer(
        text, accept=lambda line: not line.startswith(("a=rtpmap:109", "a=extmap:12 "))
    )
    subscription.receive_answer(answer.replace("96 97 108 109", "96 97 108"))
    assert subscription.remote is not None
    assert subscription.remote.setup == "active"
    assert audio.payload_types == {111: 111}
    assert audio.extensions == {1, 2, 3}
    assert video.payload_types == {96: 96, 97: 97, 108: 108}
    assert 12 not in video.extensions
    assert 8 in video.extensions
    assert "urn:3gpp:video-orientation" not in text


def test_a_payload_type_that_the_client_renumbers_is_followed() -> None:
    subscription = make_subscription()
    slot = subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    text = subscription.build_offer(LOCAL)
    subscription.receive_answer(make_answer(text).replace("111", "120"))
    assert slot.payload_types == {111: 120}


def test_a_line_that_the_client_does_not_want_carries_nothing() -> None:
    subscription = make_subscription()
    audio = subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    video = subscription.assign(Carried("video", "p_1", "t_2", VIDEO))
    answer = make_answer(subscription.build_offer(LOCAL))
    subscription.receive_answer(answer.replace("a=recvonly", "a=inactive", 1))
    assert audio.payload_types == {}
    assert video.payload_types
    assert not audio.dead


def test_a_line_that_the_client_rejects_is_never_used_again() -> None:
    subscription = make_subscription()
    subscription.assign(Carried("video", "p_1", "t_1", VIDEO))
    other = subscription.assign(Carried("video", "p_1", "t_2", VIDEO))
    answer = make_answer(subscription.build_offer(LOCAL))
    subscription.receive_answer(answer.replace("m=video 9", "m=video 0", 1))
    assert subscription.slots[0].dead
    assert other.payload_types
    subscription.release("t_1")
    assert subscription.assign(Carried("video", "p_3", "t_3", VIDEO)).mid == "2"
    assert offer(subscription).media[0].direction == "inactive"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.replace("a=mid:0", "a=mid:9"), "m-lines"),
        (lambda text: text.split("m=video")[0], "m-lines"),
        (lambda text: text.replace("a=setup:active", "a=setup:actpass"), "role"),
        (lambda text: text.replace("a=setup:active", "a=x"), "role"),
        (lambda text: text.replace(" 9 UDP", " 0 UDP"), "rejects every"),
        (lambda text: text.replace("a=group", "a=x"), "BUNDLE"),
        (lambda text: text.replace("a=fingerprint", "a=x"), "fingerprint"),
        (lambda _text: "hello", "does not begin"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_changes_nothing(
    spoil: object, reason: str
) -> None:
    subscription = make_subscription()
    audio = subscription.assign(Carried("audio", "p_1", "t_1", AUDIO))
    subscription.assign(Carried("video", "p_1", "t_2", VIDEO))
    answer = make_answer(subscription.build_offer(LOCAL))
    assert callable(spoil)
    with pytest.raises(BadSdp, match=reason):
        subscription.receive_answer(spoil(answer))
    assert subscription.remote is None
    assert audio.payload_types == {}
    subscription.receive_answer(answer)
    assert audio.payload_types == {111: 111}


def test_a_line_is_widened_by_a_codec_and_stays_short() -> None:
    subscription = make_subscription()
    every = [c for c in CODECS if c.kind == "video"]
    slot = subscription.assign(Carried("video", "p_1", "t_1", every))
    subscription.receive_answer(make_answer(subscription.build_offer(LOCAL)))
    others = [codec for codec in every if codec not in slot.codecs and codec.name != "H264"]
    for codec in others:
        now = Carried("video", "p_1", "t_1", [codec])
        assert subscription.follow(now)
        assert not subscription.follow(now)
        assert slot.codecs[:3] == (codec, VP8, H264_BASELINE)
        assert len(slot.codecs) == MAX_SLOT_CODECS
        subscription.receive_answer(make_answer(subscription.build_offer(LOCAL)))
    # Those sent last are kept, so that a publisher between two of them needs no further offer.
    assert slot.codecs[3:] == (others[-2], others[-3])
    assert not subscription.follow(Carried("video", "p_1", "t_1", [others[-2]]))
    assert not subscription.follow(Carried("video", "p_1", "t_2", [AV1]))


def test_a_client_that_takes_the_first_codec_alone_is_asked_for_the_one_that_is_sent() -> None:
    subscription = make_subscription()
    slot = subscription.assign(Carried("video", "p_1", "t_1", [VP8, AV1]))

    def answer() -> None:
        offered = subscription.build_offer(LOCAL)
        first = parse_description_untrusted(offered).media[0].formats[0].payload_type
        media = re.search(r"m=video 9 UDP/TLS/RTP/SAVPF ([0-9 ]+)", offered)
        assert media is not None
        subscription.receive_answer(make_answer(offered).replace(media[1], str(first)))

    answer()
    assert slot.payload_types == {96: 96}
    assert not subscription.is_due("t_1")
    assert subscription.follow(Carried("video", "p_1", "t_1", [AV1, VP8]))
    answer()
    assert slot.payload_types == {AV1.payload_type: AV1.payload_type}
    # What it does not take although it came first, it is not asked for again.
    assert subscription.follow(Carried("video", "p_1", "t_1", [VP8, AV1]))
    offered = subscription.build_offer(LOCAL)
    subscription.receive_answer(make_answer(offered).replace("96 97 ", "").replace(" 97", ""))
    assert not slot.takes(VP8)
    assert not subscription.is_due("t_1")
    assert not subscription.follow(Carried("video", "p_1", "t_1", [VP8, AV1]))


BASELINE = next(c for c in CODECS if c.profile == "baseline/1")


def test_an_answers_payload_type_says_which_codec_it_is_whatever_its_parameters_say() -> None:
    """GStreamer's webrtcbin leaves profile-level-id out of its answers."""
    subscription = make_subscription()
    slot = subscription.assign(Carried("video", "p_1", "t_1", [BASELINE]))
    answer = make_answer(subscription.build_offer(LOCAL))
    for spoiled in (
        re.sub("a=fmtp:102 .*", "a=fmtp:102 packetization-mode=1\r", answer),
        re.sub("a=fmtp:102 .*", "a=fmtp:102 profile-level-id=zzz\r", answer),
        re.sub("a=fmtp:102 .*\n", "", answer),
    ):
        subscription.receive_answer(re.sub("SAVPF .*", "SAVPF 102 103\r", spoiled))
        assert slot.payload_types == {102: 102, 103: 103}


def test_a_number_that_means_another_codec_in_an_answer_is_the_clients_own() -> None:
    subscription = make_subscription()
    slot = subscription.assign(Carried("video", "p_1", "t_1", [VP8]))
    answer = make_answer(subscription.build_offer(LOCAL))
    answer = re.sub("a=(rtpmap|fmtp|rtcp-fb):.*\n", "", answer)
    answer = re.sub("SAVPF .*", "SAVPF 96 108\r", answer)
    answer += "\r\na=rtpmap:108 VP8/90000\r\na=rtpmap:96 H264/90000"
    answer += "\r\na=fmtp:96 profile-level-id=42e01f;packetization-mode=1"
    subscription.receive_answer(answer)
    assert slot.payload_types == {108: 96, 96: 108}


def test_an_offer_says_how_the_publishers_sound_is() -> None:
    subscription = make_subscription()
    fmtp = "minptime=20;sprop-stereo=1;maxaveragebitrate=128000;usedtx=1;useinbandfec=0;cbr=1"
    track = Carried("audio", "p_1", "t_1", [OPUS], fmtp, 10)
    subscription.assign(track)
    media = offer(subscription).media[0]
    assert read_parameters(media.formats[0].parameters) == {
        "minptime": "10",
        "useinbandfec": "0",
        "stereo": "1",
        "sprop-stereo": "1",
        "maxaveragebitrate": "128000",
        "usedtx": "1",
    }
    assert media.ptime == 10
    assert not subscription.follow(track)
    assert subscription.follow(Carried("audio", "p_1", "t_1", [OPUS], "sprop-stereo=0", 20))
    assert "stereo=1" not in offer(subscription).media[0].formats[0].parameters


def test_an_offer_to_a_room_of_fifty_stays_below_200_kib() -> None:
    """Forty-nine browsers that all switched what they send as often as it may take."""
    audio, video, *_ = parse_description_untrusted(read_corpus("chromium-publish")).media
    subscription = make_subscription()
    for number in range(49):
        for media in (audio, video):
            codecs = [published.codec for published in match_codecs(media)]
            kind: Kind = "audio" if media is audio else "video"
            track = f"t_{number:016d}{kind[0]}"
            participant = f"p_{number:016d}"
            subscription.assign(Carried(kind, participant, track, codecs))
            for codec in codecs:
                subscription.follow(Carried(kind, participant, track, [codec]))
    offered = subscription.build_offer(LOCAL)
    assert len(offered) < 200 * 1024
    assert len(make_answer(offered)) < MAX_SDP


def test_what_is_sent_comes_first_then_what_everyone_decodes_and_the_list_stays_short() -> None:
    # Whoever has no RED is sent what is in it.
    assert get_slot_codecs("audio", [RED, OPUS]) == (OPUS, RED)
    assert get_slot_codecs("video", []) == (VP8, H264_BASELINE)
    assert get_slot_codecs("video", [AV1, VP8]) == (AV1, VP8, H264_BASELINE)
    every = [c for c in CODECS if c.kind == "video"]
    chosen = get_slot_codecs("video", [AV1, *every])
    assert len(chosen) == MAX_SLOT_CODECS
    assert chosen[0] is AV1


class Talk(RuleBasedStateMachine):
    """Tracks come and go, offers are answered or not: the m-lines stay what they were."""

    def __init__(self) -> None:
        super().__init__()
        self.subscription = make_subscription()
        self.carried: dict[str, Kind] = {}
        self.known: list[tuple[str, Kind, int, int | None]] = []
        self.next_track = 0
        self.pending: str | None = None

    @rule(kind=st.sampled_from(["audio", "video"]), codec=st.sampled_from(CODECS))
    def publish(self, kind: Kind, codec: Codec) -> None:
        track = f"t_{self.next_track}"
        self.next_track += 1
        codecs = [codec] if codec.kind == kind else []
        slot = self.subscription.assign(Carried(kind, "p_1", track, codecs))
        assert slot.kind == kind
        self.carried[track] = kind

    @precondition(lambda self: self.carried)
    @rule(data=st.data())
    def unpublish(self, data: st.DataObject) -> None:
        track = data.draw(st.sampled_from(sorted(self.carried)))
        del self.carried[track]
        assert self.subscription.release(track) is not None
        assert self.subscription.get_slot(track) is None

    @precondition(lambda self: self.subscription.slots)
    @rule()
    def negotiate(self) -> None:
        text = self.subscription.build_offer(LOCAL)
        media = parse_description_untrusted(text).media
        assert all(m.port for m in media)
        sending = {m.msid[1] for m in media if m.direction == "sendonly" and m.msid}
        assert sending == set(self.carried)
        self.subscription.receive_answer(make_answer(text))
        for slot in self.subscription.slots:
            assert bool(slot.payload_types) == (slot.track is not None)

    @invariant()
    def lines_stay(self) -> None:
        now = [describe(slot) for slot in self.subscription.slots]
        assert now[: len(self.known)] == self.known
        self.known = now
        ssrcs = [s for _, _, *pair in now for s in pair if s is not None]
        assert len(set(ssrcs)) == len(ssrcs)


def describe(slot: Slot) -> tuple[str, Kind, int, int | None]:
    return slot.mid, slot.kind, slot.ssrc, slot.rtx_ssrc


Talk.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestTalk = Talk.TestCase
