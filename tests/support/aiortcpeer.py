"""A data participant on aiortc, on an event loop and a thread of its own, with the commands of the
one for browsers (`datapeer.js`)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

from aiohttp import ClientSession

from tests.support.datapeer import DataPeer


class AiortcPeer:
    """`ask` calls one of the commands and returns its result."""

    def __init__(self, url: str, room: str, name: str, port: int | None) -> None:
        self._arguments = url, room, name, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._session: ClientSession | None = None
        self._peer: DataPeer | None = None

    def ask(self, command: str, *arguments: Any) -> Any:
        match command:
            case "join":
                return self._run(self._join())
            case "ready":
                return self._peer is not None and self._peer.ready
            case "talk":
                return self._run(self._talk(*arguments))
            case _:
                return self._report()

    def close(self) -> None:
        self._run(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _join(self) -> str:
        url, room, name, port = self._arguments
        self._session = ClientSession()
        self._peer = DataPeer(await self._session.ws_connect(url), port)
        await self._peer.join(room, name)
        return self._peer.id

    async def _talk(self, count: int, large: int, lossy: bool) -> None:
        assert self._peer is not None
        for n in range(count):
            payload = f"{n:06d}".ljust(300, ".")
            self._peer.send("reliable", payload, topic="count")
            if lossy and n % 2:
                self._peer.send("lossy", payload, topic="count")
            if n % 20 == 19:
                await asyncio.sleep(0.02)
        self._peer.send("reliable", bytes(large), topic="large")

    def _report(self) -> dict[str, Any]:
        assert self._peer is not None
        heard: dict[str, dict[str, Any]] = {}
        for label, header, payload in list(self._peer.got):
            empty = {"reliable": 0, "ordered": True, "lossy": 0, "large": 0}
            one = heard.setdefault(header["from"], empty)
            if header["topic"] == "large":
                one["large"] = len(payload)
            elif label == "lossy":
                one["lossy"] += 1
            else:
                one["ordered"] = one["ordered"] and int(payload[:6]) == one["reliable"]
                one["reliable"] += 1
        return {"heard": heard, "errors": self._peer.errors, "closed": self._peer.closed}

    async def _leave(self) -> None:
        if self._peer is not None:
            await self._peer.close()
        if self._session is not None:
            await self._session.close()


@contextlib.contextmanager
def aiortc_peer(url: str, room: str, name: str, port: int | None = None) -> Iterator[AiortcPeer]:
    """A participant that has not joined yet."""
    peer = AiortcPeer(url, room, name, port)
    try:
        yield peer
    finally:
        peer.close()
