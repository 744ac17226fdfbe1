"""What a hub needs of a bus: telling other hubs what happens in a room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Receiver = Callable[[str, bytes], None]
"""Called with a room's name and the body of a message to everyone in it."""


class Bus(Protocol):
    """Carries what changes in rooms to whoever else wants to know.

    `publish` never blocks and never raises; what cannot be delivered is dropped and counted by
    the bus.
    """

    def publish(self, room: str, body: bytes) -> None:
        """Tell the others."""

    def subscribe(self, receiver: Receiver) -> None:
        """Have `receiver` called with what is published."""

    def unsubscribe(self, receiver: Receiver) -> None:
        """Undo `subscribe`."""
