"""The error table says what the protocol says."""

from __future__ import annotations

import pytest

from signaling.protocol.errors import KINDS, ProtocolError

CLOSES = {
    "bad-request": 4400,
    "unauthorized": 4401,
    "forbidden": None,
    "kicked": 4403,
    "heartbeat-timeout": 4408,
    "join-timeout": 4410,
    "replaced": 4409,
    "too-large": 4413,
    "rate-limited": 4429,
    "overloaded": 4503,
    "draining": 1001,
    "not-joined": None,
    "already-joined": None,
    "unknown-participant": None,
    "unknown-track": None,
    "room-full": None,
    "room-locked": None,
    "session-expired": None,
    "relay-unavailable": None,
    "bad-sdp": None,
    "unsupported-codec": None,
    "no-media": None,
    "internal": None,
}


def test_each_code_closes_as_the_protocol_says() -> None:
    assert {code: kind.close for code, kind in KINDS.items()} == CLOSES


def test_each_code_has_an_http_status_of_an_error() -> None:
    assert all(400 <= kind.status < 600 for kind in KINDS.values())


def test_what_closes_at_once_has_a_close_code() -> None:
    assert all(kind.close is not None for kind in KINDS.values() if kind.at_once)


def test_an_unknown_code_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        ProtocolError("no-such-code", "")
