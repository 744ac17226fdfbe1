"""Wire messages: what is taken, what is refused, and that contents pass untouched."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.protocol import messages
from signaling.protocol.errors import ProtocolError

LIMIT = 2048


def parse(**fields: Any) -> Any:
    return messages.parse_client_message_untrusted(json.dumps(fields).encode())


def refuse(data: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        messages.parse_client_message_untrusted(data)
    assert caught.value.code == "bad-request"
    return caught.value


def test_unknown_keys_are_ignored() -> None:
    assert parse(type="leave", id="1", more={"x": [1]}) == messages.Leave(id="1")


def test_null_counts_as_absent_for_optional_keys() -> None:
    message = parse(type="join", id=None, room="demo", name="Ada", token=None, metadata=None)
    assert (message.id, message.token) == (None, None)
    assert messages.parse_metadata_untrusted(message.metadata, LIMIT) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"leave"',
        b'{"type":"nothing"}',
        b'{"type":7}',
        b'{"type":"joined"}',
        b'{"type":"leave","id":7}',
        b'{"type":"leave","id":"%b"}' % (b"x" * 65),
        b'{"type":"join","room":"demo"}',
        b'{"type":"join","name":"Ada"}',
        b'{"type":"join","room":"demo","name":""}',
        b'{"type":"join","room":"demo","name":7}',
        b'{"type":"resume","session":"s_1"}',
        b'{"type":"resume","session":"s_1","seq":-1}',
        b'{"type":"resume","session":"s_1","seq":"1"}',
        b'{"type":"resume","session":"s_1","seq":1.5}',
        b'{"type":"heartbeat"}',
        b'{"type":"heartbeat","timestamp":"now"}',
        b'{"type":"heartbeat","timestamp":true}',
        b'{"type":"heartbeat","timestamp":1e999}',
        b'{"type":"offer","to":"p_1"}',
        b'{"type":"candidate","to":"p_1"}',
        b'{"type":"chat","content":7}',
        b'{"type":"mute","track":"t_1","muted":1}',
        b'{"type":"lock","locked":"yes"}',
        b'{"type":"subscribe","tracks":"t_1"}',
        b'{"type":"subscribe","tracks":[1]}',
        b'{"type":"leave","x":"\xff"}',
        b'{"type":"leave","x":"\n"}',
        b'{"type":"leave","x":' + b"[" * 20000 + b"]" * 20000 + b"}",
        b"\xef\xbb\xbf" + b'{"type":"leave"}',
        '{"type":"leave"}'.encode("utf-16"),
    ],
)
def test_what_has_the_wrong_shape_is_a_bad_request(data: bytes) -> None:
    assert len(refuse(data).message) <= messages.MAX_ERROR_TEXT


@pytest.mark.parametrize(
    "room", ["", "x" * 65, "a b", "ä", "a/b", "demo\n", "\ndemo", "a\x00", "<b>", None, 7]
)
def test_room_names_are_64_of_few_characters(room: object) -> None:
    refuse(json.dumps({"type": "join", "room": room, "name": "Ada"}).encode())


@pytest.mark.parametrize("room", ["d", "x" * 64, "A-Z_0.9", "..", "-"])
def test_good_room_names_are_taken(room: str) -> None:
    assert parse(type="join", room=room, name="Ada").room == room


def test_an_error_text_does_not_repeat_a_long_message() -> None:
    error = refuse(json.dumps({"type": "x" * 10000}).encode())
    assert len(error.message) <= messages.MAX_ERROR_TEXT


@pytest.mark.parametrize(
    ("data", "id"),
    [
        (b'{"type":"chat","id":"7"}', "7"),
        (b'{"type":"chat","id":"7","content":"\\ud800"}', "7"),
        (b'{"type":"chat","id":7}', None),
        (b'{"type":"chat","id":"%b"}' % (b"x" * 65), None),
        (b'{"type":"chat","id":"\\ud800"}', None),
        (b"[]", None),
        (b"7", None),
        (b"\xff", None),
        (b"[" * 50000, None),
    ],
)
def test_the_id_of_a_refused_message_is_found_if_it_is_one(data: bytes, id: str | None) -> None:
    assert messages.find_id_untrusted(data) == id


@given(st.text(min_size=1), st.sampled_from(["offer", "answer"]))
def test_a_forwarded_description_is_the_string_that_was_sent(sdp: str, kind: str) -> None:
    sent = msgspec.json.encode({"type": kind, "to": "p_2", "sdp": sdp})
    message: Any = messages.parse_client_message_untrusted(sent)
    messages.check_sdp_untrusted(message.sdp)
    body = messages.build_forward(kind, "p_1", "sdp", message.sdp)
    assert messages.encode(messages.parse_server_message(messages.build_frame(body, 7))) == (
        msgspec.json.encode({"type": kind, "seq": 7, "from": "p_1", "sdp": sdp})
    )


@pytest.mark.parametrize(
    "text",
    [
        r'"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"',
        r'"\u0076\u003d0\/"',
        '"\u00e4\U0001f600"',
        r'"\ud83d\ude00"',
    ],
)
def test_a_description_is_forwarded_byte_for_byte(text: str) -> None:
    sent = f'{{"type":"offer","to":"p_2","sdp":  {text}  }}'.encode()
    message: Any = messages.parse_client_message_untrusted(sent)
    body = messages.build_forward("offer", "p_1", "sdp", message.sdp)
    assert body == b'"type":"offer","from":"p_1","sdp":' + text.encode() + b"}"


@pytest.mark.parametrize(
    ("sdp", "code"),
    [("7", "bad-request"), ("null", "bad-request"), ("{}", "bad-request"), ('""', "bad-sdp")],
)
def test_a_description_is_a_string_with_something_in_it(sdp: str, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        messages.parse_sdp_untrusted(msgspec.Raw(sdp.encode()))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "candidate",
    [
        "null",
        '{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}',
        '{"candidate":"","sdpMid":null,"sdpMLineIndex":null,"usernameFragment":"x"}',
    ],
)
def test_candidates_are_objects_or_null(candidate: str) -> None:
    messages.check_candidate_untrusted(msgspec.Raw(candidate.encode()))


@pytest.mark.parametrize(
    "candidate",
    ["7", '"candidate:1"', "[]", "{}", '{"candidate":7}', '{"candidate":"","sdpMLineIndex":"0"}'],
)
def test_other_candidates_are_refused(candidate: str) -> None:
    with pytest.raises(ProtocolError, match="bad-request"):
        messages.check_candidate_untrusted(msgspec.Raw(candidate.encode()))


def test_metadata_are_measured_without_white_space() -> None:
    fitting = json.dumps({"x": "y" * (LIMIT - 8)}, indent=8).encode()
    kept = messages.parse_metadata_untrusted(msgspec.Raw(fitting), LIMIT)
    assert kept is not None
    assert len(bytes(kept)) == LIMIT
    with pytest.raises(ProtocolError, match="bad-request"):
        messages.parse_metadata_untrusted(msgspec.Raw(fitting.replace(b"yy", b"yyy", 1)), LIMIT)


@pytest.mark.parametrize("metadata", ["7", '"x"', "[]", "true", "{" * 900 + '"x":1' + "}" * 900])
def test_metadata_are_an_object(metadata: str) -> None:
    with pytest.raises(ProtocolError, match="bad-request"):
        messages.parse_metadata_untrusted(msgspec.Raw(metadata.encode()), LIMIT)


def test_quick_bodies_equal_encoded_ones() -> None:
    assert messages.build_frame(messages.build_ok(None)) == messages.encode(messages.Ok())
    assert messages.build_frame(messages.build_ok('a"b')) == messages.encode(messages.Ok(id='a"b'))


def test_an_error_says_when_to_come_back() -> None:
    error = ProtocolError("rate-limited", "Too many.", retry_after=0.25)
    assert json.loads(messages.build_frame(messages.build_error(error, "7"))) == {
        "type": "error",
        "id": "7",
        "code": "rate-limited",
        "message": "Too many.",
        "retry_after": 0.25,
    }


@pytest.mark.parametrize(("seconds", "said"), [(0.0044, 0.005), (0.1, 0.1), (1e-10, 0.0)])
def test_nobody_is_told_to_come_back_too_early(seconds: float, said: float) -> None:
    error = ProtocolError("rate-limited", "Too many.", retry_after=seconds)
    frame = json.loads(messages.build_frame(messages.build_error(error, None)))
    assert frame["retry_after"] == said


def test_tracks_of_an_offer_are_checked_where_the_relay_reads_them() -> None:
    raw = msgspec.Raw(b'[{"mid":"0","source":"camera"}]')
    assert messages.parse_publish_tracks_untrusted(raw) == [messages.PublishTrack("0", "camera")]
    assert messages.parse_publish_tracks_untrusted(msgspec.Raw()) == []
    for bad in (b"7", b'[{"mid":"0"}]', b'[{"mid":"0","source":"window"}]'):
        with pytest.raises(ProtocolError, match="bad-request"):
            messages.parse_publish_tracks_untrusted(msgspec.Raw(bad))
