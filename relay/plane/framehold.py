"""Holds the packets of a video frame until its last one has come, a few milliseconds at most.

A player can show nothing before a frame is whole, so nothing is seen later for it; and the
packets of a frame, forwarded together, cost a fraction of what they cost one by one: one
turn through cold code for all, and one UDP_SEGMENT send per subscriber. Rules only: rows are
numbers here.
"""

from __future__ import annotations

from typing import Final

from .layer import Layer
from .leg import HOLD, Leg

PATIENCE: Final = 0.009
"""Seconds after which the next packet to arrive ends the wait: the one after it would be too
late, and a timer costs as much as a packet."""

MAX_HELD: Final = 10
"""Packets of a frame held: larger ones go out in parts, so that no burst is larger than this."""


class Held:
    """The packets of one frame so far: (row, size, arrival) in the order they came."""

    __slots__ = ("leg", "rows", "since")

    def __init__(self, leg: Leg, since: float) -> None:
        self.leg = leg
        self.rows: list[tuple[int, int, float]] = []
        self.since = since


class FrameHold:
    """The frames that are not whole yet, one per layer."""

    def __init__(self) -> None:
        self.held: dict[Layer, Held] = {}
        """In the order in which they are due."""

    def wants(self, layer: Layer, marker: bool, now: float) -> bool:
        """Return whether a packet of `layer` is to wait for the rest of its frame; it is no
        retransmission.

        RFC 7741, 4.1, and all other video: "the marker bit [...] MUST be set for the very
        last packet of each encoded frame". The header is not authentic yet; it decides about
        a few milliseconds only.
        """
        if marker or layer.track.kind != "video" or not layer.track.downs:
            return False
        held = self.held.get(layer)
        if held is None:
            return True
        return len(held.rows) < MAX_HELD and now - held.since < PATIENCE

    def hold(self, leg: Leg, layer: Layer, row: int, size: int, now: float) -> None:
        """Keep what `wants` said yes to."""
        held = self.held.get(layer)
        if held is None:
            held = self.held[layer] = Held(leg, now)
            leg.held += 1
        held.rows.append((row, size, now))

    def take(self, layer: Layer) -> list[tuple[int, int, float]]:
        """Return what is held of the layer, to go before its packet that has come now."""
        held = self.held.pop(layer, None)
        if held is None:
            return []
        held.leg.held -= 1
        return held.rows

    def take_due(self, now: float) -> list[Held]:
        """The frames whose rest has not come in time."""
        layers = [layer for layer, held in self.held.items() if now - held.since >= HOLD]
        due = [self.held.pop(layer) for layer in layers]
        for held in due:
            held.leg.held -= 1
        return due

    def get_timer(self) -> float | None:
        """Return when to call `take_due`; None: nothing is held."""
        if not self.held:
            return None
        return next(iter(self.held.values())).since + HOLD
