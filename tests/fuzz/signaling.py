"""Fuzz targets of the signaling hub: the message parser, and a hub with a call on it."""

from __future__ import annotations

import json

from msgspec import Raw

from signaling.protocol import messages
from signaling.protocol.errors import ProtocolError
from tests.support.hub import FakeRelays, World
from tests.unit.signaling.foreign import test_peerjs as foreign_peerjs
from tests.unit.signaling.foreign import test_ywebrtc as foreign_ywebrtc


def message(data: bytes) -> None:
    """A frame is read or refused; what is read means the same when it is written again."""
    found = messages.find_id_untrusted(data)
    assert found is None or len(found) <= messages.MAX_ID
    try:
        parsed = messages.parse_client_message_untrusted(data)
    except ProtocolError as error:
        _check(error, {"bad-request"})
        return
    assert messages.parse_client_message_untrusted(messages.encode(parsed)).id == parsed.id
    _pass_on(parsed)


def _pass_on(parsed: messages.AnyClientMessage) -> None:
    """What is let through reaches the other side as JSON, and as it was."""
    try:
        match parsed:
            case messages.Offer() | messages.Answer():
                messages.check_sdp_untrusted(parsed.sdp)
                frame = messages.build_frame(_forward("sdp", parsed.sdp), 1)
                assert json.loads(frame)["sdp"] == json.loads(bytes(parsed.sdp))
                messages.parse_sdp_untrusted(parsed.sdp)
            case messages.Candidate():
                messages.check_candidate_untrusted(parsed.candidate)
                frame = messages.build_frame(_forward("candidate", parsed.candidate), 1)
                messages.parse_server_message(frame)
            case messages.Data():
                messages.check_content_untrusted(parsed.content, 16384)
                body = messages.build_data("p_1", parsed.topic, parsed.content)
                messages.parse_server_message(messages.build_frame(body, 1))
                json.loads(bytes(parsed.content))
            case messages.Join() | messages.Update():
                kept = messages.parse_metadata_untrusted(parsed.metadata, 2048)
                assert kept is None or len(bytes(kept)) <= 2048
            case _:
                pass
        if isinstance(parsed, messages.Offer):
            messages.parse_publish_tracks_untrusted(parsed.tracks)
    except ProtocolError as error:
        _check(error, {"bad-request", "bad-sdp"})


def _forward(key: str, content: Raw) -> bytes:
    return messages.build_forward("offer" if key == "sdp" else key, "p_1", key, content)


def _check(error: ProtocolError, codes: set[str]) -> None:
    assert error.code in codes
    assert len(error.message) <= messages.MAX_ERROR_TEXT


def hub(data: bytes) -> None:
    """No frame makes the hub fail, or has it send what is not JSON with the right number."""
    world = World(relays=FakeRelays())
    ada, bob = world.join_all("Ada", "Bob")
    stranger = world.client()
    for client in (stranger, ada):
        client.send_raw(data)
        client.send_raw(data)
        client.send_raw(data.replace(b"p_77", bob.id.encode()))
    assert world.metrics.errors["internal"] == 0
    bob.cut()
    bob.resume()
    assert world.join("Eve", "another").ask("chat", content="x")["type"] == "ok"


def foreign(data: bytes) -> None:
    """No frame makes PeerJS's or y-webrtc's rules fail, or send what is not JSON."""
    peers, documents = foreign_peerjs.World(), foreign_ywebrtc.World()
    (ada, one), (_, two) = peers.join("ada"), peers.join("bob")
    (writer, three), (_, four) = documents.join("doc"), documents.join("doc")
    for frame in (data, data.replace(b"p_77", b"bob"), data.replace(b"p_77", b"doc")):
        peers.rules.receive(ada, frame)
        documents.rules.receive(writer, frame)
    peers.advance(10)
    for outlet in (one, two, three, four):
        assert len(outlet.take()) <= 8
