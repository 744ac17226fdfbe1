"""A page that nobody looks at: title, icon, sounds."""

from __future__ import annotations

from tests.browser.conftest import Enter
from tests.support.browser import Participant

# Headless pages are never hidden by themselves.
HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
COUNT_TONES = """() => {
  globalThis.tones = 0;
  const { start } = AudioScheduledSourceNode.prototype;
  AudioScheduledSourceNode.prototype.start = function (...when) {
    globalThis.tones += 1;
    return start.apply(this, when);
  };
}"""
ICON = "() => document.querySelector('link[rel=icon]').href"


def hide(one: Participant, hidden: bool) -> None:
    one.page.evaluate(HIDE, hidden)


def test_a_message_and_a_knock_call_somebody_back(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.act("chat")
    ada.page.evaluate(COUNT_TONES)
    quiet = ada.page.evaluate(ICON)
    ben.ask("(call) => call.sendChat('seen')")
    ada.wait("(call) => call.state.chat.length === 1")
    assert ada.state()["unread"] == 0
    hide(ada, True)
    ben.ask("(call) => call.sendChat('unseen')")
    ada.page.wait_for_function("() => document.title.startsWith('(1) ')")
    ada.page.wait_for_function(f"(quiet) => ({ICON})() !== quiet", arg=quiet)
    assert ada.page.evaluate("() => tones") == 1
    ada.ask("(call) => call.setLobby(true)")
    knocking = enter()
    knocking.page.get_by_label("Your name").fill("Cleo")
    knocking.press("Join")
    ada.page.wait_for_function("() => document.title.startsWith('(2) Cleo would like to come in')")
    assert ada.page.evaluate("() => tones") == 3
    hide(ada, False)
    ada.page.wait_for_function("() => document.title.startsWith('(1) ')")
    knocking.press("Cancel")
    ada.page.wait_for_function("() => !document.title.startsWith('(')")
    ada.page.wait_for_function(f"(quiet) => ({ICON})() === quiet", arg=ada.page.evaluate(ICON))


def test_one_switch_for_the_sounds(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.page.evaluate(COUNT_TONES)
    ada.act("settings")
    ada.page.get_by_label("Sounds").uncheck()
    ada.page.keyboard.press("Escape")
    hide(ada, True)
    ben.ask("(call) => call.sendChat('unseen')")
    ada.page.wait_for_function("() => document.title.startsWith('(1) ')")
    assert ada.page.evaluate("() => tones") == 0
    assert ada.page.evaluate("() => JSON.parse(localStorage.getItem('tandem')).sounds") is False
