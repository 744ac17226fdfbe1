"""People really see and hear each other, and the controls do what they say."""

from __future__ import annotations

import re

from playwright.sync_api import Browser

from tests.browser.conftest import Enter
from tests.support.browser import Hub, Participant, see_and_hear

LINES = "(call) => call.connections().map((pc) => pc.getTransceivers().length)"
SCREEN_SHOWN = "() => document.querySelector('[data-source=screen] video.shown')?.videoWidth > 0"
REFUSING_TO_PLAY = """{
  globalThis.refusing = true;
  const real = HTMLMediaElement.prototype.play;
  HTMLAudioElement.prototype.play = function () {
    return globalThis.refusing
      ? Promise.reject(new DOMException('', 'NotAllowedError')) : real.call(this);
  };
}"""
BOTH_SHOWN = """() => [...document.querySelectorAll('video')]
  .filter((video) => video.videoWidth > 0).length === 2"""


def test_two_see_and_hear_each_other(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    see_and_hear({"Ada": ada, "Ben": ben})
    # A good connection is not worth a word on a face; the panel says how it goes, and which way.
    ada.wait("(call) => call.history.of(call.state.participants[0].id).length > 2")
    assert not ada.page.locator(".tile:not(.self) .tile-state").is_visible()
    ada.act("stats")
    ada.page.locator(".stats-path", has_text="Direct").wait_for()
    ada.act("close")
    # What is decoded is also drawn.
    drawn = ben.page.evaluate(
        "() => document.querySelector('.tile:not(.self) video.shown')?.videoWidth ?? 0"
    )
    assert drawn > 0
    # The fake microphone beeps: both see who is talking.
    ada.wait("(call) => call.talking.has(call.state.participants[0].id)")


def test_four_see_and_hear_each_other(enter: Enter) -> None:
    everyone = {name: enter(name) for name in ("Ada", "Ben", "Cleo", "Dan")}
    see_and_hear(everyone)
    lines = everyone["Ada"].ask(LINES)
    assert lines == [2, 2, 2]  # one audio and one video line for each pair, whoever offered


def test_chat_reaches_the_other_and_counts_as_unread(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.press("Chat")
    ada.page.get_by_role("textbox", name="Message to everyone").fill(
        "Hello <b>Ben</b> https://example.org/a?b=1"
    )
    ada.page.keyboard.press("Enter")
    ben.page.get_by_role("button", name="Chat, 1 unread").click()
    line = ben.page.locator(".chat-line")
    assert line.locator(".chat-head").text_content() is not None
    assert line.locator(".chat-text").text_content() == "Hello <b>Ben</b> https://example.org/a?b=1"
    assert line.get_by_role("link").get_attribute("href") == "https://example.org/a?b=1"
    assert ben.state()["unread"] == 0
    assert ada.state()["unread"] == 0


def test_a_long_conversation(enter: Enter) -> None:
    one = enter("Ada")
    one.act("chat")
    field = one.page.get_by_role("textbox")
    say = """(call, page, [count, content]) => {
      for (let index = 0; index < count; index += 1) {
        const timestamp = 200_000 * index;
        call.dispatch({ type: 'chat', from: 'p_x', user: 'Ben', content, timestamp });
      }
    }"""
    for _ in range(2):
        one.ask(say, [400, "on and on"])
        one.page.wait_for_function("() => document.querySelectorAll('.chat-line').length >= 400")
    one.page.wait_for_function("() => document.querySelectorAll('.chat-line').length === 500")
    one.act("close")
    field.wait_for(state="hidden")
    one.ask(say, [1, "مرحبا!"])
    one.act("chat")
    line = one.page.locator(".chat-line", has_text="مرحبا!")
    line.wait_for()  # the page draws with the next frame
    one.page.wait_for_function(
        """() => {
          const line = [...document.querySelectorAll('.chat-line')].at(-1).getBoundingClientRect();
          return line.bottom <= document.querySelector('.chat-log').getBoundingClientRect().bottom;
        }"""
    )
    direction = "(line) => getComputedStyle(line.querySelector('.chat-text')).direction"
    assert line.evaluate(direction) == "rtl"
    # An input method's Enter takes what it suggests: some browsers tell it by the code alone.
    field.fill("ni")
    field.dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    field.fill("nihao")
    field.press("Enter")
    one.wait("(call) => call.state.chat.at(-1).content === 'nihao'")
    assert "ni" not in one.ask("(call) => call.state.chat.map(({ content }) => content)")


def test_an_invitation_where_the_page_may_not_copy(browser: Browser, hub: Hub, room: str) -> None:
    url = hub.url(room=room, name="Ada", join=1).replace("localhost", "insecure.test")
    one = Participant(browser.new_context(), url).joined()
    one.act("invite")
    field = one.page.get_by_role("textbox", name="Invite link")
    field.wait_for()
    assert field.input_value() == url.split("&")[0]
    assert field.evaluate("(field) => field.selectionEnd") == len(field.input_value())
    one.page.get_by_role("button", name="Copy", exact=True).click()
    one.page.locator(".toast", has_text="Invite link copied").wait_for()
    assert one.page.locator("dialog[open]").count() == 0
    assert one.watched.complaints == []
    one.page.context.close()


def test_muting_is_heard_and_seen(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press("Turn microphone off")
    ben.page.wait_for_selector(".tile.muted:not(.self)")
    ben.page.wait_for_timeout(500)  # what was on its way has arrived
    before = ben.received()["Ada"]["energy"]
    ben.page.wait_for_timeout(1_000)
    assert ben.received()["Ada"]["energy"] - before < 1e-4
    ada.press("Turn microphone on")
    ben.wait_for_media({"Ada"})


def test_a_camera_that_is_off_gives_its_device_back(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press("Turn camera off")
    ben.page.wait_for_selector(".tile:not(.self):not(.picture)")
    ada.wait("(call, page) => page.media.devices.camera.track === null")
    assert ben.page.locator(".tile:not(.self) .avatar").text_content() == "A"
    ada.press("Turn camera on")
    ben.page.wait_for_selector(".tile.picture:not(.self)")
    ben.wait_for_media({"Ada"})


def test_a_shared_screen_is_a_tile_of_its_own_and_large(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press("Share screen")
    tile = ben.page.get_by_role("article", name=re.compile("^Ada’s screen"))
    tile.wait_for()
    for _ in range(100):
        if ben.received()["Ada"]["screen"] > 2:
            break
        ben.page.wait_for_timeout(200)
    assert ben.received()["Ada"]["screen"] > 2
    ben.wait_for_media({"Ada"})  # the camera goes on beside it
    screen, camera = (
        tile.bounding_box(),
        ben.page.locator(".tile:not(.self)[data-source=camera]").bounding_box(),
    )
    assert screen is not None
    assert camera is not None
    assert screen["width"] * screen["height"] > 3 * camera["width"] * camera["height"]
    ada.press("Stop sharing")
    tile.wait_for(state="detached")
    ada.press("Share screen")
    tile.wait_for()
    ben.page.wait_for_function(SCREEN_SHOWN)
    assert max(ben.ask(LINES)) <= 4  # the second time uses the lines of the first


def test_both_may_share_at_once(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    for one in (ada, ben):
        one.act("share")
    for one, other in ((ada, "Ben"), (ben, "Ada")):
        one.page.get_by_role("article", name=re.compile(f"^{other}’s screen")).wait_for()
        one.wait(
            "(call) => call.tracksOf(call.state.participants[0].id).screen?.track.muted === false"
        )


def test_leaving_ends_it_for_oneself_and_tells_the_other(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press("Leave call")
    ada.page.get_by_role("heading", name="You left the call").wait_for()
    ben.page.locator(".toast", has_text="Ada left").wait_for()
    ben.page.get_by_role("heading", name="You’re the only one here").wait_for()
    assert ada.ask("(call, page) => page.media.outgoing().every(({ track }) => track === null)")
    ada.press("Join again")
    ada.press("Join")
    ada.joined().wait_for_media({"Ben"})


def test_a_reload_comes_straight_back(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.page.reload()
    ada.joined().wait_for_media({"Ben"})
    ben.wait_for_media({"Ada"})
    assert [one["name"] for one in ben.state()["participants"]] == ["Ada"]


def test_devices_change_in_mid_call(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press("More")
    ada.page.get_by_role("menuitem", name="Devices").click()
    microphone = ada.page.locator("#settings-microphone")
    microphone.locator("option").nth(1).wait_for(state="attached")
    options = microphone.locator("option").all_text_contents()
    before = ada.ask("(call, page) => page.media.devices.microphone.track.id")
    microphone.select_option(options[-1])
    ada.wait("(call, page, before) => page.media.devices.microphone.track?.id !== before", before)
    ada.page.keyboard.press("Escape")
    ben.wait_for_media({"Ada"})


def test_moderators_lock_mute_and_remove(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.press(re.compile("^People"))
    ada.press("Lock the room")
    ben.page.locator(".toast", has_text="The room is locked").wait_for()
    cleo = enter(name="", room=ben.state()["room"])
    cleo.page.get_by_label("Your name").fill("Cleo")
    cleo.press("Join")
    cleo.page.get_by_role("alert").filter(has_text="The room is locked").wait_for()
    ada.press("Mute Ben")
    ben.page.locator(".toast", has_text="A moderator turned your microphone off").wait_for()
    ada.page.locator(".tile.muted:not(.self)").wait_for()
    ben.press("Turn microphone on")
    ada.page.locator(".tile:not(.self):not(.muted)").wait_for()
    ada.press("Remove Ben from the call")
    ada.page.get_by_role("button", name="Remove", exact=True).click()
    ben.page.get_by_role("heading", name="You were removed from the call").wait_for()
    ada.wait("(call) => call.state.participants.length === 0")


def test_the_smallest_client_takes_part(enter: Enter) -> None:
    ada = enter("Ada")
    other = enter(name="").page
    other.goto(other.url.replace("/?", "/static/example/index.html?") + "&name=Small")
    ada.wait_for_media({"Small"})
    other.wait_for_function(BOTH_SHOWN)


def test_a_browser_that_waits_for_a_tap_before_it_plays(
    enter: Enter, browser: Browser, hub: Hub, room: str
) -> None:
    enter("Ada")
    context = browser.new_context()
    context.add_init_script(REFUSING_TO_PLAY)
    ben = Participant(context, hub.url(room=room, name="Ben", join=1)).joined()
    tap = ben.page.get_by_role("button", name="Tap to hear the others")
    tap.wait_for()
    ben.page.evaluate("() => { globalThis.refusing = false; }")
    tap.click()
    tap.wait_for(state="hidden")
    ben.page.wait_for_function(
        "() => [...document.querySelectorAll('audio')].some((one) => !one.paused)"
    )
    assert ben.watched.complaints == []
    context.close()
