"""SCTP packets: the common header, and the chunks in it (RFC 9260, 3)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

DATA: Final = 0
INIT: Final = 1
INIT_ACK: Final = 2
SACK: Final = 3
HEARTBEAT: Final = 4
HEARTBEAT_ACK: Final = 5
ABORT: Final = 6
SHUTDOWN: Final = 7
SHUTDOWN_ACK: Final = 8
ERROR: Final = 9
COOKIE_ECHO: Final = 10
COOKIE_ACK: Final = 11
SHUTDOWN_COMPLETE: Final = 14
RECONFIG: Final = 130
FORWARD_TSN: Final = 192

MTU: Final = 1191
"""Bytes of one packet; with DTLS, UDP and IPv6 it stays below 1280, which passes everywhere."""
HEADER_SIZE: Final = 12
CHUNK_HEADER_SIZE: Final = 4
MAX_CHUNKS: Final = 300
"""Chunks of one packet; as many of the smallest fill one of MTU."""
TAG_REFLECTED: Final = 0x01
"""The T bit of ABORT and SHUTDOWN-COMPLETE: the tag is the receiver's of what is answered."""

_HEADER: Final = Struct("!HHI")
_CHECKSUM: Final = Struct("<I")
_CHUNK: Final = Struct("!BBH")
_NO_CHECKSUM: Final = bytes(4)
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


class MalformedSctp(ValueError):
    """Bytes that are not what they should be."""


class Chunk(NamedTuple):
    """`value` is what follows the chunk's header, without padding."""

    type: int
    flags: int
    value: bytes


class Packet(NamedTuple):
    """A parsed packet, its checksum verified."""

    source: int
    destination: int
    tag: int
    chunks: list[Chunk]


# 0                   1                   2                   3
# |     Source Port Number        |     Destination Port Number   |
# |                      Verification Tag                         |
# |                   Checksum (CRC32c, little-endian)            |
# |  Chunk Type   | Chunk  Flags  |        Chunk Length           |
# |                          Chunk Value, padded to 4             |
def parse_packet_untrusted(data: bytes) -> Packet:
    """Parse a packet. Raise MalformedSctp."""
    size = len(data)
    if size < HEADER_SIZE + CHUNK_HEADER_SIZE:
        raise MalformedSctp("short")
    source, destination, tag = _HEADER.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, 8)
    if crc32c(data[:8] + _NO_CHECKSUM + data[12:]) != checksum:
        raise MalformedSctp("checksum")
    chunks: list[Chunk] = []
    at = HEADER_SIZE
    while at + CHUNK_HEADER_SIZE <= size:
        type, flags, length = _CHUNK.unpack_from(data, at)
        if length < CHUNK_HEADER_SIZE or at + length > size or len(chunks) == MAX_CHUNKS:
            raise MalformedSctp("chunk length")
        chunks.append(Chunk(type, flags, data[at + CHUNK_HEADER_SIZE : at + length]))
        at += (length + 3) & ~3
    if at < size:
        raise MalformedSctp("trailing bytes")
    return Packet(source, destination, tag, chunks)


def build_packet(source: int, destination: int, tag: int, chunks: Iterable[bytes]) -> bytes:
    """Return a packet of built chunks."""
    head = _HEADER.pack(source, destination, tag)
    body = b"".join(chunks)
    return head + _CHECKSUM.pack(crc32c(head + _NO_CHECKSUM + body)) + body


def build_chunk(type: int, value: bytes = b"", flags: int = 0) -> bytes:
    """Return a chunk with its padding."""
    length = CHUNK_HEADER_SIZE + len(value)
    return _CHUNK.pack(type, flags, length) + value + _PADDING[length & 3]
