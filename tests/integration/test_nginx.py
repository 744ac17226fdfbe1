"""The shipped nginx configuration before two real hubs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, WSServerHandshakeError
from yarl import URL

from tests.support.authority import Authority
from tests.support.nginx import running_nginx
from tests.support.processes import PATIENCE, Client, ServerProcess, run_server

pytestmark = pytest.mark.needs("nginx")

BEHIND = ("--trusted-proxy", "127.0.0.1")


@dataclass
class Deployment:
    url: str
    hubs: list[ServerProcess]
    session: ClientSession

    @contextlib.asynccontextmanager
    async def connect(self, room: str, name: str, **options: str) -> AsyncIterator[Client]:
        async with self.session.ws_connect(
            f"{self.url}/ws?room={room}", origin=str(URL(self.url).origin()), headers=options
        ) as socket:
            client = Client(socket)
            await client.join(room, name)
            yield client

    async def list_rooms(self) -> list[set[str]]:
        """The rooms on each hub, asked directly."""
        found = []
        for hub in self.hubs:
            async with self.session.get(f"{hub.url}/api/rooms") as response:
                found.append({room["name"] for room in (await response.json())["rooms"]})
        return found


@pytest.fixture
def below() -> bool:
    return False


@pytest.fixture
async def deployment(tmp_path: Path, below: bool) -> AsyncIterator[Deployment]:
    authority = Authority(tmp_path)
    cert, key = authority.issue("call", ["localhost"])
    trust = ssl.create_default_context(cafile=str(authority.path))
    async with contextlib.AsyncExitStack() as stack:
        hubs = [
            await stack.enter_async_context(run_server("--host", "127.0.0.1", *BEHIND))
            for _ in range(2)
        ]
        port = await stack.enter_async_context(
            running_nginx(
                tmp_path, hubs=[hub.port for hub in hubs], cert=cert, key=key, below=below
            )
        )
        session = await stack.enter_async_context(
            ClientSession(
                connector=TCPConnector(ssl=trust, local_addr=("127.0.0.7", 0), force_close=True)
            )
        )
        yield Deployment(f"https://localhost:{port}", hubs, session)


async def test_two_in_a_room_meet_behind_the_proxy(deployment: Deployment) -> None:
    async with (
        deployment.connect("demo", "Ada") as ada,
        deployment.connect("demo", "Bob") as bob,
    ):
        joined = await ada.receive_type("participant-joined")
        assert joined["participant"]["id"] == bob.participant


async def test_each_room_is_on_one_hub_and_rooms_are_on_both(deployment: Deployment) -> None:
    async with contextlib.AsyncExitStack() as stack:
        names = {f"room-{number}" for number in range(12)}
        for name in sorted(names) * 2:
            await stack.enter_async_context(deployment.connect(name, "Ada"))
        first, second = await deployment.list_rooms()
    assert first | second == names
    assert not first & second
    assert first
    assert second


async def test_the_page_is_served_and_asks_browsers_to_stay_with_https(
    deployment: Deployment,
) -> None:
    async with deployment.session.get(f"{deployment.url}/?room=demo") as response:
        assert response.status == 200
        assert "max-age" in response.headers["Strict-Transport-Security"]
        assert response.headers["Content-Security-Policy"].count("localhost:") == 2


async def test_a_hub_sees_the_clients_own_address_and_no_invented_one(
    deployment: Deployment,
) -> None:
    claims = {"X-Forwarded-For": "203.0.113.66"}
    log: list[str] = []
    async with deployment.connect("demo", "Ada", **claims) as ada, asyncio.timeout(PATIENCE):
        while not any(ada.participant in line for line in log):
            await asyncio.sleep(0.05)
            log = [line for hub in deployment.hubs for line in hub.log]
    assert any("127.0.0.7" in line for line in log)
    assert not any("203.0.113.66" in line for line in log)


async def test_a_hub_that_restarts_keeps_its_rooms_and_no_other_takes_them_meanwhile(
    deployment: Deployment,
) -> None:
    async with deployment.connect("demo", "Ada"):
        first = next(i for i, rooms in enumerate(await deployment.list_rooms()) if rooms)
    hub = deployment.hubs[first]
    hub.send_signal()
    assert await hub.wait() == 0
    with pytest.raises(WSServerHandshakeError) as caught:
        async with deployment.connect("demo", "Ada"):
            pass
    assert caught.value.status == 502
    arguments = ["--host", "127.0.0.1", "--port", str(hub.port), *BEHIND]
    async with run_server(*arguments) as again:
        deployment.hubs[first] = again
        async with deployment.connect("demo", "Ada"), deployment.connect("demo", "Bob"):
            rooms = await deployment.list_rooms()
            assert [bool(found) for found in rooms] == [i == first for i in range(2)]


async def test_a_websocket_that_names_no_room_is_told_that_it_would_be_alone(
    deployment: Deployment,
) -> None:
    url, headers = f"{deployment.url}/ws", {"Upgrade": "websocket", "Connection": "Upgrade"}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    async with deployment.session.get(url, headers=headers) as response:
        assert response.status == 400
        assert "/ws?room=" in (await response.json())["message"]


@pytest.mark.parametrize("below", [True])
async def test_below_a_path_the_page_its_files_and_the_websocket_are_where_its_links_lead(
    deployment: Deployment,
) -> None:
    page = URL(f"{deployment.url}/tandem/")
    async with deployment.session.get(page) as response:
        assert response.status == 200
        links = re.findall(r'(?:href|src)="([^"]+)"', await response.text())
    assert any(re.fullmatch(r"static/(@\w+/)?js/main\.js", link) for link in links)
    for link in links:
        async with deployment.session.get(page.join(URL(link))) as response:
            assert response.status == 200, link
    async with deployment.session.get(page / "static/index.html") as response:
        assert response.url == page
    deployment.url += "/tandem"
    async with deployment.connect("demo", "Ada") as ada, deployment.connect("demo", "Bob") as bob:
        joined = await ada.receive_type("participant-joined")
        assert joined["participant"]["id"] == bob.participant
