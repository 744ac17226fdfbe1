"""GStreamer's webrtcbin as a publisher, player or subscriber: see `gstreamer_peer`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

PROGRAM = Path(__file__).with_name("gstreamer_peer.py")
PYTHON = "/usr/bin/python3"
"""Debian's, which has GObject introspection."""

Role = Literal["publish", "play", "answer"]


class GStreamer:
    """What a test asks of one; `events` grows while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.events.append(json.loads(line))

    def find(self, event: str) -> list[dict[str, Any]]:
        return [words for words in self.events if words["event"] == event]

    def count(self, kind: str) -> int:
        """Frames that were decoded, of "audio" or "video"."""
        decoded = self.find("decoded")
        return int(decoded[-1][kind]) if decoded else 0

    @property
    def is_connected(self) -> bool:
        return any(words["state"] == "connected" for words in self.find("state"))

    def send_offer(self, sdp: str) -> None:
        """To one that answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(sdp).encode() + b"\n")

    async def leave(self) -> int | None:
        """End it; the status of its DELETE."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        await self._reading
        left = self.find("left")
        return int(left[-1]["status"]) if left else None

    async def kill(self) -> None:
        """Without a word to anybody, as a crash."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def run_gstreamer(role: Role, url: str = "", codec: str = "vp8") -> AsyncIterator[GStreamer]:
    """One that runs; killed at the end if it still does."""
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        str(PROGRAM),
        role,
        url,
        codec,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        limit=1 << 20,
    )
    peer = GStreamer(process)
    try:
        yield peer
    finally:
        await peer.kill()
