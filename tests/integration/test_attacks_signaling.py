"""Attacks on the server's TCP port, and two who talk on untouched meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError

from tests.support.chat import PAUSE, talking
from tests.support.flood import flooding
from tests.support.processes import PATIENCE, ServerProcess, connect, open_session, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
MAX_SOCKETS = 400
FLOODED = 2.0
"""Seconds of each flood."""
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    arguments = ["--trusted-proxy", "127.0.0.1", "--log-format", "json", "--max-frame", "4096"]
    arguments += [
        "--handshake-timeout",
        "2",
        "--join-timeout",
        "2",
        "--max-sockets",
        str(MAX_SOCKETS),
    ]
    arguments += [
        "--max-description",
        "8192",
        "--connection-burst",
        "5",
        "--connection-rate",
        "0.01",
    ]
    async with run_server(*arguments) as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line or '"error"' in line]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways() -> AsyncIterator[dict[str, ServerProcess]]:
    """A server for each way in which WebSockets are read."""
    async with (
        run_server("--websocket", "direct") as direct,
        run_server("--websocket", "plain") as plain,
    ):
        yield {"direct": direct, "plain": plain}


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_sockets(server: ServerProcess, count: int) -> AsyncIterator[list[Pair]]:
    pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
    try:
        yield pairs
    finally:
        for _, writer in pairs:
            writer.transport.abort()


async def wait_ended(pairs: Iterable[Pair]) -> None:
    """Until the server has ended each."""
    async with asyncio.timeout(PATIENCE):
        for reader, _ in pairs:
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass


async def trickle(pairs: list[Pair], text: bytes) -> None:
    """A byte at a time to each, for ever."""
    at = 0
    while True:
        for _, writer in pairs:
            if not writer.is_closing():
                writer.write(text[at % len(text)].to_bytes())
        at += 1
        await asyncio.sleep(0.1)


async def upgrade(server: ServerProcess, extra: bytes = b"") -> tuple[bytes, Pair]:
    """A WebSocket without a library; the response's head, too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE + extra + b"\r\n")
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
    return head, (reader, writer)


async def read_frames(pair: Pair) -> list[tuple[int, bytes]]:
    """Opcode and payload of each frame until the server closes."""
    frames: list[tuple[int, bytes]] = []
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, size = await pair[0].readexactly(2)
                if size == 126:
                    (size,) = struct.unpack("!H", await pair[0].readexactly(2))
                frames.append((first & 0x0F, await pair[0].readexactly(size)))
    pair[1].transport.abort()
    return frames


def find_close(frames: list[tuple[int, bytes]]) -> int:
    return next(int.from_bytes(payload[:2]) for opcode, payload in frames if opcode == 8)


async def read_metrics(server: ServerProcess, session: ClientSession) -> dict[str, float]:
    async with session.get(server.url + "/metrics") as response:
        rows = [line.rsplit(" ", 1) for line in (await response.text()).splitlines()]
    return {name: float(value) for name, value in rows if not name.startswith("#")}


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nX: " + b"x" * 500])
async def test_sockets_that_send_nothing_or_a_byte_now_and_then_are_cut(
    server: ServerProcess, session: ClientSession, text: bytes
) -> None:
    async with talking(session, server), open_sockets(server, 200) as pairs:
        task = asyncio.ensure_future(trickle(pairs, text)) if text else None
        await wait_ended(pairs)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_body_that_trickles_is_not_waited_for(
    server: ServerProcess, session: ClientSession
) -> None:
    head = b"POST /whip/demo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
    async with talking(session, server), open_sockets(server, 20) as pairs:
        for _, writer in pairs:
            writer.write(head + b"Content-Length: 100000\r\n\r\n")
        task = asyncio.ensure_future(trickle(pairs, b"x"))
        async with asyncio.timeout(PATIENCE):
            lines = [await reader.readline() for reader, _ in pairs]
        assert {line.split()[1] for line in lines} == {b"408"}
        await wait_ended(pairs)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_more_sockets_than_there_may_be_are_closed_and_the_others_live(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server):
        async with open_sockets(server, MAX_SOCKETS + 200) as pairs:
            await wait_ended(pairs)
        metrics = await read_metrics(server, session)
        assert metrics['signaling_connections_refused_total{reason="sockets"}'] >= 200
        async with connect(session, server) as client:
            await client.join("another", "Carol")


async def test_connections_that_join_nothing_are_closed_though_they_send_heartbeats(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(session, server)) for _ in range(50)]
        for client in clients:
            await client.send(type="heartbeat", timestamp=1)
        assert {await client.receive_close() for client in clients} == {4410}


async def test_a_frame_that_announces_more_than_there_may_be_ends_at_its_header(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server):
        before = await read_metrics(server, session)
        for size in (2**62, 2**31, 8194):
            _, pair = await upgrade(server)
            pair[1].write(struct.pack("!BBQ4s", 0x81, 0xFF, size, bytes(4)) + b"x" * 1000)
            assert find_close(await read_frames(pair)) == 4413
        # One message in frames that are each small enough.
        _, pair = await upgrade(server)
        part = struct.pack("!BH4s", 0xFE, 1000, bytes(4)) + b"x" * 1000
        pair[1].write(b"\x01" + part + (b"\x00" + part) * 50)
        assert find_close(await read_frames(pair)) == 4413
        after = await read_metrics(server, session)
    assert after["process_resident_memory_bytes"] < before["process_resident_memory_bytes"] + 2**25


async def test_compression_is_not_offered_and_a_bomb_is_not_opened(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server):
        extension = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        head, pair = await upgrade(server, extension)
        assert b" 101 " in head.partition(b"\r\n")[0] + b" "
        assert b"permessage-deflate" not in head
        # FIN and RSV1, a text: what a client with compression would send.
        pair[1].write(struct.pack("!BB4s", 0xC1, 0x80 | 100, bytes(4)) + b"x" * 100)
        frames = await read_frames(pair)
        assert find_close(frames) in (1002, 4400)


async def test_who_floods_is_closed_and_nobody_else_waits(
    server: ServerProcess, session: ClientSession
) -> None:
    message = json.dumps({"type": "heartbeat", "timestamp": 1})
    async with talking(session, server):
        for _ in range(3):
            async with connect(session, server) as client:
                await client.join("flood", "Eve")
                closing = asyncio.ensure_future(client.receive_close())
                with contextlib.suppress(ConnectionError):
                    while not closing.done():
                        await client.socket.send_str(message)
                        if client.socket.closed:
                            break
                        await asyncio.sleep(0)
                assert await closing == 4429


async def test_a_room_of_fifty_that_floods_itself_delays_no_other_room(
    ways: dict[str, ServerProcess], session: ClientSession
) -> None:
    server = ways["direct"]
    async with talking(session, server) as talk, flooding(server.port, 49, "metadata", "flooded"):
        before = talk.said
        await asyncio.sleep(2 * FLOODED)
        assert talk.said - before > 2 * FLOODED / PAUSE / 10


@pytest.mark.parametrize(
    ("kind", "room"),
    [("ping", ""), ("pong", ""), ("ping", "flooded"), ("text", ""), ("after", "")],
)
@pytest.mark.parametrize("way", ["direct", "plain"])
async def test_sockets_that_send_unpaced_get_no_more_than_their_share(
    ways: dict[str, ServerProcess], session: ClientSession, way: str, kind: str, room: str
) -> None:
    server = ways[way]
    async with talking(session, server) as talk, flooding(server.port, 20, kind, room):
        before = talk.said
        await asyncio.sleep(FLOODED)
        # A tenth of what is said undisturbed; one such socket used to stop all for seconds.
        assert talk.said - before > FLOODED / PAUSE / 10


async def test_one_network_in_a_hurry_keeps_no_other_one_out(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server):
        refused = 0
        for _ in range(100):
            status = await try_connecting(server, session, "203.0.113.9")
            assert status in (101, 429)
            refused += status == 429
        assert refused >= 90
        async with connect(session, server, headers=seen_from("203.0.113.10")) as client:
            await client.join("another", "Carol")


async def test_who_breaks_the_protocol_is_closed_and_soon_kept_waiting(
    server: ServerProcess, session: ClientSession
) -> None:
    async with talking(session, server):
        headers = seen_from("2001:db8:0:8::1")
        statuses = [await _break(server, session, headers) for _ in range(6)]
        assert statuses == [4413] * 5 + [429]


async def try_connecting(server: ServerProcess, session: ClientSession, address: str) -> int:
    """The status that the handshake gets."""
    try:
        async with session.ws_connect(server.ws_url, headers=seen_from(address)):
            return 101
    except WSServerHandshakeError as error:
        return error.status


async def _break(server: ServerProcess, session: ClientSession, headers: dict[str, Any]) -> int:
    try:
        async with connect(session, server, headers=headers) as client:
            await client.socket.send_str("x" * 5000)
            return await client.receive_close()
    except WSServerHandshakeError as error:
        return error.status


def seen_from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}
