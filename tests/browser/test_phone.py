"""On a phone: the screen stays on, the camera turns, what the system takes away is told."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Enter

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# A phone's cameras, and its wake lock, which headless browsers do not have.
DEVICES = """() => {
  globalThis.locks = [];
  Object.defineProperty(navigator, 'wakeLock', { configurable: true, value: { request: async () => {
    const lock = new EventTarget();
    lock.release = async () => { lock.released = true; lock.dispatchEvent(new Event('release')); };
    globalThis.locks.push(lock);
    return lock;
  } } });
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await getUserMedia.call(navigator.mediaDevices, wanted);
    const [camera] = stream.getVideoTracks();
    const facingMode = wanted.video?.facingMode?.ideal ?? 'user';
    if (camera) camera.getSettings = () => ({ facingMode, deviceId: facingMode });
    return stream;
  };
  const { enumerateDevices } = navigator.mediaDevices;
  navigator.mediaDevices.enumerateDevices = async () => [
    ...await enumerateDevices.call(navigator.mediaDevices),
    { kind: 'videoinput', deviceId: 'back', label: 'back' },
  ];
  navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
}"""


def test_the_screen_stays_on_in_a_call(enter: Enter) -> None:
    one = enter(context=PHONE)
    one.page.evaluate(DEVICES)
    one.page.get_by_label("Your name").fill("Ada")
    one.press("Join")
    one.joined()
    one.page.wait_for_function("() => locks.length === 1 && !locks[0].released")
    # The browser takes it back when the page is hidden, and it is asked for again.
    one.page.evaluate("() => locks[0].release()")
    one.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    one.page.wait_for_function("() => locks.length === 2")
    one.press("Leave call")
    one.page.wait_for_function("() => locks[1].released")


def test_the_camera_turns_and_what_it_sees_is_no_mirror(enter: Enter) -> None:
    one = enter(context=PHONE)
    one.page.evaluate(DEVICES)
    one.page.get_by_label("Your name").fill("Ada")
    one.press("Turn camera off")
    one.press("Turn camera on")
    one.page.wait_for_selector(".preview video.mirror")
    one.page.get_by_role("button", name="Turn the camera around").click()
    one.page.wait_for_selector(".preview video:not(.mirror)")
    one.press("Join")
    one.joined()
    one.page.wait_for_selector("[data-tile=self] video.shown:not(.mirror)")
    one.press("More")
    one.page.get_by_role("menuitem", name="Turn the camera around").click()
    one.page.wait_for_selector("[data-tile=self] video.shown.mirror")


def test_what_the_system_takes_away_is_told_to_everyone(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ben.wait_for_media({"Ada"})
    ada.ask("""(call, page) => {
      for (const { track } of Object.values(page.media.devices)) {
        Object.defineProperty(track, 'muted', { configurable: true, get: () => true });
        track.dispatchEvent(new Event('mute'));
      }
    }""")
    tile = ben.page.locator(".tile:not(.self)")
    tile.get_by_text("Paused").wait_for()
    ben.page.wait_for_selector(".tile.muted:not(.self):not(.picture)")
    ada.ask("""(call, page) => {
      for (const { track } of Object.values(page.media.devices)) {
        delete track.muted;
        track.dispatchEvent(new Event('unmute'));
      }
    }""")
    ben.page.wait_for_selector(".tile.picture:not(.self):not(.muted)")
    assert ben.page.get_by_text("Paused").count() == 0


def test_an_invitation_goes_by_the_share_sheet(enter: Enter) -> None:
    one = enter("Ada", context=PHONE)
    one.page.evaluate("() => { navigator.share = async (what) => { globalThis.shared = what; }; }")
    one.act("invite")
    one.page.wait_for_function("() => globalThis.shared")
    assert "?room=" in one.page.evaluate("() => shared.url")
    assert one.page.locator(".toast").count() == 0


@pytest.mark.parametrize("size", [(844, 390), (640, 360), (720, 450), (390, 664), (320, 568)])
def test_join_is_in_sight(enter: Enter, size: tuple[int, int]) -> None:
    """Also at 200 %, which makes 720 × 450 of a laptop's 1440 × 900."""
    one = enter(context={"viewport": {"width": size[0], "height": size[1]}})
    box = one.page.get_by_role("button", name="Join").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= size[1]


@pytest.mark.parametrize("panel", ["chat", "people", "stats"])
@pytest.mark.parametrize("size", [(390, 844), (844, 390), (820, 1180), (320, 568)])
def test_panels_leave_the_controls_visible(enter: Enter, size: tuple[int, int], panel: str) -> None:
    one = enter("Ada", context={"viewport": {"width": size[0], "height": size[1]}})
    one.act(panel)
    one.page.wait_for_selector(f".panel-body.{panel}")
    for name in ("Turn microphone off", "Turn camera off", "Leave call", "Close"):
        button = one.page.get_by_role("button", name=name, exact=True)
        covered = """(button) => {
          const { x, y, width, height } = button.getBoundingClientRect();
          return !button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
        }"""
        assert button.evaluate(covered) is False, name
