"""Data channels through a real relay, with aiortc at both ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.support.caller import until
from tests.support.datapeer import data_peer
from tests.support.processes import ServerProcess, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server("--mesh-limit", "1", relay=True) as running:
        yield running


async def test_data_without_media_reach_everyone_or_those_who_are_named(
    server: ServerProcess,
) -> None:
    room = secrets.token_hex(4)
    async with (
        ClientSession() as session,
        data_peer(session, server.ws_url, room, "Ada") as ada,
        data_peer(session, server.ws_url, room, "Bob") as bob,
        data_peer(session, server.ws_url, room, "Eve") as eve,
    ):
        await until(lambda: ada.ready and bob.ready and eve.ready, "channels")
        ada.send("reliable", "hello", topic="greeting")
        ada.send("lossy", b"\0\1\2", to=[eve.id])
        bob.send("reliable", bytes(60_000))
        await until(lambda: len(eve.got) == 3 and len(bob.got) == 1 and len(ada.got) == 1)
        assert bob.got == [("reliable", {"from": ada.id, "topic": "greeting"}, b"hello")]
        assert ada.got == [("reliable", {"from": bob.id, "topic": ""}, bytes(60_000))]
        assert ("lossy", {"from": ada.id, "topic": ""}, b"\0\1\2") in eve.got
        assert not ada.errors + bob.errors + eve.errors


async def test_many_messages_arrive_once_and_in_order_both_ways(server: ServerProcess) -> None:
    room = secrets.token_hex(4)
    async with (
        ClientSession() as session,
        data_peer(session, server.ws_url, room, "Ada") as ada,
        data_peer(session, server.ws_url, room, "Bob") as bob,
    ):
        await until(lambda: ada.ready and bob.ready, "channels")
        for n in range(500):
            ada.send("reliable", f"{n}".zfill(300))
            bob.send("reliable", f"{n}".zfill(300))
            if n % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(ada.got) == len(bob.got) == 500, "all messages")
        for peer in (ada, bob):
            assert [int(payload) for _, _, payload in peer.got] == list(range(500))


async def test_who_closes_the_receiving_connection_gets_another_and_its_data(
    server: ServerProcess,
) -> None:
    room = secrets.token_hex(4)
    async with (
        ClientSession() as session,
        data_peer(session, server.ws_url, room, "Ada") as ada,
        data_peer(session, server.ws_url, room, "Bob") as bob,
    ):
        await until(lambda: ada.ready and bob.ready, "channels")
        ada.send("reliable", "before")
        await until(lambda: len(bob.got) == 1, "the first message")
        await bob.reopen()
        await until(lambda: bob.ready, "channels again")
        ada.send("reliable", "after")
        await until(lambda: len(bob.got) == 2, "the second message")
        assert [payload for _, _, payload in bob.got] == [b"before", b"after"]
        assert bob.errors == []
