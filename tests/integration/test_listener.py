"""Sockets that are accepted: places by address and in all, and responses that nobody takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from signaling.http import listener as listener_module
from signaling.http.listener import RESPONSE_TIMEOUT, Listener
from signaling.http.proxy import parse_networks
from signaling.http.sockets import bind
from signaling.metrics import Metrics
from signaling.settings.config import Limits
from tests.support.processes import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class House:
    """A listener with a server behind it that answers at length."""

    def __init__(self, listener: Listener, port: int, metrics: Metrics) -> None:
        self.listener = listener
        self.port = port
        self.metrics = metrics

    async def enter(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1024)


@contextlib.asynccontextmanager
async def open_house(trusted: tuple[str, ...] = (), **limits: Any) -> AsyncIterator[House]:
    async def answer(request: web.Request) -> web.Response:
        listener.begin(request.protocol)
        try:
            return web.Response(body=bytes(16 * 2**20))
        finally:
            listener.end(request.protocol)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    assert runner.server is not None
    metrics = Metrics()
    loop = asyncio.get_running_loop()
    networks = parse_networks(trusted)
    listener = Listener(runner.server, Limits(**limits), metrics, trusted=networks, loop=loop)
    sock = bind(["127.0.0.1"], 0)[0]
    port = sock.getsockname()[1]
    listener.listen(sock)
    try:
        yield House(listener, port, metrics)
    finally:
        await listener.stop()
        await runner.cleanup()


async def is_open(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Whether a request gets an answer; the rest of it is left lying."""
    reader, writer = pair
    try:
        writer.write(REQUEST)
        async with asyncio.timeout(PATIENCE):
            return bool(await reader.read(15))
    except ConnectionError:
        return False


async def test_a_response_that_nobody_takes_is_not_kept() -> None:
    async with open_house() as house:
        pair = await house.enter()
        assert await is_open(pair)
        now = asyncio.get_running_loop().time()
        house.listener.sweep(now)
        assert len(house.listener) == 1
        house.listener.sweep(now + RESPONSE_TIMEOUT + 1)
        async with asyncio.timeout(PATIENCE):
            while len(house.listener):
                await asyncio.sleep(0.01)
                house.listener.sweep(now)
        pair[1].transport.abort()


async def test_there_are_so_many_places_in_all() -> None:
    async with open_house(max_sockets=2) as house:
        pairs = [await house.enter() for _ in range(3)]
        assert [await is_open(pair) for pair in pairs] == [True, True, False]
        assert house.metrics.refused["sockets"] == 1
        for _, writer in pairs:
            writer.transport.abort()


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
async def test_there_are_so_many_places_for_an_address_unless_it_is_our_proxy(
    monkeypatch: pytest.MonkeyPatch, trusted: tuple[str, ...]
) -> None:
    monkeypatch.setattr(listener_module, "key_of", lambda address: address)  # loopback has no key
    async with open_house(trusted, address_connections=2) as house:
        pairs = [await house.enter() for _ in range(3)]
        assert [await is_open(pair) for pair in pairs] == [True, True, bool(trusted)]
        for _, writer in pairs:
            writer.transport.abort()
