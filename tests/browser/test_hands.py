"""Hands and reactions: in order, on tiles and on the list, lowered by oneself or a moderator."""

from __future__ import annotations

from tests.browser.conftest import Enter


def test_hands_are_in_order_and_a_moderator_takes_them_down(enter: Enter) -> None:
    ada, ben, cleo = enter("Ada"), enter("Ben"), enter("Cleo")
    ben.page.keyboard.press("h")
    ada.page.locator(".tile-hand", has_text="✋ 1").wait_for()
    cleo.page.keyboard.press("h")
    ada.page.locator(".tile", has_text="Cleo").locator(".tile-hand", has_text="2").wait_for()
    ada.act("people")
    hands = ada.page.locator(".person-hand:visible")
    hands.nth(1).wait_for()
    assert sorted(hands.all_text_contents()) == ["✋ 1", "✋ 2"]
    tops = {
        name: ada.page.locator(".person", has_text=name).bounding_box() for name in ("Ada", "Ben")
    }
    assert tops["Ben"] is not None
    assert tops["Ada"] is not None
    assert tops["Ben"]["y"] < tops["Ada"]["y"]
    assert ben.page.get_by_role("button", name="Lower the hand of Cleo").count() == 0
    ada.page.get_by_role("button", name="Lower the hand of Ben").click()
    ben.wait("(call) => call.state.hand === 0")
    ada.page.locator(".tile", has_text="Cleo").locator(".tile-hand", has_text="1").wait_for()
    cleo.page.keyboard.press("h")
    ada.wait("() => document.querySelector('.tile-hand:not([hidden])') === null")


def test_a_reaction_floats_for_everyone_and_not_with_reduced_motion(enter: Enter) -> None:
    ada = enter("Ada")
    ben = enter("Ben")
    calm = enter("Cleo", context={"reduced_motion": "reduce"})
    ben.wait("(call) => call.state.participants.length === 2")
    ada.press("More")
    ada.page.get_by_role("menuitem", name="👏").click()
    for one in (ada, ben):
        one.page.locator(".reaction", has_text="👏").wait_for()
    calm.page.get_by_role("status").filter(has_text="Ada: 👏").wait_for(state="attached")
    assert calm.page.locator(".reaction").is_hidden()
    ben.page.wait_for_function("() => document.querySelector('.reaction') === null")
    # What is none of ours is not shown.
    ada.ask("(call) => call.data.send({ reaction: 'spam' }, { topic: 'reaction' })")
    ada.ask("(call) => call.react('❤️')")
    ben.page.locator(".reaction").wait_for()
    assert ben.page.locator(".reaction").all_text_contents() == ["❤️"]
