"""Real clients of other systems: `peerjs` and `y-webrtc`, both in Chromium."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import PATIENCE, Hub, Watched, running_hub

pytestmark = pytest.mark.needs("node", "npm")
ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".venv" / "node" / "node_modules"

JOIN = """async ([port, key, id]) => {
  globalThis.got = [];
  globalThis.errors = [];
  const options = { host: 'localhost', port, path: '/peerjs', key, config: { iceServers: [] } };
  globalThis.me = id ? new Peer(id, options) : new Peer(options);
  me.on('error', (error) => errors.push(error.type));
  me.on('connection', (connection) => {
    connection.on('data', (data) => { got.push(data); connection.send(`echo ${data}`); });
  });
  me.on('call', (call) => call.answer());
  return await new Promise((resolve) => {
    me.on('open', resolve);
    me.on('error', (error) => resolve(`error ${error.type}`));
  });
}"""
WRITE = """([url, word]) => {
  const doc = new Y.Doc();
  globalThis.words = doc.getMap('words');
  const peerOpts = { config: { iceServers: [] } };
  const options = { signaling: [url], filterBcConns: false, peerOpts };
  globalThis.provider = new WebrtcProvider('document', doc, options);
  words.set(word, true);
}"""
TALK = """async (to) => {
  const connection = me.connect(to, { reliable: true });
  return await new Promise((resolve) => {
    connection.on('open', () => connection.send('hello'));
    connection.on('data', resolve);
  });
}"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub("--peerjs", "--peerjs-key", "k1", "--y-webrtc", "--relay-workers", "0") as one:
        yield one


Two = Callable[[str], list[Page]]


@pytest.fixture
def open_two(browser: Browser, hub: Hub) -> Iterator[Two]:
    """Opens two pages that know nothing but a library."""
    watched: list[Watched] = []

    def open_two(library: str) -> list[Page]:
        for _ in range(2):
            one = Watched(browser.new_context().new_page())
            watched.append(one)
            one.page.goto(f"http://localhost:{hub.port}/static/example/")
            one.page.evaluate(f"() => {{ {library} }}")
        return [one.page for one in watched]

    yield open_two
    for one in watched:
        one.page.context.close()


@pytest.fixture
def pages(open_two: Two) -> list[Page]:
    """Two with PeerJS."""
    return open_two((PACKAGES / "peerjs" / "dist" / "peerjs.min.js").read_text())


def test_peerjs_clients_meet_under_their_ids_and_talk(pages: list[Page], hub: Hub) -> None:
    ada, bob = pages
    assert ada.evaluate(JOIN, [hub.port, "k1", "ada"]) == "ada"
    # Without an id of its own, it asks for one.
    given = bob.evaluate(JOIN, [hub.port, "k1", ""])
    assert len(given) == 32
    assert bob.evaluate(TALK, "ada") == "echo hello"
    assert ada.evaluate("() => got") == ["hello"]
    assert ada.evaluate("() => errors") == bob.evaluate("() => errors") == []
    bob.evaluate("() => { me.connect('nobody'); }")
    bob.wait_for_function("() => errors.includes('peer-unavailable')", timeout=PATIENCE)


def test_peerjs_clients_are_told_of_a_wrong_key_and_of_an_id_that_is_taken(
    pages: list[Page], hub: Hub
) -> None:
    ada, bob = pages
    assert ada.evaluate(JOIN, [hub.port, "k1", "taken"]) == "taken"
    assert bob.evaluate(JOIN, [hub.port, "k1", "taken"]) == "error unavailable-id"
    assert bob.evaluate(JOIN, [hub.port, "wrong", "x"]) == "error invalid-key"


def test_y_webrtc_documents_meet(open_two: Two, hub: Hub) -> None:
    pages = open_two(bundle_y_webrtc())
    for page, word in zip(pages, ("ada", "bob"), strict=True):
        page.evaluate(WRITE, [f"ws://localhost:{hub.port}/yjs", word])
    for page in pages:
        page.wait_for_function("() => words.size === 2", timeout=PATIENCE, polling=50)
    for page in pages:
        page.evaluate("() => provider.destroy()")


def bundle_y_webrtc() -> str:
    """The library and what it stands on as one script."""
    source = (
        "import * as Y from 'yjs'; import { WebrtcProvider } from 'y-webrtc';"
        " Object.assign(globalThis, { Y, WebrtcProvider });"
    )
    return subprocess.run(
        [
            str(PACKAGES / ".bin" / "esbuild"),
            "--bundle",
            "--format=iife",
            "--define:global=globalThis",
            "--log-level=error",
        ],
        input=source,
        cwd=PACKAGES,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
