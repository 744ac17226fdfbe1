"""The one table of error codes: what each closes a WebSocket with, and its HTTP status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NORMAL_CLOSE: Final = 1000
GOING_AWAY_CLOSE: Final = 1001


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row. `close` is the WebSocket close code that may follow the error, None for none.

    `at_once` tells whether the close always follows; the other closing codes follow only when
    the fault goes on (`bad-request`, `rate-limited`).
    """

    code: str
    close: int | None
    status: int
    at_once: bool = False


KINDS: Final = {
    kind.code: kind
    for kind in (
        ErrorKind("bad-request", 4400, 400),
        ErrorKind("unauthorized", 4401, 401, at_once=True),
        ErrorKind("forbidden", None, 403),
        ErrorKind("kicked", 4403, 403, at_once=True),
        ErrorKind("heartbeat-timeout", 4408, 408, at_once=True),
        ErrorKind("join-timeout", 4410, 408, at_once=True),
        ErrorKind("replaced", 4409, 409, at_once=True),
        ErrorKind("too-large", 4413, 413, at_once=True),
        ErrorKind("rate-limited", 4429, 429),
        ErrorKind("overloaded", 4503, 503, at_once=True),
        ErrorKind("draining", GOING_AWAY_CLOSE, 503, at_once=True),
        ErrorKind("not-joined", None, 409),
        ErrorKind("already-joined", None, 409),
        ErrorKind("unknown-participant", None, 404),
        ErrorKind("unknown-track", None, 404),
        ErrorKind("room-full", None, 409),
        ErrorKind("room-locked", None, 423),
        ErrorKind("session-expired", None, 410),
        ErrorKind("relay-unavailable", None, 503),
        ErrorKind("bad-sdp", None, 400),
        ErrorKind("unsupported-codec", None, 406),
        ErrorKind("no-media", None, 422),
        ErrorKind("internal", None, 500),
    )
}


class ProtocolError(Exception):
    """A refusal with a stable `code` for programs and a `message` for people.

    `message` reaches the client: it never quotes a secret or another exception.
    `retry_after` is seconds, with `rate-limited`.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.kind = KINDS[code]
        self.code = code
        self.message = message
        self.retry_after = retry_after
