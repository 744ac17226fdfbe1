"""How people are shown: whole pictures, pages, views, one's own picture, a shared screen."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Enter
from tests.browser.test_screens import DEMO, NAMES
from tests.support.browser import Participant

# Of each picture that is drawn: the share of it that can be seen.
SEEN = """() => [...document.querySelectorAll('.tile:not([hidden]) video.shown')].map((video) => {
  const { width, height } = video.getBoundingClientRect();
  const [picture, tile] = [video.videoWidth / video.videoHeight, width / height];
  const fits = getComputedStyle(video).objectFit === 'contain';
  return fits ? 1 : Math.min(picture / tile, tile / picture);
})"""
# What was changed just now is drawn.
DRAWN = """() => new Promise((resolve) => {
  requestAnimationFrame(() => requestAnimationFrame(resolve));
})"""
PLACES = """() => [...document.querySelectorAll('.tile:not([hidden])')].map((tile) => {
  const { x, y, width, height } = tile.getBoundingClientRect();
  return { id: tile.dataset.tile, x, y, width, height };
})"""


def window(width: int, height: int) -> dict[str, Any]:
    return {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}


def fill(one: Participant, others: int, **more: Any) -> None:
    names = [*NAMES, *NAMES][:others]
    one.page.evaluate(
        DEMO,
        {"names": names, "dark": False, "silent": [], "talking": [], "screen": -1, **more},
    )
    one.page.evaluate(DRAWN)
    one.page.wait_for_function(
        """() => { const all = [...document.querySelectorAll('.tile:not([hidden]) video')];
          return all.length > 0 && all.every((video) => video.matches('.shown')); }"""
    )


def places(page: Page) -> dict[str, dict[str, float]]:
    page.evaluate(DRAWN)
    return {place["id"]: place for place in page.evaluate(PLACES)}


@pytest.mark.parametrize("size", [(1440, 900), (390, 844), (844, 390)])
def test_at_most_a_third_of_any_picture_is_cut(enter: Enter, size: tuple[int, int]) -> None:
    one = enter("Ada", context=window(*size))
    for others, upright in ((1, [0]), (1, []), (2, []), (3, [1]), (5, [0, 3]), (8, [])):
        fill(one, others, upright=upright)
        places(one.page)
        shares = one.page.evaluate(SEEN)
        assert len(shares) >= 2
        assert min(shares) > 0.65, (others, upright, shares)


def test_three_on_a_wide_stage_are_two_and_one(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 2)
    rows = [place["y"] for place in places(one.page).values()]
    assert rows[0] == rows[1] < rows[2]


def test_a_tile_shows_the_whole_picture_when_asked(enter: Enter) -> None:
    one = enter("Ada", context=window(820, 1180))
    fill(one, 1)
    tile = one.page.locator("[data-tile=p_0]")
    fit = "(tile) => getComputedStyle(tile.querySelector('video')).objectFit"
    assert tile.evaluate(fit) == "cover"
    tile.hover()
    tile.get_by_role("button", name="Show the whole picture of Ben Okafor").click()
    assert tile.evaluate(fit) == "contain"
    tile.get_by_role("button", name="Fill the tile with Ben Okafor").click()
    assert tile.evaluate(fit) == "cover"


def test_a_phone_that_is_turned_is_shown_whole(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 3)
    one.page.evaluate("() => { [demoCanvases[1].width, demoCanvases[1].height] = [540, 960]; }")
    one.page.wait_for_selector("[data-tile=p_0].whole")


def test_more_than_a_page_holds_are_on_the_next(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 29, silent=[*range(1, 29)])
    shown = one.page.locator(".tile:not([hidden])")
    assert shown.count() == 25
    one.page.get_by_role("button", name="5 more").click()
    assert shown.count() == 5
    assert one.page.get_by_text("2 of 2").is_visible()
    assert one.page.evaluate("() => document.activeElement.ariaLabel") == "Previous page"
    one.page.keyboard.press("Enter")
    assert shown.count() == 25
    # Who talks comes to page one.
    assert one.page.locator("[data-tile=p_28]").is_hidden()
    one.ask("""(call, page) => {
      Object.defineProperty(call, 'talking', { get: () => new Set(['p_28']) });
      page.draw();
    }""")
    one.page.locator("[data-tile=p_28]").wait_for()
    assert one.page.locator("[data-tile=self]").is_visible()


def test_the_view_can_be_chosen_and_is_remembered(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 4, talking=[2])
    assert len({round(place["width"]) for place in places(one.page).values()}) == 1
    one.press("More")
    one.page.get_by_role("menuitemradio", name="Speaker").click()
    sizes = {id: place["width"] for id, place in places(one.page).items()}
    assert max(sizes, key=lambda id: sizes[id]) == "p_2"
    one.press("More")
    checked = one.page.get_by_role("menuitemradio", name="Speaker").get_attribute("aria-checked")
    assert checked == "true"
    one.page.keyboard.press("Escape")
    assert one.page.evaluate("() => JSON.parse(localStorage.getItem('tandem')).view") == "speaker"


def test_several_are_pinned(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 5)
    for id, name in (("p_1", "Clara Weiss"), ("p_3", "Elif Kaya")):
        one.page.locator(f"[data-tile={id}]").hover()
        one.page.get_by_role("button", name=f"Pin {name}").click()
    sizes = {id: place["width"] for id, place in places(one.page).items()}
    largest = sorted(sizes, key=lambda id: sizes[id])[-2:]
    assert sorted(largest) == ["p_1", "p_3"]
    one.page.get_by_role("button", name="Unpin Clara Weiss").click()
    assert one.state()["pinned"] == ["p_3"]


def test_oneself_is_moved_and_hidden(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 1)
    before = places(one.page)["self"]
    one.page.locator("[data-tile=self]").hover()
    one.page.get_by_role("button", name="Move your picture with the arrow keys").focus()
    for key, corner in (("ArrowLeft", "bottom-left"), ("ArrowUp", "top-left")):
        one.page.keyboard.press(key)
        one.wait("(call, page, corner) => page.settings.corner === corner", corner)
        one.page.evaluate(DRAWN)
    moved = places(one.page)["self"]
    assert moved["x"] < before["x"] - 500
    assert moved["y"] < before["y"] - 300
    mouse = one.page.mouse
    mouse.move(moved["x"] + 128, moved["y"] + 110)
    mouse.down()
    mouse.move(1300, 700, steps=4)
    mouse.up()
    assert places(one.page)["self"]["x"] == pytest.approx(before["x"], abs=2)
    one.page.locator("[data-tile=self]").hover()
    one.page.get_by_role("button", name="Hide your own picture").first.click()
    one.page.wait_for_function("() => !document.querySelector('[data-tile=self]')")
    one.press("More")
    one.page.get_by_role("menuitem", name="Show your own picture").click()
    one.page.wait_for_selector("[data-tile=self]")


def test_who_shares_a_screen_sees_that_and_no_mirror(enter: Enter) -> None:
    ada, ben = enter("Ada"), enter("Ben")
    ada.wait_for_media({"Ben"})
    ada.press("Share screen")
    ada.page.get_by_text("You’re sharing your screen").wait_for()
    ben.page.wait_for_selector("[data-source=screen]")
    assert ada.page.locator("[data-source=screen]").count() == 0
    ada.page.get_by_role("button", name="Stop", exact=True).click()
    ben.page.wait_for_function("() => !document.querySelector('[data-source=screen]')")
    assert ada.page.get_by_text("You’re sharing your screen").is_hidden()


def test_a_word_on_a_face_only_where_the_line_is_not_good(enter: Enter) -> None:
    one = enter("Ada", context=window(1440, 900))
    fill(one, 5)  # the fourth loses packets
    words = one.page.locator(".tile-state:visible")
    words.first.wait_for()
    assert words.all_text_contents() == ["Weak connection"]
    one.act("stats")
    paths = one.page.locator(".stats-path")
    paths.first.wait_for()
    assert paths.all_text_contents()[0].startswith("Direct")
    assert [text.split(" ·")[0] for text in paths.all_text_contents()] == [
        *("Direct", "Direct", "TURN", "Relay"),
        "Direct",
    ]


def test_a_notice_covers_no_tile_and_opens_what_it_speaks_of(enter: Enter) -> None:
    for width, height in ((1440, 900), (390, 844)):
        one = enter("Ada", context=window(width, height))
        fill(one, 3)
        one.ask("(call, page) => page.notices.clear()")
        one.ask(
            """(call) => call.dispatch({ type: 'chat', from: 'p_0', user: 'Ben',
              content: 'a word '.repeat(40), timestamp: Date.now() })"""
        )
        toast = one.page.get_by_role("button", name="Ben: a word")
        toast.wait_for()
        overlap = """() => {
          const one = document.querySelector('.toast').getBoundingClientRect();
          return [...document.querySelectorAll('.tile:not([hidden])')].some((tile) => {
            const two = tile.getBoundingClientRect();
            const beside = one.left >= two.right || two.left >= one.right;
            return !beside && one.top < two.bottom && two.top < one.bottom;
          });
        }"""
        places(one.page)
        assert one.page.evaluate(overlap) is False
        toast.click()
        one.wait("(call) => call.state.panel === 'chat'")
