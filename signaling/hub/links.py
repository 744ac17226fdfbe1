"""Connections: how one is refused in words, and how it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ..access.addresses import AddressLimits
from ..logs import Log
from ..metrics import Metrics
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..settings.config import Limits
from .session import Link

MAX_BAD_REQUESTS: Final = 5
"""Refusals in a row after which a client is taken for a broken one."""
VIOLATIONS: Final = frozenset({"bad-request", "unauthorized", "too-large", "rate-limited"})
"""What is closed for these, was no mistake of the network or of the person."""
UNREAD: Final = frozenset({"bad-request", "rate-limited"})
"""Refusals after which nothing has been done, and a message may be sent again."""

log = Log(__name__)


class Links:
    """All connections of a hub. `on_end` is told of each that the hub ends."""

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        addresses: AddressLimits,
        on_end: Callable[[Link, float], None],
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._addresses = addresses
        self._on_end = on_end
        self._links: set[Link] = set()
        self._newcomers: deque[tuple[float, Link]] = deque()  # all may take equally long

    def list_open(self) -> list[Link]:
        return [link for link in self._links if not link.closed]

    def add(self, link: Link, now: float) -> None:
        self._links.add(link)
        self.await_join(link, now)

    def discard(self, link: Link) -> None:
        """The socket is gone."""
        link.closed = True
        self._links.discard(link)

    def await_join(self, link: Link, now: float) -> None:
        """Give a connection time to join a room."""
        link.join_by = now + self._limits.join_timeout
        self._newcomers.append((link.join_by, link))

    def refuse(
        self,
        link: Link,
        error: ProtocolError,
        id: str | None,
        now: float,
        *,
        remember: bool = False,
    ) -> None:
        """Reply with an error, and close where the table says so.

        `remember` it as the reply to `id`, unless the message was not looked at; what is
        refused for its rate or its shape may be sent again under the same `id`.
        """
        self._metrics.errors[error.code] += 1
        close = error.kind.at_once
        if error.code == "bad-request":
            link.bad += 1
            close = link.bad >= MAX_BAD_REQUESTS
        elif error.code != "rate-limited":
            link.bad = 0
        if error.code != "overloaded":  # that comes as a close alone: nobody would read it
            self._tell(link, error, id, remember=remember)
        if close:
            self.end(link, error, now)

    def _tell(self, link: Link, error: ProtocolError, id: str | None, *, remember: bool) -> None:
        body = messages.build_error(error, id)
        session = link.session
        if session is None:
            link.send(messages.build_frame(body))
            return
        if id is not None and remember and error.code not in UNREAD:
            session.remember(id, body)
        session.send(body)

    def limit(self, link: Link, id: str | None, retry_after: float, now: float) -> None:
        """Refuse for the rate, and close one that goes on."""
        error = ProtocolError("rate-limited", "Too many messages.", retry_after=retry_after)
        self.refuse(link, error, id, now)
        if link.lose_patience(now):
            self.end(link, error, now)

    def end(self, link: Link, error: ProtocolError, now: float) -> None:
        if link.closed:
            return
        assert error.kind.close is not None
        if error.code in VIOLATIONS:
            self._addresses.violate(link.address, now, error.code)
        fields = {} if link.session is None else link.session.fields
        log.info(
            "connection closed by the hub",
            extra={"code": error.code, "address": link.address, **fields},
        )
        self._links.discard(link)
        link.close(error.kind.close, error.code)
        self._on_end(link, now)

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        while self._newcomers and not _is_late(*self._newcomers[0]):
            self._newcomers.popleft()
        return self._newcomers[0][0] if self._newcomers else None

    def handle_timer(self, now: float) -> None:
        while self._newcomers and self._newcomers[0][0] <= now:
            deadline, link = self._newcomers.popleft()
            if _is_late(deadline, link):
                error = ProtocolError("join-timeout", "Nobody joined a room here.")
                self.refuse(link, error, None, now)


def _is_late(deadline: float, link: Link) -> bool:
    """True for a connection that will be late at `deadline`, as it stands now."""
    waits = link.closed or link.session is not None or link.knock
    return not waits and link.join_by == deadline
