"""Redundant audio (RFC 2198) toward those who take it, and what is in it toward those who do not.

A packet lies in memory once, so whoever takes it whole is served first; then its header moves to
its primary block, over the redundant ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..rtp.packet import Packet, ReadBuffer, header_size
from ..rtp.red import find_primary, rename
from ..sdp.capabilities import OPUS, RED
from .item import Item
from .tracks import DownTrack

OPUS_TYPE: Final = OPUS.payload_type
RED_TYPE: Final = RED.payload_type


def normalise(view: memoryview, packet: Packet, types: Mapping[int, int]) -> bool:
    """Have a packet of RED say the relay's number of what it wraps; False: it makes no sense, or
    wraps something else than Opus. `types` is the relay's payload type by the publisher's."""
    if find_primary(view, packet.payload_start, packet.payload_end) < 0:
        return False
    wrapped = {number: relay for number, relay in types.items() if relay == OPUS_TYPE}
    return rename(view, packet.payload_start, wrapped)


def get_wrapped_type(down: DownTrack) -> int | None:
    """The payload type of Opus inside of RED as this subscriber numbers it; None: it takes no
    RED."""
    types = down.payload_types
    return types.get(OPUS_TYPE) if RED_TYPE in types else None


def forward(
    view: memoryview,
    items: Sequence[Item],
    fans: Sequence[tuple[int | None, Callable[[], None]]],
) -> None:
    """Call each of `fans`, with the number that it takes the contents of RED under, when `items`
    are as it takes them: those without RED come last, and then none of the packets is RED."""
    packets = [item.packet for item in items if item.packet.payload_type == RED_TYPE]
    known = OPUS_TYPE
    for number, send in sorted(fans, key=lambda fan: fan[0] is None):
        if number is None:
            break
        if number != known:
            for packet in packets:
                rename(view, packet.payload_start, {known: number})
            known = number
        send()
    for packet in packets:
        _unwrap(view, packet)
    for number, send in fans:
        if number is None:
            send()


def _unwrap(view: memoryview, packet: Packet) -> None:
    """Make the packet one of Opus. It was normalised, so it has a primary block."""
    primary = find_primary(view, packet.payload_start, packet.payload_end)
    header = bytes(view[packet.start : packet.payload_start])
    packet.start = primary - len(header)
    view[packet.start : primary] = header
    view[packet.start + 1] = header[1] & 0x80 | OPUS_TYPE
    packet.payload_start = primary
    packet.payload_type = OPUS_TYPE


def adapt(data: ReadBuffer, down: DownTrack) -> ReadBuffer:
    """A normalised packet as this subscriber takes it: of RED, all or what is in it."""
    if data[1] & 0x7F != RED_TYPE or RED_TYPE not in down.payload_types:
        return _extract(data) if data[1] & 0x7F == RED_TYPE else data
    number = get_wrapped_type(down)
    if number in (None, OPUS_TYPE):
        return data
    out = bytearray(data)
    rename(out, header_size(data, 0), {OPUS_TYPE: number or OPUS_TYPE})
    return out


def _extract(data: ReadBuffer) -> bytes:
    start = header_size(data, 0)
    primary = find_primary(data, start, len(data))
    header = bytes(data[:start])
    return header[:1] + bytes((header[1] & 0x80 | OPUS_TYPE,)) + header[2:] + bytes(data[primary:])
