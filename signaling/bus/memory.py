"""The bus within one process: with a single hub, nobody else is there."""

from __future__ import annotations

from .base import Receiver


class MemoryBus:
    """A `Bus` without a network."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def publish(self, room: str, body: bytes) -> None:
        for receiver in self._receivers:
            receiver(room, body)

    def subscribe(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)

    def unsubscribe(self, receiver: Receiver) -> None:
        self._receivers.remove(receiver)
