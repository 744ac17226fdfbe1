"""A packet that is to be forwarded."""

from __future__ import annotations

from ..rtp.codecs import Picture
from ..rtp.packet import Packet


class Item:
    """A packet to be forwarded: normalised, where it lies and what its picture is."""

    __slots__ = ("marker", "number", "packet", "picture")

    def __init__(self) -> None:
        self.packet = Packet()
        self.picture = Picture()
        self.number = 0
        """Extended."""
        self.marker = 0
        """As it goes out."""
