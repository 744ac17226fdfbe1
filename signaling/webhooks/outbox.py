"""Webhook rules: what is signed how, what waits, and when it is tried again.

One `Outbox` per receiver. Events of a room go out one at a time and in order, those of different
rooms beside each other, each until the receiver answers 2xx: at least once, so that a receiver
compares `webhook-id` with what it has seen. The signature is that of Standard Webhooks
(https://www.standardwebhooks.com), for which libraries exist in most languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

FIRST_RETRY = 1.0  # seconds; a restarting receiver is back within a few
MAX_RETRY = 60.0  # seconds; above it recovery would go unnoticed for too long
MAX_AGE = 15 * 60.0  # seconds; older news of a room is of no use to anybody
MAX_WAITING = 1000  # events; some 300 bytes each
MAX_SENDING = 8  # requests at a time, of as many rooms: a slow answer holds up one room's news
MAX_ATTEMPT = 10.0  # seconds for one request, connecting included


class Delivery(msgspec.Struct, gc=False):
    """One event on its way. `created` and `due` are monotonic seconds."""

    id: str
    room: str
    body: bytes
    created: float
    due: float
    attempts: int = 0


class Counts(msgspec.Struct):
    """For the metrics: how deliveries ended."""

    delivered: int = 0
    failed_attempts: int = 0
    dropped_full: int = 0
    dropped_old: int = 0
    dropped_end: int = 0
    """Still waiting when the server ended."""

    @property
    def dropped(self) -> int:
        return self.dropped_full + self.dropped_old + self.dropped_end


def parse_secret(text: str) -> bytes:
    """Read `whsec_` and base64, or take any other text as it is. Raise ValueError if too short."""
    if text.startswith("whsec_"):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("after whsec_ a webhook secret is base64") from None
    else:
        key = text.encode()
    if len(key) < 16:
        raise ValueError("a webhook secret has at least 16 bytes")
    return key


def sign(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header: HMAC-SHA256 of `id.timestamp.body`."""
    signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(key: bytes, delivery: Delivery, *, wall: float) -> dict[str, str]:
    """Return the headers of one attempt; `timestamp` is the attempt's, so that receivers
    may refuse old ones, and `webhook-id` is the event's, the same in each attempt."""
    timestamp = int(wall)
    return {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, delivery.id, timestamp, delivery.body),
    }


class Outbox:
    """What waits for one receiver, by room. `jitter()` returns a number from 0 to 1."""

    def __init__(
        self,
        jitter: Callable[[], float],
        *,
        max_waiting: int = MAX_WAITING,
        max_sending: int = MAX_SENDING,
    ) -> None:
        self.counts = Counts()
        self._jitter = jitter
        self._max_waiting = max_waiting
        self._max_sending = max_sending
        self._waiting: dict[str, Delivery] = {}
        """By id, the oldest first."""
        self._rooms: dict[str, deque[Delivery]] = {}
        self._sending: dict[str, Delivery] = {}
        """By room: a room's next event waits for the answer to the one before it."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, id: str, room: str, body: bytes, now: float) -> None:
        """Queue an event; where the outbox is full the oldest that is not being sent goes."""
        if len(self._waiting) >= self._max_waiting:
            sending = {delivery.id for delivery in self._sending.values()}
            oldest = next((d for id, d in self._waiting.items() if id not in sending), None)
            self.counts.dropped_full += 1
            if oldest is None:
                return
            self._remove(oldest)
        delivery = Delivery(id, room, body, created=now, due=now)
        self._waiting[id] = delivery
        self._rooms.setdefault(room, deque()).append(delivery)

    def get_timer(self) -> float | None:
        """When `next_to_send` should be asked again; None: after the next `add` or result."""
        if len(self._sending) >= self._max_sending:
            return None
        return min((head.due for head in self._list_heads()), default=None)

    def next_to_send(self, now: float) -> Delivery | None:
        """Return what is to be sent now, once; its result has to be told."""
        self._drop_old(now)
        if len(self._sending) >= self._max_sending:
            return None
        due = (head for head in self._list_heads() if head.due <= now)
        delivery = min(due, key=lambda head: head.due, default=None)
        if delivery is not None:
            self._sending[delivery.room] = delivery
            delivery.attempts += 1
        return delivery

    def receive_result(self, delivery: Delivery, delivered: bool, now: float) -> None:
        """`delivered`: the receiver answered 2xx."""
        del self._sending[delivery.room]
        if delivered:
            self.counts.delivered += 1
            self._remove(delivery)
            return
        self.counts.failed_attempts += 1
        delay = min(MAX_RETRY, FIRST_RETRY * 2.0 ** min(delivery.attempts - 1, 16))
        # From half to the whole delay, so that many hubs do not come back at once.
        delivery.due = now + delay * (0.5 + 0.5 * self._jitter())

    def end(self) -> None:
        """Give up what waits."""
        self.counts.dropped_end += len(self._waiting)
        self._waiting.clear()
        self._rooms.clear()

    def _list_heads(self) -> Iterator[Delivery]:
        return (queue[0] for room, queue in self._rooms.items() if room not in self._sending)

    def _drop_old(self, now: float) -> None:
        for delivery in list(self._waiting.values()):
            if now - delivery.created <= MAX_AGE:
                break
            if self._sending.get(delivery.room) is not delivery:
                self._remove(delivery)
                self.counts.dropped_old += 1

    def _remove(self, delivery: Delivery) -> None:
        if self._waiting.pop(delivery.id, None) is not None:
            queue = self._rooms[delivery.room]
            queue.remove(delivery)
            if not queue:
                del self._rooms[delivery.room]
