"""Chromium, Firefox, aiortc and libdatachannel in one room of data, over a path that loses 5 %."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.integration.test_relay_data_peers import COUNT, LARGE, until
from tests.support.aiortcpeer import aiortc_peer
from tests.support.browser import Watched, free_port, running_hub
from tests.support.firefox import running_firefox
from tests.support.lossy import LossyUdp
from tests.support.nodepeer import node_peer

pytestmark = pytest.mark.needs("firefox-esr", "node", "npm")
PEER = (Path(__file__).parents[1] / "support" / "datapeer.js").read_text()
MAKE = "globalThis.peer = makePeer({ RTCPeerConnection, WebSocket });"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def way() -> Iterator[tuple[int, LossyUdp]]:
    """A server's port, and the way to its relay."""
    port = free_port()
    with running_hub("--mesh-limit", "1", "--relay-port", str(port)) as hub:
        lossy = LossyUdp(port)
        yield hub.port, lossy
        lossy.close()


def report_complete(report: dict[str, Any], others: list[str]) -> bool:
    heard = report["heard"]
    return all(
        heard.get(other, {}).get("reliable", 0) >= COUNT and heard[other]["large"] == LARGE
        for other in others
    )


def test_all_hear_each_other_over_loss(
    browser: Browser, way: tuple[int, LossyUdp], room: str
) -> None:
    port, lossy = way
    url, empty = f"ws://localhost:{port}/ws", f"http://localhost:{port}/static/example/"
    watched = Watched(browser.new_context().new_page())
    watched.page.goto(empty)
    watched.page.evaluate(f"() => {{ {PEER}; {MAKE} }}")
    with (
        running_firefox() as firefox,
        aiortc_peer(url, room, "aiortc", lossy.port) as aiortc,
        node_peer("libdatachannel", url, room, "libdatachannel", lossy.port) as libdatachannel,
    ):
        fox = firefox.open(empty)
        fox.evaluate(f"() => {{ {PEER}; {MAKE} }}")

        def in_page(evaluate: Callable[[str, Any], Any]) -> Ask:
            calls = {
                "join": "(a) => peer.join(...a)",
                "ready": "() => peer.ready()",
                "talk": "(a) => peer.talk(...a)",
                "report": "() => ({ heard: peer.heard, errors: peer.errors, closed: peer.closed })",
            }
            return lambda command, *arguments: evaluate(calls[command], list(arguments))

        chrome, foxy = in_page(watched.page.evaluate), in_page(fox.evaluate)
        peers: dict[str, Ask] = {
            "chromium": chrome,
            "firefox": foxy,
            "aiortc": aiortc.ask,
            "libdatachannel": libdatachannel.ask,
        }
        ids = {
            name: ask("join", url, room, name, lossy.port) if ask in (chrome, foxy) else ask("join")
            for name, ask in peers.items()
        }
        until(lambda: all(ask("ready") for ask in peers.values()), "channels")
        lossy.loss = 0.05
        for ask in peers.values():
            ask("talk", COUNT, LARGE, True)
        for name, ask in peers.items():
            others = [id for other, id in ids.items() if other != name]
            until(lambda ask=ask, others=others: report_complete(ask("report"), others), name)
            report = ask("report")
            assert report["errors"] == report["closed"] == [], name
            for other in others:
                heard = report["heard"][other]
                assert (heard["reliable"], heard["ordered"]) == (COUNT, True), (name, heard)
                assert COUNT / 5 < heard["lossy"] <= COUNT / 2, (name, heard)
        assert lossy.lost > 50
        fox.close()
    watched.page.context.close()
    assert watched.complaints == []
