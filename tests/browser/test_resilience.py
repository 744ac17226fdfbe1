"""The call goes on while the way to the server does not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Enter
from tests.support.browser import (
    MEDIA_POLL,
    PATIENCE,
    Hub,
    Participant,
    Wire,
    running_hub,
    see_and_hear,
)

UFRAG = "call.connections()[0].localDescription.sdp.match(/ice-ufrag:(.*)/)[1]"


@pytest.fixture
def wire(hub: Hub) -> Iterator[Wire]:
    wire = Wire(hub.port)
    yield wire
    wire.close()


def _frames(one: Participant, name: str) -> float:
    return one.received()[name]["frames"]


def _wait_for_frames(one: Participant, name: str, more_than: float) -> None:
    for _ in range(PATIENCE // MEDIA_POLL):
        if _frames(one, name) > more_than:
            return
        one.page.wait_for_timeout(MEDIA_POLL)
    raise AssertionError(f"the picture of {name} stands still")


def test_a_cut_of_five_seconds_loses_nothing(enter: Enter, wire: Wire) -> None:
    ada, ben = enter("Ada", port=wire.port), enter("Ben")
    ada.wait_for_media({"Ben"})
    before = ada.state()
    say = "(call, page, text) => { call.sendChat(text); }"

    wire.cut()
    cut_at = time.monotonic()
    ada.page.locator(".banner", has_text="Your call goes on").wait_for()
    frames = _frames(ada, "Ben")
    ada.ask(say, "from within the cut")
    ben.ask(say, "while you were away")
    cleo = enter("Cleo")
    while time.monotonic() - cut_at < 5:
        ada.page.wait_for_timeout(200)
    assert _frames(ada, "Ben") > frames + 10  # media never took the wire

    wire.mend()
    ada.page.locator(".banner.good").wait_for()
    ada.wait("(call) => call.state.chat.length === 2")
    ben.wait("(call) => call.state.chat.length === 2")
    after = ada.state()
    assert after["self"] == before["self"]
    assert after["generation"] == 1  # resumed, not joined again
    assert [line["content"] for line in after["chat"]] == [
        "while you were away",
        "from within the cut",
    ]
    assert [one["name"] for one in after["participants"]] == ["Ben", "Cleo"]
    ada.wait_for_media({"Ben", "Cleo"})
    cleo.wait_for_media({"Ada", "Ben"})


def test_what_joining_ran_into_is_over_when_it_is(
    browser: Browser, hub: Hub, room: str, wire: Wire
) -> None:
    url = hub.url(wire.port, room=room, name="Ada")
    ada = Participant(browser.new_context(), url)
    ada.page.get_by_role("button", name="Join").wait_for()
    wire.cut()
    ada.page.evaluate("""() => {
      for (let times = 0; times < 2; times += 1) document.querySelector('form').requestSubmit();
    }""")
    trouble = ada.page.get_by_text("The server can’t be reached")
    trouble.wait_for()
    wire.mend()
    ada.joined()
    # A door that was closed meanwhile leads out of the call and back: the picture goes on.
    own = "() => !(document.querySelector('.tile.self video')?.paused ?? true)"
    ada.page.wait_for_function(own)
    ada.ask("(call) => call.dispatch({ type: 'connection', state: 'knocking', reason: '' })")
    ada.page.wait_for_selector(".waiting")
    ada.ask("""(call) => call.dispatch({ type: 'joined', participant: 'p_own', participants: [],
      room: { name: call.state.room, topology: 'mesh', locked: false },
      grants: { publish: true } })""")
    ada.joined().page.wait_for_function(own)
    ada.press("Leave call")
    ada.press("Join again")
    ada.page.get_by_label("Your name").wait_for()
    assert trouble.count() == 0
    ada.press("Join")
    ada.joined()
    ben = Participant(browser.new_context(), hub.url(room=room, name="Ben", join=1)).joined()
    assert [one["name"] for one in ben.state()["participants"]] == ["Ada"]
    for one in (ada, ben):
        one.page.context.close()


def test_a_restarted_server_gets_everyone_back(browser: Browser) -> None:
    with running_hub("--relay-workers", "0") as hub:
        ada, ben = (
            Participant(browser.new_context(), hub.url(room="again", name=name, join=1)).joined()
            for name in ("Ada", "Ben")
        )
        ada.wait_for_media({"Ben"})
        hub.stop()
        ada.page.locator(".banner", has_text="The server is restarting").wait_for()
        frames = _frames(ada, "Ben")
        _wait_for_frames(ada, "Ben", frames)
        ada.ask("(call) => { call.sendChat('first after'); }")
        hub.start()
        for one in (ada, ben):
            one.wait(
                "(call) => call.state.generation === 2 && call.state.participants.length === 1"
            )
        see_and_hear({"Ada": ada, "Ben": ben})
        # What was said while there was no server is said to whoever is back by then.
        assert [line["content"] for line in ada.state()["chat"]] == ["first after"]
        for one in (ada, ben):
            assert one.watched.complaints == []
            one.page.context.close()


def test_a_pair_whose_connection_is_lost_finds_another(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.wait_for_media({"Ben"})
    before = ada.ask(f"(call) => {UFRAG}")
    ada.ask("(call) => call.connections()[0].restartIce()")
    ada.wait(f"(call, page, before) => {UFRAG} !== before", before)
    see_and_hear({"Ada": ada, "Ben": ben})


@pytest.fixture
def short_hub() -> Iterator[Hub]:
    """Gives those up soon whom it does not hear."""
    with running_hub("--relay-workers", "0", "--resume-within", "2") as running:
        yield running


def test_a_call_goes_on_when_the_server_has_given_one_up(
    browser: Browser, short_hub: Hub, enter: Enter
) -> None:
    wire = Wire(short_hub.port)
    ada = enter("Ada", port=wire.port)
    ben = enter("Ben", port=short_hub.port)
    see_and_hear({"Ada": ada, "Ben": ben})
    before = ben.ask("(call) => call.connections().length")
    wire.cut()
    # The server has given Ada up; what she sends still arrives, and that is what is said.
    ben.page.locator(".tile.reconnecting", has_text="Ada").wait_for()
    assert "Reconnecting" in (ben.page.locator(".tile.reconnecting").text_content() or "")
    assert ben.page.locator(".toast", has_text="Ada left").count() == 0
    assert ben.ask("(call) => call.connections().length") == before
    ben.wait_for_media({"Ada"})
    ada.page.locator(".banner", has_text="Your call goes on").wait_for()
    ada.wait_for_media({"Ben"})
    wire.mend()
    ben.wait("(call) => call.state.participants.length === 1 && !call.state.participants[0].away")
    see_and_hear({"Ada": ada, "Ben": ben})
    assert ada.state()["generation"] == 2  # joined anew
    wire.close()


def test_who_is_really_gone_is_gone(browser: Browser, short_hub: Hub, enter: Enter) -> None:
    wire = Wire(short_hub.port)
    ada = enter("Ada", port=wire.port)
    ben = enter("Ben", port=short_hub.port)
    see_and_hear({"Ada": ada, "Ben": ben})
    wire.cut()
    ben.page.locator(".tile.reconnecting", has_text="Ada").wait_for()
    ada.page.close()
    ben.page.locator(".toast", has_text="Ada left").wait_for()
    assert ben.state()["participants"] == []
    assert ben.ask("(call) => call.connections().length") == 0
    wire.close()


def test_alone_nobody_is_told_that_a_call_goes_on(enter: Enter, wire: Wire) -> None:
    ada = enter("Ada", port=wire.port)
    wire.cut()
    banner = ada.page.locator(".banner:not([hidden])")
    banner.wait_for()
    assert banner.text_content() == "Connection to the server lost. Reconnecting…"
