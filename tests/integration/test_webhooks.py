"""Webhooks posted to a real receiver that is slow, refuses, or is not there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from signaling.webhooks.notifier import Notifier
from signaling.webhooks.outbox import parse_secret, sign
from tests.support.processes import connect, open_session, run_server

KEY = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


class Receiver:
    """Answers with what `answers` says next, then 200; keeps what came."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        self.got.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        self.arrived.set()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async def until(self, number: int) -> None:
        async with asyncio.timeout(30):
            while len(self.got) < number:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.receive)
    async with TestServer(app) as server:
        yield made, str(server.make_url("/hook"))


def make_notifier(*urls: str, clock: Callable[[], float] = time.monotonic) -> Notifier:
    names = iter(f"{n:04}" for n in range(10_000))
    return Notifier(
        urls,
        lambda: KEY,
        clock=clock,
        wall=time.time,
        jitter=lambda: 0.0,
        token=lambda: next(names),
    )


async def test_an_event_arrives_signed(receiver: tuple[Receiver, str]) -> None:
    notifier = make_notifier(receiver[1])
    await notifier.start()
    notifier.notify("participant-joined", "demo", participant={"id": "p_1", "name": "Ada"})
    await receiver[0].until(1)
    await notifier.stop()
    (got, body) = receiver[0].got[0]
    assert json.loads(body)["participant"] == {"id": "p_1", "name": "Ada"}
    assert got["webhook-id"] == json.loads(body)["id"]
    expected = sign(KEY, got["webhook-id"], int(got["webhook-timestamp"]), body)
    assert got["webhook-signature"] == expected


async def test_a_refused_event_comes_again_with_the_same_id_and_a_redirect_is_not_followed(
    receiver: tuple[Receiver, str],
) -> None:
    receiver[0].answers = [500, 307]
    notifier = make_notifier(receiver[1])
    await notifier.start()
    notifier.notify("room-started", "demo")
    await receiver[0].until(3)
    await notifier.drain(30.0)
    await notifier.stop()
    assert len({got["webhook-id"] for got, _ in receiver[0].got}) == 1
    (waiting, counts) = notifier.counts()[receiver[1]]
    assert (waiting, counts.delivered, counts.failed_attempts) == (0, 1, 2)


async def test_a_dead_receiver_holds_up_no_other_and_stays_bounded(
    receiver: tuple[Receiver, str],
) -> None:
    dead = "http://127.0.0.1:9/hook"
    notifier = make_notifier(dead, receiver[1])
    await notifier.start()
    for _ in range(1200):
        notifier.notify("participant-joined", "demo")
    await receiver[0].until(1000)
    (waiting, counts) = notifier.counts()[dead]
    assert waiting == 1000
    assert counts.dropped_full == 200
    await notifier.stop()


async def test_a_receiver_whose_host_is_no_name_is_tried_again() -> None:
    nowhere = "http://a..b/hook"
    notifier = make_notifier(nowhere)
    await notifier.start()
    notifier.notify("participant-joined", "demo")
    async with asyncio.timeout(30):
        while notifier.counts()[nowhere][1].failed_attempts < 2:  # noqa: ASYNC110 (a number)
            await asyncio.sleep(0.05)
    await notifier.stop()


async def test_what_waits_goes_out_before_the_hub_ends(receiver: tuple[Receiver, str]) -> None:
    notifier = make_notifier(receiver[1])
    await notifier.start()
    for _ in range(20):
        notifier.notify("participant-left", "demo")
    await notifier.drain(30.0)
    await notifier.stop()
    assert len(receiver[0].got) == 20


async def test_a_server_tells_of_a_call_and_of_its_own_end(
    receiver: tuple[Receiver, str],
) -> None:
    arguments = ["--webhook-url", receiver[1], "--drain-timeout", "1"]
    environ = {"SIGNALING_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    receiver[0].answers = [500]
    async with run_server(*arguments, environ=environ) as server, open_session() as session:
        async with connect(session, server) as ada, connect(session, server) as bob:
            await ada.join("demo", "Ada")
            await bob.join("demo", "Bob")
            await ada.ask(type="leave")
            await receiver[0].until(6)
            async with session.get(server.url + "/metrics") as response:
                metrics = await response.text()
            server.send_signal()
            await bob.receive_close()
        assert await server.wait() == 0
    everything = [json.loads(body) for _, body in receiver[0].got]
    started = [event for event in everything if event["event"] == "server-started"]
    assert [("room" in event, event["id"]) for event in started] == [
        (False, started[0]["id"])  # the first attempt was refused
    ] * 2
    events = [event for event in everything if event not in started]
    assert [event["event"] for event in events] == [
        "room-started",
        "participant-joined",
        "participant-joined",
        "participant-left",
        "participant-left",
        "room-ended",
    ]
    assert len({event["id"] for event in events}) == 6
    assert events[1]["participant"]["name"] == "Ada"
    assert events[3]["reason"] == "left"
    assert 'signaling_webhooks_failed_attempts_total{receiver="1"} 1.0' in metrics
    assert receiver[1] not in metrics
