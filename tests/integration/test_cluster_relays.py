"""Relay nodes of a cluster: real workers in processes of their own, with real bots."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from signaling.bot import Bot
from tests.support.bots import publish_known, see, soon, until
from tests.support.processes import ROOT, ServerProcess, run_server
from tests.support.redis import RedisProcess, run_redis

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
async def redis() -> AsyncIterator[RedisProcess]:
    async with run_redis() as running:
        yield running


@contextlib.asynccontextmanager
async def run_relay(
    redis: RedisProcess, *options: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A node with one worker, ready for hubs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "relay", "--redis-url", redis.url, "--port", "0", "--host", "127.0.0.1"),
        *options,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = await soon(process.stdout.readline())
        assert b"takes rooms from hubs" in line
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def run_hub(redis: RedisProcess, *options: str) -> AsyncIterator[ServerProcess]:
    """A hub without workers of its own."""
    async with run_server("--redis-url", redis.url, *options) as server:
        yield server


async def test_a_call_is_relayed_by_a_node_and_by_another_when_that_is_killed(
    redis: RedisProcess,
) -> None:
    async with (
        run_hub(redis, "--region", "eu") as hub,
        run_relay(redis, "--region", "us") as far,
        run_relay(redis, "--region", "eu") as near,
    ):
        await until(lambda: count_lines(hub, "relay node linked") == 2)
        await asyncio.sleep(1.5)  # each has said that it takes rooms
        async with (
            Bot.join(hub.url, room="demo", name="Ada", via="relay") as ada,
            Bot.join(hub.url, room="demo", name="Bob", via="relay") as bob,
        ):
            await publish_known(ada)
            await see(await soon(bob.track("video", name="Ada")))
            near.kill()  # that of the hub's region: it has the room
            await hub.wait_log("relay node lost")
            await see(await soon(bob.track("video", name="Ada")))
            assert far.returncode is None


async def test_a_call_is_relayed_again_when_its_hub_is_killed(redis: RedisProcess) -> None:
    async with run_hub(redis) as one, run_hub(redis) as two, run_relay(redis) as node:
        for hub in (one, two):
            await hub.wait_log("relay node linked")
        await asyncio.sleep(1.5)
        async with (
            Bot.join(two.url, room="demo", name="Ada", via="relay") as ada,
            Bot.join(two.url, room="other", name="Eve", via="relay") as _,
        ):
            # Bob comes by the hub that does not own the room.
            async with Bot.join(one.url, room="demo", name="Bob", via="relay") as bob:
                await publish_known(ada)
                await see(await soon(bob.track("video", name="Ada")))
                one.send_signal(signal.SIGKILL)
                await one.wait()
            async with Bot.join(two.url, room="demo", name="Zoe", via="relay") as zoe:
                await see(await soon(zoe.track("video", name="Ada")))
        assert node.returncode is None


def count_lines(server: ServerProcess, text: str) -> int:
    return sum(text in line for line in server.log)


async def test_a_node_that_is_to_end_lets_its_rooms_end_first(redis: RedisProcess) -> None:
    async with run_hub(redis) as hub, run_relay(redis) as node:
        await hub.wait_log("relay node linked")
        await asyncio.sleep(1.5)
        async with (
            Bot.join(hub.url, room="demo", name="Ada", via="relay") as ada,
            Bot.join(hub.url, room="demo", name="Bob", via="relay") as bob,
        ):
            await publish_known(ada)
            await see(await soon(bob.track("video", name="Ada")))
            node.send_signal(signal.SIGTERM)
            await asyncio.sleep(1.5)
            assert node.returncode is None
        async with asyncio.timeout(60):
            assert await node.wait() == 0


async def test_a_node_that_knows_another_secret_is_left_out(redis: RedisProcess) -> None:
    async with run_hub(redis, "--cluster-secret", "one") as hub, run_relay(redis):
        await hub.wait_log("relay node out of reach")
