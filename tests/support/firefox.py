"""Firefox driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi), which it speaks itself:
one process with fake devices, and pages in it that keep each of their complaints.

The connection lives on a thread of its own, because Playwright's synchronous interface, with
which the same tests drive Chromium, occupies the event loop of theirs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.support.browser import Person, in_call
from tests.support.components import COMPONENTS

T = TypeVar("T")
START_WITHIN = 60.0
"""Seconds until the browser has to listen."""

PATIENCE = 45.0
"""Seconds to wait for a condition, or for an answer of the browser: slow is no failure."""

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes: a picture of a page comes in one message."""

MIDDLE = """(name) => {
  const found = [...document.querySelectorAll('button')].find((one) => one.checkVisibility()
    && (one.ariaLabel ?? one.textContent).trim() === name);
  if (!found) return null;
  const { left, top, width, height } = found.getBoundingClientRect();
  return [Math.round(left + width / 2), Math.round(top + height / 2)];
}"""

Preferences = dict[str, bool | int | str]
PREFERENCES: Preferences = {
    # Devices that are not there, which nobody has to allow.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.block-webaudio": False,
    # Peers on this machine meet on 127.0.0.1, which Firefox would not gather otherwise, and under
    # their addresses: nobody here resolves names of multicast DNS.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Pages in the background are participants here: their timers must not be slowed down.
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "dom.suspend_inactive.enabled": False,
    "widget.windows.window_occlusion_tracking.enabled": False,
    # No page but ours, no word to anybody.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.translations.enable": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "network.trr.mode": 5,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.server": "data:,",
    "intl.accept_languages": "en",
}


class FirefoxError(Exception):
    """The browser refused a command, or a page threw."""


class Firefox:
    """A browser without a window. Close it, or use `running_firefox`."""

    def __init__(self, preferences: Preferences | None = None) -> None:
        command = COMPONENTS["firefox-esr"].find()
        if command is None:
            raise FirefoxError("firefox-esr is missing")
        self._profile = Path(tempfile.mkdtemp(prefix="firefox-"))
        _write_preferences(self._profile, PREFERENCES | (preferences or {}))
        self._process = subprocess.Popen(
            [
                *(command, "--headless", "--no-remote", "--remote-debugging-port=0"),
                *("--profile", str(self._profile)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._sent = 0
        try:
            self._run(self._connect(self._find_address()))
        except BaseException:
            self.close()
            raise

    def open(self, url: str, *scripts: str, size: tuple[int, int] = (1280, 800)) -> Page:
        """A page with storage of its own. `scripts` are functions that it runs before its own."""
        user_context = self.command("browser.createUserContext")["userContext"]
        # A window, because a tab in the background is not drawn.
        created = self.command("browsingContext.create", type="window", userContext=user_context)
        page = Page(self, created["context"], user_context)
        self._pages[page.context] = page
        for script in scripts:
            self.command(
                "script.addPreloadScript", functionDeclaration=script, contexts=[page.context]
            )
        page.resize(*size)
        page.goto(url)
        return page

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carries out a command of the protocol and returns its result."""
        return self._run(self._command(method, parameters))

    def forget(self, page: Page) -> None:
        self._pages.pop(page.context, None)

    def close(self) -> None:
        """Ends the process and removes its profile."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._thread.is_alive():
            with contextlib.suppress(AttributeError):
                self._run(self._disconnect())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * PATIENCE)

    def _find_address(self) -> str:
        assert self._process.stderr is not None
        impatient = threading.Timer(START_WITHIN, self._process.kill)
        impatient.start()
        for line in self._process.stderr:
            found = re.search(r"WebDriver BiDi listening on (ws://\S+)", line)
            if found:
                impatient.cancel()
                # What else it says is nobody's business, but has to be read.
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return found[1]
        impatient.cancel()
        raise FirefoxError(f"it ended with {self._process.wait()}")

    async def _connect(self, address: str) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(
            f"{address}/session", max_msg_size=LARGEST_ANSWER
        )
        self._reader = asyncio.create_task(self._read())
        await self._command("session.new", {"capabilities": {}})
        await self._command("session.subscribe", {"events": ["log.entryAdded"]})

    async def _disconnect(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        await self._http.close()

    async def _command(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._sent += 1
        number = self._sent
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answers[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        finally:
            del self._answers[number]

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if data.get("method") == "log.entryAdded":
                page = self._pages.get(data["params"]["source"].get("context", ""))
                if page is not None:
                    page.note(data["params"])
            elif (answer := self._answers.get(data.get("id"))) and not answer.done():
                if data["type"] == "success":
                    answer.set_result(data["result"])
                else:
                    answer.set_exception(FirefoxError(f"{data['error']}: {data['message']}"))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(FirefoxError("the connection to the browser is gone"))


class Page:
    """One page. Everything of its console is in `said`; errors and warnings in `complaints`."""

    def __init__(self, browser: Firefox, context: str, user_context: str) -> None:
        self.browser = browser
        self.context = context
        self._user_context = user_context
        self.said: list[str] = []
        self.complaints: list[str] = []

    def note(self, entry: dict[str, Any]) -> None:
        line = f"{entry['level']}: {entry['text']}"
        self.said.append(line)
        if entry["level"] in ("error", "warn"):
            self.complaints.append(line)

    def goto(self, url: str) -> None:
        self.browser.command(
            "browsingContext.navigate", context=self.context, url=url, wait="complete"
        )

    def resize(self, width: int, height: int) -> None:
        self.browser.command(
            "browsingContext.setViewport",
            context=self.context,
            viewport={"width": width, "height": height},
        )

    def evaluate(self, function: str, argument: object = None) -> Any:
        """What a function of the page returns, as JSON can carry it; the page takes it for
        something that the person wanted."""
        function = function.strip().removesuffix(";")  # as a formatter ends an expression
        answer = self.browser.command(
            "script.callFunction",
            functionDeclaration=f"""async (text) => {{
              try {{
                return JSON.stringify([await ({function})(JSON.parse(text)) ?? null]);
              }} catch (error) {{
                return JSON.stringify([null, String(error)]);
              }}
            }}""",
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise FirefoxError(answer["exceptionDetails"]["text"])
        result, *error = json.loads(answer["result"]["value"])
        if error:
            raise FirefoxError(error[0])
        return result

    def wait_for(self, function: str, argument: object = None) -> None:
        """Waits until a function of the page returns what is true."""
        until = time.monotonic() + PATIENCE
        while not self.evaluate(
            f"async (argument) => Boolean(await ({function})(argument))", argument
        ):
            if time.monotonic() > until:
                raise FirefoxError(f"still not: {function}")
            self.pause(0.1)

    def pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def type(self, text: str) -> None:
        """Presses keys, one after the other."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._perform({"type": "key", "id": "keyboard", "actions": keys})

    def hold(self, key: str) -> None:
        """Presses a key and keeps it down, until `let_go`."""
        actions = [{"type": "keyDown", "value": key}]
        self._perform({"type": "key", "id": "keyboard", "actions": actions})

    def let_go(self, key: str) -> None:
        actions = [{"type": "keyUp", "value": key}]
        self._perform({"type": "key", "id": "keyboard", "actions": actions})

    def press(self, name: str) -> None:
        """Presses the mouse in the middle of the first button of this name, once it is shown."""
        # By a script, because the browser's own search by name takes up to 15 seconds while a
        # page moves.
        self.wait_for(f"(name) => ({MIDDLE})(name) !== null", name)
        x, y = self.evaluate(MIDDLE, name)
        actions = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._perform({"type": "pointer", "id": "mouse", "actions": actions})

    def screenshot(self) -> bytes:
        """A PNG picture of what the window shows."""
        answer = self.browser.command("browsingContext.captureScreenshot", context=self.context)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        self.browser.forget(self)
        self.browser.command("browsingContext.close", context=self.context)
        self.browser.command("browser.removeUserContext", userContext=self._user_context)

    def _perform(self, source: dict[str, Any]) -> None:
        self.browser.command("input.performActions", context=self.context, actions=[source])


class FirefoxParticipant(Person):
    """Someone in a call, in Firefox."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def joined(self) -> FirefoxParticipant:
        self.page.wait_for("() => document.querySelector('.call .stage')?.isConnected")
        return self

    def ask(self, function: str, argument: object = None) -> Any:
        return self.page.evaluate(in_call(function), argument)

    def wait(self, function: str, argument: object = None) -> None:
        self.page.wait_for(in_call(function), argument)

    def pause(self, milliseconds: int) -> None:
        self.page.pause(milliseconds / 1000)

    def press(self, label: str) -> None:
        self.page.press(label)


def _write_preferences(profile: Path, preferences: Preferences) -> None:
    lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items())
    (profile / "user.js").write_text("".join(lines))


@contextlib.contextmanager
def running_firefox(preferences: Preferences | None = None) -> Iterator[Firefox]:
    firefox = Firefox(preferences)
    try:
        yield firefox
    finally:
        firefox.close()
