"""The bus of hubs in one process: with a single hub, nobody else is there."""

from __future__ import annotations

from .base import Receiver


class MemoryBus:
    """A `Bus` without a network."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def attach(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)

    def detach(self, receiver: Receiver) -> None:
        self._receivers.remove(receiver)

    def publish(self, receiver: Receiver, room: str, body: bytes) -> None:
        for other in self._receivers:
            if other != receiver:
                other(room, body)
