"""Several hubs as one server, with a real Redis and real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.examples import events
from tests.support.processes import ServerProcess, connect, open_session, run_server
from tests.support.redis import RedisProcess, run_redis

pytestmark = pytest.mark.needs("redis-server")


async def until_equal(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask again and again until this is the answer."""
    for _ in range(600):
        if await ask() == wanted:
            return
        await asyncio.sleep(0.05)
    assert await ask() == wanted


@pytest.fixture
async def redis() -> AsyncIterator[RedisProcess]:
    async with run_redis() as running:
        yield running


@pytest.fixture
async def hubs(redis: RedisProcess) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    options = ("--redis-url", redis.url)
    async with run_server(*options) as one, run_server(*options) as two:
        yield one, two


async def test_a_room_is_one_room_whichever_hub_its_clients_reach(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    async with (
        open_session() as session,
        connect(session, hubs[0]) as ada,
        connect(session, hubs[1]) as bob,
    ):
        await ada.join(name="Ada")
        joined = await bob.join(name="Bob")
        assert [p["name"] for p in joined["participants"]] == ["Ada"]
        await bob.ask(type="chat", content="hello")
        assert (await ada.receive_type("chat"))["content"] == "hello"
        await ada.ask(type="offer", to=bob.participant, sdp="v=0")
        assert (await bob.receive_type("offer"))["from"] == ada.participant
        await bob.ask(type="leave")
        assert await bob.receive_close() == 1000
        left = await ada.receive_type("participant-left")
        assert left["reason"] == "left"


async def test_clients_that_come_to_a_new_room_at_once_by_two_hubs_meet(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    async with open_session() as session:
        for number in range(10):
            async with connect(session, hubs[0]) as ada, connect(session, hubs[1]) as bob:
                room = f"room-{number}"
                await ada.send(type="join", id="a", room=room, name="Ada")
                await bob.send(type="join", id="b", room=room, name="Bob")
                seen = [await ada.receive_type("joined"), await bob.receive_type("joined")]
                assert sorted(len(joined["participants"]) for joined in seen) == [0, 1]


async def test_a_hub_that_does_not_know_the_secret_is_refused_in_words(
    redis: RedisProcess,
) -> None:
    options = ("--redis-url", redis.url, "--cluster-secret")
    async with (
        run_server(*options, "one secret") as one,
        run_server(*options, "another") as two,
        open_session() as session,
        connect(session, one) as ada,
    ):
        await ada.join(name="Ada")
        async with connect(session, two) as bob:
            await bob.send(type="join", id="1", room="demo", name="Bob")
            await one.wait_log("does not know the secret")
        assert (await ada.ask(type="chat", content="still here"))["type"] == "ok"


async def test_without_redis_a_hub_that_owns_a_room_goes_on(
    redis: RedisProcess, hubs: tuple[ServerProcess, ServerProcess]
) -> None:
    one, two = hubs
    async with (
        open_session() as session,
        connect(session, one) as ada,
        connect(session, two) as bob,
    ):
        await ada.join(name="Ada")
        await bob.join(name="Bob")
        await redis.kill()
        await bob.ask(type="chat", content="no Redis")
        assert (await ada.receive_type("chat"))["content"] == "no Redis"
        async with connect(session, one) as eve, connect(session, two) as joe:
            assert len((await eve.join(name="Eve"))["participants"]) == 2
            assert len((await joe.join(name="Joe"))["participants"]) == 3
        async with connect(session, two) as new:
            # Nobody is known to own it: it opens where it is asked for.
            await new.join(room="new", name="New")
        await redis.start()
        await one.wait_log("Redis is back")
        assert (await ada.ask(type="chat", content="again"))["type"] == "ok"


async def test_a_dead_hubs_room_is_taken_over_by_the_hub_that_is_asked_for_it(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    one, two = hubs
    async with open_session() as session:
        async with connect(session, one) as ada:
            await ada.join(name="Ada")
            one.send_signal(signal.SIGKILL)
            await one.wait()
        async with connect(session, two) as bob:
            await bob.join(name="Bob")
        await two.wait_log("taking over a room")


async def test_a_redis_that_is_wrong_is_said_in_one_line_and_the_hub_serves_alone() -> None:
    async with run_server("--redis-url", "redis://127.0.0.1:1/0") as server:
        async with open_session() as session, connect(session, server) as ada:
            await ada.join(name="Ada")
        assert any("Redis is away" in line for line in server.log)
        assert not any("Traceback" in line for line in server.log)


async def test_a_room_goes_on_when_its_hub_is_killed_and_no_line_is_lost_or_doubled(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    one, two = hubs
    async with open_session() as session:
        async with connect(session, one) as ada, connect(session, two) as bob:
            await ada.join(name="Ada")
            await bob.join(name="Bob")
            for number in range(30):
                reply = await ada.ask(type="chat", content=f"line {number}")
                assert reply["type"] == "ok"
            seen = [await bob.receive_type("chat") for _ in range(10)]
            last_of_ada = reply["seq"]
            one.send_signal(signal.SIGKILL)
            await one.wait()
            assert await bob.receive_close() == 1001
        async with connect(session, two) as back, connect(session, two) as again:
            await back.send(type="resume", session=bob.session, seq=seen[-1]["seq"])
            resumed = await back.receive()
            assert (resumed["type"], resumed["participant"]) == ("resumed", bob.participant)
            missed = [await back.receive() for _ in range(20)]
            assert [m["seq"] for m in missed] == list(
                range(seen[-1]["seq"] + 1, seen[-1]["seq"] + 21)
            )
            assert [m.get("content", m) for m in missed] == [f"line {n}" for n in range(10, 30)]
            await again.send(type="resume", session=ada.session, seq=last_of_ada)
            assert (await again.receive())["type"] == "resumed"
            # A repeat of what was acknowledged is not carried out again.
            await again.send(type="chat", id="31", content="line 29")
            await again.send(type="chat", id="32", content="and on")
            assert (await back.receive_type("chat"))["content"] == "and on"
            # The first one in the room is still who moderates it.
            await again.send(type="lock", id="33", locked=True)
            assert [(await again.receive_type("ok"))["id"] for _ in range(3)] == ["31", "32", "33"]


async def test_the_owner_that_wakes_up_late_says_nothing_more(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    one, two = hubs
    async with open_session() as session, connect(session, one) as ada:
        await ada.join(name="Ada")
        await ada.ask(type="chat", content="before")
        one.send_signal(signal.SIGSTOP)
        async with connect(session, two) as bob:
            joined = await bob.join(name="Bob")
            assert [p["name"] for p in joined["participants"]] == ["Ada"]
            await ada.send(type="chat", id="late", content="to a hub that sleeps")
            one.send_signal(signal.SIGCONT)
            await one.wait_log("room lost to another hub")
            assert await ada.receive_close() == 1001
            async with connect(session, two) as again:
                await again.send(type="resume", session=ada.session, seq=3)
                assert (await again.receive())["type"] == "resumed"
                await again.send(type="chat", id="back", content="back")
                assert (await bob.receive_type("chat"))["content"] == "back"


async def test_events_are_written_to_a_stream_and_counted_once_by_the_example(
    redis: RedisProcess,
) -> None:
    options = ("--redis-url", redis.url, "--event-stream", "tandem-events")
    async with (
        run_server(*options) as server,
        open_session() as session,
        connect(session, server) as ada,
    ):
        await ada.join(name="Ada")
        await redis.kill()
        async with connect(session, server) as bob:
            await bob.join(name="Bob")  # its event waits for Redis
            await bob.ask(type="leave")
        await redis.start()
        counting = asyncio.create_task(events.main(redis.url, "tandem-events"))
        async with Redis.from_url(redis.url) as client, asyncio.timeout(60):
            await until_equal(lambda: client.hget("visitors", "demo"), b"2")
            # The same entry once more, as after a write whose answer was lost.
            _, fields = (await client.xrange("tandem-events"))[-1]
            await client.xadd("tandem-events", fields)
            await ada.ask(type="leave")

            async def find_ends() -> int:
                entries = await client.xrange("tandem-events")
                return sum(entry[b"event"] == b"room-ended" for _, entry in entries)

            async def count_pending() -> int:
                return int((await client.xpending("tandem-events", "visitors"))["pending"])

            await until_equal(find_ends, 1)
            await until_equal(count_pending, 0)
            assert await client.hget("visitors", "demo") == b"2"
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


async def test_http_about_a_room_is_answered_by_the_hub_that_owns_it(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    one, two = hubs
    async with open_session() as session, connect(session, one) as ada:
        await ada.join(name="Ada")
        async with session.get(f"{two.url}/api/rooms/demo") as response:
            assert response.status == 200
            body = await response.json()
            assert [p["name"] for p in body["participants"]] == ["Ada"]
        async with session.delete(
            f"{two.url}/api/rooms/demo/participants/{ada.participant}"
        ) as response:
            assert response.status == 204
        assert await ada.receive_close() == 4403
        # Whoever is refused here is not passed on, whatever they say of themselves.
        forged = {"X-Forwarded-For": "127.0.0.1", "X-Tandem-Hub": "guess"}
        async with session.get(f"{two.url}/api/rooms/demo", headers=forged) as response:
            assert response.status == 403


async def test_a_hub_that_stops_hands_its_rooms_over(
    hubs: tuple[ServerProcess, ServerProcess],
) -> None:
    one, two = hubs
    async with open_session() as session:
        async with connect(session, one) as ada, connect(session, two) as bob:
            await ada.join(name="Ada")
            await bob.join(name="Bob")
            reply = await ada.ask(type="chat", content="before")
            line = await bob.receive_type("chat")
            one.send_signal(signal.SIGTERM)
            assert await ada.receive_close() == 1001
            assert await bob.receive_close() == 1001
        async with connect(session, two) as back, connect(session, two) as again:
            await back.send(type="resume", session=bob.session, seq=line["seq"])
            assert (await back.receive())["type"] == "resumed"
            await again.send(type="resume", session=ada.session, seq=reply["seq"])
            assert (await again.receive_type("resumed"))["participant"] == ada.participant
            await again.send(type="chat", id="after", content="after")
            assert (await back.receive_type("chat"))["content"] == "after"
        assert await one.wait() == 0
        await two.wait_log("room restored")
        assert not any("taking over" in line for line in two.log)


async def test_an_address_that_one_hub_has_shut_out_is_shut_out_by_all(redis: RedisProcess) -> None:
    options = ("--redis-url", redis.url, "--trusted-proxy", "127.0.0.1")
    key = {"SIGNALING_API_KEY": "key:a secret of more than thirty-two characters"}
    guess = {"X-Forwarded-For": "198.51.100.4", "Authorization": "Bearer guess"}
    async with (
        run_server(*options, environ=key) as one,
        run_server(*options, environ=key) as two,
        open_session() as session,
    ):

        async def ask(server: ServerProcess) -> int:
            async with session.get(server.url + "/api/rooms", headers=guess) as response:
                return response.status

        assert await ask(two) == 401
        assert [await ask(one) for _ in range(21)][-1] == 429
        for _ in range(15):
            if (status := await ask(two)) == 429:
                break
            await asyncio.sleep(0.3)
        assert status == 429
