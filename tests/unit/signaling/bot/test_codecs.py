"""Encoded frames, told by their bytes."""

from __future__ import annotations

import pytest

from signaling.bot.codecs import is_key_frame


@pytest.mark.parametrize(
    ("codec", "data", "key"),
    [
        ("VP8", b"\x10\x02\x00", True),
        ("VP8", b"\x11\x02\x00", False),
        ("VP8", b"", False),
        ("H264", b"\x00\x00\x00\x01\x67\x42\x00\x00\x01\x65", True),
        ("H264", b"\x00\x00\x00\x01\x41\x9a", False),
        ("H264", b"\x00\x00\x01", False),
        ("opus", b"", True),
    ],
)
def test_key_frames_are_told_from_their_first_bytes(codec: str, data: bytes, key: bool) -> None:
    assert is_key_frame(codec, data) is key
