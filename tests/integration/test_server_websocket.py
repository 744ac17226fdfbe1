"""The WebSocket's door on a real server, once for each of the two ways of reading frames."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError

from tests.support.processes import (
    PATIENCE,
    Client,
    ServerProcess,
    connect,
    open_session,
    run_server,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=["direct", "plain"], scope="module", loop_scope="module")
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerProcess]:
    arguments = ["--websocket", request.param, "--max-frame", "4096", "--log-format", "json"]
    arguments += ["--allow-origin", "https://app.example", "--max-connections", "20"]
    # Small enough to be filled, and nobody is too quick.
    arguments += ["--outbox-bytes", "65536", "--message-rate", "1e6", "--message-burst", "1000000"]
    arguments += ["--broadcast-rate", "1e6", "--broadcast-burst", "1000000"]
    async with run_server(*arguments) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


async def test_two_clients_exchange_descriptions_unchanged(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as ada, connect(session, server) as bob:
        await ada.join(name="Ada")
        await bob.join(name="Bob")
        sdp = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=Grüße 你好 \\ "\r\n' + "a=x\r\n" * 200
        assert (await ada.ask(type="offer", to=bob.participant, sdp=sdp))["type"] == "ok"
        offer = await bob.receive_type("offer")
        assert (offer["from"], offer["sdp"]) == (ada.participant, sdp)
        candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}
        await bob.ask(type="candidate", to=ada.participant, candidate=candidate)
        assert (await ada.receive_type("candidate"))["candidate"] == candidate


@pytest.mark.parametrize("origin", [None, "own", "https://app.example"])
async def test_our_own_page_an_allowed_one_and_programs_get_in(
    server: ServerProcess, session: ClientSession, origin: str | None
) -> None:
    headers = {"Origin": server.url if origin == "own" else origin} if origin else {}
    async with connect(session, server, headers=headers) as client:
        await client.join()


async def test_a_page_of_another_origin_does_not(
    server: ServerProcess, session: ClientSession
) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        async with connect(session, server, headers={"Origin": "https://evil.example"}):
            pass
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 426),
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8"}, 426),
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}, 400),
    ],
)
async def test_what_is_no_handshake_gets_json_that_says_so(
    server: ServerProcess, session: ClientSession, headers: dict[str, str], status: int
) -> None:
    async with session.get(server.url + "/ws", headers=headers) as response:
        assert response.status == status
        assert set(await response.json()) == {"code", "message"}


async def test_a_frame_over_the_limit_is_too_large(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as client:
        await client.join()
        await client.send(type="chat", content="x" * 5000)
        assert (await client.receive_type("error"))["code"] == "too-large"
        assert await client.receive_close() == 4413


async def test_a_binary_frame_is_a_bad_request_and_the_connection_stays(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as client:
        await client.socket.send_bytes(b"{}")
        assert (await client.receive())["code"] == "bad-request"
        await client.join()


async def test_five_bad_requests_in_a_row_close(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as client:
        for _ in range(5):
            await client.socket.send_str("nonsense")
        assert await client.receive_close() == 4400


async def test_pings_are_answered(server: ServerProcess, session: ClientSession) -> None:
    async with connect(session, server, autoping=False) as client:
        await client.socket.ping(b"here")
        async with asyncio.timeout(PATIENCE):
            assert (await client.socket.receive()).data == b"here"


async def test_leaving_closes_with_1000(server: ServerProcess, session: ClientSession) -> None:
    async with connect(session, server) as client:
        await client.join()
        assert (await client.ask(type="leave"))["type"] == "ok"
        assert await client.receive_close() == 1000


async def test_one_connection_too_many_is_refused(
    server: ServerProcess, session: ClientSession
) -> None:
    opened = []
    for _ in range(20):
        opened.append(await session.ws_connect(server.ws_url))
    with pytest.raises(WSServerHandshakeError) as caught:
        await session.ws_connect(server.ws_url)
    assert caught.value.status == 503
    for client in opened:
        await client.close()


async def test_a_frame_right_behind_the_handshake_is_not_lost(server: ServerProcess) -> None:
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    message = b'{"type":"heartbeat","timestamp":1}'
    frame = bytes([0x81, 0x80 | len(message)]) + bytes(4) + message
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(handshake + frame)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        first, size = await reader.readexactly(2)
        answer = json.loads(await reader.readexactly(size))
    assert first == 0x81
    assert answer["type"] == "heartbeat"
    writer.close()


async def test_a_client_that_stops_reading_costs_only_its_own_session(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as ada, connect(session, server) as bob:
        await ada.join("slow", "Ada")
        await bob.join("slow", "Bob")
        async with session.ws_connect(server.ws_url, autoping=False) as stalled:
            carol = Client(stalled)
            await carol.join("slow", "Carol")
            # Its kernel takes next to nothing more, and nobody reads.
            sock = stalled.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            assert stalled._response.connection is not None
            transport = stalled._response.connection.transport
            assert transport is not None
            transport.pause_reading()
            numbers = await _flood(ada, bob, carol.participant, server, session)
            transport.abort()
        assert numbers == list(range(len(numbers)))


async def _flood(
    ada: Client, bob: Client, target: str, server: ServerProcess, session: ClientSession
) -> list[int]:
    """Chat until the one that does not read is cut; the numbers that the other one got."""
    received: list[int] = []
    text = "x" * 3000

    async def listen() -> None:
        while True:
            message = await bob.receive()
            if message["type"] == "chat":
                received.append(int(message["content"].split()[0]))
            if message["type"] == "participant-left":
                return

    before = await _count(server, session, "overloaded")
    listener = asyncio.ensure_future(listen())
    for number in range(20_000):
        reply = await ada.ask(type="chat", content=f"{number} {text}")
        assert reply["type"] == "ok"
        if number % 100 == 99 and await _count(server, session, "overloaded") > before:
            break
    assert await _count(server, session, "overloaded") == before + 1
    reply = await ada.ask(type="kick", participant=target)
    assert reply["type"] == "ok"
    async with asyncio.timeout(PATIENCE):
        await listener
    assert len(received) == number + 1
    return received


async def _count(server: ServerProcess, session: ClientSession, code: str) -> int:
    async with session.get(server.url + "/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith(f'signaling_errors_total{{code="{code}"}}'):
                return int(float(line.split()[-1]))
    return 0


async def test_half_a_frame_and_a_reset_leave_the_server_well(
    server: ServerProcess, session: ClientSession
) -> None:
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\xfe\x00")
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
    async with connect(session, server) as client:
        await client.join()
    assert not [line for line in server.log if "Traceback" in line or '"error"' in line]
