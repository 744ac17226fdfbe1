"""A participant's session, which outlives its connections: numbering, replay, repeats; and a
connection as the hub sees it.

A session numbers what it is to receive and keeps it until it is known to have arrived, so that
a new connection goes on where the last one ended. It also keeps its replies to messages with an
`id`, so that a repeated message is answered and not carried out again.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from ..access.ratelimit import TokenBucket
from ..metrics import Metrics
from ..protocol.messages import build_frame, find_id_untrusted
from ..settings.config import Limits
from .journal import FILLER, Journal, digest
from .participant import Participant
from .room import Room


class State(enum.Enum):
    NEW = "new"  # not in a room yet
    JOINED = "joined"  # in a room, with a connection
    DETACHED = "detached"  # in a room, waiting for a connection
    CLOSED = "closed"  # out of the room for good


class Input(enum.Enum):
    JOIN = "join"
    RESUME = "resume"  # a connection takes the session over, from another or from none
    LOSE = "lose"  # the connection is gone, or silent
    END = "end"  # left, kicked, timed out, or the room was closed


TRANSITIONS: Final = {
    (State.NEW, Input.JOIN): State.JOINED,
    (State.JOINED, Input.RESUME): State.JOINED,
    (State.JOINED, Input.LOSE): State.DETACHED,
    (State.JOINED, Input.END): State.CLOSED,
    (State.DETACHED, Input.RESUME): State.JOINED,
    (State.DETACHED, Input.END): State.CLOSED,
}

# Seconds for which replies and messages are kept at least. A client that lost its connection
# comes back within two silent heartbeats and `resume_within`, 80 s with the defaults.
RETENTION: Final = 90.0
FORGIVEN: Final = 0.1
"""Of those over the rate, a client gets as many refused as it may send in a burst; this share of
the rate is forgiven each second. Then it is closed."""

MAX_UNWRITTEN: Final = 1000
"""Messages that a client may have been sent before they were written down for other hubs."""

PENDING: Final = b""
"""What `recall` returns for a message that is being carried out."""


class Outlet(Protocol):
    """What the hub needs of a connection."""

    def send(self, data: bytes) -> None:
        """Send one text frame. Never blocks, never raises."""

    def send_soon(self, data: bytes) -> None:
        """The same, in order, but at best together with what is sent next."""

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket after what was sent."""


class Link:
    """One connection as the hub sees it, and what it may still say."""

    __slots__ = (
        "_broadcasts",
        "_limits",
        "_messages",
        "_metrics",
        "_patience",
        "address",
        "bad",
        "closed",
        "join_by",
        "knock",
        "outlet",
        "session",
        "waiting",
    )

    def __init__(
        self, outlet: Outlet, address: str, limits: Limits, metrics: Metrics, now: float
    ) -> None:
        self.outlet = outlet
        self.address = address
        self.session: Session | None = None
        self.knock = ""  # under which it waits to be let into a room
        self.join_by = 0.0
        self.waiting = 0  # messages that are kept for later turns
        self.closed = False
        self.bad = 0  # refused as bad-request in a row
        self._limits = limits
        self._metrics = metrics
        self._messages = TokenBucket(limits.message_burst, now)
        self._broadcasts: TokenBucket | None = None  # made with the first message to a whole room
        self._patience: TokenBucket | None = None  # made with the first message over the rate

    def send(self, frame: bytes) -> None:
        self._metrics.sent += 1
        self.outlet.send(frame)

    def send_soon(self, frame: bytes) -> None:
        self._metrics.sent += 1
        self.outlet.send_soon(frame)

    def close(self, code: int, reason: str) -> None:
        self.closed = True
        self.outlet.close(code, reason)

    def count(self, now: float, *, broadcast: bool) -> float:
        """Count a message; return the seconds to wait, 0 for none. One to a whole room costs as
        much as the room is large, and has a rate of its own."""
        limits = self._limits
        wait = self._messages.take(now, limits.message_rate, limits.message_burst)
        if wait or not broadcast:
            return wait
        if self._broadcasts is None:
            self._broadcasts = TokenBucket(limits.broadcast_burst, now)
        return self._broadcasts.take(now, limits.broadcast_rate, limits.broadcast_burst)

    def lose_patience(self, now: float) -> bool:
        """Count a refusal for the rate; true when there were too many."""
        limits = self._limits
        if self._patience is None:
            self._patience = TokenBucket(limits.message_burst, now)
        return bool(self._patience.take(now, limits.message_rate * FORGIVEN, limits.message_burst))


class Session:
    """`seq` is the number of the last message to the client, 0 before the first."""

    __slots__ = (
        "_aged",
        "_digest",
        "_former_replies",
        "_journal",
        "_limits",
        "_mark",
        "_replay",
        "_replay_bytes",
        "_replies",
        "_reply_bytes",
        "_retention",
        "expires",
        "link",
        "participant",
        "restored",
        "room",
        "secret",
        "seq",
        "state",
    )

    def __init__(
        self, secret: str, limits: Limits, now: float, journal: Journal | None = None
    ) -> None:
        self.secret = secret
        self._digest = ""
        self._journal = journal
        self.restored = False
        self.state = State.NEW
        self.seq = 0
        self.link: Link | None = None
        self.room: Room
        self.participant: Participant
        self.expires = 0.0
        self._limits = limits
        self._replay: deque[bytes] = deque()
        self._replay_bytes = 0
        self._replies: dict[str, bytes] | None = None
        self._former_replies: dict[str, bytes] | None = None
        self._reply_bytes = 0
        self._mark = 0
        self._aged = now
        self._retention = max(RETENTION, 2 * limits.heartbeat + limits.resume_within)

    @property
    def connected(self) -> bool:
        return self.link is not None

    @property
    def fields(self) -> dict[str, object]:
        """What a log line says of it; never its secret."""
        return {"room": self.room.name, "participant": self.participant.id}

    def send(self, body: bytes) -> None:
        """Number a message, keep it, and send it if somebody is there to get it."""
        frame = self.number(body)
        if self.link is not None:
            self.link.send(frame)

    def send_soon(self, body: bytes) -> None:
        """The same for what nobody waits for."""
        frame = self.number(body)
        if self.link is not None:
            self.link.send_soon(frame)

    def reply(self, id: str | None, body: bytes) -> None:
        """Send the reply to `id`, and keep it for a repeat."""
        if id is not None:
            self.remember(id, body)
        self.send(body)

    def change(self, input: Input) -> None:
        """Take a step in the table. KeyError: the caller has let through what cannot be."""
        self.state = TRANSITIONS[self.state, input]

    # -- Numbering and replay -----------------------------------------------------------

    def number(self, body: bytes) -> bytes:
        """Return the frame of the session's next message, and keep its body."""
        self.seq = seq = self.seq + 1
        self._replay.append(body)
        self._replay_bytes += len(body)
        if (
            len(self._replay) > self._limits.replay_messages
            or self._replay_bytes > self._limits.replay_bytes
        ):
            self._forget_oldest()
        if self._journal is not None:
            self._journal.note(self.room.name, self.participant.id, seq, body)
        return b'{"seq":%d,%b' % (seq, body)

    def can_replay_after(self, seq: int) -> bool:
        """Whether everything after `seq` is still there, and `seq` has been sent."""
        return self.seq - len(self._replay) <= seq <= self.seq

    def replay_after(self, seq: int) -> Iterator[bytes]:
        """The frames after `seq`, as they were."""
        first = self.seq - len(self._replay) + 1
        bodies = list(self._replay)[seq + 1 - first :]
        return (build_frame(body, seq + n) for n, body in enumerate(bodies, 1))

    # -- Taken over from another hub ----------------------------------------------------

    @property
    def digest(self) -> str:
        """The secret's hash, as others may know it."""
        if not self._digest:
            self._digest = digest(self.secret)
        return self._digest

    def restore(
        self, known: str, seq: int, bodies: Mapping[int, bytes], replies: Iterable[bytes]
    ) -> None:
        """Go on where another hub ended: the secret's hash, the last number, what was sent, and
        the replies that were to be."""
        self._digest, self.restored = known, True
        self.seq = max(seq, max(bodies, default=0))
        for number in range(min(bodies, default=self.seq + 1), self.seq + 1):
            body = bodies.get(number, FILLER)
            self._replay.append(body)
            self._replay_bytes += len(body)
        self._forget_oldest()
        for body in (*bodies.values(), *replies):
            id = find_id_untrusted(b"{" + body) if b'"id"' in body else None
            if id is not None:
                self.remember(id, body)

    def accept(self, secret: str, seq: int) -> None:
        """The client has proved that the session is its own, and says what it has seen.

        It may have seen more than the hub that died had written down: then all else is old.
        """
        self.secret = secret
        if self.seq < seq <= self.seq + MAX_UNWRITTEN:
            self._replay.clear()
            self._replay_bytes = 0
            self.seq = seq

    def acknowledge(self, seq: int) -> None:
        """Everything up to `seq` has arrived; a number not sent yet says nothing."""
        if seq <= self.seq:
            while self.seq - len(self._replay) < seq:
                self._replay_bytes -= len(self._replay.popleft())

    def age(self, now: float) -> None:
        """Forget what is older than the retention, at most twice that; call it now and then.

        Only for a session whose connection lives: what was sent that long ago has arrived.
        """
        if now - self._aged >= self._retention:
            self._aged = now
            self.acknowledge(self._mark)
            self._mark = self.seq
            self._former_replies, self._replies = self._replies, None
            self._reply_bytes = 0

    def _forget_oldest(self) -> None:
        limits = self._limits
        while len(self._replay) > 1 and (
            len(self._replay) > limits.replay_messages or self._replay_bytes > limits.replay_bytes
        ):
            self._replay_bytes -= len(self._replay.popleft())

    # -- Repeats ------------------------------------------------------------------------

    def recall(self, id: str) -> bytes | None:
        """Return the body of the first reply to `id`, PENDING, or None for a new message."""
        for replies in (self._replies, self._former_replies):
            if replies is not None and id in replies:
                return replies[id]
        return None

    def remember(self, id: str, body: bytes) -> None:
        """Keep the reply to `id`, or PENDING: as much as is kept for replay, in messages and in
        bytes, for a reply that the client may not have seen is among that."""
        if self._replies is None:
            self._replies = {}
        self._reply_bytes += len(body) - len(self._replies.get(id, b""))
        self._replies[id] = body
        while len(self._replies) > 1 and (
            len(self._replies) > self._limits.replay_messages
            or self._reply_bytes > self._limits.replay_bytes
        ):
            self._reply_bytes -= len(self._replies.pop(next(iter(self._replies))))
