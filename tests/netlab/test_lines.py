"""What somebody on a bad line sees and hears of a call through the relay, in real Chromium."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, sync_playwright

from tests.netlab.lab import Lab, Link, Way

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.alone]

PORT = 8443
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=fps=20",
    "--autoplay-policy=no-user-gesture-required",
]
# A small camera: two cores encode and decode two browsers' pictures here.
CAMERA = """{
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (constraints) => real(constraints.video
    ? { ...constraints, video: { width: 640, height: 360, frameRate: 20 } } : constraints);
  const Connection = RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = new Proxy(Connection, { construct(target, given) {
    const made = new target(...given); window.connections.push(made); return made; } });
}"""
STATS = """async () => { const rows = []; for (const pc of window.connections) {
  if (pc.connectionState === 'closed') continue;
  for (const row of (await pc.getStats()).values()) if (row.type === 'inbound-rtp') rows.push(row);
} return rows; }"""


@dataclass
class Seen:
    """What a watcher got in a while."""

    pictures: float
    """A second."""
    concealed: float
    """The share of the sound."""
    dropped: float
    """The share of packets that its link dropped."""


class Watcher:
    """A browser behind link 1."""

    def __init__(self, page: Page, link: Way) -> None:
        self._page = page
        self._link = link

    def watch(self, seconds: float) -> Seen:
        before, carried, dropped = self._read(), self._link.carried, self._link.dropped
        self._page.wait_for_timeout(1000 * seconds)
        after = self._read()
        carried, dropped = self._link.carried - carried, self._link.dropped - dropped
        change = {name: after[name] - before[name] for name in after}
        return Seen(
            change["framesDecoded"] / seconds,
            change["concealedSamples"] / max(1, change["totalSamplesReceived"]),
            dropped / max(1, carried + dropped),
        )

    def _read(self) -> dict[str, float]:
        rows: list[dict[str, Any]] = self._page.evaluate(STATS)
        names = ("framesDecoded", "concealedSamples", "totalSamplesReceived")
        return {name: sum(row.get(name) or 0 for row in rows) for name in names}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    links = [Link(), Link(Way(delay=0.03), Way(delay=0.03, seed=2))]
    with Lab(links, tmp_path) as running:
        command = [sys.executable, "-m", "signaling", "--host", "0.0.0.0", "--open"]
        running.start("server", [*command, "--port", str(PORT)], tmp_path / "server.log")
        yield running


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


def enter(lab: Lab, playwright: Playwright, link: int, name: str) -> Page:
    url = f"http://10.98.{link}.1:{PORT}"
    browser = playwright.chromium.launch(
        executable_path=lab.wrap(str(link), "chromium"),
        args=[*FLAGS, f"--unsafely-treat-insecure-origin-as-secure={url}"],
    )
    page = browser.new_context(permissions=["camera", "microphone"]).new_page()
    page.add_init_script(CAMERA)
    for attempt in range(20):
        try:
            page.goto(f"{url}/?room=lab&name={name}&join=1&relay=1")
            break
        except Exception:
            if attempt == 19:
                raise
            time.sleep(1)
    return page


def test_a_line_that_fills_up_costs_its_owner_sharpness_and_no_sound(
    lab: Lab, playwright: Playwright
) -> None:
    enter(lab, playwright, 0, "Ada")
    line = lab.links[1].down
    watcher = Watcher(enter(lab, playwright, 1, "Bob"), line)
    watcher.watch(12)
    free = watcher.watch(5)
    assert free.pictures > 5
    line.rate = 400_000
    watcher.watch(6)
    narrow = watcher.watch(8)
    assert narrow.dropped < 0.03
    assert narrow.concealed < 0.02 + free.concealed
    assert narrow.pictures > 0.4 * free.pictures
    line.rate = 0
    watcher.watch(10)
    again = watcher.watch(4)
    assert again.pictures > 0.7 * free.pictures
