"""The limits of what one peer may send in a second, and of what is forged in its name.

The limits count what is authentic: whoever forges packets from a peer's address must not use up
what the peer may send. Forgeries have a limit of their own, beyond which only packets of streams
that the peer is known to send are worth decrypting: their SSRCs are what a stranger cannot guess.
"""

from __future__ import annotations

from typing import Final

MAX_PACKETS: Final = 4_000
"""Packets that one transport may send here in a second: twice what its bitrate comes to in packets
of full size. More is a flood: to a room of 50, these are what four fifths of a core forward."""

MAX_CONTROL: Final = 1_000
"""RTCP packets that it may send in a second."""

MAX_NACKED: Final = 10_000
"""Packets that it may ask for again in a second: more than a link loses that is of any use. One
datagram may name some 5,000."""

MAX_FORGED: Final = 500
"""Packets from its address in a second that may turn out not to be authentic: some 2 ms of trying
to decrypt. A peer's own packets that fail are those of a moment in which it changes its keys."""

MAX_REPORTERS: Final = 64
"""SSRCs under which its RTCP packets come that are remembered: browsers use one for each m-line
that they send, and one more."""


class Intake:
    """One transport's counts of the present second."""

    __slots__ = ("_control", "_forged", "_nacked", "_packets", "_reporters", "_until")

    def __init__(self) -> None:
        self._until = 0.0
        self._packets = 0
        self._control = 0
        self._nacked = 0
        self._forged = 0
        self._reporters: set[int] = set()

    def take_packet(self, now: float) -> bool:
        """Count an authentic RTP packet; False: it is more than a peer may send."""
        if now >= self._until:
            self._begin(now)
        self._packets += 1
        return self._packets <= MAX_PACKETS

    def take_control(self, ssrc: int, now: float) -> bool:
        """Count an authentic RTCP packet of this sender; False: it is more than may be."""
        if now >= self._until:
            self._begin(now)
        if ssrc not in self._reporters and len(self._reporters) < MAX_REPORTERS:
            self._reporters.add(ssrc)
        self._control += 1
        return self._control <= MAX_CONTROL

    def take_nacks(self, count: int, now: float) -> bool:
        """Count packets that are asked for again; False: they are more than may be."""
        if now >= self._until:
            self._begin(now)
        self._nacked += count
        return self._nacked <= MAX_NACKED

    def count_forged(self, now: float) -> None:
        """A packet from the peer's address was not authentic."""
        if now >= self._until:
            self._begin(now)
        self._forged += 1

    def doubts(self, now: float) -> bool:
        """Return whether so much is forged that only known streams are worth decrypting."""
        return self._forged > MAX_FORGED and now < self._until

    def knows_reporter(self, ssrc: int) -> bool:
        """Return whether an authentic RTCP packet has come of this sender."""
        return ssrc in self._reporters

    def _begin(self, now: float) -> None:
        self._until = now + 1.0
        self._packets = self._control = self._nacked = self._forged = 0
