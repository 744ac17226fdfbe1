"""The rule by which rooms are placed on workers, and what each worker still owes.

Rules only: the processes are `node`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from .. import control

NOBODY: Final = -1
"""The worker of a room that was opened while there was none."""

Asking = control.Publish | control.Pull | control.AnswerOffer | control.GetStats


@dataclass(slots=True)
class _Member:
    join: control.Join
    route: control.Route | None = None


@dataclass(slots=True)
class _Room:
    worker: int
    members: dict[str, _Member] = field(default_factory=dict)


class Placement:
    """A table of rooms and workers, of what a new worker must be told, and of what is unanswered.

    `choose` picks one of several for a new room; without it, the one with the least in it.
    """

    def __init__(self, choose: Callable[[list[int]], int] | None = None) -> None:
        self._choose = choose
        self._rooms: dict[str, _Room] = {}
        self._up: set[int] = set()
        self._asked: dict[int, int] = {}
        self._overloaded: set[int] = set()

    @property
    def available(self) -> bool:
        return bool(self._up)

    def place(self, command: control.Command) -> int | None:
        """The worker that the command goes to; None: nobody is to get it."""
        room = self._rooms.get(command.room)
        if room is None and isinstance(command, control.Join):
            room = self._open(command.room)
        if room is None:
            return None
        match command:
            case control.Join():
                known = room.members.get(command.participant)
                route = known.route if known is not None else None
                room.members[command.participant] = _Member(command, route)
            case control.Route() if command.participant in room.members:
                room.members[command.participant].route = command
            case control.Leave():
                room.members.pop(command.participant, None)
            case control.CloseRoom():
                room.members.clear()
        if not room.members:
            self._rooms.pop(command.room, None)
        if room.worker == NOBODY:
            return None
        if isinstance(command, Asking):
            self._asked[command.request] = room.worker
        return room.worker

    def receive_reply(self, request: int) -> bool:
        """Return whether this request was still open; it no longer is."""
        return self._asked.pop(request, None) is not None

    def add_worker(self, worker: int) -> None:
        self._up.add(worker)

    def set_overloaded(self, worker: int, overloaded: bool) -> None:
        """New rooms go to others while it is, if there are any."""
        if overloaded:
            self._overloaded.add(worker)
        else:
            self._overloaded.discard(worker)

    def remove_worker(self, worker: int) -> tuple[list[int], list[str]]:
        """The worker is gone, and so are the requests and the rooms that it had."""
        self._up.discard(worker)
        self._overloaded.discard(worker)
        requests = [request for request, asked in self._asked.items() if asked == worker]
        for request in requests:
            del self._asked[request]
        rooms = sorted(name for name, room in self._rooms.items() if room.worker == worker)
        for name in rooms:
            del self._rooms[name]
        return requests, rooms

    def house(self) -> list[tuple[int, control.Command]]:
        """Place those who came while there was no worker; return what to tell which now."""
        told: list[tuple[int, control.Command]] = []
        if not self._up:
            return told
        for room in self._rooms.values():
            if room.worker == NOBODY:
                room.worker = self._least_loaded()
                for member in room.members.values():
                    told.append((room.worker, member.join))
                    if member.route is not None:
                        told.append((room.worker, member.route))
        return told

    def _open(self, name: str) -> _Room:
        room = self._rooms[name] = _Room(self._least_loaded())
        return room

    def rest(self, worker: int) -> None:
        """It takes no new rooms, and keeps those that it has."""
        self._up.discard(worker)

    def forget(self, rooms: Iterable[str]) -> None:
        """These rooms are on no worker any more."""
        for room in rooms:
            self._rooms.pop(room, None)

    def _least_loaded(self) -> int:
        if self._choose is not None:
            return self._choose(sorted(self._up)) if self._up else NOBODY
        load = dict.fromkeys(sorted(self._up), 0)
        for room in self._rooms.values():
            if room.worker in load:
                load[room.worker] += len(room.members) + 1
        return min(load, key=lambda w: (w in self._overloaded, load[w]), default=NOBODY)
