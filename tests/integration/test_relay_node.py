"""Relay workers as processes: killed, restarted, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from relay import control
from relay.config import Config
from relay.process.node import Node
from relay.process.watchdog import HUNG_AFTER
from tests.support.caller import BLUE, FRAME_RATE, RED, Picture, call, until
from tests.support.processes import run_server, spawn
from tests.unit.relay.sdp.offers import AUDIO, make_offer


class Office:
    """A node, and what it said."""

    def __init__(self, workers: int = 1, port: int = 0) -> None:
        self.events: list[control.Event] = []
        self.port = port
        config = Config(port=port, workers=workers, hosts=("127.0.0.1",))
        self.node = Node(config, on_event=self.events.append)

    def got(self, kind: type[control.Message]) -> list[control.Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made = Office()
    await made.node.start()
    yield made
    await made.node.stop()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def find_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in children.split()]


async def test_a_worker_answers_each_request_once(office: Office) -> None:
    office.node.send(control.Join("demo", "p_1"))
    office.node.send(control.Publish("demo", "p_1", 1, "v=0\r\nnonsense\r\n"))
    office.node.send(control.Publish("demo", "p_2", 2, "v=0\r\n"))
    office.node.send(control.GetStats("demo", 3))
    office.node.send(control.GetStats("elsewhere", 4))
    office.node.send(control.Leave("demo", "p_7"))
    office.node.send(control.AnswerOffer("elsewhere", "p_1", 5, "v=0\r\n"))
    await until(lambda: len(office.got(control.Refused)) == 3)
    await until(lambda: len(office.got(control.RoomStats)) == 2)
    refused = {e.request: e.code for e in office.events if isinstance(e, control.Refused)}
    assert refused == {1: "bad-sdp", 2: "unknown-participant", 5: "relay-unavailable"}
    await until(lambda: office.node.metrics and office.node.metrics[0].participants == 1)


async def test_a_killed_worker_is_replaced_and_its_rooms_are_named(office: Office) -> None:
    office.node.send(control.Join("demo", "p_1"))
    first = office.node.pids[0]
    os.kill(first, signal.SIGKILL)
    await until(lambda: office.got(control.WorkerLost))
    assert office.got(control.WorkerLost) == [control.WorkerLost(["demo"])]
    # Who comes while there is none is known to the next one.
    office.node.send(control.Join("late", "p_2"))
    await until(lambda: office.node.available)
    assert [e.available for e in office.events if isinstance(e, control.Availability)][-2:] == [
        False,
        True,
    ]
    assert office.node.pids[0] != first
    office.node.send(control.Publish("late", "p_2", 1, "v=0\r\nnonsense\r\n"))
    await until(lambda: office.got(control.Refused))
    refused = office.got(control.Refused)[0]
    assert isinstance(refused, control.Refused)
    assert (refused.request, refused.code) == (1, "bad-sdp")
    assert office.node.restarts == 1


async def test_a_worker_that_hangs_counts_as_lost_and_the_log_says_why(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    first = office.node.pids[0]
    office.node.send(control.Join("demo", "p_1"))
    os.kill(first, signal.SIGSTOP)
    office.node.send(control.GetStats("demo", 9))
    await until(lambda: office.got(control.WorkerLost))
    assert office.got(control.Refused) == [
        control.Refused(9, "relay-unavailable", "The relay is restarting.")
    ]
    await until(lambda: not is_alive(first))
    await until(lambda: office.node.available)
    assert "relay worker 0 ended: it says nothing any more" in caplog.text


async def test_a_worker_that_does_not_read_is_asked_no_more_and_not_given_up_for_it(
    office: Office,
) -> None:
    """Long before the channel would count as hung, requests are refused."""
    first = office.node.pids[0]
    office.node.send(control.Join("demo", "p_1"))
    os.kill(first, signal.SIGSTOP)
    for number in range(40):
        office.node.send(control.Publish("demo", "p_1", number, "v=0\r\n" + "x" * 250_000))
    await until(lambda: len(office.got(control.Refused)) > 30)
    os.kill(first, signal.SIGCONT)
    await until(lambda: len(office.got(control.Refused)) == 40)
    codes = [e.code for e in office.events if isinstance(e, control.Refused)]
    assert set(codes) == {"relay-unavailable", "bad-sdp"}
    assert office.node.pids[0] == first
    assert office.node.dropped == {"publish": codes.count("relay-unavailable")}


async def test_rooms_are_spread_over_workers_and_one_s_end_spares_the_others() -> None:
    office = Office(workers=2)
    await office.node.start()
    try:
        for number in range(4):
            office.node.send(control.Join(f"room{number}", "p_1"))
        await until(
            lambda: sorted(m.rooms for m in office.node.metrics.values()) == [2, 2],
            "two rooms on each worker",
        )
        os.kill(office.node.pids[0], signal.SIGKILL)
        await until(lambda: office.got(control.WorkerLost))
        lost = office.got(control.WorkerLost)[0]
        assert isinstance(lost, control.WorkerLost)
        assert len(lost.rooms) == 2
        # The other takes them at once: there was no moment without a relay.
        assert office.got(control.Availability) == [control.Availability(True)]
    finally:
        pids = list(office.node.pids.values())
        await office.node.stop()
    assert not any(is_alive(pid) for pid in pids)


async def test_a_port_that_is_taken_is_had_as_soon_as_it_is_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        office = Office(port=other.getsockname()[1])
        await office.node.start()
        assert not office.node.available
    try:
        await until(lambda: office.node.available)
        assert office.node.ports == {0: office.port}
    finally:
        await office.node.stop()


async def test_no_worker_survives_its_hub() -> None:
    async with run_server(relay=True) as server:
        children = find_children(server.process.pid)
        assert children
        server.send_signal(signal.SIGKILL)
        await server.wait()
        await until(lambda: not any(is_alive(child) for child in children))


async def test_hub_and_workers_write_one_log_of_one_shape() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        server = await spawn(
            "--port", "0", "--relay-port", port, "--host", "127.0.0.1", "--log-format", "json"
        )
        await server.wait_log("can't be bound")

    def count_ends() -> int:
        return sum(" ended: " in line for line in server.log)

    try:
        await server.wait_log("takes rooms")
        before = count_ends()
        os.kill(find_children(server.process.pid)[0], signal.SIGKILL)
        await until(lambda: count_ends() > before)
        server.send_signal()
        assert await server.wait() == 0
    finally:
        await server.stop()
    lines = [json.loads(line) for line in server.log]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    refused, *_ = [line for line in lines if "can't be bound" in line["message"]]
    assert (refused["level"], refused["logger"], refused["worker"]) == (
        "error",
        "relay.process.worker",
        0,
    )


async def test_a_hub_that_was_stopped_keeps_its_worker_and_the_call() -> None:
    async with (
        run_server("--mesh-limit", "1", relay=True) as server,
        ClientSession() as session,
        call(session, server.ws_url, "demo", "Ada") as ada,
        call(session, server.ws_url, "demo", "Bob") as bob,
    ):
        await ada.publish(Picture(RED))
        await until(lambda: bob.sees(ada, RED))
        workers = find_children(server.process.pid)
        watcher = bob.watch(ada.participant, "video")
        assert watcher is not None
        server.send_signal(signal.SIGSTOP)
        before = watcher.frames
        # Longer than a worker's silence may last: the hub is to notice that it slept itself.
        await asyncio.sleep(HUNG_AFTER + 1)
        server.send_signal(signal.SIGCONT)
        assert watcher.frames > before, "media do not pass through the hub"
        await bob.ask(type="ping")
        before = watcher.frames
        await until(lambda: watcher.frames > before + FRAME_RATE * 2)
        assert find_children(server.process.pid) == workers
        assert not bob.got("relay-restarted")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_after_a_worker_was_killed_or_hung_media_come_back(how: signal.Signals) -> None:
    async with (
        run_server("--mesh-limit", "1", relay=True) as server,
        ClientSession() as session,
        call(session, server.ws_url, "demo", "Ada") as ada,
        call(session, server.ws_url, "demo", "Bob") as bob,
    ):
        await ada.publish(Picture(RED))
        await until(lambda: bob.sees(ada, RED))
        first = ada.own("video")
        async with session.post(
            f"{server.url}/whip/demo",
            data=make_offer(AUDIO),
            headers={"Content-Type": "application/sdp"},
        ) as response:
            assert response.status == 201
            guest = server.url + response.headers["Location"]
        loop = asyncio.get_running_loop()
        killed = loop.time()
        for child in find_children(server.process.pid):
            os.kill(child, how)
        await until(lambda: ada.got("relay-restarted") and bob.got("relay-restarted"))
        assert first not in bob.tracks
        await bob.drop_subscription()
        await ada.drop_publication()
        await ada.publish(Picture(BLUE))
        await until(lambda: bob.sees(ada, BLUE), "the picture through the new worker")
        # Who came by WHIP has to come again: nobody could tell it to.
        await until(lambda: bob.got("participant-left"))
        async with session.delete(guest) as response:
            assert response.status == 404
        print(f"media again after {loop.time() - killed:.1f} s")
