"""Before the call: the form, the preview, and what is said when a device does not work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright

from tests.browser.conftest import Enter
from tests.support.browser import Hub, Participant, launch

# The fake microphone beeps, too shortly for a selector that is looked for every half second.
BEEP = "() => document.querySelector('.preview .meter i.lit') !== null"


def test_the_address_fills_the_form(enter: Enter, room: str) -> None:
    page = enter(name="", room=room).page
    page.goto(page.url + "&name=Ada")
    assert page.get_by_label("Your name").input_value() == "Ada"
    assert page.get_by_label("Room", exact=True).input_value() == room
    page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    page.wait_for_function(BEEP)
    for device in ("Camera", "Microphone", "Speaker"):
        assert page.get_by_label(device, exact=True).locator("option").count() >= 1


def test_name_devices_and_choices_are_remembered(enter: Enter) -> None:
    one = enter()
    one.page.get_by_label("Your name").fill("Ada")
    one.press("Turn camera off")
    one.press("Join")
    one.joined()
    one.press("Leave call")
    one.page.get_by_role("heading", name="You left the call").wait_for()
    one.page.goto(one.page.url)
    assert one.page.get_by_label("Your name").input_value() == "Ada"
    one.page.get_by_role("button", name="Turn camera on").wait_for()


def test_a_form_that_is_not_complete_says_so(enter: Enter) -> None:
    page = enter().page
    page.get_by_role("button", name="Join").click()
    page.get_by_role("alert").filter(has_text="Please enter your name").wait_for()
    assert page.get_by_label("Your name").get_attribute("aria-invalid") == "true"
    assert page.evaluate("() => document.activeElement.id") == "name"


def test_joins_without_camera_and_microphone(enter: Enter) -> None:
    watcher = enter()
    watcher.page.get_by_label("Your name").fill("Watcher")
    watcher.press("Turn camera off")
    watcher.press("Turn microphone off")
    watcher.press("Join")
    watcher.joined()
    ada = enter("Ada")
    watcher.wait_for_media({"Ada"})
    ada.page.wait_for_selector(".tile.muted:not(.self):not(.picture):not(.waiting)")
    watcher.press("Turn camera on")
    ada.page.wait_for_selector(".tile.picture:not(.self)")


@pytest.fixture(scope="module")
def bare_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser on a machine without devices."""
    running = launch(playwright, devices=False)
    yield running
    running.close()


def _explains(one: Participant, title: str) -> None:
    one.page.get_by_role("alert").filter(has_text=title).wait_for()
    assert one.page.get_by_role("button", name="Try again").is_visible()
    assert one.watched.complaints == []
    one.page.get_by_label("Your name").fill("Ada")
    one.press("Join")
    one.joined()
    one.page.context.close()


def test_no_device(bare_browser: Browser, hub: Hub, room: str) -> None:
    context = bare_browser.new_context(permissions=["camera", "microphone"])
    _explains(Participant(context, hub.url(room=room)), "No camera or microphone found")


def test_permission_denied(browser: Browser, hub: Hub, room: str) -> None:
    _explains_after(
        browser, hub.url(room=room), "NotAllowedError", "Camera and microphone are blocked"
    )


def test_device_busy(browser: Browser, hub: Hub, room: str) -> None:
    _explains_after(
        browser,
        hub.url(room=room),
        "NotReadableError",
        "Camera and microphone are in use elsewhere",
    )


REFUSING = """{
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  globalThis.refusing = 'ERROR';
  navigator.mediaDevices.getUserMedia = (constraints) => globalThis.refusing
    ? Promise.reject(new DOMException('', globalThis.refusing)) : real(constraints);
}"""


def _explains_after(browser: Browser, url: str, error: str, title: str) -> None:
    """The browser refuses as it would on a person's machine; when it stops, all is well."""
    context = browser.new_context()
    context.add_init_script(REFUSING.replace("ERROR", error))
    one = Participant(context, url)
    one.page.get_by_role("alert").filter(has_text=title).wait_for()
    one.page.evaluate("() => { globalThis.refusing = ''; }")
    one.press("Try again")
    one.page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    one.page.locator(".problem").wait_for(state="hidden")
    one.page.evaluate("(error) => { globalThis.refusing = error; }", error)
    one.page.reload()
    _explains(one, title)


def test_one_device_refused_leaves_the_other(browser: Browser, hub: Hub, room: str) -> None:
    context = browser.new_context()
    context.add_init_script(
        """{
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = (constraints) => constraints.video
            ? Promise.reject(new DOMException('', 'NotReadableError')) : real(constraints);
        }"""
    )
    one = Participant(context, hub.url(room=room))
    one.page.wait_for_function(BEEP)
    _explains(one, "The camera is in use elsewhere")


def test_a_browser_that_keeps_nothing(browser: Browser, hub: Hub, room: str) -> None:
    context = browser.new_context()
    context.add_init_script(
        """for (const name of ['localStorage', 'sessionStorage']) {
          Object.defineProperty(globalThis, name, {
            get() { throw new DOMException('denied', 'SecurityError'); },
          });
        }"""
    )
    one = Participant(context, hub.url(room=room, name="Ada"))
    one.page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    one.press("Join")
    one.joined().press("Leave call")
    one.page.get_by_role("heading", name="You left the call").wait_for()
    assert one.ask("(call, page) => page.media.devices.camera.track") is None
    assert one.watched.complaints == []
    context.close()


def test_a_page_that_is_not_secure(browser: Browser, hub: Hub, room: str) -> None:
    url = hub.url(room=room).replace("localhost", "insecure.test")
    _explains(Participant(browser.new_context(), url), "This page can’t use camera or microphone")


def test_simplified_chinese(enter: Enter) -> None:
    one = enter("小明", context={"locale": "zh-CN"})
    assert one.page.evaluate("() => document.documentElement.lang") == "zh-Hans"
    one.page.get_by_role("button", name="离开通话").wait_for()
    one.page.keyboard.press("?")
    one.page.get_by_role("heading", name="键盘快捷键").wait_for()
