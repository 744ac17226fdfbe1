"""The primary block of redundant audio is found, or nothing is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.red import MAX_BLOCKS, find_primary, rename


def build_red(*blocks: bytes, payload_type: int = 111) -> bytes:
    """A payload of these blocks, the last one primary."""
    *redundant, primary = blocks
    out = b""
    for age, block in enumerate(reversed(range(len(redundant))), start=1):
        offset = 960 * age << 10 | len(redundant[block])
        out = bytes([0x80 | payload_type]) + offset.to_bytes(3, "big") + out
    return out + bytes([payload_type]) + b"".join(redundant) + primary


def test_the_primary_block_is_what_follows_the_redundant_ones() -> None:
    for blocks in ((b"now",), (b"before", b"now"), (b"", b"long ago" * 99, b"now")):
        payload = b"head" + build_red(*blocks)
        at = find_primary(payload, 4, len(payload))
        assert payload[at:] == b"now"


def test_an_empty_primary_block_is_one() -> None:
    payload = build_red(b"before", b"")
    assert find_primary(payload, 0, len(payload)) == len(payload)


def test_what_makes_no_sense_has_none() -> None:
    payload = build_red(b"before", b"now")
    cut = [find_primary(payload, 0, size) for size in range(5 + len(b"before"))]
    assert cut == [-1] * len(cut)
    endless = bytes([0xEF, 0, 0, 0]) * (MAX_BLOCKS + 1) + b"\x6f"
    assert find_primary(endless, 0, len(endless)) == -1


def test_blocks_get_other_numbers_and_nothing_else_changes() -> None:
    payload = bytearray(build_red(b"before", b"now", payload_type=96))
    assert rename(payload, 0, {96: 111})
    assert bytes(payload) == build_red(b"before", b"now", payload_type=111)
    assert not rename(payload, 0, {96: 111})


@given(st.binary(max_size=80))
def test_nothing_of_it_raises_or_leaves_the_payload(payload: bytes) -> None:
    at = find_primary(payload, 0, len(payload))
    assert -1 <= at <= len(payload)
    if at >= 0:
        assert rename(bytearray(payload), 0, {number: number for number in range(128)})
