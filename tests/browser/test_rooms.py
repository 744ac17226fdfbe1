"""Rooms and names in any script, and links to them."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Browser

from tests.browser.conftest import Enter
from tests.support.browser import Hub, Participant


def test_a_room_in_any_script_is_shown_as_typed_and_meets_no_other(enter: Enter) -> None:
    ada = enter("Ada", room="会议室1")
    ben = enter("Ben", room="комната1")
    cleo = enter("Cleo", room="会议室1")
    ada.wait("(call) => call.state.participants.length === 1")
    cleo.wait("(call) => call.state.participants[0].name === 'Ada'")
    assert ben.state()["participants"] == []
    assert ada.page.locator(".room-name").text_content() == "会议室1"
    assert "会议室1" in ada.page.title()
    assert quote("会议室1") in ada.page.url
    ada.press("Leave call")
    ada.press("Join again")
    assert ada.page.get_by_label("Room", exact=True).input_value() == "会议室1"


def test_what_is_typed_is_the_room(enter: Enter) -> None:
    one = enter()
    one.page.get_by_label("Your name").fill("Ada")
    one.page.get_by_label("Room", exact=True).fill("Ada's room! 👩‍👩‍👧")
    one.press("Join")
    one.joined()
    assert one.page.locator(".room-name").text_content() == "Ada's room! 👩‍👩‍👧"
    other = Participant(one.page.context, one.page.url)
    assert other.page.get_by_label("Room", exact=True).input_value() == "Ada's room! 👩‍👩‍👧"
    other.page.close()


def test_a_name_is_cut_between_characters(enter: Enter) -> None:
    one = enter()
    one.page.get_by_label("Your name").fill("a" * 62 + "👩‍👩‍👧b")
    one.press("Join")
    one.joined()
    assert one.state()["name"] == "a" * 62


def test_a_link_that_cannot_be_read_says_so(browser: Browser, hub: Hub) -> None:
    for room in ("%E4%BC", "%00", quote("会" * 64)):
        one = Participant(
            browser.new_context(), f"http://localhost:{hub.port}/?room={room}&name=Ada&join=1"
        )
        one.page.get_by_role("alert").filter(has_text="can’t be read").wait_for()
        field = one.page.get_by_label("Room", exact=True)
        assert field.input_value() == ""
        assert field.get_attribute("aria-invalid") == "true"
        field.fill("会" * 64)
        one.press("Join")
        one.page.get_by_role("alert").filter(has_text="can’t be used").wait_for()
        assert one.state()["phase"] == "lobby"
        one.page.context.close()


def test_a_link_that_nobody_else_can_use_says_so(enter: Enter) -> None:
    one = enter("Ada", context={"permissions": ["clipboard-write"]})
    one.act("invite")
    one.page.locator(".toast", has_text="on this computer only").wait_for()
