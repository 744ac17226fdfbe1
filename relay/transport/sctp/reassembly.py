"""From DATA chunks to messages: fragments joined, ordered streams put in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

LAST: Final = 0x01
FIRST: Final = 0x02
UNORDERED: Final = 0x04
OVERHEAD: Final = 64
"""Bytes that each chunk counts beside its payload: what is kept costs memory, however small."""


class Received(NamedTuple):
    """A whole message."""

    stream: int
    ppid: int
    payload: bytes


class BadPeer(Exception):
    """The peer sends what no honest peer sends; the association ends, with this as the reason."""


class Fragment(NamedTuple):
    """One DATA chunk; `tsn` is unwrapped."""

    tsn: int
    flags: int
    stream: int
    ssn: int
    ppid: int
    payload: bytes


class _Run:
    """Fragments with consecutive TSNs."""

    __slots__ = ("parts", "size")

    def __init__(self, fragment: Fragment) -> None:
        self.parts = [fragment]
        self.size = len(fragment.payload)

    @property
    def cost(self) -> int:
        return self.size + OVERHEAD * len(self.parts)

    def join(self, other: _Run) -> None:
        one, two = self.parts[-1], other.parts[0]
        same = (one.stream, one.ssn, one.ppid) == (two.stream, two.ssn, two.ppid)
        if not same or (one.flags ^ two.flags) & UNORDERED:
            raise BadPeer("fragments of one message differ")
        self.parts += other.parts
        self.size += other.size


class _Stream:
    __slots__ = ("next", "waiting")

    def __init__(self) -> None:
        self.next = 0
        self.waiting: dict[int, Received] = {}  # by SSN


class Reassembly:
    """`held` is what is kept, overhead included."""

    def __init__(self, max_message: int) -> None:
        self.held = 0
        self._max_message = max_message
        self._starts: dict[int, _Run] = {}
        self._ends: dict[int, _Run] = {}
        self._streams: dict[int, _Stream] = {}

    def add(self, fragment: Fragment) -> Iterable[Received]:
        """Take a chunk that was not there yet; return what is complete by it. Raise BadPeer."""
        flags = fragment.flags
        if flags & FIRST and flags & LAST:
            return self._finish(fragment, fragment.payload)
        run = _Run(fragment)
        before = None if flags & FIRST else self._ends.get(fragment.tsn - 1)
        if before is not None and not before.parts[-1].flags & LAST:
            self._drop(before)
            before.join(run)
            run = before
        after = None if flags & LAST else self._starts.get(fragment.tsn + 1)
        if after is not None and not after.parts[0].flags & FIRST:
            self._drop(after)
            run.join(after)
        if run.size > self._max_message:
            raise BadPeer("message too large")
        first, last = run.parts[0], run.parts[-1]
        if first.flags & FIRST and last.flags & LAST:
            return self._finish(first, b"".join([part.payload for part in run.parts]))
        self._starts[first.tsn] = self._ends[last.tsn] = run
        self.held += run.cost
        return ()

    def skip(self, tsn: int, skipped: Iterable[tuple[int, int]]) -> list[Received]:
        """Forget unfinished messages up to `tsn`, and wait no longer for `skipped`, stream and
        SSN of ordered ones; return what that lets through."""
        for run in [run for start, run in self._starts.items() if start <= tsn]:
            if run.parts[-1].tsn <= tsn:
                self._drop(run)
        freed: list[Received] = []
        for id, ssn in skipped:
            stream = self._streams.setdefault(id, _Stream())
            if (ssn - stream.next) & 0xFFFF >= 0x8000:
                continue
            for number in [n for n in stream.waiting if (ssn - n) & 0xFFFF < 0x8000]:
                freed.append(self._take(stream, number))
            stream.next = (ssn + 1) & 0xFFFF
            freed += self._drain(stream)
        return freed

    def reset(self, streams: Iterable[int]) -> None:
        """Begin again with SSN 0; no streams stand for all."""
        for id in list(streams) or list(self._streams):
            stream = self._streams.pop(id, None)
            if stream is not None:
                for number in list(stream.waiting):
                    self._take(stream, number)

    def _drop(self, run: _Run) -> None:
        del self._starts[run.parts[0].tsn]
        del self._ends[run.parts[-1].tsn]
        self.held -= run.cost

    def _finish(self, first: Fragment, payload: bytes) -> Iterable[Received]:
        message = Received(first.stream, first.ppid, payload)
        if first.flags & UNORDERED:
            return (message,)
        stream = self._streams.get(first.stream)
        if stream is None:
            stream = self._streams[first.stream] = _Stream()
        if first.ssn != stream.next:
            if (first.ssn - stream.next) & 0xFFFF >= 0x8000 or first.ssn in stream.waiting:
                raise BadPeer("message number used twice")
            stream.waiting[first.ssn] = message
            self.held += len(payload) + OVERHEAD
            return ()
        stream.next = (stream.next + 1) & 0xFFFF
        return [message, *self._drain(stream)] if stream.waiting else (message,)

    def _drain(self, stream: _Stream) -> list[Received]:
        freed = []
        while stream.next in stream.waiting:
            freed.append(self._take(stream, stream.next))
            stream.next = (stream.next + 1) & 0xFFFF
        return freed

    def _take(self, stream: _Stream, number: int) -> Received:
        message = stream.waiting.pop(number)
        self.held -= len(message.payload) + OVERHEAD
        return message
