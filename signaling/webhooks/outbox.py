"""Webhook rules: what is signed how, what waits, and when it is tried again.

One `Outbox` per receiver. Events go out one at a time and in order, each until the
receiver answers 2xx: at least once, so that a receiver compares `webhook-id` with
what it has seen. The signature is that of Standard Webhooks
(https://www.standardwebhooks.com), for which libraries exist in most languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import deque
from collections.abc import Callable

import msgspec

FIRST_RETRY = 1.0  # seconds; a restarting receiver is back within a few
MAX_RETRY = 60.0  # seconds; above it recovery would go unnoticed for too long
MAX_AGE = 15 * 60.0  # seconds; older news of a room is of no use to anybody
MAX_WAITING = 1000  # events; some 300 bytes each
MAX_ATTEMPT = 10.0  # seconds for one request, connecting included


class Delivery(msgspec.Struct, gc=False):
    """One event on its way. `created` and `due` are monotonic seconds."""

    id: str
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
    """What waits for one receiver. `jitter()` returns a number from 0 to 1."""

    def __init__(self, jitter: Callable[[], float], *, max_waiting: int = MAX_WAITING) -> None:
        self.counts = Counts()
        self._jitter = jitter
        self._max_waiting = max_waiting
        self._waiting: deque[Delivery] = deque()
        self._sending: Delivery | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, id: str, body: bytes, now: float) -> None:
        """Queue an event; where the outbox is full the oldest that is not being sent goes."""
        if len(self._waiting) >= self._max_waiting:
            oldest = self._waiting.popleft()
            self.counts.dropped_full += 1
            if oldest is self._sending:
                self._sending = None
        self._waiting.append(Delivery(id, body, created=now, due=now))

    def get_timer(self) -> float | None:
        """When `next_to_send` should be asked again; None: after the next `add` or result."""
        if self._sending is not None or not self._waiting:
            return None
        return self._waiting[0].due

    def next_to_send(self, now: float) -> Delivery | None:
        """Return what is to be sent now, once; its result has to be told."""
        self._drop_old(now)
        if self._sending is not None or not self._waiting or self._waiting[0].due > now:
            return None
        self._sending = self._waiting[0]
        self._sending.attempts += 1
        return self._sending

    def receive_result(self, delivery: Delivery, delivered: bool, now: float) -> None:
        """`delivered`: the receiver answered 2xx."""
        if delivered:
            self.counts.delivered += 1
        else:
            self.counts.failed_attempts += 1
        if self._sending is not delivery:
            return  # it was dropped while it was being sent
        self._sending = None
        if delivered:
            self._waiting.popleft()
        else:
            delay = min(MAX_RETRY, FIRST_RETRY * 2.0 ** min(delivery.attempts - 1, 16))
            # From half to the whole delay, so that many hubs do not come back at once.
            delivery.due = now + delay * (0.5 + 0.5 * self._jitter())

    def _drop_old(self, now: float) -> None:
        while self._waiting and self._waiting[0] is not self._sending:
            if now - self._waiting[0].created <= MAX_AGE:
                break
            self._waiting.popleft()
            self.counts.dropped_old += 1
