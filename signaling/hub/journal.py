"""What a hub writes down for the case that it dies: the seam to whoever keeps it for other hubs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

FILLER: Final = b'"type":"ok"}'
"""The body that stands for one that was not kept: it has a number and says nothing."""

SEPARATOR: Final = "."
"""Stands between the random part of a session's secret and its room, which any hub so finds."""


class Journal(Protocol):
    """Nothing here waits or raises."""

    def note(self, room: str, participant: str, seq: int, body: bytes) -> None:
        """A message was numbered for a participant; with 0, a reply will be."""

    def change(self, room: str) -> None:
        """Something in a room's state has changed."""

    def forget(self, room: str) -> None:
        """The room is over."""

    def after(self, room: str, then: Callable[[], None]) -> None:
        """Call `then` once everything noted so far is written, or cannot be."""


def digest(secret: str) -> str:
    """A session's secret as others may know it."""
    return hashlib.sha256(b"tandem session " + secret.encode(errors="replace")).hexdigest()[:40]


def find_room_of(secret: str) -> str:
    """The room that a session's secret names, empty for what is no such secret."""
    return secret.partition(SEPARATOR)[2]
