"""What must never break in Firefox: calls with itself and with Chromium, and how the page looks."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import SMALL_CAMERA, Enter
from tests.browser.test_other_clients import GREEN, LAYERS, PLAIN
from tests.browser.test_relay import DRAWN, RESTARTS, SEE_CODEC, SEND_CODEC, restart_ice
from tests.browser.test_relay_guests import PLAYED, WATCH
from tests.browser.test_screens import CONVERSATION, DEMO, FAULTS, NAMES, SETTLED, SIZES
from tests.support.browser import Hub, Person, running_hub, see_and_hear
from tests.support.firefox import Firefox, FirefoxParticipant, running_firefox

pytestmark = pytest.mark.needs("firefox-esr")

# Firefox has no screen to share where there is none.
DRAWN_SCREEN = """navigator.mediaDevices.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const context = canvas.getContext('2d');
  let hue = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${hue += 7} 80% 50%)`;
    context.fillRect(0, 0, 640, 360);
  }, 100);
  return canvas.captureStream(10);
};"""
DEVICES = f"() => {{ if (navigator.mediaDevices) {{ {SMALL_CAMERA} {DRAWN_SCREEN} }} }}"
SCREEN_SHOWN = "() => document.querySelector('[data-source=screen] video.shown')?.videoWidth"
SCREEN_GONE = "() => document.querySelector('[data-source=screen]') === null"
TRACKS = "(call) => call.state.participants.flatMap((one) => one.tracks.map(({ id }) => id))"
NEW_TRACKS = """(call, page, before) => call.state.participants.every(({ tracks, relay }) =>
  relay === 'flowing' && tracks.length > 0 && tracks.every(({ id }) => !before.includes(id)))"""
# A microphone, because Firefox makes sounds of its own only where there is something to play them.
PUBLISH_MICROPHONE = """async (url) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const pc = new RTCPeerConnection();
  pc.addTrack(stream.getAudioTracks()[0], stream);
  await pc.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp' };
  const response = await fetch(url, { method: 'POST', headers, body: pc.localDescription.sdp });
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  globalThis.microphone = pc;
}"""

EnterFirefox = Callable[..., FirefoxParticipant]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def forgetful_hub() -> Iterator[Hub]:
    """Gives the relay up before a worker can be there again."""
    with running_hub("--mesh-return", "0.1") as running:
        yield running


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    with running_firefox() as running:
        yield running


@pytest.fixture
def enter_firefox(firefox: Firefox, hub: Hub, room: str) -> Iterator[EnterFirefox]:
    """As `enter` does in Chromium."""
    opened: list[FirefoxParticipant] = []

    def enter_firefox(
        name: str, *, port: int | None = None, **query: str | int
    ) -> FirefoxParticipant:
        url = hub.url(port, **{"room": room, "name": name, "join": 1, **query})
        participant = FirefoxParticipant(firefox.open(url, DEVICES))
        opened.append(participant)
        return participant.joined()

    yield enter_firefox
    complaints = [complaint for one in opened for complaint in one.page.complaints]
    for one in opened:
        one.page.close()
    assert complaints == []


def test_a_call_with_itself_and_with_chromium(enter: Enter, enter_firefox: EnterFirefox) -> None:
    """Each browser comes before the other once, and Firefox before itself."""
    everyone: dict[str, Person] = {
        "Ada": (ada := enter_firefox("Ada")),
        "Ben": (ben := enter("Ben")),
        "Cleo": (cleo := enter_firefox("Cleo")),
    }
    see_and_hear(everyone)
    for one in everyone.values():
        one.wait("(call) => call.state.participants.every(({ p2p }) => p2p === 'flowing')")

    ada.press("Turn camera off")
    ada.press("Turn microphone off")
    for one in (ben, cleo):
        one.wait("() => document.querySelector('.tile.muted:not(.picture)') !== null")
    # The space bar talks as long as it is held, and a button that has the focus is not pressed.
    live = "(call, page) => page.media.live('microphone')"
    ada.page.hold(" ")
    ada.wait(live)
    ada.page.let_go(" ")
    ada.wait(f"(call, page) => !({live})(call, page)")
    ada.pause(100)
    assert not ada.ask(live)
    ada.press("Turn microphone on")
    ada.press("Turn camera on")
    see_and_hear(everyone)

    ada.press("Chat")
    ada.page.wait_for("() => document.activeElement.tagName === 'TEXTAREA'")
    ada.page.type("Hello\ue007")  # Enter
    for one in (ben, cleo):
        one.wait("(call) => call.state.chat.at(-1)?.content === 'Hello'")
    ada.press("Leave call")
    ben.wait("(call) => call.state.participants.length === 1")


def test_a_call_through_the_relay(enter: Enter, enter_firefox: EnterFirefox) -> None:
    everyone: dict[str, Person] = {
        "Ada": (ada := enter_firefox("Ada", relay=1)),
        "Ben": (ben := enter("Ben", relay=1)),
        "Cleo": (cleo := enter_firefox("Cleo", relay=1)),
    }
    see_and_hear(everyone)
    for codec in ("AV1", "VP8"):
        ben.ask(SEND_CODEC, codec)
        assert ada.ask(SEE_CODEC, codec), codec

    for _ in range(2):
        ada.press("Share screen")
        for one in (ben, cleo):
            one.wait(SCREEN_SHOWN)
        ada.press("Stop sharing")
        for one in (ben, cleo):
            one.wait(SCREEN_GONE)

    for connection in RESTARTS:
        restart_ice(ada, *connection)
    see_and_hear(everyone)


def test_lines_that_the_relay_uses_again(enter: Enter, enter_firefox: EnterFirefox) -> None:
    ada = enter_firefox("Ada", relay=1)
    lines = "(call) => call.relayConnections().subscriber.pc.getTransceivers().length"
    for name, someone in (("Ben", enter), ("Cleo", enter_firefox)):
        one = someone(name, relay=1)
        see_and_hear({"Ada": ada, name: one})
        ada.wait(f"(call, page, name) => ({DRAWN})(name)", name)
        assert ada.ask(lines) == 2
        one.press("Leave call")
        ada.wait("(call) => call.state.participants.length === 0")


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_worker_that_dies_is_replaced(
    hub: Hub, forgetful_hub: Hub, enter: Enter, enter_firefox: EnterFirefox, forgotten: bool
) -> None:
    """Also when it was gone for so long that the room had given up the relay."""
    used = forgetful_hub if forgotten else hub
    everyone: dict[str, Person] = {
        "Ada": enter_firefox("Ada", port=used.port, relay=1),
        "Ben": enter("Ben", port=used.port, relay=1),
    }
    see_and_hear(everyone)
    before = {name: one.ask(TRACKS) for name, one in everyone.items()}
    found = subprocess.run(
        ["pgrep", "-P", str(used.process.pid)], capture_output=True, text=True, check=True
    )
    for worker in found.stdout.split():
        os.kill(int(worker), signal.SIGKILL)
    for name, one in everyone.items():
        one.wait(NEW_TRACKS, before[name])
    see_and_hear(everyone)


def test_whip_with_three_layers_and_whep(firefox: Firefox, hub: Hub, room: str) -> None:
    sender, viewer = (firefox.open(f"http://localhost:{hub.port}/static/example/") for _ in "12")
    for page in (sender, viewer):
        page.evaluate(PLAIN)
    viewer.evaluate("(room) => plain.subscribe(room)", room)
    source = {"url": f"/whip/{room}", "width": 960, "height": 540, "colour": GREEN}
    sender.evaluate("(source) => plain.publish(source)", {**source, "encodings": LAYERS})
    for rid, active, width in (("f", True, 960), ("f", False, 480), ("f", True, 960)):
        sender.evaluate("([rid, active]) => plain.setActive(rid, active)", [rid, active])
        viewer.wait_for("(width) => plain.newest() === width", width)

    sender.evaluate(PUBLISH_MICROPHONE, f"/whip/{room}")
    viewer.wait_for("() => plain.carried === 2")
    assert str(viewer.evaluate(WATCH, f"/whep/{room}")).startswith(f"/whep/{room}/session/")
    viewer.wait_for(
        f"""async () => {{
          const {{ audio, video }} = await ({PLAYED})();
          return audio > 0 && video > 5;
        }}"""
    )
    complaints = sender.complaints + viewer.complaints
    for page in (sender, viewer):
        page.close()
    assert complaints == []


def test_every_screen(enter_firefox: EnterFirefox) -> None:
    one = enter_firefox("Ada Lovelace")
    page = one.page
    faults: list[str] = []

    def check(name: str) -> None:
        for size, (width, height) in SIZES.items():
            page.resize(width, height)
            page.wait_for(SETTLED)
            faults.extend(f"{name}, {size}: {fault}" for fault in page.evaluate(FAULTS))
            if "SCREENSHOTS" in os.environ:
                path = Path(os.environ["SCREENSHOTS"]) / f"firefox-{name}-{size}.png"
                path.write_bytes(page.screenshot())

    for others, screen in ((1, -1), (15, -1), (3, 0)):
        page.evaluate(
            DEMO,
            {
                "names": NAMES[:others],
                "dark": False,
                "silent": [4],
                "talking": [1],
                "screen": screen,
            },
        )
        page.wait_for(
            "(count) => document.querySelectorAll('.tile').length === count",
            others + 1 + (screen >= 0),
        )
        check(f"{others}-others")
    one.ask(CONVERSATION)
    for panel in ("chat", "people", "stats"):
        one.act(panel)
        page.wait_for(f"() => document.querySelector('.panel-body.{panel}') !== null")
        check(panel)
    one.act("close")
    for dialog in ("help", "settings"):
        one.act(dialog)
        page.wait_for(f"() => document.querySelector('dialog#{dialog}[open]') !== null")
        check(dialog)
        page.type("\ue00c")  # Escape
        page.wait_for("() => document.querySelector('dialog[open]') === null")
    assert faults == []
