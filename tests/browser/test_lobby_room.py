"""Coming in where somebody has to open: knocking, being declined or kept out, and invitations."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from signaling.access import tokens
from signaling.protocol.messages import Grant
from tests.browser.conftest import Enter
from tests.support.browser import Hub, Participant, Wire, running_hub, see_and_hear

DEMO = (Path(__file__).parent / "demo.js").read_text()
AUDIT = (Path(__file__).parent / "audit.js").read_text()
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
PICTURES = os.environ.get("SCREENSHOTS")
SECRET = "a-secret-that-is-long-enough-for-hs256"
WAITING = "Waiting for someone to let you in"
INSIDE = """() => [...document.querySelectorAll(
    '.knock-card, .knock-card button, .people-controls, .waiting button')]
  .filter((one) => one.checkVisibility()).every((one) => {
    const { left, right, top, bottom } = one.getBoundingClientRect();
    return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  }) && document.documentElement.scrollWidth <= innerWidth"""


@pytest.fixture
def knock(enter: Enter) -> Any:
    def knock(name: str, **more: Any) -> Participant:
        one = enter(light=True, **more)
        one.page.get_by_label("Your name").fill(name)
        one.press("Join")
        one.page.get_by_role("heading", name=WAITING).wait_for()
        return one

    return knock


def open_lobby(moderator: Participant) -> None:
    moderator.act("people")
    moderator.page.get_by_label("Waiting room").check()
    moderator.page.locator(".toast", has_text="The waiting room is on").wait_for()
    moderator.act("close")


def card(moderator: Participant, name: str) -> Any:
    return moderator.page.get_by_role("region", name=f"{name} would like to come in")


def test_one_who_is_declined_reads_so_knocks_again_and_is_let_in(enter: Enter, knock: Any) -> None:
    ada = enter("Ada")
    open_lobby(ada)
    eve = knock("Eve")
    eve.page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    asked = card(ada, "Eve")
    asked.get_by_role("button", name="Decline").click()
    eve.page.get_by_role("alert").filter(has_text="You weren’t let in this time").wait_for()
    eve.press("Join")
    asked.wait_for()
    said = ada.page.locator("[role=status]", has_text="Eve would like to come in")
    assert said.get_attribute("aria-live") == "polite"
    asked.get_by_role("button", name="Let in").focus()
    ada.page.keyboard.press("Enter")
    eve.joined()
    asked.wait_for(state="hidden")
    # The focus did not get lost with the card.
    ada.page.wait_for_function("() => document.activeElement.ariaLabel?.startsWith('People')")
    see_and_hear({"Ada": ada, "Eve": eve})


def test_several_are_listed_and_let_in_together(enter: Enter, knock: Any) -> None:
    ada = enter("Ada")
    open_lobby(ada)
    waiting = [knock(name) for name in ("Eve", "Finn")]
    ada.page.get_by_role("region", name="Eve and 1 more would like to come in").wait_for()
    ada.press("See who")
    ada.page.get_by_role("button", name="Let Finn in").wait_for()
    ada.page.get_by_role("button", name="People, 1 in the call, 2 waiting").wait_for()
    ada.press("Let all in")
    for one in waiting:
        one.joined()
    ada.page.locator(".knock-list").wait_for(state="hidden")


def test_one_who_waits_knocks_again_after_a_lost_connection_and_may_give_up(
    enter: Enter, knock: Any, hub: Hub
) -> None:
    ada = enter("Ada")
    open_lobby(ada)
    wire = Wire(hub.port)
    try:
        eve = knock("Eve", port=wire.port)
        card(ada, "Eve").wait_for()
        wire.cut()
        eve.page.get_by_text("The connection is lost").wait_for()
        card(ada, "Eve").wait_for(state="hidden")
        wire.mend()
        card(ada, "Eve").wait_for()
        eve.press("Cancel")
        card(ada, "Eve").wait_for(state="hidden")
        assert eve.page.get_by_label("Your name").is_visible()
        assert eve.page.locator("#form-error").inner_text() == ""
    finally:
        wire.close()


def test_one_who_may_not_moderate_reads_so_and_who_is_kept_out_stays_out(enter: Enter) -> None:
    ada, mallory = enter("Ada"), enter("Mallory")
    mallory.act("lobby")
    mallory.page.locator(".toast", has_text="Only moderators may do that").wait_for()
    ada.act("people")
    ada.press("Remove Mallory from the call")
    ada.page.get_by_label("Keep them out").check()
    ada.page.get_by_role("button", name="Remove", exact=True).click()
    mallory.page.get_by_role("heading", name="You were removed from the call").wait_for()
    mallory.press("Join again")
    mallory.press("Join")
    mallory.page.get_by_role("alert").filter(has_text="not allowed to enter").wait_for()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Hub]:
    turn = ("--turn-url", "turn:127.0.0.1:9", "--turn-secret", "shared")
    with running_hub("--relay-workers", "0", "--api-key", f"key:{SECRET}", *turn) as running:
        yield running


def make_token(room: str, identity: str, grant: Grant | None = None) -> str:
    """A token that moderates, unless it says otherwise."""
    return tokens.mint(
        ("key", SECRET),
        room=room,
        identity=identity,
        wall=time.time(),
        ttl=600,
        grant=grant or Grant(moderate=True),
    )


def test_one_who_may_only_watch_gives_the_devices_back(
    browser: Browser, guarded: Hub, room: str
) -> None:
    token = make_token(room, "eve", Grant(publish=False))
    eve = Participant(
        browser.new_context(), f"{guarded.url(room=room, name='Eve', join=1)}#token={token}"
    ).joined()
    told = eve.page.locator(".toast", has_text="You may watch and listen")
    told.wait_for()
    eve.wait("(call, page) => page.media.stream.getTracks().length === 0")
    assert not eve.page.get_by_role("button", name="Turn microphone on").is_visible()
    eve.ask("(call, page) => page.notices.clear()")
    eve.page.keyboard.press("m")
    told.wait_for()
    assert eve.ask("(call, page) => page.media.stream.getTracks().length") == 0
    assert eve.watched.complaints == []
    eve.page.context.close()


def renews_its_turn_credentials(one: Participant) -> None:
    """When half of their life is over, those of connections that stand are new, too."""
    one.wait("(call) => call.connections().length === 2")
    old = one.state()["iceServers"]
    one.page.evaluate("() => { const now = Date.now; Date.now = () => now() + 24 * 3600_000; }")
    one.wait("(call, page, old) => call.state.iceServers[0].username !== old", old[0]["username"])
    used = one.ask(
        "(call) => call.connections().map((pc) => pc.getConfiguration().iceServers[0].username)"
    )
    assert set(used) == {one.state()["iceServers"][0]["username"]}


def copied(page: Page) -> str:
    page.locator(".toast", has_text="Invite link copied. It works until").wait_for()
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text


def test_an_invitation_opens_the_door_and_does_not_stay_in_the_address(
    browser: Browser, guarded: Hub, room: str
) -> None:
    permissions = ["clipboard-read", "clipboard-write", "camera", "microphone"]
    ada = Participant(
        browser.new_context(permissions=permissions),
        f"{guarded.url(room=room, name='Ada', join=1)}#token={make_token(room, 'ada')}",
    ).joined()
    assert "token" not in ada.page.url
    ada.act("invite")
    link = copied(ada.page)
    assert "#token=" in link

    bob = Participant(browser.new_context(), guarded.url(room=room, name="Bob"))
    bob.press("Join")
    bob.page.get_by_role("alert").filter(has_text="This room needs an invitation").wait_for()
    # The full link, pasted into the same tab.
    bob.page.evaluate("(hash) => { location.hash = hash; }", link.partition("#")[2])
    bob.page.wait_for_function("() => !location.href.includes('token')")
    bob.press("Join")
    bob.joined()
    bob.page.reload()
    bob.joined()
    assert "token" not in bob.page.url
    assert not bob.state()["grants"]["moderate"]
    assert (
        bob.page.evaluate(
            "() => performance.getEntriesByType('resource').map((one) => one.name)"
            ".filter((name) => name.includes('token'))"
        )
        == []
    )

    eve = Participant(browser.new_context(), link)
    assert "token" not in eve.page.url
    eve.page.get_by_label("Your name").fill("Eve")
    eve.press("Join")
    eve.joined()
    renews_its_turn_credentials(eve)
    complaints = [line for one in (ada, bob, eve) for line in one.watched.complaints]
    for one in (ada, bob, eve):
        one.page.context.close()
    assert complaints == []


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_the_screens_of_the_door(
    browser: Browser, hub: Hub, room: str, size: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}
        if size == "desktop"
        else {"width": 390, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    one = Participant(context, hub.url(room=f"design-{room}", name="Ada Lovelace"))
    page = one.page
    faults: list[str] = []

    def keep(name: str) -> None:
        page.mouse.move(0, 0)
        page.wait_for_function(INSIDE)
        faults.extend(page.evaluate(AUDIT) + page.evaluate(CONTRAST))
        if PICTURES is not None:
            page.wait_for_timeout(500)
            page.screenshot(path=Path(PICTURES) / f"door-{name}-{size}-{scheme}.png")

    def fill(others: int) -> None:
        names = ["Ben Okafor", "Clara Weiss", "Dmitri Petrov"][:others]
        drawn = {"names": names, "silent": [], "talking": [], "screen": -1}
        page.evaluate(DEMO, {**drawn, "dark": scheme == "dark"})

    page.wait_for_function("() => document.querySelector('.preview video').videoWidth > 0")
    fill(0)
    one.ask(
        "(call) => { call.dispatch({ type: 'joining', room: 'design-review', name: 'Ada',"
        " relayForced: false });"
        " call.dispatch({ type: 'connection', state: 'knocking', reason: '' }); }"
    )
    page.get_by_role("heading", name=WAITING).wait_for()
    keep("waiting")
    one.ask(
        "(call) => { call.dispatch({ type: 'lobby' }); page.lobby.refuse('declined'); }".replace(
            "(call)", "(call, page)"
        )
    )
    keep("declined")
    one.press("Join")
    one.joined()
    fill(3)
    one.ask(
        "(call, page) => { page.notices.clear(); call.dispatch({ type: 'knock', knock: 'k_1',"
        " name: 'Grace Hopper' }); }"
    )
    page.locator(".knock-card").wait_for()
    keep("knock")
    one.ask(
        "(call) => { for (const [knock, name] of [['k_2', 'Kaori Sato'], ['k_3', 'Liam Byrne']])"
        " call.dispatch({ type: 'knock', knock, name }); }"
    )
    keep("knocks")
    one.act("chat")
    keep("chat")
    one.act("people")
    page.locator(".knock-list").wait_for()
    keep("people")
    page.get_by_role("button", name="Remove Ben Okafor from the call").click()
    page.locator("dialog#ask").wait_for()
    keep("remove")
    complaints = one.watched.complaints
    context.close()
    assert complaints == []
    assert faults == []
