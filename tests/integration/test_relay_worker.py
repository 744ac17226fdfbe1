"""A worker in this process, with real sockets: what stays of a thousand who came and went, and
what a flood of hostile datagrams does to a call."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from relay import control
from relay.config import Config
from relay.plane.tracks import DownTrack, UpTrack
from relay.plane.udp import open_socket
from relay.process import lifecycle
from relay.process.worker import Worker
from relay.transport.transport import Transport
from tests.fuzz.engine import mutate, read_corpus
from tests.support.caller import GREEN, Picture, Tone, Watcher, until
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_answer, make_offer

DATAGRAMS = 1_000_000
"""Hostile datagrams to send; they take some 20 seconds."""

FORGED = 6_000
"""Rounds of forged and recorded packets, four in each: some 15,000 packets a second."""

BURST = 100
"""Datagrams between two looks at whether the call keeps up."""


class Desk:
    """The hub's place: sends commands to a worker and keeps what it says."""

    def __init__(self, **config: Any) -> None:
        self.said: list[lifecycle.ToNode] = []
        self.worker = Worker(
            Config(port=0, hosts=("127.0.0.1",), **config),
            open_socket("127.0.0.1", 0),
            self.said.append,
        )
        self.number = 0

    def join(self, name: str) -> None:
        self.worker.receive(control.Join("demo", name))
        self.worker.receive(control.Route("demo", name, None))

    def ask(self, kind: type[control.Publish | control.AnswerOffer], name: str, sdp: str) -> int:
        self.number += 1
        self.worker.receive(kind("demo", name, self.number, sdp))
        return self.number

    def find_answer(self, request: int) -> str:
        return next(
            event.sdp
            for event in self.said
            if isinstance(event, control.Answer) and event.request == request
        )

    def take_offers(self) -> dict[str, control.Offer]:
        """The open offers, by participant."""
        offers = {e.participant: e for e in self.said if isinstance(e, control.Offer)}
        self.said[:] = [e for e in self.said if not isinstance(e, control.Offer)]
        return offers

    async def publish(self, name: str) -> RTCPeerConnection:
        """A real publisher of a picture and a tone."""
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTrack(Picture(GREEN))
        pc.addTrack(Tone(440))
        await pc.setLocalDescription(await pc.createOffer())
        request = self.ask(control.Publish, name, pc.localDescription.sdp)
        answer = RTCSessionDescription(self.find_answer(request), "answer")
        await pc.setRemoteDescription(answer)
        return pc

    async def subscribe(self, name: str) -> RTCPeerConnection:
        """A real subscriber to what is offered now."""
        await until(lambda: any(isinstance(e, control.Offer) for e in self.said), "an offer")
        offer = self.take_offers()[name]
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        self.ask(control.AnswerOffer, name, pc.localDescription.sdp)
        return pc


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    made.worker.open(asyncio.get_running_loop())
    yield made
    await made.worker.close()


def count_living(*kinds: type) -> dict[str, int]:
    gc.collect()
    living = [type(one) for one in gc.get_objects() if isinstance(one, kinds)]
    return {kind.__name__: living.count(kind) for kind in kinds}


async def test_a_thousand_who_come_and_go_leave_nothing_behind(desk: Desk) -> None:
    kinds = (Transport, UpTrack, DownTrack)
    # What the first use of a thing makes for good is not counted.
    await _come_and_go(desk, 3, real=True)
    before = count_living(*kinds)
    tasks = len(asyncio.all_tasks())
    files = len(os.listdir("/proc/self/fd"))
    for turn in range(10):
        await _come_and_go(desk, 100, real=turn % 3 == 0)
    assert desk.worker.routers == {}
    assert desk.worker.udp.count_addresses() == (0, 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks, "that all tasks have ended")
    await until(lambda: len(os.listdir("/proc/self/fd")) <= files, "that all sockets are closed")
    assert count_living(*kinds) == before
    metrics = desk.worker.collect_metrics()
    assert (metrics.rooms, metrics.participants, metrics.transports) == (0, 0, {})
    assert metrics.tracks == control.TrackCount(0, 0)


async def _come_and_go(desk: Desk, count: int, *, real: bool) -> None:
    """Four publish, all subscribe, one of each for real if wanted; then all leave."""
    names = [f"p_{number}" for number in range(count)]
    for name in names:
        desk.join(name)
    peers = [await desk.publish("p_0")] if real else []
    for name in names[len(peers) : 4]:
        desk.ask(control.Publish, name, make_offer(VIDEO, AUDIO))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if real:
        peers.append(await desk.subscribe("p_1"))
        await until(lambda: all(pc.connectionState == "connected" for pc in peers))
    for name, offer in desk.take_offers().items():
        desk.ask(control.AnswerOffer, name, make_answer(offer.sdp))
    await asyncio.sleep(0)
    for name in names:
        desk.worker.receive(control.Leave("demo", name))
    for pc in peers:
        await pc.close()
    desk.said.clear()


async def test_hostile_datagrams_are_counted_and_a_call_does_not_notice(desk: Desk) -> None:
    for name in ("ada", "bob"):
        desk.join(name)
    publisher = await desk.publish("ada")
    subscriber = await desk.subscribe("bob")
    watchers = {t.kind: Watcher(t.receiver.track) for t in subscriber.getTransceivers()}
    await until(lambda: watchers["video"].shows(GREEN) and watchers["audio"].sounds(440))

    await _attack(desk.worker.port, publisher, watchers["audio"])

    counted = {
        reason: count for reason, count in desk.worker.collect_metrics().drops.items() if count
    }
    for reason in ("unknown-address", "unknown-username", "malformed", "authentication"):
        assert counted.get(reason, 0) > 0, counted
    frames = watchers["video"].frames
    await until(lambda: watchers["video"].frames > frames + 10)
    assert watchers["video"].shows(GREEN)
    await until(lambda: watchers["audio"].sounds(440))
    assert publisher.connectionState == subscriber.connectionState == "connected"
    for watcher in watchers.values():
        report = await watcher_stats(subscriber, watcher.kind)
        assert report["packetsLost"] <= 0.02 * report["packetsReceived"]
        await watcher.stop()
    for pc in (publisher, subscriber):
        await pc.close()


async def test_peers_that_never_check_again_stay_as_long_as_their_media_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As GStreamer's, which check until they are connected: a publisher, and a subscriber whose
    reports are all that it sends."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 3600.0)
    desk = Desk(consent_timeout=2.0)
    desk.worker.open(asyncio.get_running_loop())
    for name in ("ada", "bob"):
        desk.join(name)
    publisher = await desk.publish("ada")
    subscriber = await desk.subscribe("bob")
    watchers = {t.kind: Watcher(t.receiver.track) for t in subscriber.getTransceivers()}
    await until(lambda: watchers["video"].shows(GREEN))
    frames = watchers["audio"].frames
    # Fifty a second, for three times as long as consent would last.
    await until(lambda: watchers["audio"].frames >= frames + 300)
    states = [e.state for e in desk.said if isinstance(e, control.TransportChanged)]
    assert set(states) == {"connecting", "connected"}
    for watcher in watchers.values():
        await watcher.stop()
    await asyncio.gather(publisher.close(), subscriber.close())
    await desk.worker.close()


@contextmanager
def watch_sent(pc: RTCPeerConnection) -> Iterator[list[bytes]]:
    """What a peer sends of media, as it is on the wire."""
    transport = pc.getSenders()[0].transport.transport
    sent: list[bytes] = []
    send = transport._send

    async def note(data: bytes) -> None:
        if 128 <= data[0] <= 191 and len(sent) < 2000:
            sent.append(data)
        await send(data)

    transport._send = note
    yield sent
    transport._send = send


async def test_forged_and_recorded_media_from_a_peers_own_address_cost_it_nothing(
    desk: Desk,
) -> None:
    """Whoever can write a source address: what they forge, and what they recorded, is thrown away
    before it counts for anything."""
    for name in ("ada", "bob"):
        desk.join(name)
    publisher = await desk.publish("ada")
    subscriber = await desk.subscribe("bob")
    watchers = {t.kind: Watcher(t.receiver.track) for t in subscriber.getTransceivers()}
    await until(lambda: watchers["video"].shows(GREEN) and watchers["audio"].sounds(440))
    own = publisher.getSenders()[0].transport.transport
    with ExitStack() as stack:
        recorded = stack.enter_context(watch_sent(publisher))
        await until(lambda: len(recorded) > 100, "media to record")
    before = await watcher_stats(subscriber, "audio")
    rng = random.Random(5)
    for number in range(FORGED):
        head = bytes((0x80, 111)) + rng.randbytes(10)
        known = recorded[number % len(recorded)]
        for data in (head + bytes(20), known[:12] + rng.randbytes(30), known):
            await own._send(data)
        await own._send(b"\x80\xc9\0\1" + rng.randbytes(20))
        if number % 20 == 0:
            await asyncio.sleep(0.002)
    drops = desk.worker.collect_metrics().drops
    assert drops["authentication"] > 500
    assert drops["forged"] > 500
    assert drops["replayed"] > 500
    assert "flood" not in drops
    frames = watchers["audio"].frames
    await until(lambda: watchers["audio"].frames > frames + 100)
    assert watchers["audio"].sounds(440)
    after = await watcher_stats(subscriber, "audio")
    lost = after["packetsLost"] - before["packetsLost"]
    assert lost <= 0.02 * (after["packetsReceived"] - before["packetsReceived"])
    leg = next(t.leg for r in desk.worker.routers.values() for t in r.transports if t.leg.ups)
    assert not leg._unknown, "nothing is remembered of forged streams"
    for watcher in watchers.values():
        await watcher.stop()
    await asyncio.gather(publisher.close(), subscriber.close())


async def watcher_stats(pc: RTCPeerConnection, kind: str) -> dict[str, int]:
    """What the receiver of this kind has got and missed."""
    for entry in (await pc.getStats()).values():
        if entry.type == "inbound-rtp" and entry.kind == kind:
            return {
                "packetsLost": entry.packetsLost,
                "packetsReceived": entry.packetsReceived,
            }
    raise AssertionError(f"nothing is received of kind {kind}")


async def _hear(witness: Watcher) -> None:
    heard = witness.frames
    await until(lambda: witness.frames > heard, "sound during the attack")


async def _attack(port: int, insider: RTCPeerConnection, witness: Watcher) -> None:
    """Random and mutated datagrams, from strangers and from a participant's own address."""
    rng = random.Random(7)
    seeds = [seed for name in ("stun", "rtp", "rtcp") for seed in read_corpus(name)]
    pool = [mutate(rng, seeds, 1400) for _ in range(2000)]
    pool += [rng.randbytes(rng.randint(0, 1400)) for _ in range(500)]
    own = insider.getSenders()[0].transport.transport
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for stranger in strangers:
        stranger.setblocking(False)
    sent = 0
    try:
        while sent < DATAGRAMS:
            for _ in range(BURST):
                data = bytearray(rng.choice(pool))
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
                try:
                    rng.choice(strangers).sendto(data, ("127.0.0.1", port))
                except BlockingIOError:
                    break
                sent += 1
            await own._send(bytes(rng.choice(pool)))
            await asyncio.sleep(0)
            if sent % (50 * BURST) == 0:
                await _hear(witness)
    finally:
        for stranger in strangers:
            stranger.close()
