"""The Data Channel Establishment Protocol (RFC 8832): OPEN and ACK."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from .packet import MalformedSctp

ACK: Final = b"\x02"
OPEN: Final = 3
MAX_LABEL: Final = 256
"""Bytes of a label, and of a protocol's name."""

_OPEN: Final = Struct("!BBHIHH")
_UNORDERED: Final = 0x80
_RETRANSMITS: Final = 0x01
_LIFETIME: Final = 0x02


@dataclass(frozen=True, slots=True)
class Open:
    """A channel's properties. Both limits None: reliable. `lifetime` in ms."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    lifetime: int | None = None
    priority: int = 256


# |  Message Type |  Channel Type |            Priority           |
# |                    Reliability Parameter                      |
# |         Label Length          |       Protocol Length         |
# |                     Label, then Protocol                      |
def parse_open_untrusted(data: bytes) -> Open:
    """Parse a DATA_CHANNEL_OPEN. Raise MalformedSctp."""
    if len(data) < _OPEN.size:
        raise MalformedSctp("short OPEN")
    type, channel, priority, limit, label_size, protocol_size = _OPEN.unpack_from(data)
    kind = channel & ~_UNORDERED
    if type != OPEN or kind > _LIFETIME:
        raise MalformedSctp("OPEN of an unknown kind")
    if max(label_size, protocol_size) > MAX_LABEL:
        raise MalformedSctp("label too long")
    if len(data) != _OPEN.size + label_size + protocol_size:
        raise MalformedSctp("OPEN length")
    middle = _OPEN.size + label_size
    try:
        label, protocol = data[_OPEN.size : middle].decode(), data[middle:].decode()
    except UnicodeDecodeError:
        raise MalformedSctp("label is not UTF-8") from None
    return Open(
        label,
        protocol,
        ordered=not channel & _UNORDERED,
        max_retransmits=limit if kind == _RETRANSMITS else None,
        lifetime=limit if kind == _LIFETIME else None,
        priority=priority,
    )


def build_open(open: Open) -> bytes:
    """Return a DATA_CHANNEL_OPEN."""
    label, protocol = open.label.encode(), open.protocol.encode()
    kind, limit = 0, 0
    if open.max_retransmits is not None:
        kind, limit = _RETRANSMITS, open.max_retransmits
    elif open.lifetime is not None:
        kind, limit = _LIFETIME, open.lifetime
    channel = kind | (0 if open.ordered else _UNORDERED)
    head = _OPEN.pack(OPEN, channel, open.priority, limit, len(label), len(protocol))
    return head + label + protocol
