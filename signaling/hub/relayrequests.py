"""What the relay still owes an answer: to clients, to WHIP and WHEP, and to who asks for figures.

The relay answers commands by number. Whoever asked is called once: with the answer, or with an
error when the relay refuses, ends, or does not answer in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from relay import control

from ..protocol import messages
from ..protocol.errors import ProtocolError
from .descriptions import Descriptions

ANSWER_TIMEOUT: Final = 10.0
"""Seconds. A worker answers within milliseconds; one that hangs must not keep a client waiting
for longer than the client would wait itself."""


class Relays(Protocol):
    """What the hub needs of the relay workers."""

    @property
    def available(self) -> bool: ...

    def send(self, command: control.Command) -> None:
        """Never blocks, never raises."""


class NoRelay:
    """Where media are not relayed."""

    available = False

    def send(self, command: control.Command) -> None:
        """Nobody is there."""


Reply = control.Answer | control.RoomStats | ProtocolError
Receive = Callable[[Reply], None]
Build = Callable[[int], control.Command]
"""Makes the command of a request's number."""


@dataclass(frozen=True, slots=True)
class _Request:
    room: str
    build: Build
    receive: Receive


class RelayRequests:
    """The one table of them, with a timer for answers that do not come."""

    def __init__(self, relays: Relays) -> None:
        self._relays = relays
        self._requests: dict[int, _Request] = {}
        self._deadlines: deque[tuple[float, int]] = deque()  # all equally long, so in order
        self._number = 0
        self.descriptions = Descriptions()

    def __len__(self) -> int:
        return len(self._requests)

    def check_available(self) -> None:
        """Raise ProtocolError `relay-unavailable`."""
        if not self._relays.available:
            raise ProtocolError("relay-unavailable", "There is no media relay now.")

    def ask(self, room: str, build: Build, receive: Receive, now: float) -> None:
        """Ask at once. Raise ProtocolError."""
        self.check_available()
        number = self._add(_Request(room, build, receive), now)
        self._relays.send(build(number))

    def describe(
        self,
        room: str,
        participant: str,
        address: str,
        size: int,
        build: Build,
        receive: Receive,
        now: float,
    ) -> None:
        """Pass on a description of `size` bytes when it is its turn. Raise ProtocolError."""
        self.check_available()
        self.descriptions.add(self._number + 1, participant, address, size, now)
        self._add(_Request(room, build, receive), now)
        self._send_due()

    def receive(self, event: control.Answer | control.Refused | control.RoomStats) -> None:
        """Pass on an answer; one that nobody waits for any more is passed over."""
        if isinstance(event, control.Refused):
            text = event.reason[: messages.MAX_ERROR_TEXT]
            self._end(event.request, ProtocolError(event.code, text))
        else:
            self._end(event.request, event)

    def lose_room(self, room: str) -> None:
        """The worker of a room is gone."""
        for number in [n for n, request in self._requests.items() if request.room == room]:
            self._end(number, _lost())

    def get_timer(self) -> float | None:
        while self._deadlines and self._deadlines[0][1] not in self._requests:
            self._deadlines.popleft()
        return self._deadlines[0][0] if self._deadlines else None

    def handle_timer(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            self._end(self._deadlines.popleft()[1], _lost())

    def _add(self, request: _Request, now: float) -> int:
        self._number += 1
        self._requests[self._number] = request
        self._deadlines.append((now + ANSWER_TIMEOUT, self._number))
        return self._number

    def _send_due(self) -> None:
        for number in self.descriptions.take():
            self._relays.send(self._requests[number].build(number))

    def _end(self, number: int, reply: Reply) -> None:
        request = self._requests.pop(number, None)
        if request is not None:
            self.descriptions.end(number)
            self._send_due()
            request.receive(reply)


def _lost() -> ProtocolError:
    return ProtocolError("relay-unavailable", "The relay did not answer. Try again.")
