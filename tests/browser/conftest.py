"""One Chromium and one server per file; a room, and browser contexts, per test.

The fixtures end with their file: Playwright's synchronous interface keeps an event loop on the
thread while it runs, and the tests elsewhere need theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.support.browser import Hub, Participant, launch, running_hub

Enter = Callable[..., Participant]
_rooms = itertools.count(1)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    running = launch(playwright)
    yield running
    running.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub("--relay-workers", "0") as running:
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
        url = hub.url(port, **{**asked, **query})
        participant = Participant(browser.new_context(**(context or {})), url)
        opened.append(participant)
        return participant.joined() if name else participant

    yield enter
    complaints = [complaint for one in opened for complaint in one.watched.complaints]
    for one in opened:
        one.page.context.close()
    assert complaints == []
