"""Every screen, at the size of a desk and of a phone: nothing overlaps, nothing is cut off.

With SCREENSHOTS=folder in the environment, pictures are kept there; static/screenshots has some.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Hub, Participant

DEMO = (Path(__file__).parent / "demo.js").read_text()
PICTURES = os.environ.get("SCREENSHOTS")

NAMES = [
    *("Ben Okafor", "Clara Weiss", "Dmitri Petrov", "Elif Kaya", "Farid Rahman", "Grace Liu"),
    *("Hugo Martin", "Ines Costa", "Jonas Berg", "Kaori Sato", "Liam Byrne", "Maya Levy"),
    *("Noor Haddad", "Olga Novak", "Priya Nair"),
]
CONVERSATION = """(call) => [
  ['p_0', 'Ben Okafor', 'Morning! The new drawings are at https://example.org/plans', 0],
  ['p_1', 'Clara Weiss', 'Looking at them now. The second page is the one for the client.', 60],
  ['p_1', 'Clara Weiss', 'I like the wider margins.', 70],
  ['p_own', 'Ada Lovelace', 'Agreed. Shall we go through it page by page?', 120],
  ['p_0', 'Ben Okafor', 'Yes please 👍', 180],
].forEach(([from, user, content, seconds]) => call.dispatch(
  { type: 'chat', from, user, content, timestamp: 1732440000000 + 1000 * seconds }))"""
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
SETTLED = """() => document.getAnimations()
  .every((one) => one.effect.getTiming().iterations === Infinity)"""
# Tiles lie inside of the stage and apart; nothing makes the page wider than the window; what is
# to be read or pressed is not outside of it.
FAULTS = """() => {
  const faults = [];
  const box = (element) => element.getBoundingClientRect();
  if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the window');
  const stage = document.querySelector('.stage');
  const tiles = [...document.querySelectorAll('.tile:not([hidden])')];
  tiles.forEach((tile, index) => {
    const [one, area] = [box(tile), box(stage)];
    if (one.left < area.left - 1 || one.right > area.right + 1 || one.top < area.top - 1
      || one.bottom > area.bottom + 1) faults.push(`outside: ${tile.ariaLabel}`);
    for (const other of tiles.slice(index + 1)) {
      const two = box(other);
      if (tile.matches('.floating') || other.matches('.floating')) continue;
      if (one.left < two.right - 1 && two.left < one.right - 1 && one.top < two.bottom - 1
        && two.top < one.bottom - 1) faults.push(`overlap: ${tile.ariaLabel}, ${other.ariaLabel}`);
    }
  });
  for (const button of document.querySelectorAll('.bar button, .panel-header button')) {
    if (!button.checkVisibility()) continue;
    const { left, right, top, bottom } = box(button);
    if (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight) {
      faults.push(`cut off: ${button.ariaLabel}`);
    }
  }
  return faults;
}"""


class Screens:
    """One page, filled with drawn people, and what is wrong with how it looks."""

    def __init__(self, one: Participant, size: str, scheme: str) -> None:
        self.one, self.size, self.scheme = one, size, scheme
        self.faults: list[str] = []

    def fill(self, others: int, *, screen: int = -1) -> None:
        self.one.page.evaluate(
            DEMO,
            {
                "names": NAMES[:others],
                "dark": self.scheme == "dark",
                "silent": [4, 9, 13],
                "talking": [1],
                "screen": screen,
            },
        )
        if others or screen >= 0:
            self.one.page.wait_for_function(
                "(count) => document.querySelectorAll('.tile').length === count",
                arg=others + 1 + (screen >= 0),
            )

    def take(self, name: str) -> None:
        page = self.one.page
        page.mouse.move(0, 0)
        page.wait_for_function(SETTLED)
        page.wait_for_function(
            "() => [...document.querySelectorAll('video')].every((one) => one.videoWidth > 0)"
        )
        self.faults += [f"{name}: {fault}" for fault in page.evaluate(FAULTS)]
        self.keep(name)

    def keep(self, name: str) -> None:
        if PICTURES is not None:
            self.one.page.wait_for_timeout(400)  # until the drawn people have moved in
            path = Path(PICTURES) / f"{name}-{self.size}-{self.scheme}.png"
            self.one.page.screenshot(path=path)

    def clear(self) -> None:
        self.one.ask("(call, page) => page.notices.clear()")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")],
)
def test_every_screen(browser: Browser, hub: Hub, room: str, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=size == "phone",
        is_mobile=size == "phone",
        reduced_motion="reduce",
    )
    one = Participant(context, hub.url(room=f"design-{room}", name="Ada Lovelace"))
    screens = Screens(one, size, scheme)
    one.page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    screens.fill(0)
    screens.take("lobby")
    one.press("Join")
    one.joined()
    for others in (0, 1, 3, 8, 15):
        screens.fill(others)
        screens.clear()
        screens.take(f"tiles-{others + 1}")
    screens.fill(3, screen=0)
    screens.clear()
    screens.take("screen")
    screens.fill(5)
    one.ask(CONVERSATION)
    screens.clear()
    screens.take("unread")
    for panel in ("chat", "people", "stats"):
        one.act(panel)
        one.page.wait_for_selector(f".panel-body.{panel}")
        screens.take(panel)
    one.act("close")
    for dialog in ("help", "settings"):
        one.act(dialog)
        one.page.wait_for_selector(f"dialog#{dialog}[open]")
        screens.take(dialog)
        one.page.keyboard.press("Escape")
    one.ask(
        "(call) => call.dispatch({ type: 'connection', state: 'reconnecting', reason: 'lost' })"
    )
    one.page.wait_for_selector(".banner:not([hidden])")
    screens.take("banner")
    one.ask("(call) => call.dispatch({ type: 'left', reason: 'left' })")
    one.page.wait_for_selector(".farewell")
    screens.take("left")
    complaints = one.watched.complaints
    context.close()
    assert screens.faults == []
    assert complaints == []


def test_a_small_phone_on_its_side(browser: Browser, hub: Hub, room: str) -> None:
    context = browser.new_context(
        viewport={"width": 568, "height": 320},
        has_touch=True,
        is_mobile=True,
        reduced_motion="reduce",
        forced_colors="active",
    )
    one = Participant(context, hub.url(room=room, name="Ada", join=1)).joined()
    screens = Screens(one, "side", "light")
    long = "Maximiliane-Alexandra von und zu Hohenberg-Schwarzenstein the Third"
    names = ["Ben", long, "Clara"]
    one.page.evaluate(
        DEMO, {"names": names, "dark": False, "silent": [], "talking": [1], "screen": -1}
    )
    one.page.locator("[data-tile=p_1]").wait_for()
    screens.take("tiles")
    # What cannot be seen cannot be hit: the first tap shows the pin, the second pins.
    pin = one.page.locator("[data-tile=p_1] .tile-actions button").first
    box = pin.bounding_box()
    assert box is not None
    tap = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    one.page.touchscreen.tap(*tap)
    one.page.wait_for_selector("[data-tile=p_1].revealed")
    assert one.state()["pinned"] == []
    one.page.touchscreen.tap(*tap)
    one.wait("(call) => call.state.pinned[0] === 'p_1'")
    one.press("More")
    screens.keep("menu")
    menu = one.page.locator(".menu").bounding_box()
    assert menu is not None
    assert menu["y"] >= 0
    one.page.keyboard.press("Escape")
    one.act("people")
    one.page.get_by_role("button", name=f"Remove {long}").wait_for()
    screens.take("people")
    wide = "() => document.querySelector('.panel-body').scrollWidth > innerWidth"
    assert not one.page.evaluate(wide)
    # Where the system chooses the colours, a switch still shows how it stands.
    knob = """() => {
      const colour = (pseudo) => getComputedStyle(document.querySelector('#lobby-on'), pseudo);
      return colour('::before').backgroundColor !== colour(null).backgroundColor;
    }"""
    assert one.page.evaluate(knob)
    complaints = one.watched.complaints
    context.close()
    assert screens.faults == []
    assert complaints == []


def test_what_is_not_shown_is_not_forgotten(browser: Browser, hub: Hub, room: str) -> None:
    one = Participant(browser.new_context(), hub.url(room=room, name="Ada", join=1)).joined()
    names = [*NAMES, *NAMES]
    one.page.evaluate(
        DEMO, {"names": names, "dark": False, "silent": [*range(30)], "talking": [1], "screen": -1}
    )
    last = one.page.locator("[data-tile=p_29]")
    last.wait_for(state="hidden")
    # Who talks is never among the rest.
    one.ask("""(call, page) => {
      Object.defineProperty(call, 'talking', { get: () => new Set(['p_29']) });
      page.draw();
    }""")
    last.wait_for()
    # A path that flaps: the picture that came back stays, though the one between never came.
    lost = """async () => {
      const { Tile } = await import('/static/js/view/tile.js');
      const picture = (call) => demoCanvases[0].captureStream(10).getVideoTracks()[0];
      const tile = new Tile({ onPin: () => {} }, { id: 'x', person: 'X' });
      document.body.append(tile.element);
      const direct = picture();
      const relayed = new RTCPeerConnection().addTransceiver('video').receiver.track;
      const { setTimeout: real } = globalThis;
      const late = [];
      globalThis.setTimeout = (callback, wait) => {
        if (wait > 3_000) late.push(callback);
        else real(callback, wait);
      };
      const data = { id: 'x', name: 'X', person: 'X', source: 'camera', paused: [], quality: '' };
      for (const video of [direct, relayed, direct]) tile.render({ ...data, video });
      globalThis.setTimeout = real;
      for (const callback of late) callback();
      const { video } = tile;
      return !video?.isConnected || video.srcObject.getTracks()[0] !== direct;
    }"""
    assert not one.page.evaluate(lost)
    assert one.watched.complaints == []
    one.page.context.close()


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("error", ["NotAllowedError", "NotFoundError", "NotReadableError"])
def test_the_screens_of_what_went_wrong(
    browser: Browser, hub: Hub, room: str, size: str, error: str
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    context.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => "
        f"Promise.reject(new DOMException('', '{error}'));"
    )
    one = Participant(context, hub.url(room=room, name="Ada Lovelace"))
    screens = Screens(one, size, "light")
    one.page.wait_for_selector(".problem:not([hidden])")
    one.page.wait_for_function(SETTLED)
    screens.keep(f"problem-{error}")
    screens.faults += one.page.evaluate(FAULTS)
    context.close()
    assert screens.faults == []
