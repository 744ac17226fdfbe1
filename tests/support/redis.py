"""A real Redis on a free port of loopback, which keeps nothing on disk."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator

from tests.support.components import COMPONENTS


class RedisProcess:
    """One that can be stopped, frozen and started again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = COMPONENTS["redis-server"].find()
        assert program is not None
        arguments = ("--port", str(self.port), "--bind", "127.0.0.1")
        self._process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            *("--save", "", "--appendonly", "no"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        for _ in range(1000):
            with contextlib.suppress(OSError):
                if b"PONG" in await self.ask("PING"):
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("Redis does not start.")

    async def ask(self, *words: str) -> bytes:
        """One command; returns the first bytes of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        parts = [f"*{len(words)}", *(part for w in words for part in (f"${len(w.encode())}", w))]
        writer.write("\r\n".join([*parts, ""]).encode())
        answer = await reader.read(4096)
        writer.close()
        return answer

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


@contextlib.asynccontextmanager
async def run_redis() -> AsyncIterator[RedisProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    redis = RedisProcess(port)
    await redis.start()
    try:
        yield redis
    finally:
        await redis.kill()
