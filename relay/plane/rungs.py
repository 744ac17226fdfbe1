"""The ways to send a track, cheapest first: its layers, and of the smallest one fewer pictures."""

from __future__ import annotations

from typing import Final

from ..bwe.allocation import Option
from ..rtp.descriptor import TOP
from .layer import Layer, Rung
from .tracks import UpTrack

UNKNOWN_RATE: Final = 150_000.0
"""Bit/s of a stream of which nothing has come yet."""

STEP: Final = 1.05
"""Times the rate of the one before: with less, two ways are one."""


def list_rungs(track: UpTrack, now: float) -> list[tuple[Rung, Option]]:
    """Those that its publisher sends, or would if somebody took them."""
    rungs: list[tuple[Rung, Option]] = []
    for layer in _sort_layers(track, now):
        spatial, temporal = layer.top
        for s in range(spatial + 1):
            smallest = not rungs
            for t in range(temporal + 1) if smallest else (temporal,):
                rung = Rung(layer.index, s if s < spatial else TOP, t if t < temporal else TOP)
                _add(rungs, rung, _describe(layer, s, t, now))
    return rungs


def _add(rungs: list[tuple[Rung, Option]], rung: Rung, option: Option) -> None:
    if not rungs:
        rungs.append((rung, option if option.rate else option._replace(rate=UNKNOWN_RATE)))
        return
    before = rungs[-1][1]
    if option.rate >= STEP * before.rate:
        rungs.append((rung, option))
    elif option.rate and option.width >= before.width:
        # As good or better, for next to nothing.
        rungs[-1] = rung, option


def _describe(layer: Layer, spatial: int, temporal: int, now: float) -> Option:
    sizes = layer.sizes
    width, height = sizes[min(spatial, len(sizes) - 1)] if sizes else (0, 0)
    return Option(layer.get_cut_rate(spatial, temporal, now), width, height)


def _sort_layers(track: UpTrack, now: float) -> list[Layer]:
    layers = list(track.layers.values())
    if len(layers) > 1:
        alive = track.choice.list_alive(now)
        layers = [layer for layer in layers if layer.index in alive or layer.off] or layers
    if all(layer.sizes for layer in layers):
        return sorted(layers, key=lambda layer: layer.sizes[-1][0] * layer.sizes[-1][1])
    return sorted(layers, key=lambda layer: layer.get_cut_rate(TOP, TOP, now))
