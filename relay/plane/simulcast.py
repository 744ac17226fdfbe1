"""Which layer of a simulcast is the best that is alive: what those get who asked for nothing else.

The order of the rids says nothing sure about quality, so the layers are told apart by what
they cost: the publisher spends more on the better one.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 0.5
"""Seconds over which a layer's bitrate is measured."""

DEAD_AFTER = 0.7
"""Seconds without a packet after which a layer counts as stopped, while another one runs."""

CLEAR_LEAD = 1.3
"""How many times the bitrate of the current layer a better one must have: with less, the two
are the same picture and a switch is only a key frame's cost."""


@dataclass(slots=True)
class _Layer:
    last_packet: float = 0.0
    window_start: float = 0.0
    window_bytes: int = 0
    rate: float = 0.0


class LayerChoice:
    """The choice for one track. Layers are small integers, dense from 0."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self.current: int | None = None
        """The best layer."""

    def receive_packet(self, layer: int, size: int, now: float) -> None:
        """Count a packet of a layer."""
        while len(self._layers) <= layer:
            self._layers.append(_Layer(window_start=now))
        state = self._layers[layer]
        state.last_packet = now
        state.window_bytes += size
        elapsed = now - state.window_start
        if elapsed >= WINDOW:
            state.rate = state.window_bytes / elapsed
            state.window_bytes = 0
            state.window_start = now
        if self.current is None:
            self.current = layer

    def list_alive(self, now: float) -> list[int]:
        """The layers that packets come of, those that cost least first."""
        alive = [
            number
            for number, layer in enumerate(self._layers)
            if layer.last_packet and now - layer.last_packet < DEAD_AFTER
        ]
        return sorted(alive, key=lambda number: self._layers[number].rate)

    def handle_timer(self, now: float) -> bool:
        """Think again, a few times a second; whether the best is another one."""
        alive = self.list_alive(now)
        if self.current is None or not alive:
            return False
        best, layers = alive[-1], self._layers
        if best == self.current or (
            self.current in alive and layers[best].rate <= CLEAR_LEAD * layers[self.current].rate
        ):
            return False
        self.current = best
        return True
