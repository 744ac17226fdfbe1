"""Two bots through the relay while the server between them is restarted as planned."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from signaling.bot import Bot, RemoteTrack
from signaling.bot.patterns import tone
from tests.support.bots import until
from tests.support.processes import ServerProcess, run_server


class Listener:
    """A bot that notes when it hears a packet of sound."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    async def listen(self, track: RemoteTrack) -> None:
        stream = track.media_stream_track()
        with contextlib.suppress(Exception):  # a track that ends: the next one is another
            while True:
                await stream.recv()
                self.heard.append(time.monotonic())

    def longest_silence(self) -> float:
        """Seconds between two packets, at most."""
        pairs = zip(self.heard, self.heard[1:], strict=False)
        return max(after - before for before, after in pairs)


@contextlib.asynccontextmanager
async def talking(server: ServerProcess) -> AsyncIterator[Listener]:
    """One bot that sounds and one that listens, both through the relay."""
    listener = Listener()
    url = f"http://127.0.0.1:{server.port}"
    async with (
        Bot.join(url, room="demo", name="Ada", via="relay") as ada,
        Bot.join(url, room="demo", name="Bob", via="relay") as bob,
    ):
        bob.on_track(listener.listen)
        await ada.publish(tone(), kind="audio")
        await until(lambda: len(listener.heard) > 50)
        yield listener


async def restart(server: ServerProcess, stack: contextlib.AsyncExitStack) -> ServerProcess:
    """End `server` with SIGTERM and start another one at its port."""
    server.send_signal()
    await server.wait()
    options = ("--port", str(server.port), "--drain-timeout", "3")
    return await stack.enter_async_context(run_server(*options, relay=True))


async def hear_more(listener: Listener, packets: int = 50) -> None:
    """Wait until so many more packets are heard."""
    before = len(listener.heard)
    await until(lambda: len(listener.heard) > before + packets)
    await asyncio.sleep(0)
