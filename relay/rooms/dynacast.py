"""Which layers of a simulcast somebody takes, for its publisher to send no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..plane.tracks import UpTrack

OFF_AFTER: Final = 5.0
"""Seconds after which a layer that nobody takes is switched off."""

INTERVAL: Final = 0.5
"""Seconds between two messages about one track."""


class Dynacast:
    """One track's. A layer that is wanted is switched on at once, with all others off after a
    while; until the first message, all are on."""

    def __init__(self) -> None:
        self._told: set[int] | None = None
        self._taken_at: dict[int, float] = {}
        self._told_at = float("-inf")

    def update(self, track: UpTrack, now: float) -> Sequence[str] | None:
        """The rids that are to be sent, best first as the publisher named them, if they are others
        than it was told; None: nothing to tell."""
        rids = track.media.rids
        if len(rids) < 2 or not track.layers:
            return None
        if track.stale:
            track.refresh()
        told = set(range(len(rids))) if self._told is None else self._told
        on = set()
        for index in range(len(rids)):
            layer = track.layers.get(index)
            if layer is None or layer.taken:
                # One that has not come yet may be on its way.
                self._taken_at[index] = now
            if now - self._taken_at.setdefault(index, now) < OFF_AFTER and (
                index in told or layer is None or layer.taken
            ):
                on.add(index)
        for index, layer in track.layers.items():
            layer.off = index not in on
        if on == told or now - self._told_at < INTERVAL:
            return None
        self._told, self._told_at = on, now
        return [rid for index, rid in enumerate(rids) if index in on]
