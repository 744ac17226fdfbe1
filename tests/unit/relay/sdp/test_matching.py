"""Two sides' codecs and extensions are matched by what they mean; numbers are each one's own."""

from __future__ import annotations

from relay.sdp.capabilities import H264_BASELINE, OPUS, RED, VP8, Codec
from relay.sdp.description import Extension, Format, Media
from relay.sdp.matching import (
    PublishedCodec,
    is_usable,
    match_answer,
    match_codecs,
    match_extensions,
    prefer_common,
)

OFFERED: dict[int, Codec] = {96: VP8, 108: H264_BASELINE}


def make_media(*formats: Format, kind: str = "video") -> Media:
    return Media(kind, "0", formats=list(formats))


def test_rtx_belongs_to_the_codec_that_it_names() -> None:
    media = make_media(
        Format(100, "VP8", 90000),
        Format(101, "rtx", 90000, parameters="apt=100"),
        Format(102, "rtx", 90000, parameters="apt=99"),
    )
    (matched,) = match_codecs(media)
    assert (matched.payload_type, matched.rtx, matched.codec) == (100, 101, VP8)


def test_an_answer_that_names_no_codec_goes_by_number() -> None:
    matched = match_answer(make_media(Format(108), Format(96)), OFFERED)
    assert [entry.codec for entry in matched] == [H264_BASELINE, VP8]


def test_an_answer_takes_nothing_that_was_not_offered() -> None:
    media = make_media(Format(98, "VP9", 90000), Format(96, "vp8", 90000))
    assert [entry.codec for entry in match_answer(media, OFFERED)] == [VP8]


def test_red_keeps_its_place_before_opus_and_opus_comes_before_telephones() -> None:
    pcmu = next(
        entry.codec for entry in match_codecs(make_media(Format(0, "PCMU", 8000), kind="audio"))
    )
    codecs = [PublishedCodec(n, None, codec) for n, codec in ((0, pcmu), (63, RED), (111, OPUS))]
    assert [entry.payload_type for entry in prefer_common(codecs)] == [63, 111, 0]


def test_of_extensions_with_one_id_or_one_meaning_the_first_counts() -> None:
    uri = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
    media = make_media()
    media.extensions = [Extension(4, uri), Extension(4, mid), Extension(5, uri), Extension(0, mid)]
    assert match_extensions(media, lambda _: True, towards_us=True) == {4: (uri, 2)}


def test_what_is_neither_live_nor_dtls_srtp_is_of_no_use() -> None:
    assert is_usable(make_media())
    for port, protocol, kind in (
        (0, "UDP/TLS/RTP/SAVPF", "video"),
        (9, "RTP/AVP", "video"),
        (9, "UDP/TLS/RTP/SAVPF", "text"),
    ):
        assert not is_usable(Media(kind, "0", port, protocol))
