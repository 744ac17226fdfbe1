"""The states of an association, and what it tells its owner."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .reassembly import Received


class State(enum.Enum):
    """RFC 9260, 4. SHUTDOWN-RECEIVED is passed through at once; ENDED is for good."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie-wait"
    COOKIE_ECHOED = "cookie-echoed"
    ESTABLISHED = "established"
    SHUTDOWN_PENDING = "shutdown-pending"
    SHUTDOWN_SENT = "shutdown-sent"
    SHUTDOWN_ACK_SENT = "shutdown-ack-sent"
    ENDED = "ended"


_S = State
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    _S.CLOSED: frozenset({_S.COOKIE_WAIT, _S.ESTABLISHED, _S.ENDED}),
    _S.COOKIE_WAIT: frozenset({_S.COOKIE_ECHOED, _S.ESTABLISHED, _S.ENDED}),
    _S.COOKIE_ECHOED: frozenset({_S.ESTABLISHED, _S.ENDED}),
    _S.ESTABLISHED: frozenset({_S.SHUTDOWN_PENDING, _S.SHUTDOWN_ACK_SENT, _S.ENDED}),
    _S.SHUTDOWN_PENDING: frozenset(
        {_S.ESTABLISHED, _S.SHUTDOWN_SENT, _S.SHUTDOWN_ACK_SENT, _S.ENDED}
    ),
    _S.SHUTDOWN_SENT: frozenset({_S.ESTABLISHED, _S.SHUTDOWN_ACK_SENT, _S.ENDED}),
    _S.SHUTDOWN_ACK_SENT: frozenset({_S.ENDED}),
    _S.ENDED: frozenset(),
}
BEFORE: Final = frozenset({_S.CLOSED, _S.COOKIE_WAIT, _S.COOKIE_ECHOED})
OPEN: Final = frozenset({_S.ESTABLISHED, _S.SHUTDOWN_PENDING, _S.SHUTDOWN_SENT})
SENDING: Final = frozenset({_S.ESTABLISHED, _S.SHUTDOWN_PENDING})


@dataclass(frozen=True, slots=True)
class Established:
    """Both sides are ready. `restarted`: the peer began anew, and what was on its way is gone."""

    restarted: bool = False


@dataclass(frozen=True, slots=True)
class StreamsReset:
    """The peer begins anew on these streams; none stand for all."""

    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResetDone:
    """The peer knows that we begin anew on these streams."""

    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end; `reason` is for a log. `aborted` tells whether we said it to the peer."""

    reason: str
    aborted: bool = False


Event = Established | StreamsReset | ResetDone | Ended | Received
