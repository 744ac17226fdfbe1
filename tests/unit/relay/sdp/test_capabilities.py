"""The tables hold what the rest relies on: numbers that are free, small and apart."""

from __future__ import annotations

import pytest

from relay.sdp.capabilities import (
    CODECS,
    H264_BASELINE,
    HEADER_EXTENSIONS,
    OPUS,
    SUBSCRIBER_EXTENSIONS,
    VP8,
    Codec,
    covers,
    find_codec,
)
from relay.sdp.parameters import read_parameters


def test_every_payload_type_is_used_once_and_cannot_be_taken_for_rtcp() -> None:
    used = [c.payload_type for c in CODECS] + [c.rtx for c in CODECS if c.rtx is not None]
    assert len(set(used)) == len(used)
    # RFC 5761 4: 64 to 95 are what RTCP packet types look like.
    assert all(0 <= payload_type <= 127 for payload_type in used)
    assert not any(64 <= payload_type <= 95 for payload_type in used)


def test_every_extension_id_is_used_once_and_fits_the_one_byte_form() -> None:
    ids = [e.id for e in HEADER_EXTENSIONS]
    assert len(set(ids)) == len(ids)
    assert all(1 <= id <= 14 for id in ids)


def test_subscribers_get_nothing_that_names_the_publishers_own_session() -> None:
    for extensions in SUBSCRIBER_EXTENSIONS.values():
        assert not any("sdes" in e.uri for e in extensions)


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.name}-{c.payload_type}")
def test_what_the_relay_writes_for_a_codec_is_read_as_that_codec(codec: Codec) -> None:
    parameters = read_parameters(codec.fmtp)
    found = find_codec(codec.kind, codec.name, codec.clock_rate, codec.channels, parameters)
    assert found is codec


@pytest.mark.parametrize(
    ("level_id", "mode", "profile"),
    [
        ("42e01f", "1", "constrained-baseline/1"),
        ("42E034", "1", "constrained-baseline/1"),
        ("42c02a", "0", "constrained-baseline/0"),
        ("4d801f", "1", "constrained-baseline/1"),
        ("42001f", "1", "baseline/1"),
        ("4d001f", "0", "main/0"),
        ("640c1f", "1", "constrained-high/1"),
        ("64001f", "1", "high/1"),
        ("f4001f", "1", "high-444/1"),
    ],
)
def test_h264_is_told_apart_by_profile_and_mode_whatever_its_level(
    level_id: str, mode: str, profile: str
) -> None:
    parameters = {"profile-level-id": level_id, "packetization-mode": mode}
    codec = find_codec("video", "h264", 90000, 1, parameters)
    assert codec is not None
    assert codec.profile == profile


def test_names_are_compared_without_case() -> None:
    assert find_codec("audio", "OPUS", 48000, 2, {}) is OPUS
    assert find_codec("audio", "OPUS", 48000, 1, {}) is OPUS  # GStreamer, from bare caps
    assert find_codec("video", "vp8", 90000, 1, {}) is VP8
    assert find_codec("video", "H264", 90000, 1, {"packetization-mode": "1"}) is H264_BASELINE


@pytest.mark.parametrize(
    ("kind", "name", "clock_rate", "channels", "parameters"),
    [
        ("video", "H264", 90000, 1, {"profile-level-id": "zzzzzz"}),
        ("video", "H264", 90000, 1, {"profile-level-id": "42e0"}),
        ("video", "H264", 90000, 1, {"profile-level-id": "640c1f", "packetization-mode": "2"}),
        ("video", "VP9", 90000, 1, {"profile-id": "7"}),
        ("audio", "VP8", 90000, 1, {}),
        ("audio", "opus", 16000, 2, {}),
        ("audio", "telephone-event", 8000, 1, {}),
        ("video", "ulpfec", 90000, 1, {}),
    ],
)
def test_what_is_not_in_the_table_is_not_found(
    kind: str, name: str, clock_rate: int, channels: int, parameters: dict[str, str]
) -> None:
    assert find_codec(kind, name, clock_rate, channels, parameters) is None


@pytest.mark.parametrize(
    ("accepted", "sent", "covered"),
    [
        ("high/1", "constrained-baseline/1", True),
        ("main/1", "constrained-baseline/0", True),
        ("high/1", "main/1", True),
        ("high-444/1", "high/0", True),
        ("constrained-baseline/1", "baseline/1", False),
        ("constrained-baseline/0", "constrained-baseline/1", False),
        ("constrained-high/1", "main/1", False),
        ("baseline/1", "main/1", False),
    ],
)
def test_a_decoder_of_h264_has_what_lies_within_its_profile_and_mode(
    accepted: str, sent: str, covered: bool
) -> None:
    by_profile = {codec.profile: codec for codec in CODECS if codec.name == "H264"}
    assert covers(by_profile[accepted], by_profile[sent]) is covered
    assert not covers(by_profile[accepted], VP8)
    assert covers(VP8, VP8)
