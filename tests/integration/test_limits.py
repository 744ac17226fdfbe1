"""What one network address may cost a real server; a trusted proxy lets a test be many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError

from tests.support.processes import PATIENCE, ServerProcess, connect, open_session, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "a secret of more than thirty-two characters"


def seen_from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    arguments = ["--trusted-proxy", "127.0.0.1", "--log-format", "json", "--max-frame", "1024"]
    # Rates low enough that a slow machine does not earn new ones while the test runs.
    arguments += ["--connection-rate", "0.01", "--connection-burst", "30", "--join-rate", "0.01"]
    arguments += ["--join-burst", "3", "--address-connections", "5"]
    async with run_server(*arguments, environ={"SIGNALING_API_KEY": f"key:{SECRET}"}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


async def read_metric(server: ServerProcess, session: ClientSession, name: str) -> float:
    async with session.get(server.url + "/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
    return 0.0


async def test_an_address_has_so_many_connections_at_a_time_and_gets_them_back(
    server: ServerProcess, session: ClientSession
) -> None:
    headers = seen_from("198.51.100.1")
    opened = [await session.ws_connect(server.ws_url, headers=headers) for _ in range(5)]
    with pytest.raises(WSServerHandshakeError) as caught:
        await session.ws_connect(server.ws_url, headers=headers)
    assert caught.value.status == 429
    assert caught.value.headers is not None
    assert int(caught.value.headers["Retry-After"]) >= 1
    async with connect(session, server, headers=seen_from("198.51.100.2")):
        pass
    for socket in opened:
        await socket.close()
    async with connect(session, server, headers=headers):
        pass
    assert await read_metric(server, session, 'signaling_limited_total{reason="connections"}') >= 1


async def test_too_many_connections_in_a_row_are_refused_by_a_subscriber_and_not_an_address(
    server: ServerProcess, session: ClientSession
) -> None:
    for number in range(30):
        async with connect(session, server, headers=seen_from(f"2001:db8::{number:x}")):
            pass
    async with session.get(server.url + "/ws", headers=seen_from("2001:db8::ffff")) as response:
        assert response.status == 426  # what is no handshake costs nothing
    with pytest.raises(WSServerHandshakeError) as caught:
        await session.ws_connect(server.ws_url, headers=seen_from("2001:db8::ffff"))
    assert caught.value.status == 429
    async with connect(session, server, headers=seen_from("2001:db8:0:1::1")):
        pass


async def test_a_join_too_many_is_refused_and_the_connection_stays(
    server: ServerProcess, session: ClientSession
) -> None:
    headers = seen_from("198.51.100.3")
    for _ in range(3):
        async with connect(session, server, headers=headers) as client:
            reply = await client.ask(type="join", room="demo", name="Eve", token="guess")
            assert reply["code"] == "unauthorized"
    async with connect(session, server, headers=headers) as client:
        reply = await client.ask(type="join", room="demo", name="Eve", token="guess")
        assert reply["code"] == "rate-limited"
        assert reply["retry_after"] > 0
        assert (await client.ask(type="heartbeat", timestamp=1))["type"] == "heartbeat"
    async with session.post(server.url + "/whip/demo", headers=headers) as response:
        assert response.status == 429
        assert "Retry-After" in response.headers
        assert (await response.json())["code"] == "rate-limited"


async def test_who_goes_on_guessing_tokens_is_shut_out_with_one_line_in_the_log(
    server: ServerProcess, session: ClientSession
) -> None:
    headers = seen_from("198.51.100.4") | {"Authorization": "Bearer guess"}
    statuses = []
    for _ in range(25):
        async with session.get(server.url + "/api/rooms", headers=headers) as response:
            statuses.append(response.status)
            after = response.headers.get("Retry-After")
    assert statuses == [401] * 20 + [429] * 5
    assert after is not None
    assert 0 < int(after) <= 300
    with pytest.raises(WSServerHandshakeError) as caught:
        await session.ws_connect(server.ws_url, headers=seen_from("198.51.100.4"))
    assert caught.value.status == 429
    async with connect(session, server, headers=seen_from("198.51.100.5")):
        pass
    await server.wait_log("address banned")
    lines = [json.loads(line) for line in server.log if "address banned" in line]
    assert [line["address"] for line in lines] == ["198.51.100.4"]
    # What is shown may be as old as a second.
    async with asyncio.timeout(PATIENCE):
        while await read_metric(server, session, "signaling_bans_total") != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert await read_metric(server, session, "signaling_banned") == 1
    assert await read_metric(server, session, 'signaling_limited_total{reason="banned"}') >= 6


async def test_who_goes_on_breaking_the_protocol_is_shut_out(
    server: ServerProcess, session: ClientSession
) -> None:
    headers = seen_from("198.51.100.6")
    for _ in range(20):
        async with connect(session, server, headers=headers) as client:
            await client.socket.send_str("x" * 2000)
            assert await client.receive_close() == 4413
    async with session.get(server.url + "/", headers=headers) as response:
        assert response.status == 429


async def test_a_flood_of_requests_is_refused_then_banned_logged_once_and_counted(
    session: ClientSession,
) -> None:
    """As many are answered as may come at once, as many are refused, then nobody is heard."""
    arguments = ["--trusted-proxy", "127.0.0.1", "--log-format", "json"]
    arguments += ["--request-rate", "0.01", "--request-burst", "10"]
    async with run_server(*arguments) as server:

        async def ask(path: str, address: str) -> int:
            headers = seen_from(address)
            async with session.get(server.url + path, headers=headers) as response:
                return response.status

        statuses = [await ask("/metrics", "198.51.100.40") for _ in range(30)]
        assert statuses == [200] * 10 + [429] * 20
        assert await ask("/healthz", "198.51.100.41") == 200
        lines = [json.loads(line) for line in server.log]
        banned = [line["address"] for line in lines if line["message"] == "address banned"]
        assert banned == ["198.51.100.40"]
        assert len([line for line in lines if line["message"] == "requests refused"]) == 1
        wanted = (
            'signaling_limited_total{reason="request-rate"} 11.0',
            'signaling_limited_total{reason="banned"} 9.0',
            'signaling_http_requests_total{path="metrics",status="429"} 20.0',
        )
        text = ""
        async with asyncio.timeout(PATIENCE):
            while not all(line in text for line in wanted):
                async with session.get(server.url + "/metrics") as response:
                    text = await response.text()
                await asyncio.sleep(0.1)
