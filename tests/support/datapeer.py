"""A participant with data channels and nothing else, on aiortc."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription


def frame(payload: bytes | str, **header: object) -> bytes:
    """A message as the relay takes it."""
    text = json.dumps(header).encode()
    body = payload.encode() if isinstance(payload, str) else payload
    return b"\0" + len(text).to_bytes(2, "big") + text + body


def parse(data: bytes | str) -> tuple[dict[str, Any], bytes]:
    """Header and payload of what the relay sends."""
    whole = data.encode() if isinstance(data, str) else data
    end = 3 + int.from_bytes(whole[1:3], "big")
    return json.loads(whole[3:end]), whole[end:]


class DataPeer:
    """`got` has label, header and payload of what came, in order.

    The relay's candidates are moved to `port`, if there is one.
    """

    def __init__(self, ws: ClientWebSocketResponse, port: int | None = None) -> None:
        self._port = port
        self._seen: set[str] = set()
        self.id = ""
        self.got: list[tuple[str, dict[str, Any], bytes]] = []
        self.closed: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self._ws = ws
        self._publishing = RTCPeerConnection()
        self._subscribing = RTCPeerConnection()
        self._subscribing.on("datachannel", self._take)
        self._channels: dict[str, RTCDataChannel] = {}
        self._task: asyncio.Task[None] | None = None

    async def join(self, room: str, name: str) -> None:
        await self._send(type="join", id="join", room=room, name=name, data=True)
        while (message := await self._ws.receive_json())["type"] != "joined":
            pass
        self.id = message["participant"]
        self._task = asyncio.create_task(self._read())
        self._channels["reliable"] = self._publishing.createDataChannel("reliable")
        self._channels["lossy"] = self._publishing.createDataChannel(
            "lossy", ordered=False, maxRetransmits=0
        )
        await self._publishing.setLocalDescription(await self._publishing.createOffer())
        sdp = self._publishing.localDescription.sdp
        await self._send(type="offer", id="publish", to="relay", sdp=sdp)

    @property
    def ready(self) -> bool:
        opened = all(c.readyState == "open" for c in self._channels.values())
        return opened and len(self._seen) == 2

    def send(self, label: str, payload: bytes | str, **header: object) -> None:
        self._channels[label].send(frame(payload, **header))

    async def reopen(self) -> None:
        """Close what receives, and ask for another."""
        await self._subscribing.close()
        self._seen.clear()
        self._subscribing = RTCPeerConnection()
        self._subscribing.on("datachannel", self._take)
        await self._send(type="restart-ice", id="restart")

    async def _send(self, **message: object) -> None:
        await self._ws.send_json(message)

    async def _read(self) -> None:
        async for message in self._ws:
            if message.type is WSMsgType.TEXT:
                await self._receive(json.loads(message.data))

    async def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "answer":
            answer = RTCSessionDescription(self._move(message["sdp"]), "answer")
            await self._publishing.setRemoteDescription(answer)
        elif message["type"] == "offer":
            offer = RTCSessionDescription(self._move(message["sdp"]), "offer")
            await self._subscribing.setRemoteDescription(offer)
            await self._subscribing.setLocalDescription(await self._subscribing.createAnswer())
            sdp = self._subscribing.localDescription.sdp
            await self._send(type="answer", to="relay", sdp=sdp)
        elif message["type"] == "error":
            self.errors.append(message)

    def _move(self, sdp: str) -> str:
        if self._port is None:
            return sdp
        return re.sub(r"(a=candidate:.* udp \d+ \S+ )\d+ typ", rf"\g<1>{self._port} typ", sdp)

    def _take(self, channel: RTCDataChannel) -> None:
        self._seen.add(channel.label)
        channel.on("message", lambda data: self.got.append((channel.label, *parse(data))))
        channel.on("close", lambda: self.closed.append(channel.label))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._publishing.close()
        await self._subscribing.close()
        await self._ws.close()


@contextlib.asynccontextmanager
async def data_peer(
    session: ClientSession, url: str, room: str, name: str
) -> AsyncIterator[DataPeer]:
    """A participant that has joined, its channels on their way."""
    peer = DataPeer(await session.ws_connect(url))
    try:
        await peer.join(room, name)
        yield peer
    finally:
        await peer.close()
