"""Everyone the smallest picture before anyone a better one, in order, and nothing flaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.bwe.allocation import STAY, UP, Allocation, Demand, Option, allocate, get_cost

LAYERS = (Option(150e3, 160, 90), Option(500e3, 320, 180), Option(1500e3, 640, 360))
CAMERA = Demand(LAYERS)
SCREEN = Demand((Option(800e3, 1920, 1080),), screen=True)


def choose(budget: float, *demands: Demand) -> list[int | None]:
    return [share.option for share in allocate(budget, demands).shares]


def test_on_a_wide_line_everyone_gets_the_best() -> None:
    assert choose(1e7, CAMERA, CAMERA, SCREEN) == [2, 2, 0]
    assert allocate(1e7, [CAMERA, SCREEN]).needed == 0


def test_everyone_gets_the_smallest_before_anyone_gets_a_better_one() -> None:
    assert choose(600e3, CAMERA, CAMERA, CAMERA) == [0, 0, 0]
    assert choose(1.1e6, CAMERA, CAMERA, CAMERA) == [1, 0, 0]


def test_screens_come_first_then_priority_then_who_talks_then_the_larger() -> None:
    small = CAMERA._replace(width=320, height=180)
    talking = CAMERA._replace(talking=True, width=320, height=180)
    pinned = CAMERA._replace(priority=0, width=100, height=100)
    assert choose(200e3, CAMERA, talking) == [None, 0]
    assert choose(200e3, talking, pinned) == [None, 0]
    assert choose(200e3, small, CAMERA) == [None, 0]
    assert choose(950e3, pinned, SCREEN) == [None, 0]


def test_what_does_not_fit_is_not_sent() -> None:
    assert choose(100e3, CAMERA) == [None]
    assert choose(30e3) == []
    # But a cheaper one that comes later in order is.
    assert choose(600e3, SCREEN, CAMERA) == [None, 1]


def test_no_picture_is_larger_than_it_is_shown() -> None:
    assert choose(1e7, CAMERA._replace(width=160, height=90)) == [0]
    assert choose(1e7, CAMERA._replace(width=200, height=112)) == [1]
    assert choose(1e7, CAMERA._replace(width=340, height=190)) == [1]
    assert choose(1e7, CAMERA._replace(width=640, height=10)) == [0]


def test_what_is_not_shown_is_neither_sent_nor_missed() -> None:
    hidden = CAMERA._replace(width=0, height=0)
    allocation = allocate(1e7, [hidden, CAMERA])
    assert [share.option for share in allocation.shares] == [None, 2]
    assert allocation.shares[0].wanted is None
    assert allocation.needed == 0


def test_of_one_size_all_pictures_a_second_are_wanted() -> None:
    options = (Option(50e3, 320, 180), Option(80e3, 320, 180), Option(500e3, 640, 360))
    assert choose(1e7, Demand(options, width=320, height=180)) == [1]


def test_what_is_sent_stays_where_a_newcomer_would_not_fit() -> None:
    for budget in (470e3, 550e3):
        assert choose(budget, CAMERA._replace(current=1)) == [1]
        assert choose(budget, CAMERA) == [0]
    assert choose(440e3, CAMERA._replace(current=1)) == [0]
    assert choose(580e3, CAMERA) == [1]


def test_what_is_needed_is_enough() -> None:
    allocation = allocate(200e3, [CAMERA, CAMERA])
    assert [share.option for share in allocation.shares] == [0, None]
    after = allocate(allocation.needed, [CAMERA._replace(current=0), CAMERA])
    assert [share.option for share in after.shares] == [0, 0]


def test_at_first_the_smallest_is_sent_whether_it_fits_or_not() -> None:
    allocation = allocate(100e3, [SCREEN, CAMERA], smallest=True)
    assert [share.option for share in allocation.shares] == [0, 0]


rates = st.lists(st.floats(1e4, 3e6), min_size=1, max_size=4).map(sorted)
demands = st.lists(
    st.builds(
        Demand,
        options=rates.map(lambda some: tuple(Option(rate, 0, 0) for rate in some)),
        current=st.none() | st.integers(0, 3),
        priority=st.integers(0, 3),
        screen=st.booleans(),
        talking=st.booleans(),
    ),
    max_size=8,
)


@given(st.floats(0, 2e7), demands)
def test_no_more_is_given_than_there_is(budget: float, asked: list[Demand]) -> None:
    allocation = allocate(budget, asked)
    spent = sum(
        get_cost(demand, share.option)
        for demand, share in zip(asked, allocation.shares, strict=True)
        if share.option is not None
    )
    assert spent <= budget * 1.000001
    assert allocation.used <= budget / STAY * 1.000001
    assert UP > 1 > STAY


@given(st.floats(0, 2e7), demands)
def test_on_the_same_line_it_comes_to_rest(budget: float, asked: list[Demand]) -> None:
    def settle(now: list[Demand]) -> tuple[Allocation, list[Demand]]:
        allocation = allocate(budget, now)
        pairs = zip(now, allocation.shares, strict=True)
        return allocation, [one._replace(current=share.option) for one, share in pairs]

    now = asked
    for _ in range(12):
        before, now = settle(now)
    after, _ = settle(now)
    assert [share.option for share in before.shares] == [share.option for share in after.shares]
