"""Descriptions are written in the order of RFC 8866, with nothing that means nothing."""

from __future__ import annotations

from relay.sdp.description import Description, Format, Media
from relay.sdp.writing import build_candidates, build_description
from tests.unit.relay.sdp.offers import LOCAL


def test_a_rejected_m_line_is_written_with_port_zero_and_nothing_more() -> None:
    media = Media("application", "2", 0, "UDP/DTLS/SCTP", other_formats="webrtc-datachannel")
    media.transport = LOCAL.transport
    text = build_description(Description(media=[media]))
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n" in text
    assert "ice-ufrag" not in text


def test_candidates_are_host_candidates_in_the_order_given() -> None:
    first, second = build_candidates([("2001:db8::1", 8443), ("192.0.2.1", 8443)])
    assert first.split()[1:3] == ["1", "udp"]
    assert first.endswith("2001:db8::1 8443 typ host")
    assert int(first.split()[3]) > int(second.split()[3])
    assert first.split()[0] != second.split()[0]


def test_a_note_follows_its_m_line_and_a_packets_length_its_codecs() -> None:
    media = Media(
        "audio", "0", formats=[Format(111, "opus", 48000, 2)], note="For people.", ptime=20
    )
    lines = build_description(Description(media=[media])).split("\r\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("m="))
    assert lines[at + 1 : at + 3] == ["i=For people.", "c=IN IP4 0.0.0.0"]
    assert lines.index("a=ptime:20") > lines.index("a=rtpmap:111 opus/48000/2")
