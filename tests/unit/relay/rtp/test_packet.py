"""Headers: parsed to offsets, normalised in place, retransmissions wrapped and unwrapped."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtp as oracle
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.packet import (
    HEADER_SIZE,
    HEADROOM,
    Extension,
    ExtensionMap,
    Packet,
    PacketError,
    build_rtx,
    find_extension,
    header_size,
    is_rtcp,
    iter_extensions,
    normalise_header,
    parse_packet_untrusted,
    read_extensions,
    unwrap_rtx,
)

INCOMING = {
    Extension.MID: 9,
    Extension.RID: 10,
    Extension.REPAIRED_RID: 11,
    Extension.AUDIO_LEVEL: 7,
    Extension.TRANSPORT_SEQUENCE: 5,
    Extension.ABS_SEND_TIME: 4,
    Extension.VIDEO_ORIENTATION: 3,
    Extension.DEPENDENCY_DESCRIPTOR: 2,
}
OUTGOING = {
    Extension.AUDIO_LEVEL: 1,
    Extension.ABS_SEND_TIME: 2,
    Extension.TRANSPORT_SEQUENCE: 3,
    Extension.VIDEO_ORIENTATION: 13,
    Extension.DEPENDENCY_DESCRIPTOR: 12,
}
IDS = ExtensionMap(INCOMING, OUTGOING)
BARE = ExtensionMap(INCOMING, {})


def element(identifier: int, value: bytes, two_byte: bool) -> bytes:
    if two_byte:
        return bytes((identifier, len(value))) + value
    return bytes((identifier << 4 | len(value) - 1,)) + value


def build(
    *,
    elements: list[tuple[int, bytes]] | None = None,
    two_byte: bool = False,
    csrcs: int = 0,
    payload: bytes = b"payload",
    padding: int = 0,
    marker: int = 0,
    sequence: int = 4711,
) -> bytes:
    first = 0x80 | csrcs | (0x10 if elements is not None else 0) | (0x20 if padding else 0)
    data = struct.pack("!BBHII", first, marker << 7 | 96, sequence, 1234567, 0xCAFE)
    data += b"CSRC" * csrcs
    if elements is not None:
        block = b"".join(element(identifier, value, two_byte) for identifier, value in elements)
        block += bytes(-len(block) % 4)
        data += struct.pack("!HH", 0x1000 if two_byte else 0xBEDE, len(block) // 4) + block
    data += payload
    return data + (bytes(padding - 1) + bytes((padding,)) if padding else b"")


def take(data: bytes, ids: ExtensionMap = IDS) -> tuple[bytearray, Packet]:
    """The packet in a buffer with headroom, parsed and its extensions read."""
    buf = bytearray(HEADROOM) + bytearray(data) + bytearray(b"after")
    packet = parse_packet_untrusted(buf, HEADROOM, HEADROOM + len(data))
    read_extensions(buf, packet, ids)
    return buf, packet


def normalised(data: bytes, ids: ExtensionMap = IDS) -> tuple[bytes, Packet]:
    buf, packet = take(data, ids)
    normalise_header(buf, packet, ids)
    return bytes(buf[packet.start : packet.end]), packet


def test_every_field_of_a_plain_header_is_found() -> None:
    buf, packet = take(build(marker=1, csrcs=3, padding=9))
    assert (packet.marker, packet.payload_type, packet.sequence) == (1, 96, 4711)
    assert (packet.timestamp, packet.ssrc) == (1234567, 0xCAFE)
    assert bytes(buf[packet.payload_start : packet.payload_end]) == b"payload"
    assert packet.padding == 9


@pytest.mark.parametrize(
    "data",
    [
        b"",
        build()[:11],
        b"\x40" + build()[1:],
        build(csrcs=15, payload=b"")[:-1],
        build(elements=[(1, b"x")], payload=b"")[:14],
        build(elements=[(1, b"x")], payload=b"")[:-1],
        build(padding=4)[:-1] + b"\x00",
        build(padding=4)[:-1] + b"\xff",
        b"\xa0" + build(payload=b"")[1:],
    ],
)
def test_what_is_no_packet_is_refused_with_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(PacketError):
        parse_packet_untrusted(data, 0, len(data))


def test_a_probe_of_padding_alone_is_a_packet_without_payload() -> None:
    _, packet = take(build(payload=b"", padding=255))
    assert packet.payload_start == packet.payload_end
    data, packet = normalised(build(payload=b"", padding=255))
    assert packet.payload_end == packet.end
    assert data[0] & 0x20 == 0


@pytest.mark.parametrize("two_byte", [False, True])
def test_extension_values_are_read(two_byte: bool) -> None:
    elements = [
        (7, b"\xaa"),
        (5, b"\x12\x34"),
        (4, b"\x01\x02\x03"),
        (9, b"video0"),
        (10, b"hi"),
        (11, b"lo"),
        (2, b"\x80\x00\x07"),
    ]
    buf, packet = take(build(elements=elements, two_byte=two_byte))
    assert packet.transport_sequence == 0x1234
    assert packet.audio_level == 42
    assert (packet.mid, packet.rid, packet.repaired_rid) == (b"video0", b"hi", b"lo")
    assert bytes(buf[packet.descriptor_at :][:3]) == b"\x80\x00\x07"


def test_a_slot_keeps_nothing_of_the_packet_before() -> None:
    _, packet = take(build(elements=[(7, b"\xaa"), (5, b"\x12\x34"), (9, b"0"), (2, b"abc")]))
    plain = build()
    parse_packet_untrusted(plain, 0, len(plain), packet)
    read_extensions(plain, packet, IDS)
    assert packet.transport_sequence == packet.audio_level == packet.descriptor_at == -1
    assert packet.mid is None
    assert packet.kept == []


def test_a_malformed_element_ends_the_walk_and_those_before_it_count() -> None:
    block = b"\x50\xaa\x00\x3f\x01\x02\x03\x04"
    data = build()[:HEADER_SIZE] + struct.pack("!HH", 0xBEDE, 2) + block
    data = b"\x90" + data[1:]
    packet = parse_packet_untrusted(data, 0, len(data))
    assert list(iter_extensions(data, packet)) == [(5, 17, 1)]


@pytest.mark.parametrize("stop", [b"\xf0", b"\x03"])
def test_reserved_ids_end_the_walk(stop: bytes) -> None:
    block = b"\x50\xaa" + stop + b"\x10\x20"
    data = b"\x90" + build()[1:HEADER_SIZE] + struct.pack("!HH", 0xBEDE, 2) + block.ljust(8, b"\0")
    packet = parse_packet_untrusted(data, 0, len(data))
    assert [identifier for identifier, _, _ in iter_extensions(data, packet)] == [5]


def test_an_unknown_extension_profile_is_skipped() -> None:
    data = b"\x90" + build()[1:HEADER_SIZE] + struct.pack("!HHI", 0x1234, 1, 0x50AA0000) + b"media"
    packet = parse_packet_untrusted(data, 0, len(data))
    assert list(iter_extensions(data, packet)) == []
    assert data[packet.payload_start :] == b"media"


def test_a_normalised_header_has_relay_ids_and_places_for_the_hop() -> None:
    data, packet = normalised(
        build(elements=[(9, b"0"), (7, b"\xaa"), (5, b"\x12\x34"), (14, b"??")], csrcs=2, marker=1)
    )
    assert data == (
        struct.pack("!BBHII", 0x90, 0xE0, 4711, 1234567, 0xCAFE)
        + b"\xbe\xde\x00\x03"
        + b"\x31\x00\x00"
        + b"\x22\x00\x00\x00"
        + b"\x10\xaa\x00\x00\x00"
        + b"payload"
    )
    assert (packet.transport_sequence_at, packet.send_time_at) == (17, 20)
    assert header_size(data, 0) == len(data) - 7


def test_the_payload_does_not_move() -> None:
    buf, packet = take(build(elements=[(9, b"0123456789abcdef")], csrcs=15, payload=b"media"))
    at = packet.payload_start
    normalise_header(buf, packet, IDS)
    assert packet.payload_start == at
    assert bytes(buf[at : packet.end]) == b"media"
    assert buf.endswith(b"mediaafter")


def test_without_extensions_of_its_own_the_relay_writes_none() -> None:
    data, packet = normalised(build(elements=[(7, b"\xaa"), (5, b"\x12\x34")]), BARE)
    assert data == build()
    assert packet.transport_sequence_at == packet.send_time_at == -1
    assert header_size(data, 0) == HEADER_SIZE


def test_a_long_descriptor_makes_the_header_two_byte() -> None:
    descriptor = b"\xc0\x00\x01" + bytes(range(40))
    data, packet = normalised(build(elements=[(2, descriptor), (3, b"\x01")], two_byte=True))
    assert data[12:14] == b"\x10\x00"
    again = parse_packet_untrusted(data, 0, len(data))
    found = [(i, data[at : at + size]) for i, at, size in iter_extensions(data, again)]
    assert found == [(3, b"\0\0"), (2, b"\0\0\0"), (12, descriptor), (13, b"\x01")]
    assert (packet.transport_sequence_at, packet.send_time_at) == (18, 22)
    at = packet.descriptor_at - packet.start
    assert data[at : at + len(descriptor)] == descriptor


def test_a_header_without_room_loses_extensions_before_it_is_refused() -> None:
    data = build(elements=[(7, b"\xaa")])
    tight = bytearray(data)
    packet = parse_packet_untrusted(tight, 0, len(tight))
    read_extensions(tight, packet, IDS)
    with pytest.raises(PacketError):
        normalise_header(tight, packet, IDS)
    roomier = bytearray(8) + tight
    packet = parse_packet_untrusted(roomier, 8, len(roomier))
    read_extensions(roomier, packet, IDS)
    normalise_header(roomier, packet, IDS)
    assert bytes(roomier[packet.payload_start : packet.end]) == b"payload"


def test_what_the_caller_changes_reaches_the_wire() -> None:
    buf, packet = take(build())
    packet.sequence, packet.timestamp, packet.ssrc = 1, 2, 3
    packet.payload_type, packet.marker = 111, 1
    normalise_header(buf, packet, BARE)
    assert bytes(buf[packet.start : packet.start + 12]) == struct.pack(
        "!BBHII", 0x80, 0xEF, 1, 2, 3
    )


def test_a_retransmission_is_unwrapped_to_the_packet_it_repeats() -> None:
    original = build(payload=b"media", sequence=77, marker=1)
    rtx = build(payload=struct.pack("!H", 77) + b"media", sequence=5, marker=1)
    buf, packet = take(rtx, BARE)
    assert unwrap_rtx(buf, packet, 0xCAFE, 96)
    normalise_header(buf, packet, BARE)
    assert bytes(buf[packet.start : packet.end]) == original


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_retransmission_of_padding_alone_carries_nothing(payload: bytes) -> None:
    buf, packet = take(build(payload=payload, padding=200))
    assert not unwrap_rtx(buf, packet, 1, 2)


def test_a_retransmission_wrapped_here_is_what_aiortc_unwraps() -> None:
    data, _ = normalised(build(elements=[(7, b"\xaa")], marker=1, payload=b"media"))
    rtx = bytes(build_rtx(data, 0xBEEF, 97, 9))
    theirs = oracle.RtpPacket.parse(rtx)
    assert (theirs.ssrc, theirs.payload_type, theirs.sequence_number) == (0xBEEF, 97, 9)
    assert theirs.marker == 1
    unwrapped = oracle.unwrap_rtx(theirs, payload_type=96, ssrc=0xCAFE)
    assert (unwrapped.sequence_number, unwrapped.payload) == (4711, b"media")


def test_a_descriptor_is_found_again_in_a_normalised_packet() -> None:
    data, packet = normalised(build(elements=[(3, b"\x01"), (2, b"\xc1\x00\x07")]))
    assert find_extension(data, 12) == packet.descriptor_at - packet.start
    assert find_extension(data, 13) == -1
    assert find_extension(normalised(build(), BARE)[0], 12) == -1


def test_rtcp_is_told_from_rtp_by_its_second_byte() -> None:
    for kind in range(192, 224):
        assert is_rtcp(bytes((0x80, kind)), 0)
    for payload_type in [*range(64), *range(96, 128)]:
        assert not is_rtcp(bytes((0x80, payload_type)), 0)
        assert not is_rtcp(bytes((0x80, 0x80 | payload_type)), 0)


# -- Against aiortc, and against anything -------------------------------------------------

VALUES = {
    9: st.text("abcXYZ019", min_size=1, max_size=16).map(str.encode),
    10: st.text("abcXYZ019", min_size=1, max_size=16).map(str.encode),
    7: st.binary(min_size=1, max_size=1),
    5: st.binary(min_size=2, max_size=2),
    4: st.binary(min_size=3, max_size=3),
    3: st.binary(min_size=1, max_size=1),
    2: st.binary(min_size=3, max_size=60),
    14: st.binary(min_size=1, max_size=16),
}


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    identifiers = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True))
    elements = [(identifier, draw(VALUES[identifier])) for identifier in identifiers]
    two_byte = any(len(value) > 16 for _, value in elements) or draw(st.booleans())
    return build(
        elements=elements if draw(st.booleans()) else None,
        two_byte=two_byte,
        csrcs=draw(st.integers(0, 15)),
        payload=draw(st.binary(max_size=40)),
        padding=draw(st.sampled_from([0, 1, 7, 255])),
        marker=draw(st.integers(0, 1)),
        sequence=draw(st.integers(0, 0xFFFF)),
    )


def _aiortc_extensions(ids: dict[str, int]) -> oracle.HeaderExtensionsMap:
    parameters = RTCRtpParameters(
        headerExtensions=[
            RTCRtpHeaderExtensionParameters(id=identifier, uri=uri)
            for uri, identifier in ids.items()
        ]
    )
    extensions = oracle.HeaderExtensionsMap()
    extensions.configure(parameters)
    return extensions


@given(packets())
def test_parsing_agrees_with_aiortc(data: bytes) -> None:
    buf, packet = take(data)
    theirs = oracle.RtpPacket.parse(data, _aiortc_extensions(INCOMING))
    assert packet.marker == theirs.marker
    assert packet.payload_type == theirs.payload_type
    assert packet.sequence == theirs.sequence_number
    assert packet.timestamp == theirs.timestamp
    assert packet.ssrc == theirs.ssrc
    assert bytes(buf[packet.payload_start : packet.payload_end]) == theirs.payload
    extensions = theirs.extensions
    assert (packet.mid or b"").decode() == (extensions.mid or "")
    number = extensions.transport_sequence_number
    assert packet.transport_sequence == (-1 if number is None else number)
    level = extensions.audio_level
    assert (-1 if level is None else level[1]) == packet.audio_level


@given(packets())
def test_a_normalised_packet_says_the_same_and_is_normal(data: bytes) -> None:
    before_buf, before = take(data)
    before_payload = bytes(before_buf[before.payload_start : before.payload_end])
    carried = [(i, bytes(before_buf[at : at + size])) for i, at, size in before.kept]
    out, packet = normalised(data)
    theirs = oracle.RtpPacket.parse(out, _aiortc_extensions(OUTGOING))
    assert theirs.csrc == []
    assert theirs.padding_size == 0
    assert theirs.payload == before_payload
    assert (theirs.ssrc, theirs.sequence_number) == (before.ssrc, before.sequence)
    slot = parse_packet_untrusted(out, 0, len(out))
    found = [(i, out[at : at + size]) for i, at, size in iter_extensions(out, slot)]
    assert found == [(3, b"\0\0"), (2, b"\0\0\0"), *carried]
    at = packet.transport_sequence_at
    assert out[at : at + 2] == b"\0\0"
    assert header_size(out, 0) == slot.payload_start


@given(st.binary(max_size=120))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    for candidate in (data, b"\x90" + data[1:], b"\xb0" + data[1:]):
        try:
            buf, packet = take(candidate)
        except PacketError:
            continue
        assert HEADROOM <= packet.payload_start <= packet.payload_end <= packet.end
        normalise_header(buf, packet, IDS)
        assert 0 <= packet.start < packet.end <= HEADROOM + len(candidate)
