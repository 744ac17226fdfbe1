"""What this hub's rooms write down for other hubs: gathered for a turn, then written at once.

Rules only: `Cluster` writes what `take` returns, and says what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..hub.snapshot import PASSING, RoomState, Sent

MAX_WAITING: Final = 8 << 20
"""Bytes of messages that may wait to be written; beyond, sessions could not be resumed elsewhere
until their clients have joined anew, and calls go on."""


TakeState = Callable[[str], RoomState | None]


@dataclass(slots=True)
class Batch:
    """What one room has to have written: a snapshot, messages, or both."""

    room: str
    state: bytes
    sent: bytes
    then: list[Callable[[], None]]


@dataclass(slots=True)
class _Room:
    changed: bool = False
    sent: list[Sent] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)


class Journal:
    """`on_work` is called when there is something to write and nothing was before."""

    def __init__(self, on_work: Callable[[], None], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._on_work = on_work
        self._rooms: dict[str, _Room] = {}
        self._over: set[str] = set()
        self.waiting = 0
        """Bytes, about, of what waits to be written."""
        self.open = True
        """Whether anything can be written now."""
        self.dropped = 0
        """Messages that were not written down, for there was no room or no Redis."""

    # -- From the hub -------------------------------------------------------------------

    def note(self, room: str, participant: str, seq: int, body: bytes) -> None:
        if not self.open or self.waiting > MAX_WAITING:
            self.dropped += 1
            return
        noted = self._find(room)
        if body.startswith(PASSING):
            body = b""
        last = noted.sent[-1] if noted.sent else None
        if last is not None and last.body == body:
            last.to.append((participant, seq))
        else:
            noted.sent.append(Sent(body, [(participant, seq)]))
            self.waiting += len(body)
        self.waiting += 40

    def change(self, room: str) -> None:
        self._find(room).changed = True

    def forget(self, room: str) -> None:
        noted = self._rooms.pop(room, None)
        self._over.add(room)
        for then in noted.then if noted is not None else ():
            then()
        self._on_work()

    def after(self, room: str, then: Callable[[], None]) -> None:
        if self.open and room in self._rooms:
            self._rooms[room].then.append(then)
        else:
            then()

    def _find(self, room: str) -> _Room:
        if not self._rooms and not self._over:
            self._since = self._clock()
            self._on_work()
        noted = self._rooms.get(room)
        if noted is None:
            noted = self._rooms[room] = _Room()
        return noted

    def get_age(self) -> float:
        """Seconds for which the oldest has waited that is not written yet; 0 for nothing."""
        return 0.0 if self._since is None else self._clock() - self._since

    # -- To the writer ------------------------------------------------------------------

    def take(self, take_state: TakeState) -> tuple[list[Batch], list[str]]:
        """What is to be written now, and the rooms that are over; `take_state` returns a room as
        it is, None where there is none."""
        if not self._rooms:
            self._since = None
        rooms, self._rooms = self._rooms, {}
        over, self._over = sorted(self._over), set()
        self.waiting = 0
        batches = [
            _make_batch(name, noted, take_state if noted.changed else _take_nothing)
            for name, noted in rooms.items()
        ]
        return batches, over

    def pause(self, batches: list[Batch]) -> None:
        """Nothing can be written: these batches were not, and no more is gathered."""
        self.open = False
        for noted in self._rooms.values():
            batches.append(Batch("", b"", b"", noted.then))
            noted.then = []
            self.dropped += len(noted.sent)
            noted.sent.clear()
        self.waiting = 0
        for batch in batches:
            for then in batch.then:
                then()

    def resume(self, rooms: list[str]) -> None:
        """Write again, beginning with these rooms as they are."""
        self.open = True
        for room in rooms:
            self.change(room)
        self._on_work()


def _take_nothing(_room: str) -> RoomState | None:
    return None


def _make_batch(name: str, noted: _Room, take_state: TakeState) -> Batch:
    state = take_state(name)
    return Batch(
        name,
        b"" if state is None else msgspec.msgpack.encode(state),
        msgspec.msgpack.encode(noted.sent) if noted.sent else b"",
        noted.then,
    )


def decode_state_untrusted(data: bytes) -> RoomState:
    """Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=RoomState)


def decode_sent_untrusted(data: bytes) -> list[Sent]:
    """Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=list[Sent])
