"""Webhooks on the wire: one task per receiver posts what its outbox holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import aiohttp
import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..logs import Log
from . import outbox

LOSS_LOG: Final = 60.0
"""Seconds between two lines about lost events of one receiver."""

_log = Log(__name__)


class Notifier:
    """Posts events to every receiver; none waits for another, and nobody waits for them.

    `key` returns the secret as it is now; the times are seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: Callable[[], bytes],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        jitter: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._key = key
        self._clock = clock
        self._wall = wall
        self._token = token
        self._receivers = [
            _Receiver(number, url, outbox.Outbox(jitter)) for number, url in enumerate(urls, 1)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    def counts(self) -> dict[str, tuple[int, outbox.Counts]]:
        """How many wait and how deliveries ended, by URL."""
        return {r.url: (len(r.outbox), r.outbox.counts) for r in self._receivers}

    def collect(self) -> Iterable[Metric]:
        """For the metrics: a receiver is its number in the configuration, for its URL may be a
        secret."""
        waiting = GaugeMetricFamily(
            "signaling_webhooks_waiting", "Events that wait.", labels=["receiver"]
        )
        delivered = CounterMetricFamily(
            "signaling_webhooks_delivered", "Events that arrived.", labels=["receiver"]
        )
        failed = CounterMetricFamily(
            "signaling_webhooks_failed_attempts", "Tries in vain.", labels=["receiver"]
        )
        dropped = CounterMetricFamily(
            "signaling_webhooks_dropped", "Events given up.", labels=["receiver", "reason"]
        )
        for receiver in self._receivers:
            name, counts = str(receiver.number), receiver.outbox.counts
            waiting.add_metric([name], len(receiver.outbox))
            delivered.add_metric([name], counts.delivered)
            failed.add_metric([name], counts.failed_attempts)
            dropped.add_metric([name, "full"], counts.dropped_full)
            dropped.add_metric([name, "old"], counts.dropped_old)
            dropped.add_metric([name, "end"], counts.dropped_end)
        return [waiting, delivered, failed, dropped]

    def notify(self, event: str, room: str, **fields: object) -> None:
        """Queue `event` of a room for every receiver; `fields` go into the body as they are."""
        self._queue(event, room, {"room": room} | fields)

    def notify_server(self, event: str, **fields: object) -> None:
        """The same for what concerns no room."""
        self._queue(event, "", fields)

    def _queue(self, event: str, room: str, fields: dict[str, object]) -> None:
        id, now = "ev_" + self._token(), self._clock()
        body = msgspec.json.encode(
            {"id": id, "event": event, "timestamp": int(self._wall() * 1000)} | fields
        )
        for receiver in self._receivers:
            receiver.outbox.add(id, room, body, now)
            receiver.complain(now)
            receiver.empty.clear()
            receiver.changed.set()

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=outbox.MAX_ATTEMPT),
            headers={"user-agent": "tandem-rtc"},
        )
        self._tasks = [
            asyncio.create_task(self._post_all(receiver), name=f"webhooks {receiver.number}")
            for receiver in self._receivers
        ]

    async def drain(self, patience: float) -> None:
        """Give what waits `patience` seconds to go out."""
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    for receiver in self._receivers:
                        await receiver.empty.wait()

    async def stop(self) -> None:
        """End; what waits is lost, and said to be."""
        for receiver in self._receivers:
            self._tasks += receiver.sending
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for receiver in self._receivers:
            receiver.outbox.end()
            receiver.complain(self._clock(), at_once=True)
        if self._session is not None:
            await self._session.close()

    async def _post_all(self, receiver: _Receiver) -> None:
        while True:
            receiver.changed.clear()
            while (delivery := receiver.outbox.next_to_send(self._clock())) is not None:
                task = asyncio.create_task(self._post(receiver, delivery))
                receiver.sending.add(task)
                task.add_done_callback(receiver.sending.discard)
            receiver.complain(self._clock())
            if not len(receiver.outbox):
                receiver.empty.set()
            due = receiver.outbox.get_timer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await receiver.changed.wait()

    async def _post(self, receiver: _Receiver, delivery: outbox.Delivery) -> None:
        problem = await self._try(receiver.url, delivery)
        receiver.outbox.receive_result(delivery, not problem, self._clock())
        receiver.changed.set()
        if problem and delivery.attempts == 1:
            _log.warning(
                "webhook not delivered, trying again",
                extra={"receiver": receiver.number, "event": delivery.id, "reason": problem},
            )

    async def _try(self, url: str, delivery: outbox.Delivery) -> str:
        """Post once; the problem, empty for none."""
        assert self._session is not None
        headers = outbox.headers(self._key(), delivery, wall=self._wall())
        try:
            # A redirect would carry a signed body to a place nobody has configured.
            async with self._session.post(
                url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                return "" if 200 <= response.status < 300 else f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # ValueError: a host that is no name, like a..b.
            return type(error).__name__


class _Receiver:
    def __init__(self, number: int, url: str, outbox: outbox.Outbox) -> None:
        self.number = number
        self.url = url
        self.outbox = outbox
        self.sending: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()
        self._told = 0
        self._next_line = 0.0

    def complain(self, now: float, *, at_once: bool = False) -> None:
        """Log events that were lost since the last line about them."""
        lost = self.outbox.counts.dropped - self._told
        if lost and (at_once or now >= self._next_line):
            self._told += lost
            self._next_line = now + LOSS_LOG
            _log.error("webhook events lost", extra={"receiver": self.number, "count": lost})
