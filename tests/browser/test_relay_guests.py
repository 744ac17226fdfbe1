"""A pair that never gets a direct connection, and what goes in by WHIP and out by WHEP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.sync_api import Browser

from tests.browser.conftest import SMALL_CAMERA, Enter
from tests.support.browser import Hub, Participant, running_hub, see_and_hear
from tests.support.caller import RED, Picture, Tone

# Loses the candidates of those who are named in `blockedNames`: when both sides do it, neither
# can ever reach the other.
SPY = """
globalThis.blockedNames ??= [];
const names = new Map();
const data = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data').get;
Object.defineProperty(MessageEvent.prototype, 'data', { get() {
  const text = data.call(this);
  if (typeof text !== 'string' || !text.startsWith('{')) return text;
  const message = JSON.parse(text);
  for (const one of message.participants ?? []) names.set(one.id, one.name);
  if (message.type === 'participant-joined') {
    names.set(message.participant.id, message.participant.name);
  }
  if (!blockedNames.includes(names.get(message.from))) return text;
  if (message.type === 'candidate') message.candidate = null;
  if (message.sdp) message.sdp = message.sdp.replace(/^a=candidate.*\\r\\n/gm, '');
  return JSON.stringify(message);
} });
"""

# From which path the page shows each participant, by name.
PATHS = """async (call) => {
  const { routes } = await import('/static/js/routes.js');
  const show = routes(call.state).show;
  return Object.fromEntries(call.state.participants.map(({ id, name }) => [name, show.get(id)]));
}"""

WATCH = """async (url) => {
  const pc = new RTCPeerConnection();
  globalThis.player = pc;
  pc.addTransceiver('audio', { direction: 'recvonly' });
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.ontrack = ({ track }) => {
    // What is not played is not decoded.
    const element = document.createElement(track.kind);
    element.srcObject = new MediaStream([track]);
    element.play();
  };
  await pc.setLocalDescription();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: pc.localDescription.sdp,
  });
  if (response.status !== 201) return response.status;
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  return response.headers.get('Location');
}"""
PLAYED = """async () => {
  const played = {};
  for (const entry of (await player.getStats()).values()) {
    if (entry.type !== 'inbound-rtp') continue;
    played[entry.kind] = entry.kind === 'video' ? entry.framesDecoded : entry.totalAudioEnergy;
  }
  return played;
}"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub("--mesh-return", "1") as running:
        yield running


@pytest.fixture
def enter(browser: Browser, hub: Hub, room: str) -> Iterator[Enter]:
    """As elsewhere, but with the spy in it; `blocked` names those whose candidates are lost."""
    opened: list[Participant] = []

    def enter_spied(name: str = "", *, blocked: str = "", relay: int = 0) -> Participant:
        context = browser.new_context()
        context.add_init_script(SMALL_CAMERA)
        context.add_init_script(f"globalThis.blockedNames = {blocked.split()!r};{SPY}")
        url = hub.url(room=room, name=name, join=1, relay=relay)
        participant = Participant(context, url)
        opened.append(participant)
        return participant.joined()

    yield enter_spied
    complaints = [complaint for one in opened for complaint in one.watched.complaints]
    for one in opened:
        one.page.context.close()
    assert complaints == []


def wait_for_paths(one: Participant, **paths: str) -> None:
    """Wait until these participants are shown from these paths."""
    for _ in range(300):
        if paths.items() <= one.ask(PATHS).items():
            return
        one.page.wait_for_timeout(150)
    raise AssertionError(f"{paths} wanted, {one.ask(PATHS)} there")


def test_only_the_pair_that_cannot_connect_moves_to_the_relay(enter: Enter) -> None:
    everyone = {
        "Ada": enter("Ada", blocked="Ben"),
        "Ben": enter("Ben", blocked="Ada"),
        "Cleo": enter("Cleo"),
    }
    see_and_hear(everyone)
    wait_for_paths(everyone["Ada"], Ben="relay", Cleo="p2p")
    wait_for_paths(everyone["Ben"], Ada="relay", Cleo="p2p")
    wait_for_paths(everyone["Cleo"], Ada="p2p", Ben="p2p")


def test_what_comes_by_whip_is_seen_in_a_page(enter: Enter, hub: Hub, room: str) -> None:
    ada = enter("Ada")
    with _Whip(f"http://127.0.0.1:{hub.port}/whip/{room}"):
        ada.wait_for_media({"WHIP"})
        wait_for_paths(ada, WHIP="relay")
    ada.wait("(call) => call.state.participants.length === 0")


def test_a_page_plays_the_room_by_whep(enter: Enter, room: str) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    location = ben.page.evaluate(WATCH, f"/whep/{room}")
    assert str(location).startswith(f"/whep/{room}/session/")
    for _ in range(200):
        played = ben.page.evaluate(PLAYED)
        if played.get("audio", 0) > 0 and played.get("video", 0) > 10:
            break
        ben.page.wait_for_timeout(200)
    assert played["audio"] > 0, played
    assert played["video"] > 10, played
    # The room does not know of the player.
    assert [one["name"] for one in ada.state()["participants"]] == ["Ben"]
    status = ben.page.evaluate(
        "async (url) => (await fetch(url, { method: 'DELETE' })).status", location
    )
    assert status == 200
    ben.page.evaluate("() => player.close()")
    ben.wait_for_media({"Ada"})


class _Whip:
    """An aiortc publisher on a thread of its own, for as long as the context lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ending = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        assert self._fault is None

    def _run(self) -> None:
        try:
            asyncio.run(self._publish())
        except Exception as fault:
            self._fault = fault

    async def _publish(self) -> None:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        tracks = (Picture(RED), Tone(440))
        for track in tracks:
            pc.addTrack(track)
        try:
            await self._talk(pc)
        finally:
            for track in tracks:
                track.stop()
            await pc.close()

    async def _talk(self, pc: RTCPeerConnection) -> None:
        await pc.setLocalDescription(await pc.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with ClientSession() as session:
            offer = pc.localDescription.sdp
            async with session.post(self._url, data=offer, headers=headers) as response:
                assert response.status == 201
                answer, location = await response.text(), response.headers["Location"]
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await asyncio.to_thread(self._ending.wait)
            async with session.delete(self._url.split("/whip")[0] + location):
                pass
