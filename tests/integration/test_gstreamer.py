"""GStreamer 1.22 with the relay: publishes by WHIP, plays by WHEP, and answers its offers."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientWebSocketResponse

from tests.support.caller import Caller, call, until
from tests.support.gstreamer import GStreamer, run_gstreamer
from tests.support.processes import ServerProcess, run_server

pytestmark = [pytest.mark.needs("gstreamer"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server(relay=True) as running:
        yield running


@pytest.fixture
def room() -> str:
    return f"room-{secrets.token_hex(4)}"


async def decodes(peer: GStreamer, *kinds: str) -> None:
    """Until more of these kinds has been decoded than now."""
    before = {kind: peer.count(kind) for kind in kinds}
    await until(
        lambda: all(peer.count(kind) > before[kind] + 5 for kind in kinds), f"decoding of {kinds}"
    )


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_late_viewer_sees_and_hears_a_publisher_in_stereo(
    server: ServerProcess, room: str, codec: str
) -> None:
    """H.264 with its parameter sets before the first picture alone, sound on the left alone."""
    whip, whep = f"{server.url}/whip/{room}", f"{server.url}/whep/{room}"
    async with run_gstreamer("publish", whip, codec) as publisher:
        await until(lambda: publisher.is_connected)
        async with run_gstreamer("play", whep, codec) as player:
            await decodes(player, "audio", "video")
            await until(lambda: player.find("levels"))
            left, right = player.find("levels")[-1]["rms"]
            assert left > -20
            assert right < -60
            assert await player.leave() == 200
        assert await publisher.leave() == 200


async def test_a_viewer_goes_over_to_an_encoder_that_was_killed_and_came_back(
    server: ServerProcess, room: str
) -> None:
    whip, whep = f"{server.url}/whip/{room}", f"{server.url}/whep/{room}"
    async with ClientSession() as session, run_gstreamer("publish", whip) as old:
        await until(lambda: old.is_connected)
        async with run_gstreamer("play", whep) as player:
            await decodes(player, "audio", "video")
            await old.kill()
            async with run_gstreamer("publish", whip) as new:
                await until(lambda: new.is_connected)
                await decodes(player, "audio", "video")
                async with run_gstreamer("play", whep) as late:
                    await decodes(late, "audio", "video")
                # Nobody waited until the old one was given up, 30 s after its last packet.
                async with session.get(f"{server.url}/api/rooms/{room}") as response:
                    assert len((await response.json())["participants"]) == 2


class Subscriber(Caller):
    """A caller whose subscribing peer is GStreamer."""

    def __init__(self, gstreamer: GStreamer, socket: ClientWebSocketResponse) -> None:
        self.gstreamer = gstreamer
        super().__init__(socket)

    async def _answer_offers(self) -> None:
        while True:
            offer = await self._offers.get()
            answered = len(self.gstreamer.find("answer"))
            self.gstreamer.send_offer(offer["sdp"])
            await until(lambda count=answered: len(self.gstreamer.find("answer")) > count)
            answer = self.gstreamer.find("answer")[-1]["sdp"]
            reply = await self.ask(type="answer", to="relay", sdp=answer)
            assert reply["type"] == "ok", reply
            self.offers += 1


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_subscriber_that_takes_one_codec_gets_the_one_that_is_sent(
    server: ServerProcess, room: str, codec: str
) -> None:
    """webrtcbin's answer takes the first codec of a line alone, and loses its profile."""
    whip = f"{server.url}/whip/{room}"
    async with (
        run_gstreamer("publish", whip, codec) as publisher,
        run_gstreamer("answer") as peer,
        ClientSession() as session,
    ):
        await until(lambda: publisher.is_connected)
        kind = partial(Subscriber, peer)
        async with call(session, server.ws_url, room, kind=kind) as caller:
            await decodes(peer, "audio", "video")
            assert not caller.got("reception")
