"""Descriptions that are changed as text."""

from __future__ import annotations

from aiortc import RTCPeerConnection

from signaling.bot.lines import remote_description
from signaling.bot.sdp import extension_ids, keep_extension_ids, session_of, spread_candidates
from signaling.bot.sources import SenderTrack


async def test_candidates_that_stand_on_one_line_serve_all() -> None:
    one = RTCPeerConnection()
    one.addTransceiver(SenderTrack("audio"))
    one.addTransceiver(SenderTrack("video"))
    await one.setLocalDescription(await one.createOffer())
    text = one.localDescription.sdp
    first, second = text.index("m=audio"), text.index("m=video")
    tail = [
        line
        for line in text[second:].split("\r\n")
        if not line.startswith(("a=candidate", "a=end-of"))
    ]
    bare = text[:second] + "\r\n".join(tail)
    spread = spread_candidates(bare)
    count = text[first:second].count("a=candidate:")
    assert count > 0
    assert spread.count("a=candidate:") == 2 * count
    assert spread_candidates(text) == text
    other = RTCPeerConnection()
    await other.setRemoteDescription(remote_description(bare, "offer"))
    await one.close()
    await other.close()


def test_header_extensions_keep_the_ids_that_they_had() -> None:
    ids = extension_ids("v=0\r\na=extmap:4 urn:mid\r\na=extmap:1/sendonly urn:level\r\n")
    assert ids == {"urn:mid": "4", "urn:level": "1"}
    offer = "a=extmap:1 urn:mid\r\na=extmap:2 urn:level\r\na=extmap:4 urn:time\r\n"
    kept = keep_extension_ids(offer + offer, ids)
    again = "a=extmap:4 urn:mid\r\na=extmap:1 urn:level\r\na=extmap:5 urn:time\r\n"
    assert kept == again + again


def test_a_new_ice_session_or_certificate_is_another_session() -> None:
    text = "a=ice-ufrag:u\r\na=fingerprint:sha-256 A\r\na=ice-ufrag:u\r\n"
    assert session_of(text) == session_of(text + "a=mid:0\r\n")
    assert session_of(text) != session_of(text.replace("ufrag:u", "ufrag:v"))
    assert session_of(text) != session_of(text.replace(" A", " B"))
