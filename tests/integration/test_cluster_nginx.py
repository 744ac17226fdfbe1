"""Hubs of one cluster behind nginx, however it spreads clients over them."""

from __future__ import annotations

import contextlib
import re
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from tests.support.authority import Authority
from tests.support.nginx import running_nginx
from tests.support.processes import Client, run_server
from tests.support.redis import run_redis

pytestmark = pytest.mark.needs("nginx", "redis-server")

ROOMS = 5
PER_ROOM = 3
BALANCERS = {
    "by room": "hash $tandem_room consistent;",
    "by address": "ip_hash;",
    "in turn": "",
}


@pytest.mark.parametrize("balancer", BALANCERS)
async def test_every_room_is_one_whatever_nginx_does(tmp_path: Path, balancer: str) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("call", ["localhost"])
    trust = ssl.create_default_context(cafile=str(authority.path))
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(run_redis())
        options = ("--redis-url", redis.url, "--trusted-proxy", "127.0.0.1")
        hubs = [await stack.enter_async_context(run_server(*options)) for _ in range(2)]
        port = await stack.enter_async_context(
            running_nginx(
                tmp_path,
                hubs=[hub.port for hub in hubs],
                cert=cert,
                key=key,
                balancer=BALANCERS[balancer],
            )
        )
        session = await stack.enter_async_context(
            ClientSession(connector=TCPConnector(ssl=trust, force_close=True))
        )
        url = f"https://localhost:{port}"
        clients: dict[int, list[Client]] = {}
        for number in range(ROOMS * PER_ROOM):
            # As a client does that is written from PROTOCOL.md alone, without ?room= in one case.
            room = number % ROOMS
            query = f"?room=room-{room}" if balancer != "in turn" else ""
            socket = await stack.enter_async_context(
                session.ws_connect(f"{url}/ws{query}", origin=url)
            )
            client = Client(socket)
            joined = await client.join(f"room-{room}", f"{number}")
            assert len(joined["participants"]) == number // ROOMS
            clients.setdefault(room, []).append(client)
        for room, members in clients.items():
            await members[0].send(type="chat", content=f"in {room}")
            for member in members:
                assert (await member.receive_type("chat"))["content"] == f"in {room}"
        spliced = 0
        for hub in hubs:
            async with session.get(f"{hub.url}/metrics") as response:
                found = re.search(
                    r"^signaling_cluster_clients_elsewhere (\S+)", await response.text(), re.M
                )
                assert found is not None
                spliced += int(float(found[1]))
        # A balancer that knows rooms, or addresses (all have one here), spares the way between.
        assert (spliced > 0) == (balancer == "in turn")
