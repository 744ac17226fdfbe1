"""Events of rooms as a Redis stream, for programs that must not miss one.

Each entry has the fields `id`, `event`, `room`, `timestamp` (milliseconds) and `body`, the JSON
that webhooks carry. At least once: what could not be written is written again, so an entry may
come twice, with the same `id`; a consumer compares that with what it has done. In order for each
hub, and so for each room while it stays on one. The stream is capped; its readers take it by
consumer groups (XREADGROUP), each event once for each group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..logs import Log
from .store import Store, StoreAway

MAX_WAITING: Final = 10_000
"""Events that wait for Redis; beyond, the oldest are dropped and counted."""

LENGTH: Final = 100_000
"""Entries that the stream holds, about: some hours of a busy server."""

AT_ONCE: Final = 200
"""Entries in one pipeline."""

RETRY: Final = 1.0
"""Seconds between tries while Redis is away."""

log = Log(__name__)


class EventStream:
    """`wall` is seconds since the epoch, `token` makes ids."""

    def __init__(
        self, store: Store, name: str, *, wall: Callable[[], float], token: Callable[[], str]
    ) -> None:
        self._store = store
        self._name = name
        self._wall = wall
        self._token = token
        self._waiting: deque[dict[str, str | bytes]] = deque()
        self._changed, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self.published = self.dropped = 0

    def notify(self, event: str, room: str, **fields: object) -> None:
        """Queue an event; `fields` go into the body as they are. Never blocks or raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        id, timestamp = "ev_" + self._token(), int(self._wall() * 1000)
        body = msgspec.json.encode(
            {"id": id, "event": event, "timestamp": timestamp, "room": room, **fields}
        )
        entry = {"id": id, "event": event, "room": room, "timestamp": str(timestamp)}
        self._waiting.append({**entry, "body": body})
        self._empty.clear()
        self._changed.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._write_all(), name="event stream")

    async def stop(self, patience: float = 2.0) -> None:
        """Give what waits `patience` seconds to be written, then end."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._empty.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _write_all(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                some = [self._waiting[n] for n in range(min(AT_ONCE, len(self._waiting)))]
                try:
                    await self._store.append(self._name, some, LENGTH)
                except StoreAway as error:
                    log.warning("events wait for Redis", extra={"reason": str(error)})
                    await asyncio.sleep(RETRY)
                    continue
                # The oldest may have been dropped meanwhile: only what was written goes.
                for written in some:
                    if self._waiting and self._waiting[0] is written:
                        self._waiting.popleft()
                self.published += len(some)
            self._empty.set()

    def collect(self) -> Iterator[Metric]:
        """Prometheus families."""
        prefix = "signaling_event_stream_"
        yield GaugeMetricFamily(
            prefix + "waiting", "Events that wait for Redis.", len(self._waiting)
        )
        yield CounterMetricFamily(prefix + "published", "Events written.", self.published)
        yield CounterMetricFamily(prefix + "dropped", "Events given up.", self.dropped)
