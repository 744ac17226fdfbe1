"""What a hub needs of a bus: telling other hubs what happens in a room, and hearing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Receiver = Callable[[str, bytes], None]
"""Called with a room's name and the body of a message to that room."""


class Bus(Protocol):
    """Carries what is told to a whole room between the hubs that share it.

    `publish` never blocks and never raises; what cannot be delivered is dropped and counted by
    the bus. A hub does not hear what it published itself.
    """

    def attach(self, receiver: Receiver) -> None:
        """Have `receiver` called with what other hubs publish."""

    def detach(self, receiver: Receiver) -> None:
        """Undo `attach`."""

    def publish(self, receiver: Receiver, room: str, body: bytes) -> None:
        """Tell the others; `receiver` names the hub that speaks."""
