"""A publisher's offer is answered line by line, renegotiated in place, or refused with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.sdp.data import DataLine
from relay.sdp.description import BadSdp, Media
from relay.sdp.negotiation import Publication
from relay.sdp.reading import parse_description_untrusted
from tests.unit.relay.sdp.offers import (
    AUDIO,
    CORPUS,
    DIGEST,
    LOCAL,
    RESTARTED,
    VIDEO,
    answer_publisher,
    is_continuation,
    make_offer,
    read_corpus,
)

DATA = ("application", "webrtc-datachannel", ["sctp-port:5000"])
PUBLISHERS = sorted(
    path.stem
    for path in CORPUS.glob("*.sdp")
    if path.stem != "sha1-only" and not path.stem.endswith("-whep")
)


def read_answer(publication: Publication) -> list[Media]:
    return parse_description_untrusted(publication.answer).media


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_publisher_is_answered_in_its_own_terms(name: str) -> None:
    offer = parse_description_untrusted(read_corpus(name))
    publication = answer_publisher(read_corpus(name), LOCAL)
    answer = parse_description_untrusted(publication.answer)
    assert answer.lite
    assert [(m.mid, m.kind) for m in answer.media] == [(m.mid, m.kind) for m in offer.media]
    for offered, answered in zip(offer.media, answer.media, strict=True):
        if answered.kind == "application":
            assert (answered.sctp_port, answered.rtcp_mux) == (5000, False)
            continue
        assert answered.direction == "recvonly"
        assert answered.rtcp_mux
        numbers = {f.payload_type: f for f in offered.formats}
        for entry in answered.formats:
            original = numbers[entry.payload_type]
            assert (entry.name, entry.clock_rate) == (original.name, original.clock_rate)
            # But for stereo, which is asked for where there is any.
            assert entry.parameters.removesuffix(";stereo=1") == original.parameters
            assert set(entry.feedback) <= set(original.feedback)
        ids = {e.id: e.uri for e in offered.extensions}
        assert all(ids[e.id] == e.uri for e in answered.extensions)
        assert answered.transport is not None
        assert answered.transport.ufrag == LOCAL.transport.ufrag
        assert offered.transport is not None
        waits = offered.transport.setup == "passive"
        assert answered.transport.setup == ("active" if waits else "passive")
    assert [m.active for m in publication.media] == [True] * len(publication.media)


def test_chromium_gets_every_codec_that_it_offers_with_rtx_and_nothing_that_has_no_use() -> None:
    publication = answer_publisher(read_corpus("chromium-publish"), LOCAL)
    audio, video = publication.media
    assert [c.codec.name for c in audio.codecs] == ["opus", "red", "G722", "PCMU", "PCMA"]
    assert all(c.rtx is not None for c in video.codecs)
    assert {c.codec.name for c in video.codecs} == {"VP8", "VP9", "H264", "AV1"}
    names = [f.name for f in read_answer(publication)[1].formats]
    assert "ulpfec" not in names
    assert "red" not in names
    assert (audio.ssrcs, len(video.ssrcs)) == ((2261134802,), 1)
    assert video.rtx_ssrcs.keys() == set(video.ssrcs)


def test_fmtp_of_opus_goes_back_untouched() -> None:
    answer = answer_publisher(read_corpus("obs-whip"), LOCAL).answer
    assert (
        "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1"
        in answer
    )
    assert "usedtx=1" in answer_publisher(read_corpus("safari-publish"), LOCAL).answer


def test_stereo_is_asked_for_where_the_publisher_has_any() -> None:
    sound = ("audio", "97", ["rtpmap:97 OPUS/48000/2", "fmtp:97 sprop-stereo=1", "ptime:10"])
    publication = answer_publisher(make_offer(sound), LOCAL)
    assert "a=fmtp:97 sprop-stereo=1;stereo=1" in publication.answer
    assert publication.media[0].ptime == 10


def test_of_each_codec_the_configuration_that_most_decode_comes_first_in_the_answer() -> None:
    """Chromium lists H264's baseline before constrained baseline, and sends what comes first."""
    lines = [
        "rtpmap:100 H264/90000",
        "fmtp:100 profile-level-id=42001f;packetization-mode=1",
        "rtpmap:101 VP9/90000",
        "fmtp:101 profile-id=2",
        "rtpmap:102 H264/90000",
        "fmtp:102 profile-level-id=42e01f;packetization-mode=1",
        "rtpmap:103 VP9/90000",
        "rtpmap:104 VP8/90000",
        "rtpmap:105 rtx/90000",
        "fmtp:105 apt=102",
    ]
    video = ("video", "100 101 102 103 104 105", lines)
    sound = ["rtpmap:0 PCMU/8000", "rtpmap:63 red/48000/2", "fmtp:63 111/111"]
    audio = ("audio", "0 63 111", [*sound, "rtpmap:111 opus/48000/2"])
    publication = answer_publisher(make_offer(video, audio), LOCAL)
    numbers = [[f.payload_type for f in media.formats] for media in read_answer(publication)]
    # The choice between codecs stays the publisher's; sound is in Opus where it can be.
    assert numbers == [[102, 105, 100, 103, 101, 104], [63, 111, 0]]
    assert [c.payload_type for c in publication.media[0].codecs] == [102, 100, 103, 101, 104]


@pytest.mark.parametrize(
    ("offer", "code", "reason"),
    [
        (make_offer(AUDIO, VIDEO, direction="recvonly"), "no-media", "sends nothing"),
        (make_offer(AUDIO, VIDEO, direction="inactive"), "no-media", "sends nothing"),
        (
            make_offer(AUDIO, ("video", "99", ["rtpmap:99 theora/90000"])),
            "unsupported-codec",
            "video in theora",
        ),
        (make_offer(("audio", "111", []), VIDEO), "unsupported-codec", "no named codec"),
        (
            make_offer(AUDIO, VIDEO).replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP"),
            "unsupported-codec",
            "RTP/AVP",
        ),
    ],
)
def test_half_an_offer_is_refused_as_a_whole_where_that_is_asked_for(
    offer: str, code: str, reason: str
) -> None:
    with pytest.raises(BadSdp, match=reason) as refusal:
        answer_publisher(offer, LOCAL, whole=True)
    assert refusal.value.code == code
    # A page may publish one line of two, and none yet.
    answer_publisher(offer, LOCAL)


ODD = {
    "rtcp-mux-only": lambda text: text.replace("a=rtcp-mux\r\n", "a=rtcp-mux-only\r\n"),
    "proto of ICE-TCP": lambda text: text.replace("UDP/TLS/RTP", "TCP/DTLS/RTP"),
    "no BUNDLE, one line": lambda text: make_offer(VIDEO, bundle=False),
    "lines that end in LF": lambda text: text.replace("\r\n", "\n"),
    "blank line at the end": lambda text: text + "\r\n",
    "unknown attributes": lambda text: text.replace("a=mid:", "a=x-google:1\r\nb=AS:30\r\na=mid:"),
    "payload type without a name": lambda text: text.replace("96 97", "96 97 120 121"),
    "names before the numbers they are for": lambda text: text.replace(
        "a=sendonly", "a=rtpmap:127 x/1\r\na=fmtp:126 x=1\r\na=sendonly"
    ),
    "one id for two extensions": lambda text: text.replace(
        "a=mid:0", "a=extmap:1 urn:x\r\na=extmap:1 urn:y\r\na=mid:0"
    ),
    "an extension twice": lambda text: text.replace(
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
        "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=mid:0",
    ),
    "a rid of which nothing is sent": lambda text: text.replace(
        "a=mid:0", "a=rid:h send pt=96;max-width=640\r\na=mid:0"
    ),
    "RED without parameters": lambda text: text.replace(
        "RTP/SAVPF 111", "RTP/SAVPF 63 111"
    ).replace("a=rtpmap:111", "a=rtpmap:63 red/48000/2\r\na=rtpmap:111"),
    "fingerprints of two kinds": lambda text: text.replace(
        "a=setup", "a=fingerprint:sha-1 " + ":".join(["00"] * 20) + "\r\na=setup"
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_but_sound_is_taken(kind: str) -> None:
    publication = answer_publisher(ODD[kind](make_offer(VIDEO, AUDIO)), LOCAL, whole=True)
    assert all(media.active and media.codecs for media in publication.media)
    assert "SAVPF" in publication.answer


def test_a_data_channel_or_a_line_that_is_off_is_no_half_of_an_offer() -> None:
    offer = make_offer(DATA, AUDIO, VIDEO).replace("m=video 9", "m=video 0")
    assert answer_publisher(offer, LOCAL, whole=True).media[0].active


@pytest.mark.parametrize(
    ("codec", "fmtp"),
    [
        ("H264/90000", "profile-level-id=zzzzzz;packetization-mode=1"),
        ("H264/90000", "profile-level-id=42e0;packetization-mode=1"),
        ("H264/90000", "profile-level-id=42e01f;packetization-mode=banana"),
        ("H264/90000", "profile-level-id=42e01f;sprop-parameter-sets=<>"),
        ("VP9/90000", "profile-id=-1"),
        ("AV1/90000", "profile=x"),
        ("rtx/90000", "apt=ninety-six"),
    ],
)
def test_malformed_codec_parameters_are_refused_in_words(codec: str, fmtp: str) -> None:
    lines = ["rtpmap:96 VP8/90000", f"rtpmap:98 {codec}", f"fmtp:98 {fmtp}"]
    with pytest.raises(BadSdp, match="malformed") as refusal:
        answer_publisher(make_offer(("video", "96 98", lines)), LOCAL)
    assert refusal.value.code == "bad-sdp"


def test_header_extensions_are_mapped_to_the_relays_ids() -> None:
    video, audio = answer_publisher(read_corpus("chromium-simulcast"), LOCAL).media
    assert audio.extensions == {12: 1, 2: 2, 4: 3, 9: 4}
    assert video.extensions == {
        2: 2, 4: 3, 5: 5, 6: 6, 8: 8, 9: 4, 10: 10, 11: 11, 13: 12,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["chromium-publish", "safari-publish"])
def test_publishers_have_to_turn_their_pictures_themselves(name: str) -> None:
    offer = read_corpus(name)
    assert "urn:3gpp:video-orientation" in offer
    assert "urn:3gpp:video-orientation" not in answer_publisher(offer, LOCAL).answer


def test_extensions_that_go_one_way_are_answered_so() -> None:
    publication = answer_publisher(read_corpus("firefox-publish"), LOCAL)
    answered = {e.id: e.direction for e in read_answer(publication)[1].extensions}
    assert answered == {3: "", 4: "", 7: "", 8: "recvonly"}
    assert 6 not in publication.media[1].extensions


def test_all_layers_of_a_simulcast_are_accepted() -> None:
    publication = answer_publisher(read_corpus("chromium-simulcast"), LOCAL)
    assert publication.media[0].rids == ("q", "h", "f")
    assert publication.media[0].ssrcs == ()
    answer = read_answer(publication)[0]
    assert [(r.id, r.direction) for r in answer.rids] == [(r, "recv") for r in "qhf"]
    assert answer.simulcast_receive == ["q", "h", "f"]


def test_the_role_in_dtls_is_what_the_offer_leaves() -> None:
    for offered, answered in (
        ("actpass", "passive"),
        ("active", "passive"),
        ("passive", "active"),
    ):
        publication = answer_publisher(make_offer(AUDIO, setup=offered), LOCAL)
        assert publication.remote.setup == offered
        transport = read_answer(publication)[0].transport
        assert transport is not None
        assert transport.setup == answered


def test_candidates_of_both_families_are_in_the_answer_with_their_end() -> None:
    first, second = read_answer(answer_publisher(make_offer(AUDIO, VIDEO), LOCAL))
    assert [c.split()[4] for c in first.candidates] == ["192.0.2.1", "2001:db8::1"]
    assert first.end_of_candidates
    assert second.candidates == []


def test_directions_are_turned_round() -> None:
    for offered, answered, active in (
        ("sendrecv", "recvonly", True),
        ("sendonly", "recvonly", True),
        ("recvonly", "inactive", False),
        ("inactive", "inactive", False),
    ):
        publication = answer_publisher(make_offer(AUDIO, direction=offered), LOCAL)
        assert read_answer(publication)[0].direction == answered
        assert publication.media[0].active is active


@pytest.mark.parametrize("place", [0, 1, 2])
def test_data_channels_are_taken_in_any_place_also_under_the_bundle_tag(place: int) -> None:
    lines = [AUDIO, VIDEO]
    lines.insert(place, DATA)
    publication = answer_publisher(make_offer(*lines), LOCAL)
    answer = parse_description_untrusted(publication.answer)
    assert answer.bundle == ["0", "1", "2"]
    assert [bool(m.candidates) for m in answer.media] == [True, False, False]
    assert publication.data == DataLine(str(place), 5000, 64 * 1024)
    assert len(publication.media) == 2


def test_an_offer_of_data_channels_alone_is_answered() -> None:
    offer = make_offer(DATA).replace("a=rtcp-mux\r\n", "")
    publication = answer_publisher(offer, LOCAL)
    (media,) = read_answer(publication)
    assert media.transport is not None
    assert media.candidates
    assert (media.sctp_port, media.max_message) == (5000, 256 * 1024)
    assert "rtcp" not in publication.answer
    assert not publication.media


def test_a_second_line_of_data_channels_is_rejected() -> None:
    publication = answer_publisher(make_offer(AUDIO, DATA, DATA), LOCAL)
    assert publication.rejected == {"2"}


@pytest.mark.parametrize(
    ("line", "limit"),
    [("max-message-size:0", 256), ("max-message-size:1073741823", 256), ("x:y", 64)],
)
def test_what_a_peer_takes_at_once_is_noted_within_our_own_bound(line: str, limit: int) -> None:
    data = ("application", "webrtc-datachannel", ["sctp-port:5001", line])
    publication = answer_publisher(make_offer(data), LOCAL)
    assert publication.data == DataLine("0", 5001, limit * 1024)


@pytest.mark.parametrize("line", ["sctp-port:0", "sctp-port:70000", "max-message-size:many"])
def test_data_channels_with_numbers_that_are_none_are_refused(line: str) -> None:
    data = ("application", "webrtc-datachannel", [line])
    with pytest.raises(BadSdp):
        answer_publisher(make_offer(data), LOCAL)


def test_an_m_line_in_unknown_codecs_is_rejected_and_the_rest_is_taken() -> None:
    theora = ("video", "100", ["rtpmap:100 theora/90000"])
    publication = answer_publisher(make_offer(AUDIO, theora), LOCAL)
    assert [m.active for m in publication.media] == [True, False]
    assert read_answer(publication)[1].port == 0


def test_red_that_wraps_something_else_is_not_taken() -> None:
    red = ("audio", "111 63 0", ["rtpmap:111 opus/48000/2", "rtpmap:63 red/48000/2", "fmtp:63 0/0"])
    media = answer_publisher(make_offer(red), LOCAL).media[0]
    assert [c.codec.name for c in media.codecs] == ["opus", "PCMU"]


def test_reduced_size_rtcp_is_agreed_only_where_it_is_offered() -> None:
    reduced = (VIDEO[0], VIDEO[1], [*VIDEO[2], "rtcp-rsize"])
    media = read_answer(answer_publisher(make_offer(AUDIO, reduced), LOCAL))
    assert [m.rtcp_rsize for m in media] == [False, True]


def test_two_byte_extension_headers_are_agreed_where_they_are_offered() -> None:
    mixed = make_offer(AUDIO, extra=["a=extmap-allow-mixed"])
    for offer, agreed in ((make_offer(AUDIO), False), (mixed, True)):
        answer = parse_description_untrusted(answer_publisher(offer, LOCAL).answer)
        assert answer.extmap_allow_mixed is agreed


# -- Renegotiation ---------------------------------------------------------------------------


def test_a_later_offer_adds_m_lines_and_takes_some_away() -> None:
    first = answer_publisher(make_offer(AUDIO), LOCAL)
    second = answer_publisher(make_offer(AUDIO, VIDEO), LOCAL, first)
    assert second.mids == ("0", "1")
    assert (second.version, second.session_id) == (2, first.session_id)
    assert not second.ice_restarted
    offer = make_offer(AUDIO, VIDEO)
    muted = offer.replace("a=sendonly", "a=inactive", 1)
    third = answer_publisher(muted, LOCAL, second)
    assert [m.active for m in third.media] == [False, True]
    removed = offer.replace("m=audio 9", "m=audio 0")
    fourth = answer_publisher(removed, LOCAL, third)
    assert fourth.rejected == {"0"}
    assert [m.active for m in fourth.media] == [False, True]


def test_the_place_of_a_removed_m_line_may_be_taken_by_a_new_one() -> None:
    offer = make_offer(AUDIO, VIDEO)
    first = answer_publisher(offer.replace("m=video 9", "m=video 0"), LOCAL)
    reused = offer.replace("a=mid:1", "a=mid:2").replace("BUNDLE 0 1", "BUNDLE 0 2")
    second = answer_publisher(reused, LOCAL, first)
    assert second.mids == ("0", "2")
    assert [m.active for m in second.media] == [True, True]


def test_everything_may_be_removed_and_the_transport_stays() -> None:
    first = answer_publisher(make_offer(AUDIO), LOCAL)
    second = answer_publisher(make_offer(AUDIO).replace("m=audio 9", "m=audio 0"), LOCAL, first)
    assert second.remote == first.remote
    assert not any(m.active for m in second.media)


def test_an_ice_restart_is_seen_and_answered_with_the_new_credentials() -> None:
    first = answer_publisher(make_offer(AUDIO), LOCAL)
    offer = make_offer(AUDIO, ufrag="efgh")
    second = answer_publisher(offer, RESTARTED, first)
    assert second.ice_restarted
    assert second.remote.ufrag == "efgh"
    transport = read_answer(second)[0].transport
    assert transport is not None
    assert transport.ufrag == RESTARTED.transport.ufrag


@pytest.mark.parametrize(
    "offer", [make_offer(VIDEO), make_offer(AUDIO, VIDEO).replace("a=mid:0", "a=mid:9")]
)
def test_m_lines_that_moved_or_vanished_are_refused(offer: str) -> None:
    first = answer_publisher(make_offer(AUDIO, VIDEO), LOCAL)
    with pytest.raises(BadSdp, match="m-lines"):
        answer_publisher(offer, LOCAL, first)


def test_another_certificate_is_another_connection() -> None:
    first = answer_publisher(make_offer(AUDIO), LOCAL)
    assert is_continuation(make_offer(AUDIO, VIDEO), first)
    assert not is_continuation(make_offer(AUDIO).replace(DIGEST, DIGEST[:-2] + "00"), first)
    assert not is_continuation(make_offer(AUDIO).replace("a=mid:0", "a=mid:5"), first)


# -- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (make_offer(), "no audio or video"),
        (make_offer(DATA).replace("webrtc-datachannel", "sip"), "no audio or video"),
        (make_offer(("video", "100", ["rtpmap:100 theora/90000"])), "known codec"),
        (make_offer(AUDIO, VIDEO, bundle=False), "BUNDLE"),
        (make_offer(AUDIO).replace("a=rtcp-mux", "a=x"), "rtcp-mux"),
        (make_offer(AUDIO).replace("a=ice-pwd", "a=x"), "ICE credentials"),
        (make_offer(AUDIO).replace("a=fingerprint", "a=x"), "fingerprint"),
        (read_corpus("sha1-only"), "SHA-256"),
        (make_offer(AUDIO, extra=["a=ice-lite"]), "ICE-lite"),
        (make_offer(AUDIO).replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "no audio or video"),
    ],
)
def test_an_offer_that_cannot_work_is_refused_with_a_reason(offer: str, reason: str) -> None:
    with pytest.raises(BadSdp, match=reason):
        answer_publisher(offer, LOCAL)


def test_a_single_m_line_needs_no_bundle() -> None:
    answer = answer_publisher(read_corpus("no-mid-no-bundle"), LOCAL).answer
    assert "BUNDLE" not in answer


def test_our_setup_in_the_local_description_does_not_matter() -> None:
    local = replace(LOCAL, transport=replace(LOCAL.transport, setup="active"))
    assert answer_publisher(make_offer(AUDIO), local).answer == (
        answer_publisher(make_offer(AUDIO), LOCAL).answer
    )
