"""Tokens in a real server: at every door, in the hub and in the relay, and with new keys."""

from __future__ import annotations

import datetime
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from aiortc import RTCConfiguration, RTCPeerConnection
from livekit import api

from signaling.access import tokens
from signaling.protocol.messages import Grant
from tests.support.caller import BLUE, RED, Picture, Tone, call, until
from tests.support.processes import Client, ServerProcess, connect, open_session, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = ("first", "the first secret of more than thirty-two characters")
NEW = ("second", "the second secret of more than thirty-two characters")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    environ = {"SIGNALING_API_KEY": ":".join(KEY)}
    async with run_server("--mesh-limit", "1", relay=True, environ=environ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def mint(
    identity: str = "ada", room: str = "demo", key: tuple[str, str] = KEY, **grant: Any
) -> str:
    return tokens.mint(
        key, room=room, identity=identity, wall=time.time(), ttl=600, grant=Grant(**grant)
    )


def mint_by_livekit(identity: str, room: str, **grants: Any) -> str:
    token = api.AccessToken(*KEY).with_identity(identity).with_name(identity.title())
    token = token.with_ttl(datetime.timedelta(minutes=10))
    grant = api.VideoGrants(room_join=True, room=room, **grants)
    return str(token.with_grants(grant).to_jwt())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def try_joining(
    session: ClientSession, server: ServerProcess, token: str | None, room: str = "demo"
) -> str:
    """The type of the reply, or the code of the refusal."""
    async with connect(session, server) as client:
        reply = await client.ask(type="join", room=room, name="x", token=token)
        return str(reply.get("code", reply["type"]))


async def test_nobody_joins_without_a_token_for_that_room(
    server: ServerProcess, session: ClientSession
) -> None:
    assert await try_joining(session, server, None) == "unauthorized"
    assert await try_joining(session, server, mint(room="other")) == "unauthorized"
    assert await try_joining(session, server, mint(key=NEW)) == "unauthorized"
    assert await try_joining(session, server, mint()) == "joined"
    async with connect(session, server) as client:
        await client.ask(type="join", room="demo", name="x")
        assert await client.receive_close() == 4401


async def test_a_token_that_livekits_library_made_opens_a_call(
    server: ServerProcess, session: ClientSession
) -> None:
    ada_token = mint_by_livekit("ada", "lk", room_admin=True)
    bob_token = mint_by_livekit("bob", "lk", can_publish=False, can_publish_data=False)
    async with (
        call(session, server.ws_url, "lk", "x", token=ada_token) as ada,
        call(session, server.ws_url, "lk", "x", token=bob_token) as bob,
    ):
        await until(lambda: ada.got("participant-joined"))
        assert ada.got("participant-joined")[0]["participant"]["name"] == "Bob"
        await ada.publish(Picture(RED))
        await until(lambda: bob.sees(ada, RED))
        assert (await bob.ask(type="chat", content="x"))["code"] == "forbidden"
        with pytest.raises(AssertionError, match="forbidden"):
            await bob.publish(Picture(BLUE))
        assert (await bob.ask(type="lock", locked=True))["code"] == "forbidden"
        assert (await ada.ask(type="lock", locked=True))["type"] == "ok"


async def test_who_may_not_subscribe_is_sent_nothing(
    server: ServerProcess, session: ClientSession
) -> None:
    deaf = mint("bob", "deaf", subscribe=False)
    async with (
        call(session, server.ws_url, "deaf", token=mint("ada", "deaf")) as ada,
        call(session, server.ws_url, "deaf", token=deaf) as bob,
        call(session, server.ws_url, "deaf", token=mint("eve", "deaf")) as eve,
    ):
        await ada.publish(Picture(RED))
        await until(lambda: eve.sees(ada, RED))
        await until(lambda: bob.got("track-published"))
        assert not [offer for offer in bob.got("offer") if offer["from"] == "relay"]


async def test_who_may_publish_sound_only_sends_no_picture_under_another_name(
    server: ServerProcess, session: ClientSession
) -> None:
    token = mint_by_livekit("ada", "sound", can_publish_sources=["microphone"])
    async with call(session, server.ws_url, "sound", token=token) as ada:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTrack(Picture(RED))
        await pc.setLocalDescription(await pc.createOffer())
        sdp = pc.localDescription.sdp
        for tracks in ([], [{"mid": "0", "source": "microphone"}]):
            reply = await ada.ask(type="offer", to="relay", sdp=sdp, tracks=tracks)
            assert reply["code"] == "forbidden"
        await pc.close()
        reply = await ada.publish(Tone(440))
        assert reply["type"] == "answer"


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/whip/demo", None, 401),
        ("/whip/demo", "other", 401),
        ("/whip/demo", "silent", 403),
        ("/whep/demo", None, 401),
        ("/whep/demo", "deaf", 403),
    ],
)
async def test_whip_and_whep_ask_for_tokens(
    server: ServerProcess, session: ClientSession, path: str, token: str | None, status: int
) -> None:
    tokens = {
        "other": mint(room="other"),
        "silent": mint(publish=False),
        "deaf": mint(subscribe=False),
    }
    headers = {"Content-Type": "application/sdp"} | (bearer(tokens[token]) if token else {})
    async with session.post(server.url + path, data="v=0\r\n", headers=headers) as response:
        assert response.status == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_the_api_is_for_those_who_administer(
    server: ServerProcess, session: ClientSession
) -> None:
    admin = bearer(mint(moderate=True))
    rooms = server.url + "/api/rooms"
    async with call(session, server.ws_url, "demo", token=mint()):
        for headers, status in ((bearer(mint()), 403), ({}, 401), (admin, 200)):
            async with session.get(rooms, headers=headers) as response:
                assert response.status == status
        async with session.get(rooms, headers=bearer(mint(room="other", moderate=True))) as other:
            assert (await other.json())["rooms"] == []
        async with session.delete(rooms + "/demo", headers=bearer(mint())) as response:
            assert response.status == 403
        async with session.get(server.url + "/api/ice-servers", headers={}) as response:
            assert response.status == 401


async def test_an_invitation_opens_its_room_and_no_more(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as client:
        token = mint("admin", "invited", moderate=True)
        await client.ask(type="join", room="invited", name="x", token=token)
        reply = await client.ask(type="invite")
        assert reply["expires"] > time.time() * 1000
        assert await try_joining(session, server, reply["token"], "elsewhere") == "unauthorized"
        async with connect(session, server) as guest:
            joined = await guest.ask(
                type="join", room="invited", name="Guest", token=reply["token"]
            )
            assert joined["grants"]["moderate"] is False
            assert joined["participants"][0]["id"]


async def test_keys_are_rotated_without_dropping_anyone(
    session: ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "keys"

    def write(*keys: tuple[str, str]) -> None:
        file.write_text("# comment\n" + "".join(f"{name}:{secret}\n" for name, secret in keys))

    async def reload(server: ServerProcess, word: str) -> None:
        server.log.clear()
        server.send_signal(signal.SIGHUP)
        await server.wait_log(word)

    write(KEY)
    async with run_server("--api-key-file", str(file)) as server, connect(session, server) as ada:
        assert (await _join(ada, mint("first of all")))["type"] == "joined"
        assert await try_joining(session, server, mint(key=NEW)) == "unauthorized"
        write(NEW, KEY)
        await reload(server, "secrets reloaded")
        assert await try_joining(session, server, mint(key=NEW)) == "joined"
        assert await try_joining(session, server, mint()) == "joined"
        write(NEW)
        await reload(server, "secrets reloaded")
        assert await try_joining(session, server, mint()) == "unauthorized"
        assert await try_joining(session, server, mint(key=NEW)) == "joined"
        # Who came in with the old key is still there.
        assert (await ada.ask(type="chat", content="still here"))["type"] == "ok"
        # A mistake in the file locks nobody out.
        file.write_text("no key at all\n")
        await reload(server, "secrets not reloaded")
        assert await try_joining(session, server, mint(key=NEW)) == "joined"
        assert (await ada.ask(type="chat", content="still here"))["type"] == "ok"
        assert not [line for line in server.log if "secret of more" in line]


async def _join(client: Client, token: str) -> dict[str, Any]:
    return await client.ask(type="join", room="demo", name="x", token=token)
