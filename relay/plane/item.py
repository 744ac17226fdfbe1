"""A packet that is to be forwarded."""

from __future__ import annotations

from ..rtp.codecs import Picture
from ..rtp.packet import Packet


class Item:
    """A packet to be forwarded: normalised, where it lies and what its picture is."""

    __slots__ = ("arrived", "marker", "number", "packet", "picture")

    def __init__(self) -> None:
        self.packet = Packet()
        self.picture = Picture()
        self.arrived = 0
        """Its publisher's number, extended."""
        self.number = 0
        """The relay's: further on, where packets were put into the stream."""
        self.marker = 0
        """As it goes out."""
