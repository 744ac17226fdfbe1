"""Sockets that send as fast as a server takes it, in a process of their own.

    python -m tests.support.flood PORT SOCKETS SECONDS KIND [ROOM]

KIND: ping and pong, unpaced control frames; text, messages that make no sense; after, what follows
a refusal that closes; metadata, changes of one's own that a whole room hears of. With ROOM they
have joined it. Prints one line when they begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

HANDSHAKE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ROOT: Final = Path(__file__).parents[2]
FRAMES: Final = {
    "ping": struct.pack("!BB4s", 0x89, 0x80, bytes(4)),
    "pong": struct.pack("!BB4s", 0x8A, 0x80, bytes(4)),
    "text": struct.pack("!BB4s", 0x81, 0x80 | 2, bytes(4)) + b"{}",
}
CHUNK: Final = 64 * 1024
AGAIN: Final = 2.0
"""Seconds before a socket that was ended comes again: 20 of them do so as often as one network may
connect by default. On loopback nothing else would hold them back."""


KINDS: Final = ("ping", "pong", "text", "after", "metadata")


def frame_text(text: bytes) -> bytes:
    """One masked text frame; a mask of zeros changes nothing."""
    if len(text) < 126:
        return struct.pack("!BB4s", 0x81, 0x80 | len(text), bytes(4)) + text
    return struct.pack("!BBH4s", 0x81, 0x80 | 126, len(text), bytes(4)) + text


def build_start(kind: str, room: str) -> bytes:
    """What is sent once, before the flood."""
    if kind == "after":
        return frame_text(b"nonsense") * 5
    if room:
        join = {"type": "join", "room": room, "name": "Mallory"}
        return frame_text(json.dumps(join).encode())
    return b""


def build_frame(kind: str) -> bytes:
    """What is sent again and again."""
    if kind == "metadata":
        update = {"type": "update", "metadata": {"noise": "x" * 1000}}
        return frame_text(json.dumps(update).encode())
    return FRAMES.get(kind, FRAMES["ping"])


async def flood(port: int, kind: str, room: str) -> None:
    """One socket after the other, each until the server ends it."""
    frame = build_frame(kind)
    chunk = frame * (CHUNK // len(frame))
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(build_start(kind, room))
            reading = asyncio.ensure_future(_discard(reader))
            try:
                while not reading.done():
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0)
            finally:
                reading.cancel()
                writer.transport.abort()
        await asyncio.sleep(AGAIN)


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK):
        pass


async def attack(port: int, sockets: int, seconds: float, kind: str, room: str) -> None:
    attackers = [asyncio.ensure_future(flood(port, kind, room)) for _ in range(sockets)]
    print("begun", flush=True)
    await asyncio.wait(attackers, timeout=seconds)
    for task in attackers:
        task.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)


@contextlib.asynccontextmanager
async def flooding(port: int, sockets: int, kind: str, room: str = "") -> AsyncIterator[None]:
    """The attack goes on while the block runs."""
    arguments = [str(port), str(sockets), "600", kind, *([room] if room else [])]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    port, sockets, seconds, kind, *rest = sys.argv[1:]
    asyncio.run(attack(int(port), int(sockets), float(seconds), kind, rest[0] if rest else ""))
