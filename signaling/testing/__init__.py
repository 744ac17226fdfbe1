"""A server for the tests of those who build on this: real, on loopback, gone afterwards.

    async with server() as url:
        async with Bot.join(url, room="test", name="Ada") as bot: ...

pytest has it as the fixture `signaling_server`, one for the session, with no plugin to name.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

READY_WITHIN: Final = 60.0
"""Seconds for a server to begin, on a machine that does many things at once."""
STOP_WITHIN: Final = 5.0
"""Seconds for it to end when it is asked to; then it is killed."""
LINES_KEPT: Final = 50
"""Of what it says, for the error of a server that does not begin."""
_ADDRESS: Final = re.compile(r"http://\S+?:\d+/")


@contextlib.asynccontextmanager
async def server(*arguments: str, relay: bool = True) -> AsyncIterator[str]:
    """The address of a server that is ready, on a free port of loopback, in a process of its own.

    arguments: as on the command line, such as `"--api-key", "name:secret"`. relay: with the media
    relay, too. Raises RuntimeError, with what it said, if it does not begin.
    """
    command = ["-m", "signaling", "--host", "127.0.0.1", "--port", "0", "--drain-timeout", "1"]
    command += [] if relay else ["--relay-workers", "0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said: list[str] = []
    reader: asyncio.Task[None] | None = None
    try:
        url = await _find_address(process.stdout, said)
        reader = asyncio.create_task(_read_on(process.stdout))
        if relay:
            await _wait_ready(url)
        yield url
    finally:
        await _stop(process)
        if reader is not None:
            await reader


async def _find_address(stream: asyncio.StreamReader, said: list[str]) -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN):
            while line := (await stream.readline()).decode(errors="replace"):
                said.append(line)
                del said[:-LINES_KEPT]
                if found := _ADDRESS.search(line):
                    return found.group().rstrip("/")
    raise RuntimeError(f"The server did not begin. It said:\n{''.join(said)}")


async def _read_on(stream: asyncio.StreamReader) -> None:
    """A server whose pipe is full would wait for a reader."""
    while await stream.read(1 << 16):
        pass


async def _wait_ready(url: str) -> None:
    async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
