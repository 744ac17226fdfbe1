"""Attributes of an m-line are read into it, each by its own rule."""

from __future__ import annotations

import pytest

from relay.sdp.attributes import FORMAT_ATTRIBUTES, MAX_FEEDBACK, MEDIA_ATTRIBUTES
from relay.sdp.description import BadSdp, Format, Media


def read(name: str, *values: str) -> Media:
    media = Media("audio", "0")
    for value in values:
        MEDIA_ATTRIBUTES[name](media, value)
    return media


@pytest.mark.parametrize(("value", "ptime"), [("20", 20), ("2.5", None), ("-1", None), ("", None)])
def test_a_packets_length_is_a_wish(value: str, ptime: int | None) -> None:
    assert read("ptime", value).ptime == ptime


def test_rtcp_is_muxed_also_where_it_is_muxed_only() -> None:
    assert read("rtcp-mux", "").rtcp_mux
    assert read("rtcp-mux-only", "").rtcp_mux


def test_layers_are_listed_by_their_first_alternative() -> None:
    media = read("simulcast", "send q,r;~h;f recv x")
    assert (media.simulcast_send, media.simulcast_receive) == (["q", "h", "f"], ["x"])
    assert [rid.id for rid in read("rid", "q send pt=96", "h recv").rids] == ["q", "h"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rid", "q sideways"),
        ("extmap", "1"),
        ("ssrc", "x cname:y"),
        ("mid", "a b"),
        ("extmap", "0x"),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadSdp):
        read(name, value)


def test_what_is_said_of_a_payload_type_that_is_not_there_is_passed_over() -> None:
    entry = Format(96)
    formats = {96: entry}
    FORMAT_ATTRIBUTES["rtpmap"](formats, "96 VP8/90000")
    FORMAT_ATTRIBUTES["rtpmap"](formats, "97 VP9/90000")
    FORMAT_ATTRIBUTES["fmtp"](formats, "97 profile-id=0")
    for number in range(2 * MAX_FEEDBACK):
        FORMAT_ATTRIBUTES["rtcp-fb"](formats, f"* nack x{number}")
    assert (entry.name, entry.clock_rate, entry.parameters) == ("VP8", 90000, "")
    assert len(entry.feedback) == MAX_FEEDBACK
