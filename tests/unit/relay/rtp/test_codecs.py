"""Key frames and picture numbers, read from payloads and written back."""

from __future__ import annotations

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.codecs import (
    Picture,
    PictureMap,
    get_inspector,
    inspect_descriptor,
    inspect_vp8,
    inspect_vp9,
    write_picture,
)


def look(codec: str, payload: bytes) -> Picture:
    picture = Picture()
    get_inspector(codec)(payload, 0, len(payload), picture)
    return picture


@pytest.mark.parametrize(
    ("codec", "payload", "key_frame"),
    [
        ("VP8", "10 00", True),  # S, partition 0, P clear
        ("VP8", "10 01", False),  # inter frame
        ("VP8", "00 00", False),  # continues
        ("VP8", "11 00", False),  # partition 1
        ("VP8", "90 80 11 00", True),  # seven-bit picture id
        ("VP8", "90 80 91 22 00", True),  # fifteen-bit picture id
        ("VP8", "90 f0 91 22 33 40 00", True),  # all fields
        ("VP8", "90 f0 91 22 33 40 01", False),
        ("VP8", "90 80 91 22", False),  # cut off
        ("VP9", "88 11", True),  # I, B
        ("VP9", "c8 11", False),  # P
        ("VP9", "80 11", False),  # does not begin the frame
        ("VP9", "a8 11 00 05", True),  # layers, lowest spatial
        ("VP9", "a8 11 02 05", False),  # spatial layer 1
        ("VP9", "b8 91 22 00", True),  # flexible mode
        ("H264", "65 88", True),  # IDR
        ("H264", "67 42", True),  # SPS
        ("H264", "41 9a", False),
        ("H264", "06 05", False),  # SEI
        ("H264", "18 0002 67 42 0002 68 ce", True),  # STAP-A: SPS, PPS
        ("H264", "18 0002 06 05 0002 65 88", True),  # STAP-A: SEI, IDR
        ("H264", "18 0002 06 05 0002 41 9a", False),
        ("H264", "18 ffff 06", False),
        ("H264", "7c 85 88", True),  # FU-A, start of an IDR slice
        ("H264", "7c 05 88", False),  # FU-A, in the middle
        ("H264", "7c 81 88", False),  # FU-A, start of another slice
        ("H264", "7c", False),
        ("H264", "65 22", False),  # IDR, but not its first slice
        ("H264", "65", False),
        ("H264", "7c 85 22", False),
        ("H264", "7c 85", False),
        ("H264", "18 0002 65 22", False),
        ("H264", "7c 87", True),  # FU-A, start of an SPS
        ("H265", "26 01 af", True),  # IDR
        ("H265", "26 01 2f", False),  # IDR, but not its first slice
        ("H265", "2a 01 af", True),  # CRA
        ("H265", "40 01 0c", True),  # VPS
        ("H265", "42 01 01", True),  # SPS
        ("H265", "02 01 d0", False),  # TRAIL_R
        ("H265", "4e 01 05", False),  # SEI
        ("H265", "26 01", False),
        ("H265", "26", False),
        ("H265", "60 01 0003 40 01 0c 0003 42 01 01", True),  # AP: VPS, SPS
        ("H265", "60 01 0003 4e 01 05 0003 26 01 af", True),  # AP: SEI, IDR
        ("H265", "60 01 0003 02 01 d0", False),
        ("H265", "60 01 ffff 02", False),
        ("H265", "62 01 93 af", True),  # FU, start of an IDR slice
        ("H265", "62 01 93 2f", False),
        ("H265", "62 01 13 af", False),  # FU, in the middle
        ("H265", "62 01 81 d0", False),  # FU, start of another slice
        ("H265", "62 01", False),
        ("AV1", "18 0a 0b", True),  # N
        ("AV1", "10 0a", False),
        ("AV1", "98 0a", False),  # continues an OBU
        ("opus", "78", True),
        ("red", "6f 78", True),
    ],
)
def test_key_frames_are_told_from_others(codec: str, payload: str, key_frame: bool) -> None:
    assert look(codec, bytes.fromhex(payload)).key_frame is key_frame


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1", "opus"])
def test_an_empty_payload_is_no_key_frame(codec: str) -> None:
    assert not look(codec, b"").key_frame


@given(st.sampled_from(["VP8", "VP9", "H264", "AV1", "opus", "H265"]), st.binary(max_size=24))
def test_any_payload_is_looked_at_within_its_bounds(codec: str, payload: bytes) -> None:
    picture = Picture()
    buf = b"\xff" * 3 + payload
    get_inspector(codec)(buf, 3, len(buf), picture)
    for at in (picture.picture_at, picture.tl0_at, picture.keyidx_at):
        assert at == -1 or 3 <= at < len(buf)
    if picture.picture_mask > 0x7F:
        assert picture.picture_at + 1 < len(buf)
    before = bytes(buf)
    out = bytearray(buf)
    write_picture(out, picture, 0, 5, 5, 5)
    write_picture(out, picture, 0, 0, 0, 0)
    changed = [at for at in range(len(buf)) if out[at] != before[at]]
    allowed = {picture.picture_at, picture.tl0_at, picture.keyidx_at}
    if picture.picture_mask > 0x7F:
        allowed.add(picture.picture_at + 1)
    assert set(changed) <= allowed


descriptors = st.builds(
    VpxPayloadDescriptor,
    partition_start=st.integers(0, 1),
    partition_id=st.integers(0, 7),
    picture_id=st.none() | st.integers(0, 0x7FFF),
    tl0picidx=st.none() | st.integers(0, 255),
    tid=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 1)),
    keyidx=st.none() | st.integers(0, 31),
)


@given(descriptors, st.integers(-40000, 40000), st.integers(-300, 300), st.integers(-40, 40))
def test_vp8_numbers_are_those_of_aiortc_before_and_after_rewriting(
    descriptor: VpxPayloadDescriptor, by_picture: int, by_tl0: int, by_keyidx: int
) -> None:
    payload = bytes(descriptor) + b"\x01frame"
    picture = look("VP8", payload)
    assert (None if picture.picture_at < 0 else picture.picture_id) == descriptor.picture_id
    assert (None if picture.tl0_at < 0 else picture.tl0) == descriptor.tl0picidx
    assert (None if picture.keyidx_at < 0 else picture.keyidx) == descriptor.keyidx
    assert picture.starts == (descriptor.partition_start == 1 and descriptor.partition_id == 0)

    out = bytearray(b"moved" + payload)
    write_picture(out, picture, 5, by_picture, by_tl0, by_keyidx)
    after, rest = VpxPayloadDescriptor.parse(bytes(out[5:]))
    assert rest == b"\x01frame"
    assert after.tid == descriptor.tid
    if descriptor.picture_id is not None:
        assert after.picture_id == descriptor.picture_id + by_picture & picture.picture_mask
    if descriptor.tl0picidx is not None:
        assert after.tl0picidx == descriptor.tl0picidx + by_tl0 & 0xFF
    if descriptor.keyidx is not None:
        assert after.keyidx == descriptor.keyidx + by_keyidx & 0x1F


def test_vp9_picture_ids_and_base_layer_numbers_are_found() -> None:
    payload = bytes.fromhex("a8 91 22 41 05")
    picture = Picture()
    inspect_vp9(payload, 0, len(payload), picture)
    assert (picture.picture_id, picture.picture_mask, picture.picture_at) == (0x1122, 0x7FFF, 1)
    assert (picture.tl0, picture.tl0_at, picture.temporal) == (5, 4, 2)


def test_a_descriptor_gives_its_frame_number() -> None:
    picture = Picture()
    data = bytearray(b"..\xc1\xff\xff...")
    inspect_descriptor(data, 2, picture)
    assert picture.starts
    assert picture.frame == 0xFFFF
    write_picture(data, picture, 0, 0, 0, 0, 3)
    assert data == b"..\xc1\x00\x02..."


def vp8(picture_id: int, tl0: int, keyidx: int, tid: tuple[int, int] = (0, 0)) -> bytes:
    return (
        bytes(
            VpxPayloadDescriptor(
                partition_start=1,
                partition_id=0,
                picture_id=picture_id,
                tl0picidx=tl0,
                tid=tid,
                keyidx=keyidx,
            )
        )
        + b"\x00"
    )


def test_picture_numbers_go_on_across_sources() -> None:
    numbers = PictureMap()
    first, second = look("VP8", vp8(0x7FFF, 255, 31)), look("VP8", vp8(300, 7, 2))
    assert numbers.splice(first) == (0, 0, 0, 0)
    numbers.stop(first, 0, 0, 0)
    deltas = numbers.splice(second)
    out = bytearray(vp8(300, 7, 2))
    write_picture(out, second, 0, *deltas)
    picture = Picture()
    inspect_vp8(out, 0, len(out), picture)
    assert (picture.picture_id, picture.tl0, picture.keyidx) == (0, 0, 0)


def test_a_source_without_numbers_changes_none() -> None:
    numbers = PictureMap()
    numbers.stop(look("VP8", vp8(5, 6, 7)), 0, 0, 0)
    assert numbers.splice(look("VP8", b"\x10\x00")) == (0, 0, 0, 0)
    assert numbers.splice(look("VP8", vp8(5, 6, 7))) == (1, 1, 1, 0)
