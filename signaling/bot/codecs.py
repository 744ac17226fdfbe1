"""What can be told of an encoded frame without decoding it."""

from __future__ import annotations


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether decoding can start here. Audio always can."""
    if codec == "VP8":
        # RFC 6386 section 9.1: the lowest bit of the frame tag is 0 for key frames.
        return bool(data) and not data[0] & 1
    if codec == "H264":
        # Annex B: an IDR picture is NAL unit type 5, a sequence parameter set type 7.
        start = data.find(b"\x00\x00\x01")
        while start != -1 and start + 3 < len(data):
            if data[start + 3] & 0x1F in (5, 7):
                return True
            start = data.find(b"\x00\x00\x01", start + 3)
        return False
    return True
