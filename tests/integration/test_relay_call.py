"""Calls through the relay: aiortc peers, a real server process, real sockets."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.support.caller import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    Caller,
    Picture,
    Tone,
    Watcher,
    call,
    until,
)
from tests.support.processes import ServerProcess, run_server

# One server for all, each test with a room of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    """A server whose rooms are relayed from the second participant on."""
    async with run_server("--mesh-limit", "1", relay=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@contextlib.asynccontextmanager
async def gather(
    session: ClientSession, server: ServerProcess, *names: str
) -> AsyncIterator[list[Caller]]:
    """Participants of one room of their own, by name."""
    room = f"room-{secrets.token_hex(4)}"
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(call(session, server.ws_url, room, name))
            for name in names
        ]


async def frames_pass(watcher: Watcher, count: int) -> None:
    """Wait until that many more frames have come: time, as the media count it."""
    wanted = watcher.frames + count
    await until(lambda: watcher.frames >= wanted, f"{count} more frames")


def watched(caller: Caller, other: Caller, kind: str) -> Watcher:
    watcher = caller.watch(other.participant, kind)
    assert watcher is not None
    return watcher


async def test_what_is_received_is_what_was_sent(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Picture(RED), Tone(440))
        await bob.publish(Picture(BLUE), Tone(1000))
        await until(lambda: bob.sees(ada, RED), "Ada's picture")
        await until(lambda: bob.hears(ada, 440), "Ada's tone")
        await until(lambda: ada.sees(bob, BLUE), "Bob's picture")
        await until(lambda: ada.hears(bob, 1000), "Bob's tone")
        await until(lambda: ada.got("speakers"), "that somebody speaks")


async def test_who_joins_in_the_middle_starts_at_a_key_frame(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Picture(GREEN))
        await until(lambda: bob.sees(ada, GREEN))
        await frames_pass(watched(bob, ada, "video"), 20)
        async with call(session, server.ws_url, ada.room, "Carol") as carol:
            await until(lambda: carol.sees(ada, GREEN))
            first = watched(carol, ada, "video").first_colour
            assert first is not None
            assert all(abs(a - b) < 40 for a, b in zip(first, GREEN, strict=True))
        # Nobody else notices that one has gone.
        await frames_pass(watched(bob, ada, "video"), 20)


async def test_what_is_muted_is_not_sent_and_comes_back(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        picture = Picture(RED)
        await ada.publish(picture, Tone(440))
        await until(lambda: bob.sees(ada, RED) and bob.hears(ada, 440))
        track = ada.own("video")
        assert (await ada.ask(type="mute", track=track, muted=True))["type"] == "ok"
        await until(lambda: bob.tracks[track]["muted"], "word of the mute")
        video, audio = watched(bob, ada, "video"), watched(bob, ada, "audio")
        await frames_pass(audio, 25)  # what was under way has arrived
        before = video.frames
        await frames_pass(audio, 50)
        assert video.frames == before
        picture.colour = BLUE
        await ada.ask(type="mute", track=track, muted=False)
        await until(lambda: bob.sees(ada, BLUE), "the picture after the mute")
        assert not bob.tracks[track]["muted"]


async def test_tracks_come_and_go_by_renegotiation(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Tone(440))
        await until(lambda: bob.hears(ada, 440))
        picture = Picture(RED)
        await ada.publish(picture)
        await until(lambda: bob.sees(ada, RED), "the added picture")
        camera = ada.own("video")
        assert ada.publishing is not None
        transceiver = next(t for t in ada.publishing.getTransceivers() if t.kind == "video")
        transceiver.direction = "inactive"
        await ada.renegotiate()
        await until(lambda: camera not in bob.tracks, "that the picture is gone")
        mids = set(bob.watchers)
        transceiver.direction = "sendrecv"
        picture.colour = GREEN
        await ada.renegotiate()
        await until(lambda: bob.sees(ada, GREEN), "the picture, again")
        assert ada.own("video") != camera
        # The m-line that was free is used again, and the audio has not moved.
        assert set(bob.watchers) == mids
        assert bob.hears(ada, 440)


async def test_one_chooses_what_to_receive(server: ServerProcess, session: ClientSession) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        picture = Picture(RED)
        await ada.publish(picture, Tone(440))
        await until(lambda: bob.sees(ada, RED) and bob.hears(ada, 440))
        track = ada.own("video")
        await bob.ask(type="unsubscribe", tracks=[track])
        await until(lambda: bob.watch(ada.participant, "video") is None)
        assert bob.hears(ada, 440)
        picture.colour = BLUE
        await bob.ask(type="subscribe", tracks=[track])
        await until(lambda: bob.sees(ada, BLUE), "the picture that was chosen again")


async def test_a_restart_of_ice_is_offered_and_media_go_on(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Picture(RED))
        await until(lambda: bob.sees(ada, RED))
        before, offers = bob.got("offer")[-1], bob.offers
        assert (await bob.ask(type="restart-ice"))["type"] == "ok"
        await until(lambda: bob.offers > offers, "another offer")
        assert _ufrag(bob.got("offer")[-1]) != _ufrag(before)
        assert bob.got("offer")[-1]["tracks"] == before["tracks"]
        await frames_pass(watched(bob, ada, "video"), 20)


async def test_a_client_may_open_its_connections_anew(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Picture(RED))
        await until(lambda: bob.sees(ada, RED))
        first = ada.own("video")
        await ada.drop_publication()
        await until(lambda: first not in bob.tracks, "that the track is gone")
        picture = Picture(BLUE)
        await ada.publish(picture)
        await until(lambda: bob.sees(ada, BLUE), "the picture of the second connection")
        await bob.drop_subscription()
        await bob.ask(type="restart-ice")
        await until(lambda: bob.sees(ada, BLUE), "the picture on the second connection")
        # The third time without a goodbye, as a page that crashed.
        lost = bob.abandon_subscription()
        await bob.ask(type="restart-ice")
        await until(lambda: bob.sees(ada, BLUE), "the picture on the third connection")
        await lost.close()


async def test_in_a_mesh_only_the_pair_that_failed_is_relayed(session: ClientSession) -> None:
    async with (
        run_server(relay=True) as server,
        gather(session, server, "Ada", "Bob", "Carol") as (ada, bob, carol),
    ):
        await ada.ask(type="p2p-failed", participant=bob.participant, reason="ice-failed")
        await until(lambda: bob.got("route"))
        assert bob.got("route")[0]["participant"] == ada.participant
        await ada.publish(Picture(RED))
        await bob.publish(Picture(BLUE))
        await until(lambda: bob.sees(ada, RED) and ada.sees(bob, BLUE))
        assert not carol.got("route")
        assert not carol.got("offer")


async def test_a_room_that_outgrows_the_mesh_moves_and_comes_back(session: ClientSession) -> None:
    limits = ("--mesh-limit", "2", "--mesh-return", "1")
    async with (
        run_server(*limits, relay=True) as server,
        gather(session, server, "Ada", "Bob") as (ada, bob),
    ):
        async with call(session, server.ws_url, ada.room, "Carol") as carol:
            everyone = (ada, bob, carol)
            await until(lambda: all(_topology(caller) == "relay" for caller in everyone))
            await ada.publish(Picture(RED))
            await bob.publish(Tone(440))
            await until(lambda: carol.sees(ada, RED) and carol.hears(bob, 440))
            await until(lambda: bob.sees(ada, RED) and ada.hears(bob, 440))
            await carol.ask(type="leave")
        # At two, the mesh could do it again; it has to be one less, so that it does not flap.
        await bob.ask(type="leave")
        await until(lambda: _topology(ada) == "mesh", "the mesh again")


async def test_refusals_have_a_code_and_a_reason(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, _):
        reply = await ada.ask(type="offer", to="relay", sdp="v=0\r\nnonsense\r\n", tracks=[])
        assert (reply["type"], reply["code"]) == ("error", "bad-sdp")
        reply = await ada.ask(type="answer", to="relay", sdp="v=0\r\n")
        assert reply["type"] == "error"
        # And a connection that was refused once may do it right the next time.
        await ada.publish(Tone(440))


async def test_operators_see_tracks_and_workers(
    server: ServerProcess, session: ClientSession
) -> None:
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        await ada.publish(Picture(RED), Tone(440))
        await until(lambda: bob.sees(ada, RED) and bob.hears(ada, 440))
        details: dict[str, Any] = {}

        async def look() -> bool:
            async with session.get(f"{server.url}/api/rooms/{ada.room}") as response:
                assert response.status == 200
                details.update(await response.json())
            return all(track["bitrate"] > 0 for track in details["media"])

        while not await look():
            await frames_pass(watched(bob, ada, "audio"), 10)
        video = next(track for track in details["media"] if track["kind"] == "video")
        assert video["participant"] == ada.participant
        assert (video["codec"], video["path"], video["subscribers"]) == ("VP8", "relay", 1)
        assert 0 <= video["loss"] < 0.5
        text = ""
        # A worker tells its numbers once a second: the track may be there before the connection.
        told = ('relay_tracks{kind="video",worker="0"} 1.0', 'state="connected",worker="0"}')
        while not all(line in text for line in told):
            async with session.get(f"{server.url}/metrics") as response:
                text = await response.text()
        assert "relay_loop_lag_seconds" in text
        async with session.get(f"{server.url}/readyz") as response:
            assert response.status == 200


async def test_white_is_not_grey(server: ServerProcess, session: ClientSession) -> None:
    """The colours that tests compare are told apart by the codec in use."""
    async with gather(session, server, "Ada", "Bob") as (ada, bob):
        picture = Picture(WHITE)
        await ada.publish(picture)
        await until(lambda: bob.sees(ada, WHITE))
        for colour in (RED, GREEN, BLUE):
            assert not bob.sees(ada, colour)


def _topology(caller: Caller) -> str:
    changes = caller.got("topology")
    return str(changes[-1]["topology"]) if changes else ""


def _ufrag(offer: dict[str, Any]) -> str:
    sdp: str = offer["sdp"]
    return sdp.partition("a=ice-ufrag:")[2].splitlines()[0]
