"""Sequence numbers and timestamps: modular order, unwrapping, and a subscriber's own numbering.

Numbers that are kept are extended (never wrap, start at 65536 or above); 16 and 32 bits
are what is on the wire. RFC 3550, 5.1.
"""

from __future__ import annotations

from typing import Final

SEQUENCE_MOD = 1 << 16
TIMESTAMP_MOD = 1 << 32
MAX_SEGMENTS = 16  # per subscriber, a splice each: more than happen while packets are cached


def sequence_delta(a: int, b: int) -> int:
    """Return how far 16-bit `a` is after `b`: -32768 to 32767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(a: int, b: int) -> int:
    """Return how far 32-bit `a` is after `b`: -2**31 to 2**31 - 1."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Unwrapper:
    """Extends wire numbers of `bits` bits by taking each as the one nearest to the newest seen."""

    __slots__ = ("_half", "_mask", "newest")

    def __init__(self, bits: int = 16) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self.newest = -1  # extended; -1 before the first

    def unwrap(self, number: int) -> int:
        """The extended number; `newest` moves if it is newer."""
        newest = self.newest
        if newest < 0:
            # One turn above zero, so that what was sent before the first is not negative.
            extended = self._mask + 1 + number
        else:
            half = self._half
            extended = newest + ((number - newest + half) & self._mask) - half
        if extended > newest:
            self.newest = extended
        return extended


class Segment:
    """A run of one source's packets under one translation.

    A packet numbered `n` (extended, the source's) goes out as `n + delta`, its timestamp
    plus `timestamp_delta`, its picture id, TL0PICIDX, KEYIDX and frame number plus the others;
    each is reduced to the width of its field.
    """

    __slots__ = (
        "delta",
        "first",
        "frame_delta",
        "keyidx_delta",
        "last",
        "picture_delta",
        "source",
        "timestamp_delta",
        "tl0_delta",
    )

    def __init__(
        self,
        source: int,
        first: int,
        delta: int,
        timestamp_delta: int = 0,
        picture_delta: int = 0,
        tl0_delta: int = 0,
        keyidx_delta: int = 0,
        frame_delta: int = 0,
    ) -> None:
        self.source = source
        self.first = first
        self.last = -1  # the source's last number of this run; -1: still running
        self.delta = delta
        self.timestamp_delta = timestamp_delta
        self.picture_delta = picture_delta
        self.tl0_delta = tl0_delta
        self.keyidx_delta = keyidx_delta
        self.frame_delta = frame_delta

    @property
    def renumbers_pictures(self) -> bool:
        """Return whether a packet's own numbers of its picture go out as others."""
        return bool(self.picture_delta or self.tl0_delta or self.keyidx_delta or self.frame_delta)


class SeqMap:
    """One subscriber's numbering of what it is sent, without gaps where nothing was to be sent.

    Sources are numbers that the caller chooses, unique per incoming stream. Incoming
    numbers are extended; outgoing ones too (`& 0xFFFF` on the wire). While nothing
    changes, a packet newer than `current.first` costs one addition of `current.delta`,
    which a caller with many subscribers may keep in an array of its own.
    """

    __slots__ = ("_next", "_past", "current")

    def __init__(self, first: int) -> None:
        """`first` is the first outgoing number, 0 to 32767.

        RFC 3711, 3.3.1: a first number near the top could wrap before the receiver has
        seen a packet, and its rollover counter would differ; the lower half cannot.
        """
        self._next = SEQUENCE_MOD + first
        self._past: list[Segment] = []
        self.current: Segment | None = None

    def splice(
        self,
        source: int,
        first: int,
        last: int | None = None,
        *,
        timestamp_delta: int = 0,
        picture_delta: int = 0,
        tl0_delta: int = 0,
        keyidx_delta: int = 0,
        frame_delta: int = 0,
    ) -> Segment:
        """Go on with packet `first` of `source`, right after the outgoing number of `last`.

        `last` is the newest packet of the present segment that was forwarded; it may be
        None only if there is no present segment, or if `stop` has told it.
        """
        if last is not None:
            self.stop(last)
        segment = Segment(
            source,
            first,
            self._next - first,
            timestamp_delta,
            picture_delta,
            tl0_delta,
            keyidx_delta,
            frame_delta,
        )
        self.current = segment
        return segment

    def stop(self, last: int) -> None:
        """End the present segment after its packet `last`: a pause, or a source that is gone."""
        segment = self.current
        if segment is None:
            return
        self.current = None
        if last < segment.first:
            return  # nothing of it was sent
        segment.last = last
        self._next = last + segment.delta + 1
        self._past.append(segment)
        if len(self._past) > MAX_SEGMENTS:
            del self._past[0]

    def get_restart(self) -> int:
        """The first number for a map that is to follow this one, which has stopped, under other
        keys: the next one, or 0 where that is of the upper half (but for its first number, to
        which 0 would not be ahead)."""
        number = self._next & 0xFFFF
        return 0 if number > SEQUENCE_MOD // 2 else number

    def skip(self, number: int) -> None:
        """Packet `number`, the newest of the present source, is not forwarded: close the gap."""
        now = self.current
        if now is None or number < now.first:
            return
        if number == now.first:
            now.first += 1
            now.delta -= 1
            return
        self.splice(
            now.source,
            number + 1,
            number - 1,
            timestamp_delta=now.timestamp_delta,
            picture_delta=now.picture_delta,
            tl0_delta=now.tl0_delta,
            keyidx_delta=now.keyidx_delta,
            frame_delta=now.frame_delta,
        )

    def find(self, source: int, number: int) -> Segment | None:
        """The segment that packet `number` of `source` belongs to; None: it is not to be sent.

        The translation is the segment's: the outgoing number is `number + segment.delta`.
        """
        now = self.current
        if now is not None and now.source == source and number >= now.first:
            return now
        for segment in reversed(self._past):
            if segment.source == source and segment.first <= number <= segment.last:
                return segment
        return None

    def find_sent(self, sequence: int, newest: int | None) -> tuple[Segment, int] | None:
        """Find what went out under the 16-bit `sequence`: its segment and its number at the source.

        `newest` is the newest packet of the present source (None without one). None if
        the number was not used in the last half turn, or its segment is forgotten.
        """
        now = self.current
        if now is None or newest is None or newest < now.first:
            top = self._next - 1
        else:
            top = newest + now.delta
        out = top - ((top - sequence) & 0xFFFF)
        if top - out >= SEQUENCE_MOD // 2:
            return None
        if now is not None and out >= now.first + now.delta:
            return now, out - now.delta
        for segment in reversed(self._past):
            number = out - segment.delta
            if number >= segment.first:
                return (segment, number) if number <= segment.last else None
        return None


MAX_INSERTIONS: Final = 64
"""Places that are remembered: packets from before are too old to be sent."""


class Insertions:
    """Packets that the relay puts into a publisher's stream: what comes after them is numbered
    further on. Numbers are extended."""

    __slots__ = ("_base", "_places")

    def __init__(self) -> None:
        self._base = 0
        self._places: list[tuple[int, int]] = []
        """From which number on how much is added, oldest first."""

    def apply(self, number: int) -> int:
        """The number under which a publisher's packet goes on."""
        for first, total in reversed(self._places):
            if number >= first:
                return number + total
        return number + self._base

    def insert(self, number: int, count: int) -> None:
        """Put `count` packets before the publisher's `number`: the newest one, so that nothing
        that was sent already is numbered anew."""
        total = self._places[-1][1] if self._places else self._base
        self._places.append((number, total + count))
        if len(self._places) > MAX_INSERTIONS:
            self._base = self._places.pop(0)[1]


class TimestampMap:
    """The RTP time that a subscriber has reached, so that another source can go on from there."""

    __slots__ = ("_at", "_clock_rate", "_timestamp")

    def __init__(self, clock_rate: int, first: int) -> None:
        """`clock_rate` in Hz; `first` is the first outgoing timestamp."""
        self._clock_rate = clock_rate
        self._timestamp = first
        self._at: float | None = None

    def stop(self, timestamp: int, at: float) -> None:
        """The last packet sent went out with `timestamp` and had arrived at `at` (seconds)."""
        self._timestamp = timestamp & 0xFFFFFFFF
        self._at = at

    def splice(self, timestamp: int, at: float) -> int:
        """The delta to add to the new source's timestamps; its first packet arrived at `at`.

        Time goes on by what has passed, and by one tick at least: two pictures with one
        timestamp would be taken for one.
        """
        if self._at is None:
            out = self._timestamp
        else:
            elapsed = round((at - self._at) * self._clock_rate)
            out = self._timestamp + max(1, elapsed)
        return (out - timestamp) & 0xFFFFFFFF
