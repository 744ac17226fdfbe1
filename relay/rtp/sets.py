"""Parameter sets of H.264 and H.265: kept, so that who comes later can decode.

Some encoders send theirs with the first picture only, or say them in SDP alone. Nothing here
judges what a set says.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .packet import ReadBuffer

MAX_SET: Final = 1000
"""Bytes: a larger one would not fit a packet of its own. Usual ones have 10 to 100."""

MAX_SETS: Final = 8
"""Sets of one kind: H.264 allows 32, of which encoders use one."""

# NAL unit types in the order in which a decoder needs them, with the parameters of `a=fmtp` that
# hold them (RFC 6184, 8.1; RFC 7798, 7.1).
_H264: Final = (7, 8)
_H265: Final = (32, 33, 34)
_SPROPS: Final[Mapping[str, Sequence[str]]] = {
    "h264": ("sprop-parameter-sets",),
    "h265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}


class ParameterSets:
    """Those of one stream, the last of each id; `None` of them until they have come."""

    def __init__(self, codec: str, announced: Mapping[str, str]) -> None:
        """`announced` are the parameters of `a=fmtp`."""
        self._h265 = codec.lower() == "h265"
        self._kinds = _H265 if self._h265 else _H264
        self._sets: dict[int, dict[bytes, bytes]] = {kind: {} for kind in self._kinds}
        self._seen: dict[int, int] = {}
        self._came = False
        for unit in _read_announced(codec, announced):
            self._keep(unit)

    def receive(self, buf: ReadBuffer, start: int, end: int, timestamp: int) -> None:
        """Keep what sets there are in a payload of the picture at `timestamp`."""
        self._came = False
        if end - start < 3:
            return
        kind = buf[start] >> 1 & 0x3F if self._h265 else buf[start] & 0x1F
        if kind in self._kinds:
            self._note(bytes(buf[start:end]), timestamp)
        elif kind == (48 if self._h265 else 24):
            for unit in _split(buf, start + (2 if self._h265 else 1), end):
                if self._get_kind(unit) in self._kinds:
                    self._note(unit, timestamp)

    def lacks(self, timestamp: int) -> bool:
        """Return whether the picture at `timestamp`, whose packet was looked at last, has come
        without some of them, which are known. Not yet, where that packet has some itself."""
        if self._came or not all(self._sets.values()):
            return False
        return any(self._seen.get(kind) != timestamp for kind in self._kinds)

    def list_units(self) -> list[bytes]:
        """The NAL units to decode with."""
        return [unit for kind in self._kinds for unit in self._sets[kind].values()]

    def _note(self, unit: bytes, timestamp: int) -> None:
        self._came = True
        self._seen[self._get_kind(unit)] = timestamp
        self._keep(unit)

    def _keep(self, unit: bytes) -> None:
        kept = self._sets.get(self._get_kind(unit))
        if kept is not None and 3 <= len(unit) <= MAX_SET:
            identity = self._get_id(unit)
            kept.pop(identity, None)
            kept[identity] = unit
            if len(kept) > MAX_SETS:
                del kept[next(iter(kept))]

    def _get_kind(self, unit: bytes) -> int:
        if not unit:
            return -1
        return unit[0] >> 1 & 0x3F if self._h265 else unit[0] & 0x1F

    def _get_id(self, unit: bytes) -> bytes:
        """What tells sets of one kind apart: the bits of their id, with no attempt at its value.

        H.264, 7.3.2.1 and 7.3.2.2: a sequence parameter set has its id, an Exp-Golomb code, after
        three bytes of profile and level, a picture parameter set at once. H.265, 7.3.2: a picture
        parameter set at once; of the others the streams of browsers and encoders have one.
        """
        if self._h265:
            return _read_code(unit, 2) if self._get_kind(unit) == 34 else b""
        return _read_code(unit, 4 if self._get_kind(unit) == 7 else 1)


def _read_code(unit: bytes, at: int) -> bytes:
    """The Exp-Golomb code that begins a byte, as bits: as many as it has zeros, and one, again."""
    bits = "".join(f"{byte:08b}" for byte in unit[at : at + 3])
    zeros = len(bits) - len(bits.lstrip("0"))
    return bits[: 2 * zeros + 1].encode()


def _split(buf: ReadBuffer, at: int, end: int) -> Iterator[bytes]:
    """The NAL units of an aggregation packet."""
    while at + 2 < end:
        size = buf[at] << 8 | buf[at + 1]
        if not 0 < size <= end - at - 2:
            return
        yield bytes(buf[at + 2 : at + 2 + size])
        at += 2 + size


def _read_announced(codec: str, announced: Mapping[str, str]) -> Iterator[bytes]:
    for name in _SPROPS.get(codec.lower(), ()):
        for text in announced.get(name, "").split(",")[: 2 * MAX_SETS]:
            try:
                yield base64.b64decode(text, validate=True)
            except ValueError:  # binascii.Error among them
                return
