"""Webhooks on the wire: one task per receiver posts what its outbox holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

import aiohttp
import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from . import outbox

logger = logging.getLogger(__name__)


class Notifier:
    """Posts events to every receiver; none waits for another, and nobody waits for them."""

    def __init__(
        self,
        urls: Sequence[str],
        key: bytes,
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
        self._receivers = {url: _Receiver(outbox.Outbox(jitter)) for url in urls}
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    def counts(self) -> dict[str, tuple[int, outbox.Counts]]:
        """How many wait and how deliveries ended, by URL."""
        return {url: (len(r.outbox), r.outbox.counts) for url, r in self._receivers.items()}

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
        for number, (size, counts) in enumerate(self.counts().values(), 1):
            name = str(number)
            waiting.add_metric([name], size)
            delivered.add_metric([name], counts.delivered)
            failed.add_metric([name], counts.failed_attempts)
            dropped.add_metric([name, "full"], counts.dropped_full)
            dropped.add_metric([name, "old"], counts.dropped_old)
        return [waiting, delivered, failed, dropped]

    def notify(self, event: str, room: str, **fields: object) -> None:
        """Queue `event` for every receiver; `fields` go into the body as they are."""
        id = "ev_" + self._token()
        body = msgspec.json.encode(
            {"id": id, "event": event, "timestamp": int(self._wall() * 1000), "room": room} | fields
        )
        for receiver in self._receivers.values():
            receiver.outbox.add(id, body, self._clock())
            receiver.empty.clear()
            receiver.changed.set()

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=outbox.MAX_ATTEMPT),
            headers={"user-agent": "tandem-rtc"},
        )
        self._tasks = [
            asyncio.create_task(self._post_all(url, receiver), name=f"webhooks to {url}")
            for url, receiver in self._receivers.items()
        ]

    async def stop(self, patience: float = 2.0) -> None:
        """Give what waits `patience` seconds to go out, then end."""
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    for receiver in self._receivers.values():
                        await receiver.empty.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _post_all(self, url: str, receiver: _Receiver) -> None:
        outbox = receiver.outbox
        while True:
            receiver.changed.clear()
            delivery = outbox.next_to_send(self._clock())
            if delivery is not None:
                delivered = await self._post(url, delivery)
                outbox.receive_result(delivery, delivered, self._clock())
                continue
            if not len(outbox):
                receiver.empty.set()
            due = outbox.get_timer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await receiver.changed.wait()

    async def _post(self, url: str, delivery: outbox.Delivery) -> bool:
        assert self._session is not None
        headers = outbox.headers(self._key, delivery, wall=self._wall())
        try:
            # A redirect would carry a signed body to a place nobody has configured.
            async with self._session.post(
                url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    return True
                problem = f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # ValueError: a host that is no name, like a..b.
            problem = type(error).__name__
        if delivery.attempts == 1:
            logger.warning("webhook %s not delivered (%s), trying again", delivery.id, problem)
        return False


class _Receiver:
    def __init__(self, outbox: outbox.Outbox) -> None:
        self.outbox = outbox
        self.changed = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()
