"""Chromium as the other side of a bare transport: it publishes, it plays, it restarts ICE."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from relay.sdp.capabilities import OPUS, VP8
from relay.sdp.slots import Carried
from relay.sdp.subscription import Subscription
from relay.transport.transport import TransportState
from tests.integration.relay_socket import RelaySocket, wait_until
from tests.unit.relay.sdp.offers import answer_player, answer_publisher

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]

PUBLISH = """async () => {
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const canvas = document.createElement("canvas");
  canvas.width = 320; canvas.height = 180;
  const context = canvas.getContext("2d");
  let hue = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${hue += 7}, 80%, 50%)`;
    context.fillRect(0, 0, 320, 180);
  }, 33);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const out = audio.createMediaStreamDestination();
  tone.connect(out); tone.start();
  window.stream = new MediaStream([
    ...out.stream.getTracks(), ...canvas.captureStream(30).getTracks()]);
  pc.createDataChannel("unwanted");
  for (const track of window.stream.getTracks())
    pc.addTransceiver(track, {direction: "sendonly", streams: [window.stream]});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
TAKE_ANSWER = """async sdp => {
  await window.pc.setRemoteDescription({type: "answer", sdp});
}"""
RESTART = """async () => {
  window.pc.restartIce();
  await window.pc.setLocalDescription();
  return window.pc.localDescription.sdp;
}"""
SUBSCRIBE = """async sdp => {
  const pc = window.pc = window.pc || new RTCPeerConnection();
  window.seen = window.seen || [];
  pc.ontrack = e => window.seen.push(
    [e.transceiver.mid, e.track.kind, e.streams[0] && e.streams[0].id]);
  await pc.setRemoteDescription({type: "offer", sdp});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
PLAY = """async () => {
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  pc.addTransceiver("audio", {direction: "recvonly"});
  pc.addTransceiver("video", {direction: "recvonly"});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=ARGUMENTS, headless=True
        )
        try:
            yield context.pages[0]
        finally:
            await context.close()


@pytest.fixture
async def relay() -> AsyncIterator[RelaySocket]:
    relay = await RelaySocket.open()
    yield relay
    await relay.close()


async def state(page: Page) -> Any:
    return await page.evaluate("window.pc.connectionState")


async def test_chromium_publishes_and_restarts_ice(page: Page, relay: RelaySocket) -> None:
    offer = await page.evaluate(PUBLISH)
    transport = relay.make_transport()
    publication = answer_publisher(offer, relay.describe(transport.local))
    transport.start(publication.remote, 0.0)
    await page.evaluate(TAKE_ANSWER, publication.answer)
    audio, video = publication.media
    packets = transport.leg.packets
    opus = next(c.payload_type for c in audio.codecs if c.codec.name == "opus")
    vp8 = next(c.payload_type for c in video.codecs if c.codec.name == "VP8")
    await wait_until(lambda: packets[opus] > 50 and packets[vp8] > 30 and packets["rtcp"])
    assert transport.leg.failures == 0
    assert transport.state is TransportState.CONNECTED
    assert await state(page) == "connected"

    old = transport.local.ufrag
    offer = await page.evaluate(RESTART)
    local = transport.restart_ice()
    publication = answer_publisher(offer, relay.describe(local), publication)
    assert publication.ice_restarted
    transport.start(publication.remote, 0.0)
    assert old in relay.usernames
    await page.evaluate(TAKE_ANSWER, publication.answer)
    await wait_until(lambda: old not in relay.usernames)
    before = packets[vp8]
    await wait_until(lambda: packets[vp8] > before + 30)

    await page.evaluate("window.pc.close()")
    await wait_until(lambda: transport.state is TransportState.CLOSED)


async def test_chromium_takes_offers_whose_slots_come_and_go(
    page: Page, relay: RelaySocket
) -> None:
    transport = relay.make_transport()
    subscription = Subscription(session_id=1, cname="relay", ssrc=lambda: random.getrandbits(32))

    async def negotiate() -> None:
        offer = subscription.build_offer(relay.describe(transport.local))
        subscription.receive_answer(await page.evaluate(SUBSCRIBE, offer))
        assert subscription.remote is not None
        transport.start(subscription.remote, 0.0)

    audio = subscription.assign(Carried("audio", "p_1", "t_1", [OPUS]))
    video = subscription.assign(Carried("video", "p_1", "t_2", [VP8]))
    await negotiate()
    await wait_until(lambda: transport.state is TransportState.CONNECTED)
    assert set(audio.payload_types) == {111}
    assert {96, 97, 108, 109} <= set(video.payload_types)
    assert {1, 2, 3} <= set(audio.extensions)
    assert {2, 3, 12} <= set(video.extensions)

    subscription.release("t_2")
    await negotiate()
    assert video.payload_types == {}

    assert subscription.assign(Carried("video", "p_2", "t_3", [VP8])) is video
    subscription.assign(Carried("video", "p_3", "t_4", [VP8]))
    await negotiate()
    assert {96, 97, 108, 109} <= set(video.payload_types)
    seen = json.loads(await page.evaluate("JSON.stringify(window.seen)"))
    assert seen == [
        ["0", "audio", "p_1"],
        ["1", "video", "p_1"],
        ["1", "video", "p_2"],
        ["2", "video", "p_3"],
    ]

    transport.restart_ice()
    await negotiate()
    await wait_until(lambda: len(relay.usernames) == 1)
    assert await state(page) == "connected"
    transport.close()
    await wait_until(lambda: relay.states[-1] is TransportState.CLOSED)


async def test_chromium_plays_what_its_own_offer_asked_for(page: Page, relay: RelaySocket) -> None:
    offer = await page.evaluate(PLAY)
    transport = relay.make_transport()
    playback = answer_player(
        offer,
        relay.describe(transport.local),
        [Carried("video", "p_1", "t_1", [VP8])],
        session_id=1,
        cname="relay",
        ssrc=lambda: random.getrandbits(32),
    )
    transport.start(playback.remote, 0.0)
    await page.evaluate(TAKE_ANSWER, playback.answer)
    await wait_until(lambda: transport.state is TransportState.CONNECTED)
    audio, video = playback.slots
    assert (audio.track, video.track) == (None, "t_1")
    assert {96, 97} <= set(video.payload_types)
    assert {2, 3} <= set(video.extensions)
