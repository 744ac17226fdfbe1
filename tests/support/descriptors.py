"""Dependency descriptors as an encoder writes them (RTP payload format for AV1, A.8)."""

from __future__ import annotations

from collections.abc import Sequence

INDICATIONS = "-DSR"


class Bits:
    def __init__(self) -> None:
        self.text = ""

    def put(self, value: int, count: int) -> None:
        self.text += format(value, f"0{count}b") if count else ""

    def put_below(self, value: int, limit: int) -> None:
        """ns(n)."""
        width = limit.bit_length()
        short = (1 << width) - limit
        if value < short:
            self.put(value, width - 1)
        else:
            self.put(value + short >> 1, width - 1)
            self.put(value + short & 1, 1)

    def to_bytes(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def build_descriptor(
    template: int,
    frame: int,
    layers: Sequence[tuple[int, int, str]] = (),
    *,
    first: bool = True,
    last: bool = True,
    offset: int = 0,
    chains: int = 0,
    sizes: Sequence[tuple[int, int]] = (),
) -> bytes:
    """One packet's descriptor; with `layers` (spatial, temporal, indications) of the templates,
    it carries their structure."""
    head = bytes((first << 7 | last << 6 | template + offset & 0x3F,)) + frame.to_bytes(2, "big")
    if not layers:
        return head
    bits = Bits()
    bits.put(0b10000, 5)
    bits.put(offset, 6)
    targets = len(layers[0][2])
    bits.put(targets - 1, 5)
    for (spatial, temporal, _), following in zip(layers, [*layers[1:], None], strict=True):
        if following is None:
            bits.put(3, 2)
        elif following[0] > spatial:
            bits.put(2, 2)
        else:
            bits.put(int(following[1] > temporal), 2)
    for _, _, indications in layers:
        for one in indications:
            bits.put(INDICATIONS.index(one), 2)
    for number in range(len(layers)):
        if number:
            bits.put(1, 1)
            bits.put(number % 16, 4)
        bits.put(0, 1)
    bits.put_below(chains, targets + 1)
    if chains:
        for target in range(targets):
            bits.put_below(target % chains, chains)
        for _ in range(len(layers) * chains):
            bits.put(1, 4)
    bits.put(int(bool(sizes)), 1)
    for width, height in sizes:
        bits.put(width - 1, 16)
        bits.put(height - 1, 16)
    return head + bits.to_bytes()
