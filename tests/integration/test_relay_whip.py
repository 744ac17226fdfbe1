"""WHIP and WHEP with aiortc against a real server: publish, watch, and the HTTP around it."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.support.caller import BLUE, RED, Caller, Picture, Tone, Watcher, call, until
from tests.support.processes import ServerProcess, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAGMENT = "application/trickle-ice-sdpfrag"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server("--turn-url", "stun:stun.example.org", relay=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.fixture
def room() -> str:
    return f"room-{secrets.token_hex(4)}"


@dataclass
class Resource:
    """What a POST made."""

    pc: RTCPeerConnection
    url: str
    etag: str
    headers: dict[str, str]

    @property
    def answer(self) -> str:
        return str(self.pc.remoteDescription.sdp)


async def open_resource(
    session: ClientSession, server: ServerProcess, path: str, pc: RTCPeerConnection
) -> Resource:
    """POST the connection's offer, and take the answer."""
    await pc.setLocalDescription(await pc.createOffer())
    headers = {"Content-Type": "application/sdp"}
    offer = pc.localDescription.sdp
    async with session.post(server.url + path, data=offer, headers=headers) as response:
        assert response.status == 201, await response.text()
        assert response.headers["Content-Type"] == "application/sdp"
        answer = await response.text()
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        url = server.url + response.headers["Location"]
        return Resource(pc, url, response.headers["ETag"], dict(response.headers))


def connect() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def test_a_whip_publisher_is_a_participant_like_any_other(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    async with call(session, server.ws_url, room, "Ada") as ada:
        pc = connect()
        pc.addTrack(Picture(RED))
        pc.addTrack(Tone(440))
        resource = await open_resource(session, server, f"/whip/{room}", pc)
        await until(lambda: ada.got("participant-joined"))
        guest = ada.got("participant-joined")[0]["participant"]
        assert guest["via"] == "relay"
        assert ada.got("route")[0]["participant"] == guest["id"]
        await until(lambda: _shows(ada, guest["id"], "video"))
        picture, tone = ada.watch(guest["id"], "video"), ada.watch(guest["id"], "audio")
        assert picture is not None
        assert tone is not None
        await until(lambda: picture.shows(RED) and tone.sounds(440))
        # Who comes later is told the same.
        async with call(session, server.ws_url, room, "Bob") as bob:
            await until(lambda: _shows(bob, guest["id"], "video"))
        async with session.delete(resource.url) as response:
            assert response.status == 200
        await until(lambda: ada.got("participant-left"))
        async with session.delete(resource.url) as response:
            assert response.status == 404
        await pc.close()


async def test_a_publisher_that_vanishes_leaves_the_room(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    async with call(session, server.ws_url, room, "Ada") as ada:
        pc = connect()
        pc.addTrack(Tone(440))
        resource = await open_resource(session, server, f"/whip/{room}", pc)
        await until(lambda: ada.got("track-published"))
        await until(lambda: pc.connectionState == "connected")
        await pc.close()
        await until(lambda: ada.got("participant-left"))
        async with session.delete(resource.url) as response:
            assert response.status == 404


async def test_a_whep_player_gets_what_the_room_publishes(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    publisher = connect()
    picture = Picture(BLUE)
    publisher.addTrack(picture)
    publisher.addTrack(Tone(1000))
    published = await open_resource(session, server, f"/whip/{room}", publisher)
    player = connect()
    player.addTransceiver("audio", direction="recvonly")
    player.addTransceiver("video", direction="recvonly")
    played = await open_resource(session, server, f"/whep/{room}", player)
    assert "/whep/" in played.url
    watchers = {t.kind: Watcher(t.receiver.track) for t in player.getTransceivers()}
    await until(lambda: watchers["video"].shows(BLUE) and watchers["audio"].sounds(1000))
    # The player is nobody whom the room would know of.
    async with call(session, server.ws_url, room, "Ada") as ada:
        joined = ada.got("joined")[0]
        assert len(joined["participants"]) == 1
    for url in (played.url, published.url):
        async with session.delete(url) as response:
            assert response.status == 200
    for watcher in watchers.values():
        await watcher.stop()
    await player.close()
    await publisher.close()


async def test_a_restart_of_ice_gives_fresh_credentials_and_spares_the_media(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    pc = connect()
    pc.addTrack(Tone(440))
    resource = await open_resource(session, server, f"/whip/{room}", pc)
    sdp = pc.localDescription.sdp
    ufrag = re.findall(r"a=ice-ufrag:(\S+)", sdp)[0]
    pwd = re.findall(r"a=ice-pwd:(\S+)", sdp)[0]
    trickle = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
    trickle += "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
    restart = trickle.replace(ufrag, "abcdefgh").replace(pwd, "q" * 24)

    async def patch(body: str, match: str | None, kind: str = FRAGMENT) -> tuple[int, str, str]:
        headers = {"Content-Type": kind, **({"If-Match": match} if match else {})}
        async with session.patch(resource.url, data=body, headers=headers) as response:
            return response.status, await response.text(), response.headers.get("ETag", "")

    assert (await patch(trickle, resource.etag))[::2] == (204, "")
    assert (await patch(trickle, None))[::2] == (204, "")
    assert (await patch(restart, None))[0] == 428
    assert (await patch(trickle, '"another"'))[0] == 412
    assert (await patch(trickle, f"W/{resource.etag}"))[0] == 412
    assert (await patch(trickle, resource.etag, "application/sdp"))[0] == 415
    assert (await patch("nonsense", resource.etag))[0] == 400
    status, body, etag = await patch(restart, "*")
    assert status == 200
    assert etag not in ("", resource.etag)
    assert "a=ice-lite" in body
    assert "a=candidate:" in body
    assert "a=end-of-candidates" in body
    fresh = re.findall(r"a=ice-ufrag:(\S+)", body)[0]
    assert fresh not in resource.answer
    assert (await patch(trickle, resource.etag))[0] == 412
    async with session.delete(resource.url) as response:
        assert response.status == 200
    await pc.close()


async def test_the_answer_to_a_post_says_what_comes_next(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    pc = connect()
    pc.addTrack(Tone(440))
    resource = await open_resource(session, server, f"/whip/{room}", pc)
    assert resource.headers["Accept-Patch"] == FRAGMENT
    assert '<stun:stun.example.org>; rel="ice-server"' in resource.headers["Link"]
    assert re.fullmatch(r'"[^"]+"', resource.etag)
    assert "Location" in resource.headers["Access-Control-Expose-Headers"]
    await session.delete(resource.url)
    await pc.close()


async def test_what_cannot_be_is_refused_by_the_right_status(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    url = f"{server.url}/whip/{room}"
    sdp = {"Content-Type": "application/sdp"}

    async def status(
        method: str, url: str, data: str | None = None, headers: dict[str, str] | None = None
    ) -> int:
        async with session.request(method, url, data=data, headers=headers) as response:
            return response.status

    assert await status("POST", url, data="{}", headers={"Content-Type": "text/plain"}) == 415
    assert await status("POST", url, data="hello", headers=sdp) == 400
    assert await status("POST", url, data="v=0\r\nnonsense", headers=sdp) == 400
    assert await status("POST", url, data="v=0", headers={**sdp, "Accept": "text/html"}) == 406
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        assert await status(method, url) == 405
    assert await status("DELETE", f"{url}/session/nothing") == 404
    assert await status("POST", f"{url}/session/nothing") == 405
    assert await status("POST", f"{server.url}/whip/no%20room", data="v=0", headers=sdp) == 400
    # There is nobody to watch.
    async with session.post(f"{server.url}/whep/{room}", data="v=0", headers=sdp) as response:
        assert response.status == 409
        assert response.headers["Retry-After"]
    async with session.get(f"{server.url}/api/rooms") as response:
        assert room not in await response.text()


async def test_pages_of_other_origins_may_use_it(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with session.options(f"{server.url}/whip/{room}", headers=asked) as response:
        assert response.status in (200, 204)
        assert response.headers["Accept-Post"] == "application/sdp"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    async with session.options(f"{server.url}/whip/{room}/session/x", headers=asked) as response:
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]


async def test_a_guest_that_was_banned_does_not_come_again(
    server: ServerProcess, session: ClientSession, room: str
) -> None:
    first, second, again = connect(), connect(), connect()
    for pc in (first, second, again):
        pc.addTransceiver("audio", "sendonly")
    try:
        for pc in (first, second):
            await open_resource(session, server, f"/whip/{room}", pc)
        async with session.get(f"{server.url}/api/rooms/{room}") as response:
            guest = (await response.json())["participants"][0]["id"]
        url = f"{server.url}/api/rooms/{room}/participants/{guest}?ban=true"
        async with session.delete(url) as response:
            assert response.status == 204
        await again.setLocalDescription(await again.createOffer())
        offer, headers = again.localDescription.sdp, {"Content-Type": "application/sdp"}
        async with session.post(
            f"{server.url}/whip/{room}", data=offer, headers=headers
        ) as response:
            assert response.status == 403
    finally:
        for pc in (first, second, again):
            await pc.close()


def _shows(caller: Caller, participant: str, kind: str) -> bool:
    watcher = caller.watch(participant, kind)
    return watcher is not None and watcher.frames > 0
