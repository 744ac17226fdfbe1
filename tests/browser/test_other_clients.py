"""Clients of the relay that are not the page: they know the protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import PATIENCE, Hub, Watched, running_hub

PLAIN = (Path(__file__).parent / "plain.js").read_text()
RED, GREEN = "rgb(230 20 20)", "rgb(20 230 20)"
LAYERS = [
    {"rid": "q", "scaleResolutionDownBy": 4, "maxBitrate": 100_000},
    {"rid": "h", "scaleResolutionDownBy": 2, "maxBitrate": 300_000},
    {"rid": "f", "maxBitrate": 1_000_000},
]

Open = Callable[[], Page]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def open_plain(browser: Browser, hub: Hub) -> Iterator[Open]:
    """Opens a plain client in a context of its own. None may complain."""
    opened: list[Watched] = []

    def open_plain() -> Page:
        watched = Watched(browser.new_context().new_page())
        opened.append(watched)
        # An empty page of the server's.
        watched.page.goto(f"http://localhost:{hub.port}/static/example/")
        watched.page.evaluate(PLAIN)
        return watched.page

    yield open_plain
    for one in opened:
        one.page.context.close()
    assert [complaint for one in opened for complaint in one.complaints] == []


def wait(page: Page, condition: str, argument: object = None) -> None:
    page.wait_for_function(condition, arg=argument, timeout=PATIENCE, polling=50)


def wait_for_width(page: Page, width: int) -> None:
    wait(page, "(width) => plain.newest() === width", width)


def get_gap(frames: list[dict[str, Any]]) -> float:
    """The longest time in ms for which the picture stood still."""
    return max(after["at"] - before["at"] for before, after in pairwise(frames))


def test_three_layers_of_which_the_best_that_is_sent_is_seen(open_plain: Open, room: str) -> None:
    sender, viewer = open_plain(), open_plain()
    viewer.evaluate("(room) => plain.subscribe(room)", room)
    source = {"url": f"/whip/{room}", "width": 960, "height": 540, "colour": GREEN}
    sender.evaluate("(source) => plain.publish(source)", {**source, "encodings": LAYERS})
    wait_for_width(viewer, 960)
    wait(
        sender,
        """async (wanted) => Object.entries(await plain.sent()).sort().join() === wanted""",
        "f,960,h,480,q,240",
    )
    viewer.evaluate("() => plain.takeFrames()")
    viewer.wait_for_timeout(2_000)
    usual = get_gap(viewer.evaluate("() => plain.takeFrames()"))

    changes = (("f", False, 480), ("h", False, 240), ("h", True, 480), ("f", True, 960))
    for rid, active, width in changes:
        sender.evaluate("([rid, active]) => plain.setActive(rid, active)", [rid, active])
        wait_for_width(viewer, width)
        gap = get_gap(viewer.evaluate("() => plain.takeFrames()"))
        # Until a layer counts as gone, and the key frame of another one is there.
        assert gap < 2_000 + usual, (rid, active, gap, usual)


def test_a_line_that_is_used_again_is_drawn_and_heard(open_plain: Open, room: str) -> None:
    """Without any help from the client, whoever's track comes on it and however often."""
    sender, viewer = open_plain(), open_plain()
    viewer.evaluate("(room) => plain.subscribe(room)", room)
    source = {"url": f"/whip/{room}", "width": 320, "height": 180, "audible": True}
    for colour in (RED, GREEN, RED):
        sender.evaluate("(source) => plain.publish(source)", {**source, "colour": colour})
        wait(
            viewer,
            """([r, g]) => {
              const seen = plain.colour('0');
              return seen && Math.abs(seen[0] - r) < 40 && Math.abs(seen[1] - g) < 40;
            }""",
            [230, 20] if colour == RED else [20, 230],
        )
        wait(viewer, "() => plain.isHeard('1')")
        sender.evaluate("() => plain.unpublish()")
        wait(viewer, "() => plain.carried === 0 && !plain.isHeard('1')")
    assert viewer.evaluate("() => plain.lines") == 2
