"""By keyboard and by ear: shortcuts, names, focus, contrast."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Enter
from tests.support.browser import Participant

HERE = Path(__file__).parent
AUDIT = (HERE / "audit.js").read_text()
CONTRAST = (HERE / "contrast.js").read_text()
FOCUSED = "() => document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()"
SETTLED = """() => document.getAnimations()
  .every((one) => one.effect.getTiming().iterations === Infinity)"""


def audit(one: Participant) -> list[str]:
    # Colours on their way from one to the other are nobody's choice.
    one.page.wait_for_function(SETTLED)
    faults: list[str] = one.page.evaluate(AUDIT) + one.page.evaluate(CONTRAST)
    return faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_screen_can_be_used_without_seeing_it(enter: Enter, scheme: str, width: int) -> None:
    one = enter(context={"color_scheme": scheme, "viewport": {"width": width, "height": 844}})
    assert audit(one) == []
    one.press("Join")
    assert audit(one) == []
    one.page.get_by_label("Your name").fill("Ada")
    one.press("Join")
    one.joined()
    assert audit(one) == []
    one.ask(
        """(call) => call.dispatch({ type: 'chat', from: 'x', user: 'Ben',
          content: 'see https://example.org', timestamp: Date.now() })"""
    )
    for panel in ("chat", "people", "stats"):
        one.act(panel)
        one.page.wait_for_selector(f".panel-body.{panel}")
        assert audit(one) == []
    one.page.keyboard.press("Escape")
    for dialog in ("help", "settings"):
        one.act(dialog)
        one.page.wait_for_selector(f"dialog#{dialog}[open]")
        assert audit(one) == []
        one.page.keyboard.press("Escape")
    one.press("More")
    assert audit(one) == []
    one.page.keyboard.press("Escape")
    one.press("Leave call")
    one.page.get_by_role("heading", name="You left the call").wait_for()
    assert audit(one) == []


def test_shortcuts_act_but_not_while_typing(enter: Enter) -> None:
    one = enter("Ada")
    keyboard = one.page.keyboard
    keyboard.press("m")
    one.wait("(call, page) => !page.media.live('microphone')")
    keyboard.press("v")
    one.wait("(call, page) => !page.media.live('camera')")
    keyboard.press("c")
    one.wait("(call) => call.state.panel === 'chat'")
    keyboard.type("my voice? maybe")
    assert one.page.get_by_role("textbox").input_value() == "my voice? maybe"
    assert one.state()["panel"] == "chat"
    one.wait("(call, page) => !page.media.live('microphone')")
    keyboard.press("Escape")
    one.wait("(call) => call.state.panel === ''")
    assert one.page.evaluate("() => document.activeElement.ariaLabel") == "Chat"
    for key, panel in (("p", "people"), ("n", "stats")):
        keyboard.press(key)
        one.wait("(call, page, panel) => call.state.panel === panel", panel)
    keyboard.press("Control+m")  # not ours
    one.wait("(call, page) => !page.media.live('microphone')")
    keyboard.press("?")
    one.page.get_by_role("heading", name="Keyboard shortcuts").wait_for()
    one.page.get_by_label("Use single-key shortcuts").uncheck()
    keyboard.press("Escape")
    keyboard.press("c")
    assert one.state()["panel"] == "stats"


@pytest.mark.parametrize("label", ["Turn microphone on", "Leave call", "Chat", "Pin You"])
def test_the_space_bar_talks_while_it_is_held_wherever_the_focus_is(
    enter: Enter, label: str
) -> None:
    one = enter("Ada")
    one.press("Turn microphone off")  # which leaves the focus there, as joining does
    one.wait("(call, page) => !page.media.live('microphone')")
    one.page.get_by_role("button", name=label, exact=True).focus()
    for _ in range(2):
        one.page.keyboard.down(" ")
        one.wait("(call, page) => page.media.live('microphone')")
        one.page.keyboard.up(" ")
        one.wait("(call, page) => !page.media.live('microphone')")
        one.pause(50)  # what a button does, it does when the key comes up
        assert not one.ask("(call, page) => page.media.live('microphone')")
    state = one.state()
    assert (state["phase"], state["panel"], state["pinned"]) == ("call", "", [])
    remembered = "() => JSON.parse(localStorage.getItem('tandem')).microphoneOn"
    assert one.page.evaluate(remembered) is False  # a key is no wish for the next call


def test_the_space_bar_is_let_go_when_the_window_is(enter: Enter) -> None:
    one = enter("Ada")
    one.press("Turn microphone off")
    one.page.keyboard.down(" ")
    one.wait("(call, page) => page.media.live('microphone')")
    one.page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    one.wait("(call, page) => !page.media.live('microphone')")
    one.page.keyboard.up(" ")
    assert not one.ask("(call, page) => page.media.live('microphone')")


def test_the_space_bar_leaves_fields_and_an_open_microphone_alone(enter: Enter) -> None:
    one = enter("Ada")
    one.press("Turn microphone off")
    one.act("people")
    switch = one.page.get_by_label("Waiting room")
    switch.focus()
    one.page.keyboard.down(" ")
    assert not one.ask("(call, page) => page.media.live('microphone')")
    one.page.keyboard.up(" ")
    one.wait("(call) => call.state.lobby")
    one.act("chat")
    one.page.wait_for_function("() => document.activeElement.id === 'chat-input'")
    one.page.keyboard.type("a b")
    assert one.page.get_by_role("textbox").input_value() == "a b"
    assert not one.ask("(call, page) => page.media.live('microphone')")
    one.press("Turn microphone on")
    one.wait("(call, page) => page.media.live('microphone')")
    one.page.keyboard.press(" ")
    assert one.ask("(call, page) => page.media.live('microphone')")


def test_the_menu_is_a_menu(enter: Enter) -> None:
    one = enter("Ada")
    focused = "() => document.activeElement.textContent.trim()"
    more = one.page.get_by_role("button", name="More", exact=True)
    more.focus()
    one.page.keyboard.press("Enter")
    assert more.get_attribute("aria-expanded") == "true"
    first = one.page.evaluate(focused)
    one.page.keyboard.press("ArrowDown")
    assert one.page.evaluate(focused) != first
    one.page.keyboard.press("End")
    assert "Keyboard shortcuts" in one.page.evaluate(focused)
    one.page.keyboard.press("ArrowDown")
    assert one.page.evaluate(focused) == first
    one.page.keyboard.press("Escape")
    assert more.get_attribute("aria-expanded") == "false"
    assert one.page.evaluate("() => document.activeElement.ariaLabel") == "More"


def test_the_tab_key_reaches_every_control(enter: Enter) -> None:
    one = enter("Ada")
    seen: set[str] = set()
    for _ in range(30):
        one.page.keyboard.press("Tab")
        seen.add(one.page.evaluate(FOCUSED))
    expected = {
        "Turn microphone off",
        "Turn camera off",
        "Share screen",
        "More",
        "Leave call",
        "Chat",
        "Pin You",
    }
    assert expected <= seen


def test_arrivals_are_announced(enter: Enter) -> None:
    ada = enter("Ada")
    enter("Ben")
    ada.page.get_by_role("status").filter(has_text="Ben joined").wait_for()
    assert (
        ada.page.get_by_role("status").filter(has_text="Ben joined").get_attribute("aria-live")
        == "polite"
    )
