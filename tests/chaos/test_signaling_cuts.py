"""A hundred clients talk in twenty rooms while their connections are cut a thousand times.

Every client hears every message of its room once, those of each sender in order, and its
session's numbers have no gap: what a cut destroys in either direction is repeated or replayed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from signaling.app import Server
from signaling.settings.config import Config, Limits

CLIENTS = 100
ROOMS = 20
CUTS = 1000
SEED = 20
# Messages a client sends; they are spread over the time that the cuts take.
MESSAGES = 40
CUTS_PER_SECOND = 120
# For the slowest machine; on a quick one all is over after some ten seconds.
PATIENCE = 120.0


class Wires:
    """A TCP proxy whose connections can be cut, with whatever is under way in them."""

    def __init__(self, rng: random.Random, port: int) -> None:
        self._rng = rng
        self._target = port
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self.cuts = 0

    async def __aenter__(self) -> Wires:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pair in list(self._open.items()):
            for writer in pair:
                writer.transport.abort()
        await self._server.wait_closed()

    def cut(self) -> None:
        if self._open:
            near = self._rng.choice(list(self._open))
            far = self._open.pop(near)
            near.transport.abort()
            far.transport.abort()
            self.cuts += 1

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
        self._open[near] = far
        await asyncio.gather(self._pipe(reader, far), self._pipe(far_reader, near))
        self._open.pop(near, None)

    @staticmethod
    async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Talker:
    """A client that repeats what was not answered, and resumes after the last that it got."""

    def __init__(self, number: int, http: aiohttp.ClientSession, port: int) -> None:
        self.number = number
        self.room = f"room-{number % ROOMS}"
        self.heard: defaultdict[str, list[int]] = defaultdict(list)
        self.said = 0
        self.seq = 0
        self.session: str | None = None
        self.resumes = 0
        self._http = http
        self._url = f"http://127.0.0.1:{port}/ws"
        self._unanswered: dict[str, dict[str, Any]] = {}
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._ready = asyncio.Event()

    @property
    def settled(self) -> bool:
        return self.said == MESSAGES and not self._unanswered

    def count(self) -> int:
        return sum(map(len, self.heard.values()))

    async def run(self) -> None:
        """Connect again and again until cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                async with self._http.ws_connect(self._url) as self._ws:
                    await self._greet()
                    async for frame in self._ws:
                        await self._receive(json.loads(frame.data))
            self._ready.clear()
            await asyncio.sleep(0)

    async def _greet(self) -> None:
        assert self._ws is not None
        if self.session is None:
            join = {"type": "join", "id": "join", "room": self.room, "name": str(self.number)}
            await self._ws.send_json(join)
        else:
            resume = {"type": "resume", "session": self.session, "seq": self.seq}
            await self._ws.send_json(resume)

    async def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "resumed":
            self.resumes += 1
            await self._repeat()
            return
        assert message["type"] != "error", message
        assert message["seq"] == self.seq + 1, (self.seq, message)
        self.seq += 1
        if message["type"] == "joined":
            self.session = message["session"]
            self._ready.set()
        elif message["type"] == "chat":
            self.heard[message["user"]].append(int(message["content"]))
        elif message["type"] == "ok":
            self._unanswered.pop(message["id"], None)

    async def _repeat(self) -> None:
        assert self._ws is not None
        for message in list(self._unanswered.values()):
            await self._ws.send_json(message)
        self._ready.set()

    async def say(self) -> None:
        """Send the next message, at once or with the next repeat."""
        id = f"m{self.said}"
        message = {"type": "chat", "id": id, "content": str(self.said)}
        self.said += 1
        self._unanswered[id] = message
        if self._ready.is_set() and self._ws is not None:
            with contextlib.suppress(ConnectionError):
                await self._ws.send_json(message)

    async def talk(self, rng: random.Random) -> None:
        await self._ready.wait()
        while self.said < MESSAGES:
            await self.say()
            await asyncio.sleep(rng.uniform(0, 2 * CUTS / CUTS_PER_SECOND / MESSAGES))


async def cut_at_random(wires: Wires, rng: random.Random) -> None:
    while wires.cuts < CUTS:
        await asyncio.sleep(rng.expovariate(CUTS_PER_SECOND))
        wires.cut()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what it looks at is spread over all clients
        await asyncio.sleep(0.05)


def is_over(talkers: list[Talker]) -> bool:
    return all(t.settled and t.count() == MESSAGES * CLIENTS // ROOMS for t in talkers)


async def play(port: int, rng: random.Random) -> tuple[list[Talker], int]:
    async with aiohttp.ClientSession() as http, Wires(rng, port) as wires:
        talkers = [Talker(n, http, wires.port) for n in range(CLIENTS)]
        running = [asyncio.create_task(talker.run()) for talker in talkers]
        try:
            await until(lambda: all(talker.session for talker in talkers))
            await asyncio.gather(
                cut_at_random(wires, rng), *(talker.talk(rng) for talker in talkers)
            )
            watch = asyncio.create_task(until(lambda: is_over(talkers)))
            done, _ = await asyncio.wait([watch, *running], return_when="FIRST_COMPLETED")
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return talkers, wires.cuts


@pytest.mark.alone
async def test_every_message_arrives_once_and_in_order_through_a_thousand_cuts() -> None:
    config = Config(host=("127.0.0.1",), port=0, relay_workers=0, limits=Limits(mesh_limit=50))
    server = Server(config)
    await server.start()
    try:
        async with asyncio.timeout(PATIENCE):
            talkers, cuts = await play(server.port, random.Random(SEED))
        assert server.metrics.errors == {}
    finally:
        await server.stop()
    assert cuts == CUTS
    assert sum(talker.resumes for talker in talkers) > CUTS / 2
    for talker in talkers:
        neighbours = {str(t.number) for t in talkers if t.room == talker.room}
        assert talker.heard == {name: list(range(MESSAGES)) for name in neighbours}
