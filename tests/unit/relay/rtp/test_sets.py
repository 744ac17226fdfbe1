"""Parameter sets are kept by kind and id, and missed where a picture comes without them."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.sets import MAX_SET, MAX_SETS, ParameterSets

# Of x264: constrained baseline, 320x240.
SPS = base64.b64decode("Z0LAH9kAUAW7AWoCAgKAAAH0gAB1MAeMGMk=")
PPS = base64.b64decode("aMuDyyA=")
ANNOUNCED = {"sprop-parameter-sets": "Z0LAH9kAUAW7AWoCAgKAAAH0gAB1MAeMGMk=,aMuDyyA="}


def receive(sets: ParameterSets, payload: bytes, timestamp: int) -> None:
    sets.receive(b"head" + payload, 4, 4 + len(payload), timestamp)


def aggregate(*units: bytes) -> bytes:
    return b"\x18" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def test_those_of_the_sdp_are_missed_until_they_have_come() -> None:
    sets = ParameterSets("H264", ANNOUNCED)
    assert sets.list_units() == [SPS, PPS]
    assert sets.lacks(1)
    receive(sets, aggregate(SPS, PPS), 1)
    assert not sets.lacks(1)
    receive(sets, b"\x65\x88\x84", 2)
    assert sets.lacks(2)


def test_those_that_came_are_kept_each_in_its_packet_or_together() -> None:
    for payloads in ((SPS, PPS), (aggregate(SPS, PPS),), (aggregate(b"\x09\xf0", SPS), PPS)):
        sets = ParameterSets("H264", {})
        assert not sets.lacks(1)  # there are none to be had
        for payload in payloads:
            receive(sets, payload, 1)
        assert sets.list_units() == [SPS, PPS]
        assert not sets.lacks(1)


def test_one_that_was_lost_is_missed() -> None:
    sets = ParameterSets("H264", ANNOUNCED)
    receive(sets, PPS, 1)
    assert not sets.lacks(1)  # the others may come yet
    receive(sets, b"\x65\x88\x84", 1)
    assert sets.lacks(1)


def test_the_newest_of_an_id_counts_and_other_ids_stay() -> None:
    sets = ParameterSets("H264", ANNOUNCED)
    newer = PPS[:2] + b"\x01" + PPS[3:]
    other = bytes([0x68, 0x4E]) + PPS[2:]  # its id is the code 010, which is 1
    receive(sets, newer, 1)
    receive(sets, other, 1)
    assert sets.list_units() == [SPS, newer, other]
    for number in range(100):
        receive(sets, bytes([0x68, 1, number, number]), 1)
        receive(sets, bytes([0x68, 0, 0x80 | number, number]), 1)
    assert len(sets.list_units()) <= 1 + MAX_SETS


def test_h265_has_three_kinds() -> None:
    units = [bytes([kind << 1, 1, 0x80, kind]) for kind in (32, 33, 34)]
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    texts = [base64.b64encode(unit).decode() for unit in units]
    sets = ParameterSets("H265", dict(zip(names, texts, strict=True)))
    assert sets.list_units() == units
    assert sets.lacks(1)
    for unit in units:
        receive(sets, unit, 1)
    assert not sets.lacks(1)


def test_what_is_too_large_or_no_set_is_not_kept() -> None:
    sets = ParameterSets("H264", {"sprop-parameter-sets": "AAAA,!!,Zw==,"})
    receive(sets, b"\x67" + bytes(MAX_SET), 1)
    receive(sets, b"\x65" + bytes(20), 1)
    receive(sets, b"\x18\xff\xff\x67", 1)
    assert sets.list_units() == []
    assert not sets.lacks(1)


@given(st.binary(max_size=60), st.sampled_from(["H264", "H265"]))
def test_nothing_that_comes_raises(payload: bytes, codec: str) -> None:
    sets = ParameterSets(codec, {"sprop-parameter-sets": payload.decode("latin-1")})
    receive(sets, payload, 1)
    sets.lacks(1)
    assert all(3 <= len(unit) <= MAX_SET for unit in sets.list_units())
