"""From the address to the first picture: what is sent, what is ready, and what is said when not.

The figures are printed, not judged: `pytest -s tests/browser/test_first_paint.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import SMALL_CAMERA, Enter
from tests.support.browser import Hub, Participant, running_hub, see_and_hear

STEPS = ("joined", "offer", "answer", "connected", "track", "frame")
MARKS = """() => Object.fromEntries(performance.getEntriesByType('mark')
  .filter(({ name }) => name.startsWith('tandem-'))
  .map(({ name, startTime }) => [name.slice(7), startTime]))"""


@pytest.fixture(scope="module")
def relay_hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def test_a_first_visit_is_small_and_a_second_one_almost_nothing(browser: Browser, hub: Hub) -> None:
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    wire: list[float] = []
    session.on("Network.loadingFinished", lambda event: wire.append(event["encodedDataLength"]))
    slow = {
        "offline": False,
        "latency": 300,
        "downloadThroughput": 62500,
        "uploadThroughput": 62500,
    }
    session.send("Network.emulateNetworkConditions", slow)
    page.goto(hub.url(room="first"))
    page.get_by_role("button", name="Join").wait_for()
    paint = page.evaluate("() => performance.getEntriesByName('first-paint')[0].startTime")
    ready = page.evaluate("() => performance.now()")
    first = sum(wire)  # until somebody can join; the call's own screen comes meanwhile
    page.wait_for_load_state("networkidle")
    print(f"\nfirst visit: {first / 1000:.0f} kB in {len(wire)} answers,", end=" ")
    print(f"first paint {paint:.0f} ms, lobby by {ready:.0f} ms (0.5 Mbit/s, 300 ms)")
    print(f"with the call's own screen: {sum(wire) / 1000:.0f} kB")
    assert first < 100_000
    wire.clear()
    page.reload()
    page.get_by_role("button", name="Join").wait_for()
    print(f"second visit: {sum(wire) / 1000:.1f} kB")
    assert sum(wire) < 10_000
    context.close()


@pytest.mark.parametrize("way", ["direct", "relay"])
def test_the_steps_to_the_first_picture_are_marked(enter: Enter, way: str, relay_hub: Hub) -> None:
    query = {"port": relay_hub.port, **({"relay": 1} if way == "relay" else {})}
    ada = enter("Ada", **query)
    ben = enter(**query)
    ben.page.get_by_label("Your name").fill("Ben")
    ben.page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    ben.pause(500)  # as a person would
    ben.press("Join")
    ben.joined()
    see_and_hear({"Ada": ada, "Ben": ben})
    marks = ben.page.evaluate(MARKS)
    began = marks["join"]
    passed = [f"{step} {marks[step] - began:.0f}" for step in STEPS if step in marks]
    print(f"\n{way}, ms after Join:", ", ".join(passed))
    assert {"joined", "offer", "track", "frame"} <= set(marks)
    assert all(marks[step] >= began for step in STEPS if step in marks)


def test_the_way_to_the_server_is_open_before_joining(enter: Enter) -> None:
    one = enter()
    opened: list[str] = []
    one.page.on("websocket", lambda socket: opened.append(socket.url))
    one.page.get_by_label("Your name").fill("Ada")
    one.page.get_by_role("button", name="Join").hover()
    one.pause(300)
    one.press("Join")
    one.joined()
    assert len(opened) <= 1  # none, where the first focus has opened it


@pytest.mark.parametrize("file", ["js/room.js", "js/main.js", "js/i18n.js"])
def test_a_module_that_does_not_come_is_told_in_words(
    browser: Browser, hub: Hub, file: str
) -> None:
    page = browser.new_context().new_page()
    page.route(re.compile(re.escape(file)), lambda route: route.abort())
    page.goto(hub.url(room="broken"))
    page.get_by_role("alert").filter(has_text="did not load completely").wait_for()
    page.unroute(re.compile(re.escape(file)))
    page.get_by_role("link", name="Load it again").click()
    page.get_by_role("button", name="Join").wait_for()
    page.context.close()


def test_a_call_whose_screen_does_not_come_is_told_in_words(browser: Browser, hub: Hub) -> None:
    page = browser.new_context().new_page()
    page.route(re.compile("js/view/tile.js"), lambda route: route.abort())
    page.goto(hub.url(room="broken", name="Ada"))
    page.get_by_role("button", name="Join").click()
    page.get_by_role("alert").filter(has_text="did not load completely").wait_for()
    page.unroute(re.compile("js/view/tile.js"))
    page.get_by_role("link", name="Load it again").click()
    page.get_by_role("button", name="Join").click()
    page.wait_for_selector(".call .stage")
    page.context.close()


def test_a_browser_that_is_too_old_is_told_so(browser: Browser, hub: Hub) -> None:
    page = browser.new_context().new_page()
    broken = "this is no JavaScript of ours"
    page.route(
        re.compile("js/room.js"),
        lambda route: route.fulfill(body=broken, content_type="text/javascript"),
    )
    page.goto(hub.url(room="old"))
    page.get_by_role("alert").filter(has_text="too old for calls").wait_for()
    page.context.close()
    page = browser.new_context().new_page()
    page.add_init_script("delete window.RTCPeerConnection")
    page.goto(hub.url(room="old"))
    page.get_by_role("alert").filter(has_text="too old for calls").wait_for()
    page.context.close()


def test_joining_can_be_cancelled(browser: Browser, hub: Hub, room: str) -> None:
    context = browser.new_context()
    context.add_init_script(SMALL_CAMERA)
    # A server that takes the connection and never says anything.
    context.add_init_script("""{
      const Real = globalThis.WebSocket;
      globalThis.WebSocket = class extends Real { send(text) {
        if (!text.includes('"join"')) super.send(text);
      } };
    }""")
    one = Participant(context, hub.url(room=room, name="Ada"))
    one.press("Join")
    one.page.get_by_role("button", name="Joining…").wait_for()
    one.press("Cancel")
    one.page.get_by_role("button", name="Join", exact=True).wait_for()
    assert one.state()["phase"] == "lobby"
    assert one.page.get_by_role("alert").all_text_contents() in ([""], ["", ""], [])
    assert one.page.get_by_role("button", name="Cancel").is_hidden()
    context.close()
