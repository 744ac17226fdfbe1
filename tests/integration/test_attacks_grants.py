"""Grants in a call without a relay in between: who may not, does not, and the call goes on."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from livekit import api

from signaling.access.tokens import mint
from signaling.bot import Bot
from signaling.protocol.messages import Grant
from tests.support.bots import hear, http_url, kill_worker, publish_known, see, soon, until
from tests.support.processes import Client, ServerProcess, connect, open_session, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = ("key", "x" * 32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    arguments = ["--api-key", ":".join(KEY), "--drain-timeout", "1"]
    async with run_server(*arguments, relay=True) as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line]


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def make_token(identity: str, room: str, **grants: bool) -> str:
    return mint(KEY, room=room, identity=identity, wall=time.time(), ttl=600, grant=Grant(**grants))


def join(server: ServerProcess, identity: str, room: str, **options: Any) -> Bot:
    token = options.pop("token", None) or make_token(identity, room)
    return Bot.join(http_url(server), room=room, name=identity, token=token, **options)


async def try_going_direct(client: Client, to: str) -> set[str]:
    """What an attacker gets that offers, answers and sends candidates to another one."""
    candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}
    replies = [
        await client.ask(type="offer", to=to, sdp="v=0"),
        await client.ask(type="answer", to=to, sdp="v=0"),
        await client.ask(type="candidate", to=to, candidate=candidate),
    ]
    return {reply.get("code", reply["type"]) for reply in replies}


@pytest.mark.parametrize("grants", [{"publish": False}, {"subscribe": False}])
async def test_who_is_restricted_reaches_nobody_directly_and_the_others_stay_direct(
    server: ServerProcess, session: ClientSession, grants: dict[str, bool]
) -> None:
    room = "-".join(grants)
    async with join(server, "ada", room) as ada, join(server, "bob", room) as bob:
        await publish_known(ada)
        video = await soon(bob.track("video"))
        await see(video)
        async with connect(session, server) as eve:
            token = make_token("eve", room, **grants)
            joined = await eve.ask(type="join", room=room, name="Eve", token=token)
            assert [one["via"] for one in joined["participants"]] == ["relay", "relay"]
            routes = [await eve.receive_type("route") for _ in range(2)]
            assert {route["via"] for route in routes} == {"relay"}
            assert {route["reason"] for route in routes} == {"grants"}
            await until(lambda: any(p.via_relay for p in bob.client.participants.values()))
            assert await try_going_direct(eve, bob.client.id) == {"forbidden"}
            assert joined["participant"] not in bob._connections.direct
            await see(video)
            assert bob._connections.direct[ada.client.id].connected


async def test_one_token_fills_no_room_and_the_call_in_it_goes_on(
    server: ServerProcess, session: ClientSession
) -> None:
    async with join(server, "ada", "filled") as ada, join(server, "bob", "filled") as bob:
        await publish_known(ada)
        video = await soon(bob.track("video"))
        await see(video)
        token = make_token("eve", "filled")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        async with contextlib.AsyncExitStack() as stack:
            refused = 0
            for _ in range(60):
                eve = await stack.enter_async_context(connect(session, server))
                reply = await eve.ask(type="join", room="filled", name="Eve", token=token)
                refused += reply.get("code") == "rate-limited"
            for _ in range(10):
                url = f"{server.url}/whip/filled"
                async with session.post(url, data="v=0", headers=headers) as response:
                    assert response.status in (400, 429)
            assert refused
            assert len(bob.client.participants) <= 3
            await see(video)


async def test_one_who_may_only_speak_is_heard_through_the_relay(server: ServerProcess) -> None:
    made = api.AccessToken(*KEY).with_identity("ada")
    grants = api.VideoGrants(room_join=True, room="voice", can_publish_sources=["microphone"])
    token = made.with_ttl(datetime.timedelta(minutes=10)).with_grants(grants).to_jwt()
    async with (
        join(server, "ada", "voice", token=token) as ada,
        join(server, "bob", "voice") as bob,
    ):
        await publish_known(ada)
        await hear(await soon(bob.track("audio")))
        assert not ada._connections.direct
        assert not bob._connections.direct


async def test_who_asked_for_the_relay_alone_never_goes_direct_when_its_worker_ends() -> None:
    async with (
        run_server("--drain-timeout", "1", "--mesh-return", "0.2", relay=True) as server,
        Bot.join(http_url(server), room="relayed", name="Ada", via="relay") as ada,
        Bot.join(http_url(server), room="relayed", name="Bob") as bob,
    ):
        opened: list[str] = []
        open_peer = ada._connections._open_peer
        ada._connections._open_peer = lambda one: opened.append(one.id) or open_peer(one)  # type: ignore
        await publish_known(ada)
        video = await soon(bob.track("video"))
        await see(video)
        for _ in range(2):
            old = video.tap
            kill_worker(server)
            await until(lambda: not ada.client.relay)
            await until(lambda: ada.client.relay)
            await until(lambda old=old: video.tap not in (old, None))
            await see(video)
        assert opened == []
        assert not ada._connections.direct
