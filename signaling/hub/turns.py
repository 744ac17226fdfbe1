"""Turns of the event loop, shared out among rooms, so that nobody waits for another room.

What a whole room hears is sent once for each who is in it: a few who talk all the time can keep
a hub busy. A room gets `SHARE` of each turn; what is said in it beyond that waits, in order, and
is carried out in later turns, a room after the other. The others' messages come in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from .session import Link

SHARE: Final = 128
"""Messages that one room may send in one turn: some 0.5 ms."""
ALL: Final = 2 * SHARE
"""The same for all rooms together whose messages wait."""
MAX_WAITING: Final = 256
"""Messages of one connection that may wait: a second and more of what it may send."""

Soon = Callable[[Callable[[], None]], object]
"""Has a function called in the next turn of the event loop."""


def call_now(function: Callable[[], None]) -> None:
    """Where there is no event loop, turns take no time."""
    function()


class Turns:
    """Counts what rooms send, and keeps what has to wait; `carry_out` gets it when it is due, with
    the time at which it came."""

    def __init__(self, soon: Soon, carry_out: Callable[[Link, bytes, float], None]) -> None:
        self._soon = soon
        self._carry_out = carry_out
        self._spent: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[Link, bytes, float]]] = {}
        self._due = False

    def __len__(self) -> int:
        """How many messages wait."""
        return sum(map(len, self._waiting.values()))

    def spend(self, room: str, messages: int) -> None:
        """A room has sent so many messages, each to one receiver."""
        spent = self._spent[room] = self._spent.get(room, 0) + messages
        if spent >= SHARE:
            self._schedule()

    def has_to_wait(self, room: str) -> bool:
        return room in self._waiting or self._spent.get(room, 0) >= SHARE

    def wait(self, room: str, link: Link, data: bytes, now: float) -> bool:
        """Keep a message for a later turn; False where too many of the connection wait."""
        if link.waiting >= MAX_WAITING:
            return False
        link.waiting += 1
        self._waiting.setdefault(room, deque()).append((link, data, now))
        self._schedule()
        return True

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self._soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        self._spent.clear()
        spent = 0
        for room in list(self._waiting):
            if spent >= ALL:
                break
            # To the end: in the next turn it is the others' first.
            waiting = self._waiting.pop(room)
            self._waiting[room] = waiting
            spent += self._serve(room, waiting)
            if not waiting:
                del self._waiting[room]
        if self._waiting:
            self._schedule()

    def _serve(self, room: str, waiting: deque[tuple[Link, bytes, float]]) -> int:
        """Carry out what a room may in this turn; return what that came to."""
        while waiting and self._spent.get(room, 0) < SHARE:
            link, data, now = waiting.popleft()
            link.waiting -= 1
            self._carry_out(link, data, now)
            self.spend(room, 1)
        return self._spent.get(room, 0)
