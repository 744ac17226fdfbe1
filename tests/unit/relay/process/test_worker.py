"""A worker's rooms come and go with its commands, and its metrics say what there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay import control
from relay.config import Config
from relay.plane.udp import open_socket
from relay.process import lifecycle
from relay.process.worker import Worker, get_bind_host, list_candidates
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_offer


@pytest.fixture
async def said() -> list[lifecycle.ToNode]:
    return []


@pytest.fixture
async def worker(said: list[lifecycle.ToNode]) -> AsyncIterator[Worker]:
    config = Config(port=0, hosts=("127.0.0.1",))
    made = Worker(config, open_socket("127.0.0.1", 0), said.append)
    made.open(asyncio.get_running_loop())
    yield made
    await made.close()


async def turn() -> None:
    """Let the loop run what was put off to later in this turn."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_it_says_first_that_it_is_ready(worker: Worker, said: list[lifecycle.ToNode]) -> None:
    assert said[0] == lifecycle.Ready(worker.port)


async def test_rooms_open_with_the_first_and_end_with_the_last(worker: Worker) -> None:
    worker.receive(control.Join("demo", "p_1"))
    worker.receive(control.Join("demo", "p_2"))
    worker.receive(control.Leave("demo", "p_1"))
    assert set(worker.routers) == {"demo"}
    worker.receive(control.Leave("demo", "p_2"))
    worker.receive(control.Leave("demo", "p_2"))
    assert worker.routers == {}
    worker.receive(control.Join("demo", "p_1"))
    worker.receive(control.CloseRoom("demo"))
    assert worker.routers == {}


async def test_offers_that_one_turn_has_no_time_for_follow_by_themselves(
    worker: Worker, said: list[lifecycle.ToNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.rooms.router.MAX_WRITTEN", 1)
    for name in ("p_1", "p_2", "p_3"):
        worker.receive(control.Join("demo", name))
        worker.receive(control.Route("demo", name, None))
    worker.receive(control.Publish("demo", "p_1", 1, make_offer(AUDIO), []))
    for _ in range(3):
        await turn()
    offered = [event.participant for event in said if isinstance(event, control.Offer)]
    assert sorted(offered) == ["p_2", "p_3"]


async def test_requests_for_unknown_rooms_are_answered(
    worker: Worker, said: list[lifecycle.ToNode]
) -> None:
    for command in (
        control.Publish("demo", "p_1", 1, ""),
        control.Pull("demo", "p_1", 2, ""),
        control.AnswerOffer("demo", "p_1", 3, ""),
        control.GetStats("demo", 4),
        control.Mute("demo", "t_1", True),
    ):
        worker.receive(command)
    refused = [e.request for e in said if isinstance(e, control.Refused)]
    assert refused == [1, 2, 3]
    assert said[-1] == control.RoomStats(4, [])


async def test_commands_that_come_together_make_one_offer(
    worker: Worker, said: list[lifecycle.ToNode]
) -> None:
    for name in ("p_1", "p_2", "p_3"):
        worker.receive(control.Join("demo", name))
        worker.receive(control.Route("demo", name, None))
    worker.receive(control.Publish("demo", "p_1", 1, make_offer(AUDIO)))
    worker.receive(control.Publish("demo", "p_2", 2, make_offer(VIDEO)))
    assert not [e for e in said if isinstance(e, control.Offer)]
    await turn()
    offers = {e.participant: e for e in said if isinstance(e, control.Offer)}
    assert len(offers["p_3"].tracks) == 2
    assert set(offers) == {"p_1", "p_2", "p_3"}


async def test_metrics_count_what_there_is(worker: Worker) -> None:
    for name in ("p_1", "p_2"):
        worker.receive(control.Join("demo", name))
        worker.receive(control.Route("demo", name, None))
    worker.receive(control.Publish("demo", "p_1", 1, make_offer(VIDEO, AUDIO)))
    await turn()
    metrics = worker.collect_metrics()
    assert (metrics.rooms, metrics.participants) == (1, 2)
    assert metrics.tracks == control.TrackCount(1, 1)
    assert metrics.transports == {"connecting": 2}
    assert metrics.rtt_ms is None


@pytest.mark.parametrize("place", ["receive", "flush", "handle_timer"])
async def test_a_fault_costs_its_own_room_only(
    worker: Worker,
    said: list[lifecycle.ToNode],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    for room in ("fine", "faulty"):
        worker.receive(control.Join(room, "p_1"))
        await turn()

    def fail(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(worker.routers["faulty"], place, fail, raising=True)
    worker.receive(control.Publish("faulty", "p_1", 1, make_offer(VIDEO)))
    worker.receive(control.Publish("fine", "p_1", 2, make_offer(VIDEO)))
    async with asyncio.timeout(30):
        while control.WorkerLost(["faulty"]) not in said:  # noqa: ASYNC110 (a list, not an event)
            await asyncio.sleep(0.01)
    assert set(worker.routers) == {"fine"}
    answered = {e.request: type(e) for e in said if isinstance(e, control.Answer | control.Refused)}
    assert answered[2] is control.Answer
    assert answered[1] is (control.Refused if place == "receive" else control.Answer)
    assert "a room failed" in caplog.text


async def test_the_end_leaves_nothing(worker: Worker) -> None:
    worker.receive(control.Join("demo", "p_1"))
    worker.receive(control.Publish("demo", "p_1", 1, make_offer(VIDEO)))
    await worker.close()
    assert worker.udp.count_addresses() == (0, 0)
    assert worker.collect_metrics().rooms == 0


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        (("0.0.0.0",), ""),
        (("::",), ""),
        (("127.0.0.1", "::1"), ""),
        (("localhost",), "127.0.0.1"),
        (("192.0.2.7",), "192.0.2.7"),
    ],
)
def test_one_address_is_bound_or_all(hosts: tuple[str, ...], host: str) -> None:
    assert get_bind_host(hosts) == host


def test_candidates_are_what_clients_can_reach() -> None:
    named = Config(public_ips=("203.0.113.7", "2001:db8::7"))
    assert list_candidates(named, "", 8443, ipv6=True) == [
        ("203.0.113.7", 8443),
        ("2001:db8::7", 8443),
    ]
    assert list_candidates(Config(), "192.0.2.7", 1, ipv6=False) == [("192.0.2.7", 1)]
    found = list_candidates(Config(), "", 1, ipv6=False)
    assert found
    assert not any(":" in address for address, _ in found)


def test_a_hub_for_this_machine_alone_is_also_found_on_loopback() -> None:
    local = Config(hosts=("127.0.0.1", "::1", "localhost"))
    assert list_candidates(local, "", 1, ipv6=True)[-1] == ("127.0.0.1", 1)
