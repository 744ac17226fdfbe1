"""Session descriptions on their way to the relay: one of each participant at a time, few in all.

A description may be 256 KiB, takes a worker milliseconds to parse, and a channel that is full
counts as a worker that hangs. So what is under way is far below what a channel holds, shared out
among addresses; the rest waits here, bounded, and is refused in words beyond that.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..access.addresses import key_of
from ..access.ratelimit import KeyedBuckets
from ..protocol.errors import ProtocolError

KIB: Final = 1024
MIB: Final = 1024 * KIB

UNDER_WAY: Final = 512 * KIB
"""Bytes that the relay has not answered yet, before one more goes: with that one, less than the
1 MiB at which the relay refuses what it is asked, and far from the 8 MiB of its channel."""
UNDER_WAY_OF_ADDRESS: Final = 256 * KIB
"""Of these, bytes that came from one address."""
MAX_OF_PARTICIPANT: Final = 16
"""Descriptions of one participant that are under way or wait; one is the usual number."""
WAITING_OF_PARTICIPANT: Final = MIB
"""Bytes of one participant that are under way or wait: four of the largest."""
WAITING_OF_ADDRESS: Final = 16 * MIB
"""Bytes of one address: an office of 50 in one room, with twice what they usually answer."""
WAITING: Final = 64 * MIB
"""Bytes of all."""
RATE: Final = 1.0 * MIB
BURST: Final = 2.0 * MIB
"""Bytes a second of one participant for long, and at once: 7 answers a second in a full room."""
ADDRESS_RATE: Final = 4.0 * MIB
ADDRESS_BURST: Final = 16.0 * MIB
"""The same of one address."""
MAX_KEYS: Final = 100_000
"""Participants and addresses that are remembered."""


@dataclass(frozen=True, slots=True)
class _Entry:
    participant: str
    address: str | None
    size: int


class Descriptions:
    """Numbers of requests, in the order in which they may go. `take` says which may go now."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._waiting: dict[str, deque[int]] = {}  # by participant; served one after the other
        self._under_way: dict[str, int] = {}  # the number of each participant
        self._bytes = 0
        self._bytes_under_way = 0
        self._of_participant: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()
        self._under_way_of_address: Counter[str] = Counter()
        self._by_participant = KeyedBuckets(RATE, BURST, MAX_KEYS)
        self._by_address = KeyedBuckets(ADDRESS_RATE, ADDRESS_BURST, MAX_KEYS)

    @property
    def size(self) -> int:
        """Bytes that are under way or wait."""
        return self._bytes

    @property
    def under_way(self) -> int:
        """Bytes that the relay has not answered yet."""
        return self._bytes_under_way

    def add(self, number: int, participant: str, address: str, size: int, now: float) -> None:
        """Have one wait. Raise ProtocolError `rate-limited` where too many do, or too fast."""
        key = key_of(address)
        entry = _Entry(participant, key, size)
        self._check(entry)
        wait = self._by_participant.spend(participant, size, now)
        if key is not None:
            wait = max(wait, self._by_address.spend(key, size, now))
        if wait:
            raise _refuse(wait)
        self._entries[number] = entry
        self._waiting.setdefault(participant, deque()).append(number)
        self._count(entry, 1)

    def take(self) -> Iterator[int]:
        """Those that may go to the relay now."""
        for participant in list(self._waiting):
            if self._bytes_under_way >= UNDER_WAY:
                return
            waiting = self._waiting[participant]
            entry = self._entries[waiting[0]]
            if participant in self._under_way or self._is_over(entry):
                continue
            number = waiting.popleft()
            del self._waiting[participant]
            if waiting:
                self._waiting[participant] = waiting  # behind the others
            self._under_way[participant] = number
            self._count_under_way(entry, entry.size)
            yield number

    def end(self, number: int) -> None:
        """One is answered, or given up. Idempotent."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return
        self._count(entry, -1)
        if self._under_way.get(entry.participant) == number:
            del self._under_way[entry.participant]
            self._count_under_way(entry, -entry.size)
            return
        waiting = self._waiting[entry.participant]
        waiting.remove(number)
        if not waiting:
            del self._waiting[entry.participant]

    def _check(self, entry: _Entry) -> None:
        of_participant = self._waiting.get(entry.participant, ())
        count = len(of_participant) + (entry.participant in self._under_way)
        if (
            count >= MAX_OF_PARTICIPANT
            or self._of_participant[entry.participant] + entry.size > WAITING_OF_PARTICIPANT
            or self._bytes + entry.size > WAITING
            or (
                entry.address is not None
                and self._of_address[entry.address] + entry.size > WAITING_OF_ADDRESS
            )
        ):
            raise _refuse(1.0)

    def _is_over(self, entry: _Entry) -> bool:
        """Whether the address has its share under way; one always goes."""
        if entry.address is None:
            return False
        under_way = self._under_way_of_address[entry.address]
        return under_way > 0 and under_way + entry.size > UNDER_WAY_OF_ADDRESS

    def _count(self, entry: _Entry, sign: int) -> None:
        size = sign * entry.size
        self._bytes += size
        _add(self._of_participant, entry.participant, size)
        if entry.address is not None:
            _add(self._of_address, entry.address, size)

    def _count_under_way(self, entry: _Entry, size: int) -> None:
        self._bytes_under_way += size
        if entry.address is not None:
            _add(self._under_way_of_address, entry.address, size)


def _add(counter: Counter[str], key: str, size: int) -> None:
    counter[key] += size
    if not counter[key]:
        del counter[key]


def _refuse(wait: float) -> ProtocolError:
    return ProtocolError(
        "rate-limited", "Too many descriptions wait for the relay.", retry_after=wait
    )
