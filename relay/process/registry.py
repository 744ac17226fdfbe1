"""A relay node's entry in Redis, by which hubs find it. Below `tandem:`, as the hubs' own keys.

relay:{id}   JSON   id, address of its links, region, load, PX 10000;  relays: the set of ids
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
import redis.asyncio as redis_client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PREFIX: Final = "tandem:"
LEASE: Final = 10.0
"""Seconds for which an entry holds without a renewal."""

RENEW_EVERY: Final = 3.0
TIMEOUT: Final = 2.0
"""Seconds that Redis may take to answer."""


class RelayRecord(msgspec.Struct, frozen=True):
    """A relay node as hubs find it. `address` is the host and port of its links."""

    id: str
    address: str
    region: str = ""
    load: float = 0.0


class Registry:
    """Keeps one node's entry. `describe` returns it as it is now, None while it takes no rooms."""

    def __init__(self, url: str, describe: Callable[[], RelayRecord | None]) -> None:
        self._redis: Any = redis_client.Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 1),
        )
        self._describe = describe
        self._away = False
        self._id = ""

    async def agree_on_secret(self, proposal: str) -> str:
        """The cluster's secret: what the first of its members proposed. Raises ConnectionError."""
        try:
            await self._redis.set(PREFIX + "secret", proposal, nx=True)
            return str((await self._redis.get(PREFIX + "secret")).decode())
        except (RedisError, OSError) as error:
            raise ConnectionError(type(error).__name__) from error

    async def keep(self) -> None:
        """Renew the entry until cancelled, then take it out."""
        try:
            while True:
                await self.renew()
                await asyncio.sleep(RENEW_EVERY)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._withdraw()
                await self._redis.aclose()

    async def renew(self) -> None:
        """Write the entry once, or take it out. Never raises."""
        record = self._describe()
        try:
            if record is None:
                await self._withdraw()
            else:
                self._id = record.id
                async with self._redis.pipeline(transaction=False) as pipe:
                    body = msgspec.json.encode(record)
                    pipe.set(f"{PREFIX}relay:{record.id}", body, px=round(LEASE * 1000))
                    pipe.sadd(PREFIX + "relays", record.id)
                    await pipe.execute()
        except (RedisError, OSError) as error:
            if not self._away:
                log.error("Redis is away", extra={"reason": type(error).__name__})
            self._away = True
            return
        if self._away:
            log.warning("Redis is back")
        self._away = False

    async def _withdraw(self) -> None:
        await self._redis.delete(f"{PREFIX}relay:{self._id}")
        await self._redis.srem(PREFIX + "relays", self._id)
