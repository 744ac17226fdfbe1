"""The size of a picture, by H264's sequence parameter set (ITU-T H.264, 7.3.2.1.1)."""

from __future__ import annotations

from typing import Final

WITH_CHROMA: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Profiles whose parameter sets say how colours are sampled."""

MAX_SIDE: Final = 16384
"""Pixels: no level allows more."""


class _End(Exception):
    """The bits are used up, or make no sense."""


class _Bits:
    """A raw byte sequence, without its emulation prevention: bits from the front."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise _End
        return self._value >> self._left & (1 << count) - 1

    def take_unsigned(self) -> int:
        """ue(v), 9.1: as many zeros as bits follow the first one."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise _End
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_scaling_list(self, size: int) -> None:
        """7.3.2.1.1.1."""
        last = following = 8
        for _ in range(size):
            if following:
                code = self.take_unsigned()
                following = last + ((code + 1) // 2 if code & 1 else -(code // 2)) & 0xFF
            last = following or last


def read_size(parameters: bytes) -> tuple[int, int] | None:
    """Width and height by a sequence parameter set without its first byte; None: not to be read."""
    try:
        return _read_size(_Bits(parameters))
    except _End:
        return None


def _read_size(bits: _Bits) -> tuple[int, int] | None:
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.take_unsigned()
    chroma = 1
    if profile in WITH_CHROMA:
        chroma = _skip_chroma(bits)
    bits.take_unsigned()  # log2_max_frame_num_minus4
    order = bits.take_unsigned()
    if order == 0:
        bits.take_unsigned()
    elif order == 1:
        bits.take(1)
        bits.take_unsigned()
        bits.take_unsigned()
        for _ in range(min(bits.take_unsigned(), 255)):
            bits.take_unsigned()
    bits.take_unsigned()  # max_num_ref_frames
    bits.take(1)
    width = 16 * (bits.take_unsigned() + 1)
    rows = bits.take_unsigned() + 1
    frames_only = bits.take(1)
    if not frames_only:
        bits.take(1)
    bits.take(1)
    height = 16 * rows * (2 - frames_only)
    if bits.take(1):
        left, right, top, bottom = (bits.take_unsigned() for _ in range(4))
        width -= (left + right) * (2 if chroma in (1, 2) else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1) * (2 - frames_only)
    if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE:
        return width, height
    return None


def _skip_chroma(bits: _Bits) -> int:
    chroma = bits.take_unsigned()
    if chroma == 3:
        bits.take(1)
    bits.take_unsigned()
    bits.take_unsigned()
    bits.take(1)
    if bits.take(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                bits.skip_scaling_list(16 if index < 6 else 64)
    return chroma
