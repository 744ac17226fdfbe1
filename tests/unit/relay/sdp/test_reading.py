"""Descriptions are read as they are meant, refused with a reason, and written back whole."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sdp.description import (
    BadSdp,
    Description,
    Extension,
    Fingerprint,
    Format,
    Media,
    Rid,
    TransportDescription,
)
from relay.sdp.reading import (
    MAX_ATTRIBUTES,
    MAX_LINE,
    MAX_MEDIA,
    MAX_OFFERED,
    MAX_SDP,
    parse_description_untrusted,
    parse_offer_untrusted,
)
from relay.sdp.writing import build_candidates, build_description
from tests.unit.relay.sdp.offers import AUDIO, CORPUS, DIGEST, VIDEO, make_offer, read_corpus

NAMES = sorted(path.stem for path in CORPUS.glob("*.sdp"))


@pytest.mark.parametrize("name", NAMES)
def test_real_descriptions_are_read(name: str) -> None:
    description = parse_description_untrusted(read_corpus(name))
    assert description.media
    for media in description.media:
        assert media.mid
        assert media.formats or media.other_formats
        if name != "sha1-only":
            assert media.transport is not None


def test_everything_of_a_chromium_m_line_is_found() -> None:
    description = parse_description_untrusted(read_corpus("chromium-simulcast"))
    video, audio = description.media
    assert description.bundle == ["0", "1"]
    assert description.extmap_allow_mixed
    assert (video.kind, video.mid, video.direction, video.port) == ("video", "0", "sendonly", 9)
    assert [f.payload_type for f in video.formats][:4] == [96, 97, 102, 103]
    vp8 = video.formats[0]
    assert (vp8.name, vp8.clock_rate, vp8.channels) == ("VP8", 90000, 1)
    assert vp8.feedback == ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
    assert video.formats[1].parameters == "apt=96"
    assert [rid.id for rid in video.rids] == ["q", "h", "f"]
    assert video.simulcast_send == ["q", "h", "f"]
    assert video.rtcp_mux
    assert video.rtcp_rsize
    assert audio.formats[0] == Format(
        111, "opus", 48000, 2, "minptime=10;useinbandfec=1", ["transport-cc"]
    )
    assert audio.extensions[0] == Extension(12, "urn:ietf:params:rtp-hdrext:ssrc-audio-level")
    assert audio.transport == video.transport
    assert audio.transport is not None
    assert audio.transport.setup == "actpass"
    assert audio.transport.fingerprints[0].algorithm == "sha-256"


def test_ice_and_dtls_of_the_session_serve_every_m_line() -> None:
    description = parse_description_untrusted(read_corpus("obs-whip"))
    assert description.bundle == ["0", "1"]
    transports = [media.transport for media in description.media]
    assert transports[0] is not None
    assert transports[0].ufrag == "TUKq"
    assert transports[0] == transports[1]


def test_an_m_line_without_mid_gets_a_free_one() -> None:
    text = make_offer(AUDIO, VIDEO).replace("a=mid:0\r\n", "")
    assert [m.mid for m in parse_description_untrusted(text).media] == ["0", "1"]


def test_static_payload_types_need_no_rtpmap() -> None:
    media = parse_description_untrusted(make_offer(("audio", "0 8 9", []))).media[0]
    assert [(f.name, f.clock_rate) for f in media.formats] == [
        ("PCMU", 8000),
        ("PCMA", 8000),
        ("G722", 8000),
    ]


def test_feedback_for_all_payload_types_is_given_to_each() -> None:
    media = parse_description_untrusted(
        make_offer(("video", "96 98", ["rtpmap:96 VP8/90000", "rtcp-fb:* nack"]))
    ).media[0]
    assert [f.feedback for f in media.formats] == [["nack"], ["nack"]]


def make_lines(count: int, *lines: str, formats: str = "96") -> str:
    """`count` m-lines, each with a line of its own that makes it unlike the others."""
    video = ("video", formats, list(lines))
    offer = make_offer(*[video] * count)
    for number in range(count):
        offer = offer.replace(f"a=mid:{number}\r\n", f"a=mid:{number}\r\na=x-{number}:1\r\n")
    return offer


MANY_TYPES = " ".join(str(number) for number in range(96, 128))


@pytest.mark.parametrize(
    "text",
    [
        make_lines(200, "rtpmap:96 VP8/90000", "fmtp:96 x=1", "rtcp-fb:96 nack"),
        make_lines(40, *[f"extmap:{number} urn:x:{number}" for number in range(1, 40)]),
        make_lines(100, *["x"] * 400),
        make_lines(40, "rtpmap:96 VP8/90000", formats=MANY_TYPES),
        make_lines(4, *["rtcp-fb:* nack"] * 15, formats=MANY_TYPES),
        make_offer(*[("audio", "0", [f"ssrc:{n} cname:x" for n in range(60)])] * 60),
        make_offer(
            ("audio", "0", ["candidate:1"] * 512), *[("audio", "0", ["candidate:2"] * 99)] * 30
        ),
        make_offer(AUDIO, extra=["x"] * 1300),
    ],
)
def test_what_would_take_long_to_read_is_refused(text: str) -> None:
    with pytest.raises(BadSdp, match=r"says too much|attributes"):
        parse_description_untrusted(text[:MAX_SDP])


def test_m_lines_are_counted_before_anything_is_read() -> None:
    text = make_offer(*[AUDIO] * (MAX_OFFERED + 1), extra=["\x00"])
    with pytest.raises(BadSdp, match="m-lines"):
        parse_offer_untrusted(text)


def test_many_m_lines_that_differ_in_ports_candidates_and_streams_alone_are_read() -> None:
    """As a browser writes them before it knows whether they will be bundled."""
    text = make_offer(*[VIDEO, AUDIO] * 8)
    for number in range(16):
        own = [f"a=candidate:{number}{c} 1 udp 1 192.0.2.1 {9000 + number} typ host" for c in "abc"]
        own += [f"a=ssrc:{number}{ssrc} cname:x" for ssrc in range(9)]
        own += [f"c=IN IP4 192.0.2.{number}", f"a=rtcp:{9000 + number}", f"a=msid:s t{number}"]
        text = text.replace(
            f"a=mid:{number}\r\n", f"a=mid:{number}\r\n" + "\r\n".join(own) + "\r\n"
        )
        text = text.replace("video 9 ", f"video {9000 + number} ", 1)
    description = parse_offer_untrusted(text)
    assert [media.alike for media in description.media] == [0, 1] * 8
    assert description.media[2].port == 9001
    assert len(description.media[15].candidates) == 3
    assert len(description.media[15].ssrcs) == 9


def test_m_lines_that_are_switched_off_are_not_like_those_that_are_not() -> None:
    text = make_offer(AUDIO, AUDIO).replace("m=audio 9", "m=audio 0", 1)
    first, second = parse_offer_untrusted(text).media
    assert (first.port, second.port) == (0, 9)
    assert second.alike == 1


def test_simulcast_alternatives_and_pauses_are_reduced_to_their_first_rid() -> None:
    text = make_offer((*VIDEO[:2], [*VIDEO[2], "simulcast:send a,b;~c recv d"]))
    media = parse_description_untrusted(text).media[0]
    assert media.simulcast_send == ["a", "c"]
    assert media.simulcast_receive == ["d"]


def test_weak_fingerprints_do_not_count() -> None:
    assert parse_description_untrusted(read_corpus("sha1-only")).media[0].transport is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin"),
        ("m=audio 9 RTP/AVP 0\r\n", "does not begin"),
        ("v=0\r\nhello\r\n", "x=value"),
        ("v=0\r\na=mid:\x00\r\n", "control characters"),
        ("v=0\r\na=\rb\r\n", "control characters"),
        ("v=0\r\na=" + "x" * MAX_LINE + "\r\n", "too long"),
        ("v=0\r\n" + "x" * MAX_SDP, "longer than"),
        ("v=0\r\n" + "m=audio 9 RTP/AVP 0\r\n" * (MAX_MEDIA + 1), "m-lines"),
        ("v=0\r\n" + "a=x\r\n" * (MAX_ATTRIBUTES + 1), "attributes"),
        ("v=0\r\nm=audio\r\n", "incomplete"),
        ("v=0\r\nm=audio 99999 UDP/TLS/RTP/SAVPF 0\r\n", "port"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 128\r\n", "payload type"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF ²\r\n", "payload type"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=mid:a b\r\n", "a=mid"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=mid:x\r\nm=audio 9 RTP/SAVPF 0\r\na=mid:x", "same mid"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=rtpmap:0 opus/fast\r\n", "a=rtpmap"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=rtpmap:x opus/8000\r\n", "a=rtpmap"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=extmap:1\r\n", "incomplete"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=extmap:x urn:y\r\n", "a=extmap"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=ssrc:4294967296 cname:x\r\n", "a=ssrc"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=ssrc-group:FID 1 x\r\n", "a=ssrc-group"),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=rid:a both\r\n", "a=rid"),
        ("v=0\r\na=ice-ufrag:abc\r\n", "a=ice-ufrag"),
        ("v=0\r\na=fingerprint:sha-256 AA:BB\r\n", "fingerprint"),
        (make_offer(AUDIO, setup="holdconn"), "a=setup"),
    ],
)
def test_what_is_wrong_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(BadSdp, match=reason) as refused:
        parse_description_untrusted(text)
    assert len(str(refused.value)) < 200


def test_too_many_ssrcs_are_refused() -> None:
    lines = [f"ssrc:{number} cname:x" for number in range(65)]
    with pytest.raises(BadSdp, match="SSRC"):
        parse_description_untrusted(make_offer((*VIDEO[:2], lines)))


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, "v=0\r\n" + text, make_offer(AUDIO) + text):
        with suppress(BadSdp):
            parse_description_untrusted(candidate)


TOKENS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
FORMATS = st.builds(
    Format,
    payload_type=st.integers(96, 127),
    name=TOKENS,
    clock_rate=st.integers(8000, 90000),
    channels=st.integers(1, 8),
    parameters=st.from_regex(r"([a-z]+=[a-z0-9]+(;[a-z]+=[a-z0-9]+)*)?", fullmatch=True),
    feedback=st.lists(st.sampled_from(["nack", "nack pli", "ccm fir"]), unique=True),
)
TRANSPORT = TransportDescription(
    "ufrag123", "pwd" * 8, (Fingerprint("sha-256", DIGEST),), "active", True
)
MEDIA = st.builds(
    Media,
    kind=st.sampled_from(["audio", "video"]),
    mid=TOKENS,
    formats=st.lists(FORMATS, min_size=1, max_size=6, unique_by=lambda f: f.payload_type),
    direction=st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"]),
    transport=st.just(TRANSPORT),
    candidates=st.just(build_candidates([("192.0.2.1", 8443)])),
    end_of_candidates=st.booleans(),
    rtcp_mux=st.booleans(),
    rtcp_rsize=st.booleans(),
    extensions=st.lists(
        st.builds(Extension, id=st.integers(1, 255), uri=st.just("urn:x")), max_size=4
    ),
    msid=st.just(("stream", "track")),
    ssrcs=st.dictionaries(st.integers(0, 2**32 - 1), TOKENS, max_size=4),
    fid=st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), max_size=2),
    rids=st.lists(st.builds(Rid, id=TOKENS, direction=st.just("recv")), max_size=3),
    simulcast_receive=st.lists(TOKENS, max_size=3),
)


@given(st.lists(MEDIA, min_size=1, max_size=2), st.lists(st.integers(0, 1), max_size=6))
def test_m_lines_that_are_alike_are_read_as_if_each_were_alone(
    media: list[Media], order: list[int]
) -> None:
    kinds = [media[number % len(media)] for number in order]
    lines = [replace(kind, mid=str(mid), ssrcs={mid: "c"}) for mid, kind in enumerate(kinds)]

    def read(*some: Media) -> list[Media]:
        text = build_description(Description(media=list(some), lite=True))
        return parse_description_untrusted(text).media

    assert read(*lines) == [read(line)[0] for line in lines] == lines


def test_streams_are_each_m_line_s_own() -> None:
    shared = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
    own = [f"a=mid:{n}\r\na=ssrc:{n} cname:c\r\na=ssrc-group:FID {n} 7\r\n" for n in range(3)]
    text = "v=0\r\n" + "".join(shared + lines for lines in own)
    media = parse_description_untrusted(text).media
    assert [m.alike for m in media] == [0, 0, 0]
    assert [(m.mid, m.ssrcs, m.fid) for m in media] == [
        (str(n), {n: "c"}, {n: 7}) for n in range(3)
    ]


@given(st.lists(MEDIA, min_size=1, max_size=4, unique_by=lambda m: m.mid))
def test_what_is_written_is_read_back_the_same(media: list[Media]) -> None:
    description = Description(
        media=media,
        bundle=[m.mid for m in media],
        lite=True,
        ice_options=["ice2"],
        extmap_allow_mixed=True,
    )
    again = parse_description_untrusted(build_description(description))
    assert again == description
