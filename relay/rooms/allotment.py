"""What one subscriber gets of each picture: asked again a few times a second, carried out on its
DownTracks, and told where it changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ..bwe.allocation import Allocation, Demand, Option, allocate, find_wanted
from ..control import Preference, ReceptionState, TrackReception
from ..plane.layer import Rung
from ..plane.leg import Leg
from ..plane.rungs import list_rungs
from ..plane.tracks import DownTrack
from .publisher import Published

INTERVAL: Final = 1.0
"""Seconds between two looks where the line and the wishes are what they were."""

MOVED: Final = 0.03
"""The share by which an estimate has to move for a look in between."""

HOLD: Final = 4.0
"""Seconds after a picture was made smaller, or taken away, until it may be bettered."""

RESERVE: Final = 0.95
"""Of what the line carries: the rest is for what is sent again."""

ONE_LAYER: Final = 1_700_000.0
"""Bit/s beyond which a picture in one layer is good enough not to probe for more."""

NEARLY: Final = 0.6
"""Of its room that such a picture has to use: one that uses less is not kept small by it."""

FULL: Final = Preference("", 1 << 14, 1 << 14)
"""All that there is of a track."""


class Allotment:
    """One receiver's."""

    def __init__(self) -> None:
        self.default = FULL
        """What is wanted of a track of which nothing was said."""
        self._states: dict[str, ReceptionState] = {}
        self._held: dict[str, tuple[float, int]] = {}
        """Until when a track is to have no better option, and which that is: -1 is none."""
        self._looked_at = float("-inf")
        self._seen: tuple[object, ...] = ()
        self._budget = 0.0

    def update(
        self,
        leg: Leg,
        carried: Mapping[DownTrack, Published],
        preferences: Mapping[str, Preference],
        talking: Collection[str],
        now: float,
    ) -> list[TrackReception]:
        """Look what each of the pictures in `carried` gets; returns what is other than before."""
        budget = RESERVE * leg.bandwidth.get_budget(now)
        streams = {track.id: len(track.up.layers) for track in carried.values()}
        seen = (streams, dict(preferences), self.default, set(talking))
        same = seen == self._seen and abs(budget - self._budget) <= MOVED * self._budget
        if not leg.ready or (same and now - self._looked_at < INTERVAL):
            return []
        self._looked_at, self._seen, self._budget = now, seen, budget
        return self._share_out(leg, carried, preferences, talking, now)

    def _share_out(
        self,
        leg: Leg,
        carried: Mapping[DownTrack, Published],
        preferences: Mapping[str, Preference],
        talking: Collection[str],
        now: float,
    ) -> list[TrackReception]:
        pictures = [(down, track) for down, track in carried.items() if _is_sent(down, track)]
        rungs = [list_rungs(track.up, now) for _, track in pictures]
        whole = [
            self._make_demand(down, track, some, preferences, talking)
            for (down, track), some in zip(pictures, rungs, strict=True)
        ]
        held = [
            self._hold(track.id, demand, now)
            for (_, track), demand in zip(pictures, whole, strict=True)
        ]
        smallest = leg.bandwidth.is_new(now)
        allocation = allocate(self._budget, held, smallest=smallest)
        states: dict[str, ReceptionState] = {}
        for (down, track), some, demand, share in zip(
            pictures, rungs, whole, allocation.shares, strict=True
        ):
            option, wanted = share.option, find_wanted(demand)
            self._note(track.id, demand.current, option, wanted, now)
            if option is not None:
                down.set_target(some[option][0], now)
            elif some or not demand.width:
                down.set_target(None, now)
            else:
                # Nothing has come of it yet: whatever comes first is wanted.
                down.set_target(down.target or Rung(0), now)
            taken = 0.0 if option is None else some[option][1].rate
            down.room = max(0.0, self._budget - allocation.used + taken)
            states[track.id] = _tell(option, wanted)
        needed = max(allocation.needed, self._find_room(pictures, rungs, allocation))
        leg.bandwidth.probing.want(needed / RESERVE)
        leg.wake(now)
        return self._change(states)

    def _find_room(
        self,
        pictures: list[tuple[DownTrack, Published]],
        rungs: list[list[tuple[Rung, Option]]],
        allocation: Allocation,
    ) -> float:
        """The bit/s at which a publisher that sends in one layer would send a better picture: it
        sends no more than its best receiver can take."""
        for (down, _), some, share in zip(pictures, rungs, allocation.shares, strict=True):
            if len(some) == 1 and share.option is not None and down.room < ONE_LAYER:
                rate = some[0][1].rate
                if rate > NEARLY * down.room:
                    return allocation.used + rate / 2
        return 0.0

    def _make_demand(
        self,
        down: DownTrack,
        track: Published,
        rungs: list[tuple[Rung, Option]],
        preferences: Mapping[str, Preference],
        talking: Collection[str],
    ) -> Demand:
        preference = preferences.get(track.id, self.default)
        current = None
        if down.target is not None and not down.withheld:
            places = [place for place, (rung, _) in enumerate(rungs) if rung == down.target]
            current = places[0] if places else 0
        return Demand(
            [option for _, option in rungs],
            current,
            preference.width,
            preference.height,
            preference.priority,
            track.source == "screen",
            track.participant in talking,
        )

    def _hold(self, track: str, demand: Demand, now: float) -> Demand:
        """The demand without what would be too early."""
        until, most = self._held.get(track, (now, 0))
        if now >= until:
            return demand
        return demand._replace(options=demand.options[: most + 1])

    def _note(
        self, track: str, before: int | None, option: int | None, wanted: int | None, now: float
    ) -> None:
        after = -1 if option is None else option
        if before is not None and wanted is not None and after < min(before, wanted):
            self._held[track] = now + HOLD, after

    def _change(self, states: dict[str, ReceptionState]) -> list[TrackReception]:
        changed = [
            TrackReception(track, state)
            for track, state in states.items()
            if state != self._states.get(track, "full")
        ]
        self._states = states
        for track in [track for track in self._held if track not in states]:
            del self._held[track]
        return changed

    @property
    def states(self) -> Mapping[str, ReceptionState]:
        """What becomes of each picture."""
        return self._states


def _is_sent(down: DownTrack, track: Published) -> bool:
    return track.kind == "video" and not track.up.muted and bool(down.payload_types)


def _tell(option: int | None, wanted: int | None) -> ReceptionState:
    if wanted is None or option == wanted:
        return "full"
    return "paused" if option is None else "reduced" if option < wanted else "full"
