"""The chat: its end, what is new, what is private, links, and what was said before."""

from __future__ import annotations

from tests.browser.conftest import Enter

SAY = """(call, page, [count, more]) => {
  for (let index = 0; index < count; index += 1) {
    call.dispatch({ type: 'chat', from: 'p_x', user: 'Ben', content: `line ${index}`,
      timestamp: 200_000 * index, ...more });
  }
}"""
AT_END = """(lines) => {
  const log = document.querySelector('.chat-log');
  return log?.isConnected && log.querySelectorAll('.chat-line').length >= lines
    && log.scrollHeight - log.scrollTop - log.clientHeight < 2;
}"""


def test_the_chat_stays_at_its_end_when_a_keyboard_opens(enter: Enter) -> None:
    one = enter("Ada", context={"viewport": {"width": 390, "height": 844}})
    one.act("chat")
    one.ask(SAY, [40, {}])
    one.page.wait_for_function(AT_END, arg=40)
    one.page.set_viewport_size({"width": 390, "height": 480})  # as interactive-widget does
    one.page.wait_for_function(AT_END, arg=40)
    # The controls can be reached, whatever is open.
    leave = one.page.get_by_role("button", name="Leave call")
    covers = """(button) => {
      const { x, y, width, height } = button.getBoundingClientRect();
      return !button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    }"""
    assert leave.evaluate(covers) is False


def test_who_reads_further_up_is_told_what_is_new(enter: Enter) -> None:
    one = enter("Ada")
    one.act("chat")
    one.ask(SAY, [60, {}])
    one.page.wait_for_function(AT_END, arg=60)
    one.page.evaluate("() => { document.querySelector('.chat-log').scrollTop = 0; }")
    one.page.wait_for_timeout(100)
    one.ask(SAY, [2, {}])
    new = one.page.get_by_role("button", name="2 new")
    new.click()
    one.page.wait_for_function(AT_END, arg=62)
    assert new.is_hidden()


def test_private_lines_are_marked(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.act("chat")
    ben.wait("(call) => call.state.participants.length === 1")
    ben.ask("(call) => call.sendChat('for all')")
    ben.ask("(call) => call.sendChat('for you', call.state.participants[0].id)")
    ada.page.locator(".chat-line.private", has_text="for you").wait_for()
    assert ada.page.locator(".chat-line.private .chat-head").text_content() is not None
    assert "to you alone" in (ada.page.locator(".chat-line.private").text_content() or "")
    ben.act("chat")
    own = ben.page.locator(".chat-line.private", has_text="for you")
    own.wait_for()
    assert "to Ada alone" in (own.text_content() or "")


def test_links_end_where_the_sentence_goes_on(enter: Enter) -> None:
    one = enter("Ada")
    one.act("chat")
    content = "看https://example.org/a。(https://example.org/b_(c))"
    one.ask(SAY, [1, {"content": content}])
    links = one.page.locator(".chat-text a")
    links.first.wait_for()
    assert links.all_text_contents() == ["https://example.org/a", "https://example.org/b_(c)"]
    assert one.page.locator(".chat-text").text_content() == content


def test_who_comes_late_reads_what_was_said(enter: Enter) -> None:
    ada = enter("Ada")
    ada.ask("(call) => call.sendChat('before you came')")
    ada.wait("(call) => call.state.chat.length === 1")
    ben = enter("Ben")
    assert ben.state()["unread"] == 0
    ben.act("chat")
    ben.page.locator(".chat-line", has_text="before you came").wait_for()
    assert "Ada" in (ben.page.locator(".chat-line").text_content() or "")
