"""Counts the people who came into each room, from a server's `--event-stream`, each once.

An event may come twice: its `id` is written down together with what it causes, in one
transaction, so that the second one changes nothing.

    python -m tests.examples.events redis://localhost:6379/0 tandem-events
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

GROUP, ME = "visitors", "one"
DAY = 24 * 3600


async def handle(redis: Any, event: dict[bytes, bytes]) -> bool:
    """Do what an event causes, once; whether this was the first time."""
    done = f"visitors:done:{event[b'id'].decode()}"
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(done)
        if await pipe.exists(done):
            return False
        pipe.multi()
        pipe.set(done, 1, ex=DAY)
        if event[b"event"] == b"participant-joined":
            pipe.hincrby("visitors", event[b"room"].decode(), 1)
        await pipe.execute()
    return True


async def main(url: str, stream: str) -> None:
    async with Redis.from_url(url) as client:
        redis: Any = client  # its types do not say what a stream's entries are
        with contextlib.suppress(ResponseError):  # where the group is there already
            await redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
        position = "0"  # first what was taken before a crash, then what is new
        while True:
            answer = await redis.xreadgroup(GROUP, ME, {stream: position}, count=100, block=1000)
            entries = answer[0][1] if answer else []
            if not entries:
                position = ">"
            for id, event in entries:
                await handle(redis, event)
                await redis.xack(stream, GROUP, id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
