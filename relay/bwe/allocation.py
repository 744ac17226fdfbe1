"""Who gets how much of what a line carries: one pure function.

Sound is not in it: it is always sent, and on the line before anything here is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

UP: Final = 1.15
"""Times its rate that a better picture has to fit: what just fits would have to go again."""

STAY: Final = 0.9
"""Times its rate that what is sent already has to fit: rates swing about their mean."""

ENOUGH: Final = 0.85
"""Of the size at which a picture is shown: a layer so large is not bettered by the next one."""


class Option(NamedTuple):
    """One way to send a picture. Width and height are 0 where they are not known."""

    rate: float
    width: int = 0
    height: int = 0


class Demand(NamedTuple):
    """One picture that somebody is to see. `options` come the cheapest first; `current` is the
    one that is sent now, None nothing. Width and height 0: it is not shown."""

    options: Sequence[Option]
    current: int | None = None
    width: int = 1 << 14
    height: int = 1 << 14
    priority: int = 2
    screen: bool = False
    talking: bool = False


class Share(NamedTuple):
    """What became of a demand: the option to send, and the best one it has a use for; None: nothing
    is sent, or wanted."""

    option: int | None
    wanted: int | None


class Allocation(NamedTuple):
    """One share for each demand; `used` bit/s, and the bit/s at which somebody would get a better
    picture, 0 where nobody would."""

    shares: list[Share]
    used: float
    needed: float


def allocate(budget: float, demands: Sequence[Demand], *, smallest: bool = False) -> Allocation:
    """Share `budget` bit/s out: to everyone the smallest picture, in order, then to everyone a
    better one, in order, as often as it lasts. A picture that does not fit is not sent.

    `smallest`: the smallest is sent whether it fits or not, for as yet nothing is known of the
    line.
    """
    wanted = [find_wanted(demand) for demand in demands]
    order = sorted(range(len(demands)), key=lambda index: _rank(demands[index]))
    chosen: list[int | None] = [None] * len(demands)
    left = budget
    for index in order:
        if wanted[index] is not None:
            cost = get_cost(demands[index], 0)
            if smallest or cost <= left:
                chosen[index] = 0
                left -= cost
    rising = True
    while rising:
        rising = False
        for index in order:
            option, most = chosen[index], wanted[index]
            if option is None or most is None or option >= most:
                continue
            step = get_cost(demands[index], option + 1) - get_cost(demands[index], option)
            if step <= left:
                chosen[index] = option + 1
                left -= step
                rising = True
    shares = [Share(option, most) for option, most in zip(chosen, wanted, strict=True)]
    used = sum(
        demand.options[share.option].rate
        for demand, share in zip(demands, shares, strict=True)
        if share.option is not None
    )
    return Allocation(shares, used, _find_needed(demands, shares, order, budget - left))


def find_wanted(demand: Demand) -> int | None:
    """The best option that the demand has a use for."""
    options = demand.options
    if not options or not demand.width or not demand.height:
        return None
    for index, option in enumerate(options):
        large = option.width and (
            option.width >= ENOUGH * demand.width or option.height >= ENOUGH * demand.height
        )
        following = options[index + 1] if index + 1 < len(options) else None
        # Of one size there may be several, with more pictures a second each.
        if large and (following is None or following.width > option.width):
            return index
    return len(options) - 1


def get_cost(demand: Demand, option: int) -> float:
    """What has to be left for an option: more than its rate where it is not sent already."""
    factor = STAY if demand.current is not None and option <= demand.current else UP
    return factor * demand.options[option].rate


def _rank(demand: Demand) -> tuple[bool, int, bool, int]:
    area = demand.width * demand.height
    return not demand.screen, demand.priority, not demand.talking, -area


def _find_needed(
    demands: Sequence[Demand], shares: Sequence[Share], order: Sequence[int], spent: float
) -> float:
    """What there would have to be for somebody to get more: who has nothing, if there are such,
    and of those the one for whom it takes least."""
    nothing, more = [], []
    for index in order:
        demand, (option, most) = demands[index], shares[index]
        if most is not None and option is None:
            nothing.append(UP * demand.options[0].rate)
        elif most is not None and option is not None and option < most:
            more.append(UP * demand.options[option + 1].rate - get_cost(demand, option))
    lacking = nothing or more
    return spent + min(lacking) if lacking else 0.0
