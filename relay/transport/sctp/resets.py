"""Stream resets (RFC 6525): how data channels are closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .packet import RECONFIG, build_chunk
from .parameters import (
    ADD_INCOMING,
    ADD_OUTGOING,
    BAD_SEQUENCE,
    DENIED,
    IN_PROGRESS,
    INCOMING_RESET,
    OUTGOING_RESET,
    PERFORMED,
    RESPONSE,
    TSN_RESET,
    ResetRequest,
    build_reset,
    build_response,
    parse_parameters_untrusted,
    parse_reset_untrusted,
    parse_response_untrusted,
)

MAX_REQUESTS: Final = 2
"""Parameters of one RE-CONFIG (RFC 6525, 3.1)."""
_OTHERS: Final = frozenset({INCOMING_RESET, TSN_RESET, ADD_OUTGOING, ADD_INCOMING})


class Resets:
    """Both directions."""

    def __init__(self) -> None:
        self.retry_at: float | None = None
        self.attempts = 0
        """Requests in a row without an answer."""
        self._wanted: list[int] = []
        self._request: ResetRequest | None = None
        self._due = False
        self._number = self._expected = 0
        self._supported = False
        self._result = PERFORMED

    def begin(self, local_tsn: int, remote_tsn: int, *, supported: bool) -> None:
        """Both sides are known. Request numbers begin with each one's first TSN."""
        self._number, self._expected, self._supported = local_tsn, remote_tsn, supported
        self._request = self.retry_at = None
        self._due = False
        self.attempts = 0

    def ask(self, stream: int) -> None:
        """Have a stream begin anew once everything of it has been sent."""
        if stream not in self._wanted:
            self._wanted.append(stream)

    def prepare(self, is_busy: Callable[[int], bool], last_tsn: int) -> tuple[int, ...]:
        """Make the next request, of the streams that are not busy sending, unless one is open.

        Returns those that need none, for the peer does not know what that is.
        """
        if not self._wanted or self._request is not None:
            return ()
        ready = tuple(stream for stream in self._wanted if not is_busy(stream))
        self._wanted = [stream for stream in self._wanted if stream not in ready]
        if not self._supported or not ready:
            return ready
        response = (self._expected - 1) & 0xFFFFFFFF
        self._request = ResetRequest(self._number, response, last_tsn & 0xFFFFFFFF, ready)
        self._due = True
        return ()

    def take(self, now: float, timeout: float) -> bytes | None:
        """Return the request if it is to be sent now."""
        if self._request is None or not self._due:
            return None
        self._due = False
        self.retry_at = now + timeout
        return build_chunk(RECONFIG, build_reset(self._request))

    def handle_timer(self) -> None:
        """No answer came in time."""
        self.retry_at = None
        self._due = True
        self.attempts += 1

    def receive(
        self, value: bytes, cumulative: int
    ) -> tuple[bytes | None, tuple[int, ...] | None, tuple[int, ...]]:
        """Take a RE-CONFIG; `cumulative` is the last TSN before a gap, in 32 bits.

        Returns the answer, if any; the peer's streams that begin anew, () being all; and those
        of ours that do. Raise MalformedSctp.
        """
        answers: list[bytes] = []
        theirs: tuple[int, ...] | None = None
        ours: tuple[int, ...] = ()
        for type, content in parse_parameters_untrusted(value)[:MAX_REQUESTS]:
            if type == OUTGOING_RESET:
                request = parse_reset_untrusted(content)
                if self._judge(request, cumulative):
                    theirs = request.streams
                answers.append(build_response(request.number, self._result))
            elif type == RESPONSE:
                ours = self._settle(*parse_response_untrusted(content)) or ours
            elif type in _OTHERS and len(content) >= 4:
                number = int.from_bytes(content[:4], "big")
                answers.append(build_response(number, self._refuse(number)))
        chunk = build_chunk(RECONFIG, b"".join(answers)) if answers else None
        return chunk, theirs, ours

    def _judge(self, request: ResetRequest, cumulative: int) -> bool:
        """Whether to carry a request out now; `_result` is the answer."""
        if request.number == (self._expected - 1) & 0xFFFFFFFF:
            return False  # a repeat, answered as before
        if request.number != self._expected:
            self._result = BAD_SEQUENCE
            return False
        if (request.last_tsn - cumulative - 1) & 0xFFFFFFFF < 0x80000000:
            self._result = IN_PROGRESS
            return False
        self._expected = (self._expected + 1) & 0xFFFFFFFF
        self._result = PERFORMED
        return True

    def _refuse(self, number: int) -> int:
        if number == self._expected:
            self._expected = (self._expected + 1) & 0xFFFFFFFF
            self._result = DENIED
            return DENIED
        return DENIED if number == (self._expected - 1) & 0xFFFFFFFF else BAD_SEQUENCE

    def _settle(self, number: int, result: int) -> tuple[int, ...]:
        request = self._request
        if request is None or number != request.number:
            return ()
        self.attempts = 0
        if result == IN_PROGRESS:
            return ()  # asked again when the timer says so
        self._request = None
        self.retry_at = None
        self._number = (self._number + 1) & 0xFFFFFFFF
        return request.streams  # denied or done: nothing more comes on them
