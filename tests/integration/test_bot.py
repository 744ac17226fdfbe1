"""Bots with bots: directly and through the relay, and over everything that can break."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCSessionDescription

from signaling.bot import Bot, CodecMissing, RemoteTrack, Source, SourceUnreadable
from signaling.bot.connections import Way
from signaling.bot.load import Media, encode_video
from signaling.bot.patterns import pictures
from signaling.client import ClientError, NotConnected, ServerUnreachable
from signaling.protocol import messages
from tests.support.bots import (
    PATIENCE,
    Proxy,
    hear,
    http_url,
    kill_worker,
    make_film,
    port_of,
    publish_known,
    resident_bytes,
    running_server,
    see,
    serve,
    soon,
    until,
    watch_gaps,
)
from tests.support.browser import free_port
from tests.support.processes import ServerProcess

WAYS: list[Way] = ["auto", "relay"]
_rooms = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server with a relay, for all tests that do it no harm."""
    with running_server() as url:
        yield url


def joins(server: ServerProcess | str, **fixed: Any) -> Any:
    """Makes bots for one room."""
    room = f"room-{next(_rooms)}"
    url = server if isinstance(server, str) else http_url(server)

    def join(name: str, **options: Any) -> Bot:
        return Bot.join(url, room=room, name=name, **fixed, **options)

    return join


# -- Media ------------------------------------------------------------------------------


@pytest.mark.parametrize("via", WAYS)
async def test_picture_and_sound_go_both_ways(server: str, via: Way) -> None:
    join = joins(server, via=via)
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada)
        await publish_known(bob)
        for here, there in ((ada, bob), (bob, ada)):
            video, audio = await soon(here.track("video")), await soon(here.track("audio"))
            assert (video.label, audio.label) == ("camera", "microphone")
            assert video.participant.id == there.client.id
            await see(video)
            await hear(audio)
        if via == "relay":
            assert not ada._connections.direct
            assert ada._connections.subscriber.connected


async def test_a_bot_connects_fast(server: str) -> None:
    join = joins(server)
    async with join("Ada") as ada:
        await publish_known(ada, sound=False)
        took: list[float] = []
        for n in range(3):
            begun = asyncio.get_running_loop().time()
            async with join(f"Bob {n}") as bob:
                await see(await soon(bob.track("video")), count=1)
                took.append(asyncio.get_running_loop().time() - begun)
        # A second is what is promised on a machine that has nothing else to do.
        assert min(took) < 4, took


@pytest.mark.parametrize("via", WAYS)
async def test_packets_arrive_as_they_were_sent_and_key_frames_can_be_asked_for(
    server: str, via: Way
) -> None:
    join = joins(server, via=via)
    frames = encode_video(Media(width=64, height=48, fps=10))
    asked = 0

    async def packets() -> AsyncIterator[Any]:
        for n in itertools.count():
            # Never a key frame but the first, until asked.
            data, _ = frames[n % 20] if n < 20 and asked < 2 else frames[0]
            packet = av.Packet(data)
            packet.pts, packet.time_base = n, Fraction(1, 10)
            packet.is_keyframe = data == frames[0][0]
            yield packet

    def count() -> None:
        nonlocal asked
        asked += 1

    async with join("Ada") as ada, join("Bob") as bob:
        await ada.publish(packets(), codec="VP8", on_key_frame=count)
        track = await soon(bob.track("video"))
        sent = {data for data, _ in frames}
        got = 0

        async def receive() -> None:
            nonlocal got
            async for packet in track.packets():
                assert packet.codec == "VP8"
                assert packet.data in sent
                got += 1
                if got == 1:
                    assert packet.key
                    track.request_key_frame()
                if got > 5 and asked >= 2:
                    return

        await soon(receive())


async def test_a_remote_track_can_be_published_as_it_is_and_decoded(server: str) -> None:
    join = joins(server)
    async with join("Ada") as ada, join("Echo") as echo:
        await publish_known(ada)

        @echo.on_track
        async def send_back(track: RemoteTrack) -> None:
            what = track if track.kind == "video" else track.media_stream_track()
            await (await echo.publish(what)).wait()

        await see(await soon(ada.track("video", name="Echo")))
        await hear(await soon(ada.track("audio", name="Echo")))


@pytest.mark.parametrize("via", WAYS)
async def test_what_is_published_can_change(server: str, via: Way) -> None:
    join = joins(server, via=via)
    async with join("Ada") as ada, join("Bob") as bob:
        first = await ada.publish(pictures(160, 90), fps=12)
        track = await soon(bob.track("video"))
        await see(track)
        await first.stop()
        await until(lambda: bob.client.participants[ada.client.id].metadata["camera"] is False)
        await ada.publish(pictures(96, 54), fps=12)
        sizes: set[int] = set()

        async def look() -> None:
            video = await bob.track("video")
            async for picture in video.pictures():
                sizes.add(picture.shape[1])
                if 96 in sizes:
                    return

        await soon(look())
        screen = Source("video", label="screen")
        await ada.publish(screen)
        pushing = asyncio.create_task(push_pictures(screen))

        async def find_screen() -> None:
            async for found in bob.tracks():
                if found.label == "screen":
                    await see(found)
                    return

        await soon(find_screen())
        pushing.cancel()
        await asyncio.wait([pushing])


async def push_pictures(source: Source) -> None:
    for picture in pictures(128, 72):
        source.push_picture(picture)
        await asyncio.sleep(0.1)


async def test_a_file_is_played_to_its_end_or_for_ever(server: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.webm", seconds=1.5)
    join = joins(server)
    async with join("Ada", receive=False) as ada, join("Bob") as bob:
        looping = await ada.publish(film, loop=True)
        video, audio = await soon(bob.track("video")), await soon(bob.track("audio"))
        times = watch_gaps(video)
        await until(lambda: len(times) > 30)
        await see(video)
        await hear(audio)
        await looping.stop()
        once = await ada.publish(film, copy=True)
        await see(video)
        await soon(once.wait())
        assert ada.sources == []


@pytest.mark.parametrize("via", WAYS)
async def test_packets_may_have_another_codec_than_what_was_sent_before(
    server: str, tmp_path: Path, via: Way
) -> None:
    film = make_film(tmp_path / "film.mp4", seconds=1.0, video="libx264")
    join = joins(server, via=via)
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada, sound=False)
        await publish_known(bob, sound=False)
        track, back = await soon(bob.track("video")), await soon(ada.track("video"))
        await see(track)
        assert track.codec == "VP8"
        await ada.publish(film, copy=True, loop=True)
        await until(lambda: track.codec == "H264" or track.ended)
        await see(await soon(bob.track("video")))
        await see(back)


async def test_chat_and_data_reach_the_others(server: str) -> None:
    join = joins(server)
    async with join("Ada") as ada, join("Bob") as bob:
        heard: list[tuple[str, str]] = []

        @bob.on(messages.ChatFrom)
        def remember(chat: messages.ChatFrom) -> None:
            heard.append((chat.user, chat.content))

        await ada.chat("hello", to=bob.client.id)
        await until(lambda: heard == [("Ada", "hello")])
        inbox = bob.data()
        first = asyncio.ensure_future(anext(inbox))
        await asyncio.sleep(0)
        await until(lambda: ada._connections.direct)
        assert await soon(ada.send_data(b"\x00bytes")) == {bob.client.id}
        assert await soon(first) == (ada.client.id, b"\x00bytes")
        assert await soon(ada.send_data("text", to=bob.client.id)) == {bob.client.id}
        assert await soon(anext(inbox)) == (ada.client.id, "text")
        await inbox.aclose()


async def test_messages_arrive_once_and_in_order_over_to_the_relay_and_past_its_end() -> None:
    async with serve("--mesh-limit", "2") as running:
        join = joins(http_url(running))
        async with join("Ada") as ada, join("Bob") as bob:

            @bob.method("double")
            async def double(payload: Any, caller: str) -> Any:
                assert caller == ada.client.id
                return 2 * payload

            inbox = bob.messages("count")
            for n in range(40):
                await ada.send(n, topic="count", to=bob.client.id)
            async with join("Eve"):
                await until(lambda: bob.client.topology == "relay")
                for n in range(40, 80):
                    if n == 60:
                        kill_worker(running)
                    await ada.send(n, topic="count")
                await ada.send(b"\0\1", topic="count")
                assert await soon(ada.call(bob.client.id, "double", 21)) == 42
                got = [(await soon(anext(inbox))).payload for _ in range(81)]
            assert got == [*range(80), b"\0\1"]
            await inbox.aclose()


async def test_a_remote_track_is_passed_on_in_the_codec_that_it_turns_out_to_have(
    server: str, tmp_path: Path
) -> None:
    film = make_film(tmp_path / "film.mp4", seconds=1.0, video="libx264")
    # Through the relay a track is known before it brings anything.
    join = joins(server, via="relay")
    async with join("Ada") as ada, join("Echo") as echo:

        @echo.on_track
        async def send_back(track: RemoteTrack) -> None:
            if track.kind == "video":
                await (await echo.publish(track)).wait()

        await ada.publish(film, copy=True, loop=True)
        back = await soon(ada.track("video", name="Echo"))
        await until(lambda: back.codec == "H264")
        await see(back)


async def test_what_is_published_no_more_is_not_made_and_waited_for_no_more(server: str) -> None:
    made = 0

    def count() -> Iterator[Any]:
        nonlocal made
        for array in pictures(64, 48):
            made += 1
            yield array

    async with joins(server)("Ada") as ada:
        replaced = await ada.publish(count(), fps=100)
        stopped = await ada.publish(pictures(64, 48))
        await soon(replaced.wait())
        before = made
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.sleep(0)
        await stopped.stop()
        await soon(waiting)
        assert made == before


async def test_bots_that_share_a_source_stop_it_one_by_one(server: str) -> None:
    join = joins(server)
    async with join("Ada") as ada, join("Bob") as bob, join("Eve") as eve:
        source = Source("video")
        publications = [await one.publish(source) for one in (ada, bob)]
        pushing = asyncio.create_task(push_pictures(source))
        track = await soon(eve.track("video", name="Bob"))
        await publications[0].stop()
        times = watch_gaps(track)
        await until(lambda: len(times) > 10)
        pushing.cancel()
        await asyncio.wait([pushing])


async def test_a_program_s_own_metadata_outlive_what_it_publishes(server: str) -> None:
    async with joins(server)("Ada", metadata={"mood": "fine"}) as ada:
        await ada.client.update(metadata={"hand": True})
        publication = await ada.publish(pictures(64, 48))
        assert ada.client.metadata["hand"] is True
        assert ada.client.metadata["camera"] is True
        await publication.stop()
        assert ada.client.metadata == {
            "hand": True, "camera": False, "microphone": False, "screen": None
        }  # fmt: skip


# -- Bad input --------------------------------------------------------------------------


async def test_bad_sources_have_names_and_publish_nothing(server: str, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film at all")
    foreign = make_film(tmp_path / "film.mkv", seconds=0.5, video="mpeg4")
    async with joins(server)("Ada") as ada:
        with pytest.raises(SourceUnreadable, match="missing"):
            await ada.publish(tmp_path / "missing.webm")
        with pytest.raises(SourceUnreadable, match=r"text\.mp4"):
            await ada.publish(text)
        with pytest.raises(CodecMissing, match="mpeg4"):
            await ada.publish(foreign, copy=True)
        with pytest.raises(CodecMissing, match="AV1"):
            await ada.publish(iter(()), codec="AV1")
        assert ada.sources == []


async def test_a_server_that_is_not_there_leaves_nothing_running() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ServerUnreachable):
        async with joins(f"http://127.0.0.1:{free_port()}")("Ada"):
            pass
    assert asyncio.all_tasks() == before


async def test_a_server_that_goes_for_good_ends_the_bot_with_a_reason() -> None:
    async with serve() as server:
        bot = joins(server)("Ada", patience=0.5)

        async def live() -> None:
            async with bot:
                await publish_known(bot)
                await server.stop()
                await soon(bot.run_forever())

        with pytest.raises(ServerUnreachable):
            await live()


async def test_work_that_fails_ends_the_bot_and_work_is_cancelled_with_it(
    server: str,
) -> None:
    async def fail() -> None:
        raise LookupError("on purpose")

    before = asyncio.all_tasks()
    ada = joins(server)("Ada")
    work: list[asyncio.Task[None]] = []

    async def live() -> None:
        async with ada:
            work.append(ada.start(asyncio.sleep(3600)))
            ada.start(fail())
            await asyncio.sleep(3600)

    with pytest.raises(LookupError, match="on purpose"):
        await live()
    assert work[0].cancelled()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    with pytest.raises(NotConnected):
        await ada.chat("too late")


async def test_a_bot_is_of_no_use_before_it_joins_and_after_it_ends(server: str) -> None:
    ada = joins(server)("Ada")
    await ada.close()
    with pytest.raises(NotConnected, match="has not joined"):
        await ada.publish(pictures(64, 48))
    async with ada:
        pass
    await ada.close()
    before = asyncio.all_tasks()
    with pytest.raises(NotConnected):
        await ada.publish(pictures(64, 48))
    with pytest.raises(NotConnected):
        ada.start(asyncio.sleep(3600))
    assert [item async for item in ada.data()] == []
    assert asyncio.all_tasks() == before


async def test_a_close_that_is_cancelled_closes_all_the_same(server: str) -> None:
    before = asyncio.all_tasks()
    ada = await joins(server)("Ada").__aenter__()
    await publish_known(ada)
    ended = asyncio.Event()

    async def take_long() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await ended.wait()

    ada.start(take_long())
    await asyncio.sleep(0)
    closing = asyncio.create_task(ada.close())
    for _ in range(3):
        await asyncio.sleep(0.01)
        closing.cancel()
    assert not closing.done()
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await soon(closing)
    assert ada.client.closed
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_candidate_that_is_none_is_passed_over(server: str) -> None:
    join = joins(server)
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada, sound=False)
        track = await soon(bob.track("video"))
        peer = bob._connections.direct[ada.client.id]
        peer.receive("candidate", {"candidate": "candidate:nothing"})
        await until(lambda: peer._inbox.empty())
        assert not peer._timers - {peer._deadline}
        await see(track)


# -- Survival ---------------------------------------------------------------------------


async def test_media_do_not_notice_that_the_websocket_was_cut(server: str) -> None:
    join = joins(server)
    async with Proxy(port_of(server)) as proxy, join("Ada") as ada:
        room = ada.client.room
        async with Bot.join(proxy.url, room=room, name="Bob") as bob:
            await publish_known(ada)
            track = await soon(bob.track("video"))
            times = watch_gaps(track)
            await until(lambda: len(times) > 5)
            peer = bob._connections.direct[ada.client.id]
            proxy.cut()
            await until(lambda: not bob.client.connected)
            before = len(times)
            await until(lambda: len(times) > before + 10)
            proxy.mend()
            await until(lambda: bob.client.connected)
            await see(track)
            assert bob._connections.direct[ada.client.id] is peer


async def test_one_track_lasts_from_mesh_to_relay_and_back(monkeypatch: Any) -> None:
    monkeypatch.setattr("signaling.bot.connections.LINGER", 1.0)
    async with serve("--mesh-limit", "3", "--mesh-return", "1") as server:
        join = joins(server)
        async with join("Ada") as ada, join("Bob") as bob:
            await publish_known(ada)
            await publish_known(bob)
            track = await soon(bob.track("video"))
            times = watch_gaps(track)
            await see(track)
            direct = track.tap
            async with join("Eve") as eve, join("Zoe"):
                await until(lambda: track.tap in bob._connections.subscriber.taps)
                await see(track)
                await see(await soon(eve.track("video", name="Bob")))
                await until(lambda: not bob._connections.direct)
            await until(
                lambda: track.tap is not None and track.tap not in bob._connections.subscriber.taps
            )
            assert track.tap is not direct
            await see(track)
            await until(lambda: not bob._connections.publisher.active)
            await see(track)
            assert not track.ended
            assert len([t async for t in _so_far(bob)]) == 2
            gaps = np.diff(times)
            assert gaps.max() < PATIENCE / 4


async def test_a_direct_connection_that_lingers_carries_the_track_again() -> None:
    async with serve("--mesh-limit", "3", "--mesh-return", "0.5") as server:
        join = joins(server)
        async with join("Ada") as ada, join("Bob") as bob:
            await publish_known(ada)
            tracks = [await soon(bob.track("video")), await soon(bob.track("audio"))]
            async with join("Eve"), join("Zoe"):
                await until(lambda: all(t.tap in bob._connections.subscriber.taps for t in tracks))
            # Sooner than the connections linger, though a slow machine may have closed them.
            await until(
                lambda: not any(t.tap in (None, *bob._connections.subscriber.taps) for t in tracks)
            )
            await see(tracks[0])
            await hear(tracks[1])
            assert not any(track.ended for track in tracks)


async def _so_far(bot: Bot) -> AsyncIterator[RemoteTrack]:
    for track in bot._connections.tracks:
        yield track


async def test_one_track_outlives_the_relay_s_worker() -> None:
    async with serve() as server:
        await watch_over_a_kill(server, joins(server, via="relay"))


async def watch_over_a_kill(server: ServerProcess, join: Any) -> None:
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada)
        video, audio = await soon(bob.track("video")), await soon(bob.track("audio"))
        await see(video)
        old = video.tap
        kill_worker(server)
        await until(lambda: video.tap not in (old, None))
        await see(video)
        await hear(audio)
        assert not video.ended


@pytest.mark.parametrize("via", WAYS)
async def test_one_track_outlives_the_server(via: Way) -> None:
    port = str(free_port())
    async with serve("--port", port) as server:
        join = joins(server, via=via)
        async with join("Ada") as ada, join("Bob") as bob:
            await publish_known(ada)
            video = await soon(bob.track("video"))
            await see(video)
            old, participant = video.tap, video.participant.id
            await server.stop()
            async with serve("--port", port):
                await until(lambda: video.tap not in (old, None))
                await see(video)
                assert video.participant.id != participant
                assert not video.ended


async def test_tracks_of_those_who_may_come_back_end_with_the_bot() -> None:
    port = str(free_port())
    async with serve("--port", port, relay=False) as server:
        join = joins(server)
        async with join("Bob") as bob:
            async with join("Ada") as ada:
                await publish_known(ada, sound=False)
                track = await soon(bob.track("video"))
                await server.stop()
            async with serve("--port", port, relay=False):
                await until(lambda: bob._connections._returning)
                assert not track.ended
        assert track.ended


async def test_a_participant_that_leaves_ends_its_tracks(server: str) -> None:
    join = joins(server)
    async with join("Bob") as bob:
        async with join("Ada") as ada:
            await publish_known(ada, sound=False)
            track = await soon(bob.track("video"))
            await see(track)
        await until(lambda: track.ended)
        assert not bob._connections.direct


async def test_both_may_open_at_once(server: str, monkeypatch: Any) -> None:
    # The elder does not wait for the newcomer's offer: a collision nearly every time.
    monkeypatch.setattr("signaling.bot.peer.OPEN_AFTER", 0.0)
    for _ in range(2):
        join = joins(server)
        async with join("Ada") as ada, join("Bob") as bob:
            await publish_known(ada)
            await publish_known(bob)
            await see(await soon(ada.track("video")))
            await see(await soon(bob.track("video")))


async def test_a_pair_that_cannot_connect_uses_the_relay(server: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("signaling.bot.peer.CONNECT_WITHIN", 1.0)
    # Candidates that lead nowhere.
    monkeypatch.setattr(
        "signaling.bot.peer.remote_description",
        _without_candidates,
    )
    join = joins(server)
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada)
        await see(await soon(bob.track("video")))
        assert bob.client.participants[ada.client.id].via_relay


def _without_candidates(text: str, kind: str) -> Any:
    lines = [line for line in text.split("\r\n") if not line.startswith("a=candidate")]
    return RTCSessionDescription(sdp="\r\n".join(lines), type=kind)


async def test_an_offer_that_cannot_be_taken_is_asked_for_anew_once(
    server: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("signaling.bot.relayed.RETRY_AFTER", 0.1)
    join = joins(server, via="relay")
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada, sound=False)
        track = await soon(bob.track("video"))
        await see(track)
        bob._connections.subscriber.receive_offer("m=video x", [])
        await until(lambda: bob._connections.subscriber._pc is None)
        await until(lambda: track.tap in bob._connections.subscriber.taps)
        await see(track)
        # Else the connection would be made anew once more, for nothing.
        assert bob._connections.subscriber._asking is None


async def test_many_bots_in_one_process_do_not_grow(server: str) -> None:
    join = joins(server)
    bots = [join(f"Bot {n}") for n in range(20)]
    source = Source("video", codec="VP8")
    frames = encode_video(Media(width=64, height=48, fps=5))

    async def push() -> None:
        for n in itertools.count():
            data, key = frames[n % len(frames)]
            packet = av.Packet(data)
            packet.pts, packet.time_base, packet.is_keyframe = n, Fraction(1, 5), key
            source.push(packet)
            await asyncio.sleep(0.2)

    pushing = asyncio.create_task(push())
    try:
        async with asyncio.timeout(2 * PATIENCE):
            await asyncio.gather(*(bot.__aenter__() for bot in bots))
            for bot in bots[:4]:
                await bot.publish(source)
            everyone = 2 * PATIENCE
            await until(lambda: all(len(b._connections.tracks) >= 3 for b in bots), within=everyone)
            tracks = [track for bot in bots for track in bot._connections.tracks]
            await grow(tracks, 10)
            tasks, memory = len(asyncio.all_tasks()), resident_bytes()
            await grow(tracks, 30)
            assert len(asyncio.all_tasks()) <= tasks + 5
            assert resident_bytes() - memory < 24_000_000
            assert all(not track._frames and track._encoded is None for track in tracks)
    finally:
        pushing.cancel()
        await asyncio.gather(*(bot.close() for bot in bots))
        await asyncio.wait([pushing])


async def grow(tracks: list[RemoteTrack], frames: int) -> None:
    """Until every track has brought so many frames more."""
    before = [track.received for track in tracks]
    await until(
        lambda: all(t.received >= n + frames for t, n in zip(tracks, before, strict=True)),
        within=2 * PATIENCE,
    )


async def test_a_bot_enters_once(server: str) -> None:
    async with joins(server)("Ada") as ada:
        with pytest.raises(ClientError, match="once"):
            await ada.__aenter__()
        assert ada.client.connected
    with pytest.raises(ClientError, match="once"):
        await ada.__aenter__()


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.3])
async def test_leaving_while_connecting_leaves_no_traceback(
    server: str, after: float, caplog: pytest.LogCaptureFixture
) -> None:
    join = joins(server)
    async with join("Ada") as ada:
        await publish_known(ada)
        async with join("Bob") as bob:
            await publish_known(bob)
            await asyncio.sleep(after)
        await asyncio.sleep(0.2)
    assert not [record for record in caplog.records if record.exc_info or "Traceback" in record.msg]


async def test_a_program_s_slow_threads_hold_up_no_picture(server: str) -> None:
    join = joins(server)
    slow = [asyncio.create_task(asyncio.to_thread(time.sleep, 3)) for _ in range(40)]
    async with join("Ada") as ada, join("Bob") as bob:
        await publish_known(ada, sound=False)
        await see(await soon(bob.track("video")))
        assert not all(task.done() for task in slow)
    await asyncio.wait(slow)
