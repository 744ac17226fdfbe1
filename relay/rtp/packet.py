"""An RTP packet's header, parsed to offsets and rewritten in place (RFC 3550, RFC 8285).

Nothing here copies a payload. A `Packet` is a reusable slot that says where the
fields of one packet lie in somebody else's buffer; a header is normalised once on
the way in, so that per subscriber only fields at known offsets change. Above 400 lines,
because who writes a header relies on how it was read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum

Buffer = bytearray | memoryview
ReadBuffer = bytes | bytearray | memoryview

HEADER_SIZE = 12  # bytes, without CSRCs and extension
HEADROOM = 32  # free bytes a caller leaves before a packet: a normalised header may be longer
MAX_KEPT = 16  # extension elements carried through; a real packet has five at most

# Where a normalised packet's fields lie, in bytes from its start.
MARKER_AT = 1  # marker (top bit) and payload type
SEQUENCE_AT = 2
TIMESTAMP_AT = 4
SSRC_AT = 8

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_ONE_BYTE = 0xBEDE
_TWO_BYTE = 0x1000


class PacketError(ValueError):
    """The bytes are no RTP packet; the message says why, and quotes none of them."""


class Extension(StrEnum):
    """Header extensions that the relay reads or rewrites, by the URI of `a=extmap`."""

    MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
    RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
    REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
    AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    TRANSPORT_SEQUENCE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    TRANSMISSION_OFFSET = "urn:ietf:params:rtp-hdrext:toffset"
    VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
    PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
    DEPENDENCY_DESCRIPTOR = (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    )


# What is true of one hop only, or names an m-line: never carried through.
_HOP_BY_HOP = frozenset(
    {
        Extension.MID,
        Extension.RID,
        Extension.REPAIRED_RID,
        Extension.TRANSPORT_SEQUENCE,
        Extension.ABS_SEND_TIME,
        Extension.TRANSMISSION_OFFSET,
    }
)

# What `read_extensions` does with an element: small integers, for a table lookup per element.
(
    _IGNORE,
    _KEEP,
    _TRANSPORT,
    _LEVEL,
    _MID,
    _RID,
    _REPAIRED,
    _DESCRIPTOR,
) = range(8)

_READ: Mapping[str, int] = {
    Extension.MID: _MID,
    Extension.RID: _RID,
    Extension.REPAIRED_RID: _REPAIRED,
    Extension.AUDIO_LEVEL: _LEVEL,
    Extension.TRANSPORT_SEQUENCE: _TRANSPORT,
    Extension.DEPENDENCY_DESCRIPTOR: _DESCRIPTOR,
}


class _Places:
    """The first elements of a normalised extension, in one of the two forms: zeros to fill in."""

    __slots__ = ("alone", "elements", "send_time_at", "transport_sequence_at")

    def __init__(self, transport_sequence: int, send_time: int, two_byte: bool) -> None:
        self.transport_sequence_at = self.send_time_at = -1
        elements = bytearray()
        for identifier, size in ((transport_sequence, 2), (send_time, 3)):
            if not identifier:
                continue
            elements += bytes((identifier, size) if two_byte else (identifier << 4 | size - 1,))
            if size == 2:
                self.transport_sequence_at = HEADER_SIZE + 4 + len(elements)
            else:
                self.send_time_at = HEADER_SIZE + 4 + len(elements)
            elements += bytes(size)
        self.elements = bytes(elements)
        self.alone = _with_head(elements, two_byte)


class ExtensionMap:
    """How a publisher's extension ids become the relay's.

    `incoming` and `outgoing` map URIs to ids: those the publisher's SDP negotiated, and
    the relay's own. An element whose URI is not in `outgoing` is dropped; the
    transport-wide number and the send time get a place in every packet if they are in it.
    The relay's own ids of these two are 1 to 14.
    """

    __slots__ = ("actions", "places", "relay_ids")

    def __init__(self, incoming: Mapping[str, int], outgoing: Mapping[str, int]) -> None:
        self.actions = [_IGNORE] * 256
        self.relay_ids = [0] * 256
        for uri, identifier in incoming.items():
            if not 0 < identifier < 256:
                continue
            if uri in outgoing and uri not in _HOP_BY_HOP:
                self.relay_ids[identifier] = outgoing[uri]
                self.actions[identifier] = _KEEP
            self.actions[identifier] = _READ.get(uri, self.actions[identifier])
        transport_sequence = outgoing.get(Extension.TRANSPORT_SEQUENCE, 0)
        send_time = outgoing.get(Extension.ABS_SEND_TIME, 0)
        self.places = tuple(_Places(transport_sequence, send_time, form) for form in (False, True))


class Packet:
    """Where the fields of one packet lie. Offsets are positions in the buffer, not in the packet.

    `-1` or None: not there. `transport_sequence_at` and `send_time_at` are set by
    `normalise_header` and count from the packet's `start`.
    """

    __slots__ = (
        "audio_level",
        "descriptor_at",
        "descriptor_size",
        "end",
        "extension_end",
        "extension_profile",
        "extension_start",
        "has_read",
        "kept",
        "marker",
        "mid",
        "padding",
        "payload_end",
        "payload_start",
        "payload_type",
        "repaired_rid",
        "rid",
        "send_time_at",
        "sequence",
        "ssrc",
        "start",
        "timestamp",
        "transport_sequence",
        "transport_sequence_at",
    )

    def __init__(self) -> None:
        self.start = self.end = 0
        self.marker = 0  # 0 or 1
        self.payload_type = 0
        self.sequence = 0
        self.timestamp = 0
        self.ssrc = 0
        self.payload_start = self.payload_end = 0
        self.padding = 0  # bytes of padding that `end` had beyond `payload_end`
        self.extension_profile = 0
        self.extension_start = self.extension_end = 0
        # Of the extensions: valid after read_extensions.
        self.kept: list[tuple[int, int, int]] = []  # relay id, offset, length
        self.transport_sequence = -1
        self.audio_level = -1  # 0 (loudest) to 127 (silence), in -dBov
        self.mid: bytes | None = None
        self.rid: bytes | None = None
        self.repaired_rid: bytes | None = None
        self.descriptor_at = -1  # the dependency descriptor's value, in the buffer
        self.descriptor_size = 0
        self.has_read = False  # whether any of these was there
        # Of the normalised header: from the packet's start.
        self.transport_sequence_at = -1
        self.send_time_at = -1


def is_rtcp(buf: ReadBuffer, start: int) -> bool:
    """Whether the packet at `start`, of at least two bytes, is RTCP and not RTP.

    RFC 5761, section 4: "payload type values in the range 64-95 MUST NOT be used" for
    RTP, so the second byte, marker included, tells the two apart.
    """
    return 64 <= buf[start + 1] & 0x7F <= 95


#   0                   1                   2                   3
#   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |V=2|P|X|  CC   |M|     PT      |       sequence number         |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |                           timestamp                           |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |                             SSRC                              |
#  +=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
#  |                   CC times a CSRC identifier                  |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  | if X: extension profile       |  its length in 32-bit words   |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |    extension, payload; if P: padding, its last byte its size  |
def parse_packet_untrusted(
    buf: ReadBuffer, start: int, end: int, into: Packet | None = None
) -> Packet:
    """Parse the packet in buf[start:end] (decrypted, without its SRTP tag) into a slot.

    Extensions are located, not read: see `read_extensions`. A payload may be empty: a
    packet that is all padding is a probe.

    Raises PacketError and nothing else.
    """
    packet = Packet() if into is None else into
    if end - start < HEADER_SIZE or end > len(buf) or start < 0:
        raise PacketError("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(buf, start)
    if first >> 6 != 2:
        raise PacketError("RTP version is not 2")
    at = start + HEADER_SIZE + 4 * (first & 0x0F)
    if first & 0x10:
        if at + 4 > end:
            raise PacketError("header extension is cut off")
        packet.extension_profile, words = _EXTENSION.unpack_from(buf, at)
        packet.extension_start = at + 4
        at += 4 + 4 * words
        packet.extension_end = at
    else:
        packet.extension_profile = 0
        packet.extension_start = packet.extension_end = at
    if at > end:
        raise PacketError("header is longer than the packet")
    padding = 0
    if first & 0x20:
        # RFC 3550, 5.1: "The last octet of the padding contains a count of how many
        # padding octets should be ignored, including itself."
        padding = buf[end - 1]
        if padding == 0 or padding > end - at:
            raise PacketError("padding is longer than the payload, or zero")
    packet.start = start
    packet.end = end
    packet.marker = second >> 7
    packet.payload_type = second & 0x7F
    packet.sequence = sequence
    packet.timestamp = timestamp
    packet.ssrc = ssrc
    packet.payload_start = at
    packet.payload_end = end - padding
    packet.padding = padding
    return packet


#  One-byte form, profile 0xBEDE:  |  ID   | len-1 | value ...
#  Two-byte form, profile 0x100x:  |      ID       |    length     | value ...
def iter_extensions(buf: ReadBuffer, packet: Packet) -> Iterator[tuple[int, int, int]]:
    """Each element of the header extension as (id, offset of its value, length).

    A malformed element ends the walk; those before it count. Never raises.
    """
    at, end = packet.extension_start, packet.extension_end
    if packet.extension_profile == _ONE_BYTE:
        one_byte = True
    elif packet.extension_profile & 0xFFF0 == _TWO_BYTE:
        # RFC 8285, 4.3: the low four bits, "appbits", "are reserved for [...] an application".
        one_byte = False
    else:
        return
    while at < end:
        identifier = buf[at]
        at += 1
        # RFC 8285, 4.2: "Padding bytes have the value of 0 [...] MUST be ignored".
        if identifier == 0:
            continue
        if one_byte:
            length = (identifier & 0x0F) + 1
            identifier >>= 4
            # RFC 8285, 4.2: "If the ID value 15 is used [...] processing of the entire
            # extension MUST terminate at that point"; so too for 0 with a length.
            if identifier in (0, 15):
                return
        else:
            if at >= end:
                return
            length = buf[at]
            at += 1
        if at + length > end:
            return
        yield identifier, at, length
        at += length


def read_extensions(buf: ReadBuffer, packet: Packet, ids: ExtensionMap) -> None:
    """Read what the relay uses of the extension, and note what is carried through. Never raises."""
    if packet.has_read:
        packet.has_read = False
        packet.kept.clear()
        packet.transport_sequence = packet.audio_level = -1
        packet.descriptor_at = -1
        packet.mid = packet.rid = packet.repaired_rid = None
    if packet.extension_start == packet.extension_end:
        return
    packet.has_read = True
    actions, relay_ids = ids.actions, ids.relay_ids
    for identifier, at, length in iter_extensions(buf, packet):
        action = actions[identifier]
        if action == _IGNORE:
            continue
        if action == _TRANSPORT:
            if length >= 2:
                packet.transport_sequence = buf[at] << 8 | buf[at + 1]
        elif action == _LEVEL:
            if length:
                packet.audio_level = buf[at] & 0x7F
        elif action == _MID:
            packet.mid = bytes(buf[at : at + length])
        elif action == _RID:
            packet.rid = bytes(buf[at : at + length])
        elif action == _REPAIRED:
            packet.repaired_rid = bytes(buf[at : at + length])
        elif action == _DESCRIPTOR and length >= 3:
            packet.descriptor_at = at
            packet.descriptor_size = length
        if relay_ids[identifier] and len(packet.kept) < MAX_KEPT:
            packet.kept.append((relay_ids[identifier], at, length))


def normalise_header(buf: Buffer, packet: Packet, ids: ExtensionMap) -> None:
    """Rewrite the header in place, right before the payload, which does not move.

    Afterwards: no CSRCs, no padding, only the extensions of `ids`, under the relay's ids,
    first a place for the transport-wide number and one for the send time (both zero).
    `packet` says where: `start` and `end` have moved. Sequence number, timestamp, SSRC,
    payload type and marker are written from `packet`, so that a change there (a
    retransmission unwrapped, a number compacted) reaches the wire.

    The caller leaves HEADROOM bytes before a packet. Where even that is not enough, kept
    extensions are dropped from the last; with less than 28 bytes before the payload,
    raises PacketError. `read_extensions` comes first.
    """
    kept = packet.kept
    extension = _build_extension(buf, packet, ids)
    start = packet.payload_start - HEADER_SIZE - len(extension)
    while start < 0:
        if not kept:
            raise PacketError("no room for a header")
        kept.pop()
        extension = _build_extension(buf, packet, ids)
        start = packet.payload_start - HEADER_SIZE - len(extension)
    if packet.descriptor_at >= 0:
        packet.descriptor_at = _descriptor_place(packet, ids, start)
    buf[start + HEADER_SIZE : packet.payload_start] = extension
    _HEADER.pack_into(
        buf,
        start,
        # RFC 3550, 5.1: CC "contains the number of CSRC identifiers": a relay mixes nothing.
        0x90 if extension else 0x80,
        packet.marker << 7 | packet.payload_type,
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    packet.start = start
    packet.end = packet.payload_end
    packet.padding = 0
    packet.extension_end = packet.payload_start
    packet.extension_start = start + HEADER_SIZE + 4 if extension else packet.payload_start
    packet.extension_profile = extension[0] << 8 | extension[1] if extension else 0
    kept.clear()


def _build_extension(buf: ReadBuffer, packet: Packet, ids: ExtensionMap) -> bytes:
    """The normalised extension with its four-byte head, or nothing; notes the hop's two places."""
    two_byte = bool(packet.kept) and _needs_two_bytes(packet)
    places = ids.places[two_byte]
    packet.transport_sequence_at = places.transport_sequence_at
    packet.send_time_at = places.send_time_at
    if not packet.kept:
        return places.alone
    out = bytearray(places.elements)
    for identifier, at, length in packet.kept:
        if two_byte:
            out += bytes((identifier, length))
        else:
            out.append(identifier << 4 | length - 1)
        out += buf[at : at + length]
    return _with_head(out, two_byte)


def _with_head(elements: bytes | bytearray, two_byte: bool) -> bytes:
    if not elements:
        return b""
    # RFC 8285, 4.1.2: "the length field [...] is the number of 32-bit words in the extension".
    words = (len(elements) + 3) // 4
    head = _EXTENSION.pack(_TWO_BYTE if two_byte else _ONE_BYTE, words)
    return head + bytes(elements) + bytes(4 * words - len(elements))


def _needs_two_bytes(packet: Packet) -> bool:
    # RFC 8285, 4.2: the one-byte form carries ids 1 to 14 and values of 1 to 16 bytes.
    return any(identifier > 14 or not 0 < length <= 16 for identifier, _, length in packet.kept)


def _descriptor_place(packet: Packet, ids: ExtensionMap, start: int) -> int:
    """Where the dependency descriptor's value lies after normalising; -1 if it is not carried."""
    two_byte = _needs_two_bytes(packet)
    head = 2 if two_byte else 1
    at = start + HEADER_SIZE + 4 + len(ids.places[two_byte].elements)
    for _, value_at, length in packet.kept:
        if value_at == packet.descriptor_at:
            return at + head
        at += head + length
    return -1


#   RTX payload, RFC 4588, 4:   | OSN (2 bytes) | original payload ...
def unwrap_rtx(buf: ReadBuffer, packet: Packet, ssrc: int, payload_type: int) -> bool:
    """Turn a retransmission into the packet it repeats; `ssrc` and `payload_type` are the media's.

    False if it carries nothing (a probe of padding alone). The header in the buffer is
    stale until `normalise_header`.
    """
    at = packet.payload_start
    if packet.payload_end - at < 2:
        return False
    # RFC 4588, 4: "the original sequence number (OSN)" is the first two bytes of the payload.
    packet.sequence = buf[at] << 8 | buf[at + 1]
    packet.payload_start = at + 2
    packet.ssrc = ssrc
    packet.payload_type = payload_type
    return True


def header_size(buf: ReadBuffer, start: int) -> int:
    """Bytes from `start` to the payload of a normalised packet."""
    if buf[start] & 0x10:
        return HEADER_SIZE + 4 + 4 * (buf[start + 14] << 8 | buf[start + 15])
    return HEADER_SIZE


def find_extension(packet: ReadBuffer, identifier: int) -> int:
    """Where in a whole, normalised packet the value of at least three bytes of that extension
    lies; -1 if it has none."""
    slot = parse_packet_untrusted(packet, 0, len(packet))
    for found, at, length in iter_extensions(packet, slot):
        if found == identifier and length >= 3:
            return at
    return -1


def build_rtx(packet: ReadBuffer, ssrc: int, payload_type: int, sequence: int) -> bytearray:
    """Wrap a normalised packet, already on the subscriber's timeline, as a retransmission."""
    size = header_size(packet, 0)
    out = bytearray(packet[:size])
    out += packet[SEQUENCE_AT : SEQUENCE_AT + 2]
    out += packet[size:]
    # RFC 4588, 4: the header is the original's, but for SSRC, payload type and sequence number.
    out[MARKER_AT] = out[MARKER_AT] & 0x80 | payload_type
    struct.pack_into("!H", out, SEQUENCE_AT, sequence)
    struct.pack_into("!I", out, SSRC_AT, ssrc)
    return out


#   | RTP header | 0xBEDE, 1 | number's id and length | number (2) | 0 | padding ... | its size |
def build_padding(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, number: tuple[int, int], size: int
) -> bytearray:
    """A packet of `size` bytes of padding, 1 to 255, and nothing else; `number` is the id of the
    transport-wide number and the number itself."""
    # RFC 3550, 5.1: P "contains one or more additional padding octets at the end".
    out = bytearray(_HEADER.pack(0xB0, payload_type, sequence, timestamp & 0xFFFFFFFF, ssrc))
    out += _EXTENSION.pack(_ONE_BYTE, 1)
    out += bytes((number[0] << 4 | 1, number[1] >> 8, number[1] & 0xFF, 0))
    return out + bytes(size - 1) + bytes((size,))
