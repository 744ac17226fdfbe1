"""What a client has asked and the hub has not answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from msgspec import UNSET

from ..protocol import messages
from ..protocol.messages import ClientMessage
from .errors import ClientError, Refused

log = logging.getLogger(__name__)

PENDING_MAX: Final = 512
"""Unanswered requests; a call in trouble makes a few dozen."""

Answer = asyncio.Future[messages.Reply]


class Requests:
    """Numbers messages and settles their futures with the replies."""

    def __init__(self) -> None:
        self._last_id = 0
        self._pending: dict[str, tuple[ClientMessage, Answer]] = {}

    def number(self) -> str:
        """An id that none before had."""
        self._last_id += 1
        return str(self._last_id)

    def add(self, message: ClientMessage) -> Answer:
        """Give the message its id, and return what will hold the reply. Raises ClientError
        where too many are unanswered."""
        if len(self._pending) >= PENDING_MAX:
            raise ClientError(f"{PENDING_MAX} requests are unanswered.")
        message.id = self.number()
        answer: Answer = asyncio.get_running_loop().create_future()
        self._pending[message.id] = message, answer
        return answer

    def unanswered(self) -> Iterable[ClientMessage]:
        """In the order in which they were made."""
        return [message for message, _ in self._pending.values()]

    def settle(self, reply: messages.Reply) -> None:
        pending = self._pending.pop(reply.id, None) if reply.id is not UNSET else None
        if pending is None or pending[1].done():
            return
        answer = pending[1]
        if isinstance(reply, messages.Error):
            retry = None if reply.retry_after is UNSET else reply.retry_after
            answer.set_exception(Refused(reply.code, reply.message, retry))
            answer.exception()
        else:
            answer.set_result(reply)

    def fail(self, error: ClientError) -> None:
        """Nothing of all this will be answered."""
        pending, self._pending = self._pending, {}
        for _, answer in pending.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # Seen, even if nobody waits for it any more.


def log_refusal(answer: Answer) -> None:
    if not answer.cancelled() and (error := answer.exception()) is not None:
        log.debug("refused: %s", error)
