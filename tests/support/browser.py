"""Chromium driven by Playwright, the server it talks to, and a wire that can be cut."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
PATIENCE = 45_000
"""Milliseconds to wait for a condition: a busy machine is slow, and slow is no failure."""

MEDIA_POLL = 150
"""Milliseconds between two looks at what a page has received."""

# Without these, Chromium looks for its maker's services, which are not there.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages in the background are participants here: their timers must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Without a multicast DNS responder, candidates that hide the address cannot be resolved.
    "--disable-features=WebRtcHideLocalIpsWithMdns,Translate",
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
    "--auto-select-desktop-capture-source=Entire screen",
    "--lang=en",
)
FAKE_DEVICES = (
    "--use-fake-device-for-media-stream=fps=15",
    "--use-fake-ui-for-media-stream",
)


def launch(playwright: Playwright, *, devices: bool = True, flags: tuple[str, ...] = ()) -> Browser:
    """A Chromium with fake devices that nobody has to allow, or with none at all."""
    args = [*QUIET, *(FAKE_DEVICES if devices else ()), *flags]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=args)


ON_PURPOSE = ("WebSocket connection to", "net::ERR_CONNECTION", "net::ERR_SOCKET_NOT_CONNECTED")


class Watched:
    """A page whose every complaint is kept: `complaints` has to be empty in the end."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        # A server that is down, or a wire that is cut, on purpose is reported by the browser
        # itself; nobody can keep it from doing so.
        if any(text in message.text for text in ON_PURPOSE):
            return
        if message.type in ("error", "warning") or "Content Security Policy" in message.text:
            self.complaints.append(f"{message.type}: {message.text}")


class Hub:
    """`python -m signaling` in a process of its own."""

    def __init__(self, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.arguments = arguments
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "signaling", "--port", str(self.port), *self.arguments],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            threading.Event().wait(0.05)
        raise RuntimeError("the server does not listen")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def url(self, port: int | None = None, **query: str | int) -> str:
        return f"http://localhost:{port or self.port}/?{urlencode(query)}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Wire:
    """A TCP proxy on a thread. `cut` ends every connection and refuses new ones until `mend`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._whole = True
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        with self._lock:
            self._whole = False
            for one in list(self._peers):
                self._end(one)

    def mend(self) -> None:
        with self._lock:
            self._whole = True

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    self._serve(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered

    def _serve(self, ready: socket.socket) -> None:
        if ready is self._listener:
            self._accept()
        elif ready in self._peers:
            try:
                data = ready.recv(65536)
                if data:
                    self._peers[ready].sendall(data)
                    return
            except OSError:
                pass
            self._end(ready)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if not self._whole:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self.target))
        self._peers[near], self._peers[far] = far, near
        for one in (near, far):
            self._selector.register(one, selectors.EVENT_READ)

    def _end(self, one: socket.socket) -> None:
        other = self._peers.pop(one, None)
        for half in (one, other):
            if half is not None and half.fileno() >= 0:
                self._peers.pop(half, None)
                self._selector.unregister(half)
                half.close()


class Person(ABC):
    """Someone in a call, in whichever browser: a page, and what it tells about its media."""

    @abstractmethod
    def ask(self, function: str, argument: object = None) -> Any:
        """The result of a JavaScript function of the page's `call`, its `page`, and `argument`."""

    @abstractmethod
    def wait(self, function: str, argument: object = None) -> None:
        """Waits until such a function, which has to be synchronous, returns what is true."""

    @abstractmethod
    def pause(self, milliseconds: int) -> None:
        """Lets the page go on."""

    def state(self) -> dict[str, Any]:
        """The reducer's state."""
        result: dict[str, Any] = self.ask("(call) => structuredClone(call.state)")
        return result

    def act(self, action: str) -> None:
        self.ask("(call, page, action) => page.act(action)", action)

    def received(self) -> dict[str, dict[str, float]]:
        """By name of the other: frames decoded, audio energy, packets, picture height, and frames
        of a shared screen, on the path that is seen and heard now."""
        result: dict[str, dict[str, float]] = self.ask(RECEIVED)
        return result

    def wait_for_media(
        self,
        names: Iterable[str],
        *,
        video: bool = True,
        since: dict[str, dict[str, float]] | None = None,
    ) -> None:
        """Waits until pictures and sound of each of `names` have grown, since `since` or now."""
        wanted = set(names)
        before = self.received() if since is None else since
        for _ in range(PATIENCE // MEDIA_POLL):
            now = self.received()
            if wanted <= now.keys() and all(
                (not video or now[name]["frames"] > before.get(name, {}).get("frames", 0) + 3)
                and now[name]["energy"] > before.get(name, {}).get("energy", 0)
                for name in wanted
            ):
                return
            self.pause(MEDIA_POLL)
        raise AssertionError(f"no media from all of {wanted}: {before} then {self.received()}")


class Participant(Person):
    """Someone in a call, in Chromium."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.watched = Watched(context.new_page())
        self.page = self.watched.page
        self.page.set_default_timeout(PATIENCE)
        self.page.goto(url)

    def joined(self) -> Participant:
        self.page.wait_for_selector(".call .stage")
        return self

    def ask(self, function: str, argument: object = None) -> Any:
        return self.page.evaluate(in_call(function), argument)

    def wait(self, function: str, argument: object = None) -> None:
        self.ask("(call, page) => { globalThis.tandem = page; }")
        self.page.wait_for_function(
            f"(argument) => ({function})(tandem.call, tandem, argument)",
            arg=argument,
            timeout=PATIENCE,
            polling=100,
        )

    def pause(self, milliseconds: int) -> None:
        self.page.wait_for_timeout(milliseconds)

    def press(self, label: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=label).first.click()

    def close(self) -> None:
        self.page.close()


def in_call(function: str) -> str:
    """A function of an argument that calls `function` with the page's `call`, its `page` and it."""
    return f"""async (argument) => {{
      const {{ page }} = await import('/static/js/main.js');
      return await ({function})(page.call, page, argument);
    }}"""


def see_and_hear(everyone: Mapping[str, Person]) -> None:
    """Waits until all of them have received more of all others than when this began."""
    before = {name: one.received() for name, one in everyone.items()}
    for name, one in everyone.items():
        one.wait_for_media(everyone.keys() - {name}, since=before[name])


RECEIVED = """async (call) => {
  const result = {};
  for (const { id, name } of call.state.participants) {
    const one = { frames: 0, energy: 0, packets: 0, height: 0, screen: 0 };
    for (const [source, { receiver }] of Object.entries(call.tracksOf(id))) {
      for (const entry of (await receiver.getStats()).values()) {
        if (entry.type !== 'inbound-rtp') continue;
        one.packets += entry.packetsReceived;
        if (source === 'screen') one.screen += entry.framesDecoded ?? 0;
        else if (entry.kind === 'video') {
          one.frames += entry.framesDecoded ?? 0;
          one.height = entry.frameHeight ?? 0;
        } else one.energy += entry.totalAudioEnergy ?? 0;
      }
    }
    result[name] = one;
  }
  return result;
}"""


@contextlib.contextmanager
def running_hub(*arguments: str) -> Iterator[Hub]:
    hub = Hub(*arguments)
    try:
        yield hub
    finally:
        hub.stop()
