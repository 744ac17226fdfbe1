"""The dependency descriptor's structure: which spatial and temporal layer each frame belongs to.

RTP payload format for AV1, appendix A. What a frame depends on stays as it is written: a relay
drops only frames that no other one depends on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_TEMPLATES: Final = 64
SWITCH: Final = 2
"""A decode target indication: "it is possible to switch to the Decode target at this frame"."""

TOP: Final = 7
"""A temporal layer above all others."""


class DescriptorError(ValueError):
    """The bytes are no dependency descriptor."""


class Template(NamedTuple):
    """What frames of one kind have in common."""

    spatial: int
    temporal: int
    rise: int
    """The temporal layer up to which a receiver may rise with such a frame; -1: it may not."""


class Structure(NamedTuple):
    """What a key frame says of all frames until the next one."""

    offset: int
    templates: tuple[Template, ...]
    sizes: tuple[tuple[int, int], ...]
    """Width and height of each spatial layer; empty where they are not said."""

    def find(self, template_id: int) -> Template | None:
        """The template of a frame with this id."""
        index = template_id - self.offset & 0x3F
        return self.templates[index] if index < len(self.templates) else None


class _Bits:
    """Bits from the front; raises DescriptorError behind the last one."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise DescriptorError("the dependency descriptor is cut off")
        return self._value >> self._left & (1 << count) - 1

    def take_below(self, limit: int) -> int:
        """A number below `limit`, in the format ns(n) of the AV1 specification, 4.10.7."""
        width = limit.bit_length()
        short = (1 << width) - limit
        value = self.take(width - 1)
        return value if value < short else (value << 1) - short + self.take(1)


#  |S|E| template id (6) |       frame number (16)       |T|A|D|F|C| structure, if T | ...
def parse_structure_untrusted(data: bytes) -> Structure | None:
    """The structure that a descriptor of more than three bytes carries; None if it has none.
    Raises DescriptorError and nothing else."""
    if len(data) < 4 or not data[3] & 0x80:
        return None
    bits = _Bits(data[3:])
    bits.take(5)
    offset = bits.take(6)
    targets = bits.take(5) + 1
    layers = _take_layers(bits)
    indications = [[bits.take(2) for _ in range(targets)] for _ in layers]
    for _ in layers:
        while bits.take(1):  # fdiff_follows_flag
            bits.take(4)
    _skip_chains(bits, targets, len(layers))
    sizes: tuple[tuple[int, int], ...] = ()
    if bits.take(1):
        spatial = max(layer[0] for layer in layers) + 1
        sizes = tuple((bits.take(16) + 1, bits.take(16) + 1) for _ in range(spatial))
    return Structure(offset, _make_templates(layers, indications), sizes)


def _take_layers(bits: _Bits) -> list[tuple[int, int]]:
    """Spatial and temporal layer of each template."""
    layers: list[tuple[int, int]] = []
    spatial = temporal = 0
    while True:
        layers.append((spatial, temporal))
        step = bits.take(2)  # next_layer_idc
        if step == 3:
            return layers
        if step == 1:
            temporal += 1
        elif step == 2:
            spatial, temporal = spatial + 1, 0
        if len(layers) >= MAX_TEMPLATES or spatial > 3 or temporal > TOP:
            raise DescriptorError("more templates or layers than there can be")


def _skip_chains(bits: _Bits, targets: int, templates: int) -> None:
    chains = bits.take_below(targets + 1)
    if chains:
        for _ in range(targets):
            bits.take_below(chains)
        bits.take(4 * chains * templates)


def _make_templates(
    layers: list[tuple[int, int]], indications: list[list[int]]
) -> tuple[Template, ...]:
    # A.8.3.1: a decode target's layer is the highest of the frames that are present in it.
    reach = [
        max((layer[1] for layer, row in zip(layers, indications, strict=True) if row[t]), default=0)
        for t in range(len(indications[0]))
    ]
    top = max(reach)
    templates = []
    for (spatial, temporal), row in zip(layers, indications, strict=True):
        rise = max((reach[t] for t, one in enumerate(row) if one == SWITCH), default=-1)
        templates.append(Template(spatial, temporal, TOP if rise == top else rise))
    return tuple(templates)
