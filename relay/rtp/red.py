"""Redundant audio (RFC 2198): what was said last, once more beside what was said before.

Nothing here raises: a payload that makes no sense has no primary block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .packet import Buffer, ReadBuffer

MAX_BLOCKS: Final = 32
"""Blocks of one packet: Chromium sends three, and the loop over them is Python's."""


#   |1| type (7) | timestamp offset (14) | length (10) |  of each redundant block, oldest first
#   |0| type (7) |                                        of the primary block
#   | redundant blocks ... | primary block, to the end |
def find_primary(buf: ReadBuffer, start: int, end: int) -> int:
    """Return where the primary block's bytes begin in a payload; -1 if it is malformed."""
    at, length = start, 0
    for _ in range(MAX_BLOCKS):
        if at >= end:
            return -1
        if not buf[at] & 0x80:
            primary = at + 1 + length
            return primary if primary <= end else -1
        if at + 4 > end:
            return -1
        length += (buf[at + 2] & 0x03) << 8 | buf[at + 3]
        at += 4
    return -1


def rename(buf: Buffer, start: int, types: Mapping[int, int]) -> bool:
    """Give the blocks' payload types other numbers; False, and some have changed, where one of
    them is not among `types`. The payload is one of which `find_primary` made sense."""
    at = start
    while True:
        number = types.get(buf[at] & 0x7F)
        if number is None:
            return False
        buf[at] = buf[at] & 0x80 | number
        if not buf[at] & 0x80:
            return True
        at += 4
