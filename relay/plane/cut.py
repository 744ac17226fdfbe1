"""What of a layer goes to those who take less than all of it: a `Cut`.

A stream may hold several spatial and temporal layers. Packets of those above a cut's own are left
out, and the others numbered without gaps, once for all who take the cut: to them it is a stream
like any other. The cut that leaves nothing out is the stream itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..rtp.codecs import Picture
from ..rtp.descriptor import TOP
from .item import Item

if TYPE_CHECKING:
    from .layer import Layer

REMEMBERED: Final = 1024
"""Packets whose translation is known: more than are cached to be sent again."""


class Cut:
    """The packets of a layer up to a spatial and a temporal layer; `number` names the stream."""

    __slots__ = (
        "_admitted",
        "_back",
        "_delta",
        "_out",
        "_ring",
        "_shift",
        "_skipped",
        "_top",
        "layer",
        "newest",
        "newest_at",
        "newest_timestamp",
        "number",
        "picture",
        "sent_octets",
        "sent_packets",
        "spatial",
        "temporal",
        "whole",
    )

    def __init__(self, layer: Layer, number: int, spatial: int, temporal: int) -> None:
        self.layer = layer
        self.number = number
        self.spatial = spatial
        self.temporal = temporal
        self.whole = spatial >= TOP and temporal >= TOP
        # The newest packet that was forwarded, to whoever there was.
        self.newest = -1
        self.newest_timestamp = 0
        self.newest_at = 0.0
        self.picture = Picture()
        # Counted per DownTrack as differences: see `DownTrack.packets`.
        self.sent_packets = 0
        self.sent_octets = 0
        self._top = -1
        """The newest packet of the layer that was looked at."""
        self._delta = self._shift = 0
        """What is added to the layer's numbers, and to its picture ids."""
        self._skipped = -1
        """Id of the picture that was left out last."""
        self._ring: dict[int, tuple[int, int]] = {}
        """By the layer's number: what was added to it and to its picture id."""
        self._back: dict[int, tuple[int, int, bool]] = {}
        """By the cut's number: the layer's, what was added to the picture id, and the marker."""
        self._admitted = -1
        self._out: Item | None = None

    def passes(self, picture: Picture) -> bool:
        """Whether a packet belongs to it."""
        return picture.spatial <= self.spatial and picture.temporal <= self.temporal

    def note(self, item: Item, now: float) -> None:
        """This packet, the newest, goes out."""
        self.newest = item.number
        self.newest_timestamp = item.packet.timestamp
        self.newest_at = now

    def admit(self, item: Item) -> Item | None:
        """The packet as it is in this cut; None: it is left out. Asked again about the same
        packet, it answers the same."""
        if self.whole:
            return item
        if item.number != self._admitted:
            self._admitted = item.number
            self._out = self._translate(item)
        return self._out

    def find_source(self, number: int) -> tuple[int, int, bool] | None:
        """The layer's number of the packet that is `number` here, what was added to its picture
        id, and whether it was marked as its picture's last; None: forgotten."""
        return (number, 0, False) if self.whole else self._back.get(number)

    def _translate(self, item: Item) -> Item | None:
        number, picture = item.number, item.picture
        if number <= self._top:
            # Late: its number is kept free for it, also if it turns out to be of no use.
            known = self._ring.get(number)
            return None if known is None else self._make(item, *known)
        if self._top >= 0:
            for absent in range(max(self._top + 1, number - REMEMBERED), number):
                self._remember(absent)
        self._top = number
        if self.passes(picture):
            self._remember(number)
            return self._make(item, self._delta, self._shift)
        self._delta -= 1
        if picture.dense and picture.picture_id != self._skipped:
            self._skipped = picture.picture_id
            self._shift -= 1
        return None

    def _remember(self, number: int) -> None:
        ring = self._ring
        ring[number] = self._delta, self._shift
        if len(ring) > REMEMBERED:
            del ring[next(iter(ring))]

    def _make(self, item: Item, delta: int, shift: int) -> Item:
        out = Item()
        out.number = item.number + delta
        out.packet = item.packet
        out.picture.copy(item.picture)
        if shift:
            out.picture.picture_id += shift
        # The marker says that a picture is whole (RFC 9628, 4.1; RTP payload format for AV1, 4.2):
        # it moves to the end of the highest layer that is sent.
        out.marker = item.marker | (item.picture.ends and item.picture.spatial == self.spatial)
        back = self._back
        back[out.number] = item.number, shift, bool(out.marker)
        if len(back) > REMEMBERED:
            del back[next(iter(back))]
        return out


def may_move(source: Cut, target: Cut, picture: Picture) -> bool:
    """Whether a receiver of `source` can go on with `target`, of the same layer, from the packet
    that `picture` describes on."""
    if not picture.starts or picture.spatial > 0 or not target.passes(picture):
        return False
    if picture.key_frame:
        return True
    if target.spatial > source.spatial:
        return False
    return target.temporal <= source.temporal or picture.rise >= target.layer.limit(target.temporal)


class Cuts:
    """Every cut of a worker, by number."""

    def __init__(self) -> None:
        self.by_number: dict[int, Cut] = {}
        self._next = 0

    def make(self, layer: Layer, spatial: int, temporal: int) -> Cut:
        self._next += 1
        cut = self.by_number[self._next] = Cut(layer, self._next, spatial, temporal)
        return cut

    def remove(self, cut: Cut) -> None:
        self.by_number.pop(cut.number, None)
