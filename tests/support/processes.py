"""A real `python -m signaling` on a free port of loopback: started, asked, read and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

ROOT = Path(__file__).parents[2]
# Generous, for a machine that does many things at once. Seconds.
PATIENCE = 60.0

_URL = re.compile(r"https?://\S+?:(\d+)/")


class ServerProcess:
    """What a test asks of a running server. `log` grows while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output: list[str] = []
        self.log: list[str] = []
        self.url = ""
        self._readers = [
            asyncio.ensure_future(self._read(process.stdout, self.output)),
            asyncio.ensure_future(self._read(process.stderr, self.log)),
        ]
        self._changed = asyncio.Event()

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))
            self._changed.set()
        self._changed.set()

    async def wait_ready(self) -> None:
        """Until it has said where it is to be found."""
        async with asyncio.timeout(PATIENCE):
            while not (found := _URL.search("\n".join(self.output))):
                if self.process.returncode is not None:
                    raise AssertionError(f"the server ended: {self.log}")
                await self._wait_line()
        self.url = found.group().rstrip("/")

    async def wait_log(self, text: str) -> None:
        """Until a line of the log has `text` in it."""
        await self._wait_for(text, self.log)

    async def wait_output(self, text: str) -> None:
        """The same for what it prints."""
        await self._wait_for(text, self.output)

    async def _wait_for(self, text: str, lines: list[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(text in line for line in lines):
                await self._wait_line()

    async def _wait_line(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    def send_signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def wait(self) -> int:
        """The exit status, with all output read."""
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
            await asyncio.gather(*self._readers)
        return status

    async def stop(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.wait()


async def spawn(*arguments: str, environ: Mapping[str, str] | None = None) -> ServerProcess:
    """Start `python -m signaling` with these arguments; nothing is waited for."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "signaling",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return ServerProcess(process)


@contextlib.asynccontextmanager
async def run_server(
    *arguments: str, environ: Mapping[str, str] | None = None, relay: bool = False
) -> AsyncIterator[ServerProcess]:
    """A server that is ready; killed at the end if it still runs."""
    workers = [] if relay else ["--relay-workers", "0"]
    server = await spawn("--port", "0", *workers, *arguments, environ=environ)
    try:
        await server.wait_ready()
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def open_session() -> AsyncIterator[ClientSession]:
    """An HTTP client that trusts any certificate: servers under test sign their own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with ClientSession(connector=TCPConnector(ssl=context)) as session:
        yield session


class Client:
    """One WebSocket, message by message, with nothing hidden."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.participant = ""
        self.session = ""
        self._ids = 0

    async def send(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message. AssertionError where the connection ends instead."""
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, message
        decoded: dict[str, Any] = json.loads(message.data)
        return decoded

    async def receive_type(self, kind: str) -> dict[str, Any]:
        """The next message of this type; others before it are passed over."""
        while (message := await self.receive())["type"] != kind:
            pass
        return message

    async def receive_close(self) -> int:
        """The status with which the connection ends; messages before it are passed over."""
        async with asyncio.timeout(PATIENCE):
            while (await self.socket.receive()).type is WSMsgType.TEXT:
                pass
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send with an `id` and return the reply; what comes before it is passed over."""
        self._ids += 1
        await self.send(id=str(self._ids), **message)
        while (reply := await self.receive()).get("id") != str(self._ids):
            pass
        return reply

    async def join(self, room: str = "demo", name: str = "Ada", **fields: Any) -> dict[str, Any]:
        joined = await self.ask(type="join", room=room, name=name, **fields)
        assert joined["type"] == "joined", joined
        self.participant, self.session = joined["participant"], joined["session"]
        return joined


@contextlib.asynccontextmanager
async def connect(
    session: ClientSession, server: ServerProcess, **options: Any
) -> AsyncIterator[Client]:
    async with session.ws_connect(server.ws_url, **options) as socket:
        yield Client(socket)
