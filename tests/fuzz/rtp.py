"""Fuzz targets of `relay.rtp`: packets, header extensions, payloads, RTCP, transport feedback."""

from __future__ import annotations

from relay.rtp.codecs import Picture, get_inspector, write_picture
from relay.rtp.packet import (
    HEADROOM,
    Extension,
    ExtensionMap,
    Packet,
    PacketError,
    build_rtx,
    header_size,
    iter_extensions,
    normalise_header,
    parse_packet_untrusted,
    read_extensions,
    unwrap_rtx,
)
from relay.rtp.red import find_primary
from relay.rtp.rtcp import RtcpError, TransportFeedback, parse_compound_untrusted
from relay.rtp.sets import MAX_SET, ParameterSets
from relay.rtp.twcc import parse_feedback_untrusted

_URIS = list(Extension)
IDS = ExtensionMap(
    {uri: number for number, uri in enumerate(_URIS, 1)},
    {uri: 14 - number for number, uri in enumerate(_URIS, 1)},
)
CODECS = ("VP8", "VP9", "H264", "H265", "AV1", "opus")


def rtp(data: bytes) -> None:
    """A packet that is taken is normal afterwards, its payload unchanged and in its place."""
    buf = bytearray(HEADROOM) + bytearray(data) + b"guard"
    packet = Packet()
    try:
        parse_packet_untrusted(buf, HEADROOM, HEADROOM + len(data), packet)
    except PacketError:
        return
    payload = bytes(buf[packet.payload_start : packet.payload_end])
    read_extensions(buf, packet, IDS)
    if data[-1] & 1 and unwrap_rtx(buf, packet, 1, 96):
        payload = payload[2:]
    kept = [(identifier, bytes(buf[at : at + size])) for identifier, at, size in packet.kept]
    normalise_header(buf, packet, IDS)
    assert 0 <= packet.start <= packet.payload_start <= packet.end <= HEADROOM + len(data)
    assert buf.endswith(b"guard")
    out = bytes(buf[packet.start : packet.end])
    again = parse_packet_untrusted(out, 0, len(out))
    assert out[again.payload_start :] == payload
    assert header_size(out, 0) == again.payload_start
    assert (again.sequence, again.ssrc) == (packet.sequence, packet.ssrc)
    found = [(i, out[at : at + size]) for i, at, size in iter_extensions(out, again)]
    # The first two are the places of the hop; the rest may be cut for want of room.
    assert found[2:] == kept[: len(found) - 2]
    assert len(build_rtx(out, 2, 97, 3)) == len(out) + 2


def payload(data: bytes) -> None:
    """Whatever a payload says, only the fields that were found are written."""
    for codec in CODECS:
        picture = Picture()
        get_inspector(codec)(data, 0, len(data), picture)
        out = bytearray(data)
        write_picture(out, picture, 0, 12345, 77, 9)
        assert len(out) == len(data)
        changed = sum(a != b for a, b in zip(out, data, strict=True))
        assert changed <= 4
    assert -1 <= find_primary(data, 0, len(data)) <= len(data)
    for codec in ("H264", "H265"):
        sets = ParameterSets(codec, {"sprop-parameter-sets": data.decode("latin-1")})
        sets.receive(data, 0, len(data), 1)
        assert all(len(unit) <= MAX_SET for unit in sets.list_units())


def rtcp(data: bytes) -> None:
    """RTCP is read or refused; so is the transport feedback in it."""
    try:
        found = parse_compound_untrusted(data, 0, len(data))
    except RtcpError:
        return
    for one in found:
        if isinstance(one, TransportFeedback):
            feedback(one.body)


def feedback(data: bytes) -> None:
    """Transport feedback says as much as it claims, or is refused."""
    try:
        read = parse_feedback_untrusted(data)
    except RtcpError:
        return
    assert len(read.arrivals) == int.from_bytes(data[2:4], "big")
