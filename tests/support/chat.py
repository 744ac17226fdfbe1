"""A healthy conversation beside an attack: two who talk and miss nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import ClientSession

from tests.support.processes import PATIENCE, Client, ServerProcess, connect

# Seconds between messages: often enough that an attack's every moment is covered.
PAUSE = 0.03


class Talk:
    """Counts what was said, and heard by the other one."""

    def __init__(self, speaker: Client, hearer: Client) -> None:
        self._speaker = speaker
        self._hearer = hearer
        self.said = 0
        self.heard: list[int] = []

    async def speak(self) -> None:
        while True:
            self.said += 1
            reply = await self._speaker.ask(type="chat", content=str(self.said))
            assert reply["type"] == "ok", reply
            await asyncio.sleep(PAUSE)

    async def hear(self) -> None:
        while True:
            message = await self._hearer.receive()
            if message["type"] == "chat":
                self.heard.append(int(message["content"]))


@contextlib.asynccontextmanager
async def talking(session: ClientSession, server: ServerProcess) -> AsyncIterator[Talk]:
    """Two talk while the block runs; at its end each word has arrived, once and in order."""
    async with connect(session, server) as ada, connect(session, server) as bob:
        await ada.join("healthy", "Ada")
        await bob.join("healthy", "Bob")
        talk = Talk(ada, bob)
        speaking = asyncio.ensure_future(talk.speak())
        hearing = asyncio.ensure_future(talk.hear())
        try:
            yield talk
            async with asyncio.timeout(PATIENCE):
                least = talk.said + 5
                while len(talk.heard) < least:
                    assert not speaking.done(), speaking.exception()
                    assert not hearing.done(), hearing.exception()
                    await asyncio.sleep(PAUSE)
        finally:
            speaking.cancel()
            hearing.cancel()
            await asyncio.gather(speaking, hearing, return_exceptions=True)
        assert talk.heard == list(range(1, len(talk.heard) + 1))
