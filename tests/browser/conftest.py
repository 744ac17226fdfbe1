"""One Chromium for all, one server per file; a room, and browser contexts, per test.

The fixtures end with this folder: Playwright's synchronous interface keeps an event loop on the
thread while it runs, and the tests elsewhere need theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.support.browser import Hub, Participant, launch, running_hub

# So that many fit on one machine, and the tests are about something else than its speed.
SMALL_CAMERA = """{
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (constraints) => real(constraints.video
    ? { ...constraints, video: { width: 320, height: 180, frameRate: 10 } } : constraints);
}"""
Enter = Callable[..., Participant]
_rooms = itertools.count(1)


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    running = launch(playwright)
    yield running
    running.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    # `insecure.test` is a name of this machine that browsers do not trust with devices.
    with running_hub("--relay-workers", "0", "--allow-origin", "http://insecure.test") as running:
        yield running


@pytest.fixture
def room() -> str:
    return f"room-{next(_rooms)}"


@pytest.fixture
def enter(browser: Browser, hub: Hub, room: str) -> Iterator[Enter]:
    """Opens the page in a context of its own; with a name, joins. No page may complain."""
    opened: list[Participant] = []

    def enter(
        name: str = "",
        *,
        port: int | None = None,
        context: dict[str, Any] | None = None,
        **query: str | int,
    ) -> Participant:
        asked: dict[str, str | int] = {"room": room}
        if name:
            asked |= {"name": name, "join": 1}
        place = browser.new_context(**(context or {}))
        place.add_init_script(SMALL_CAMERA)
        participant = Participant(place, hub.url(port, **{**asked, **query}))
        opened.append(participant)
        return participant.joined() if name else participant

    yield enter
    complaints = [complaint for one in opened for complaint in one.watched.complaints]
    for one in opened:
        one.page.context.close()
    assert complaints == []
