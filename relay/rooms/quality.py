"""How well a participant's ways to the relay and from it do, from 4 (good) to 0 (lost)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..control import ParticipantQuality, ReceptionState
from ..transport.transport import ENDED, TransportState

INTERVAL: Final = 2.0
"""Seconds between two messages about one participant."""

GOOD: Final = 4
LOST: Final = 0

LOSSES: Final = (0.02, 0.05, 0.10)
"""Shares of packets lost above which a way is no longer good, fair, poor."""

LATE: Final = (0.1, 0.3)
"""Seconds of queue from which on a way is fair, and poor."""


def grade_loss(lost: float) -> int:
    return GOOD - sum(lost > limit for limit in LOSSES)


def grade_up(state: TransportState, lost: float) -> int:
    """The way to the relay, by the worst stream."""
    return LOST if _is_gone(state) else grade_loss(lost)


def grade_down(
    state: TransportState, lost: float, queue: float, states: Collection[ReceptionState]
) -> int:
    """The way from the relay: by loss and queue, and by what did not fit."""
    if _is_gone(state):
        return LOST
    grade = min(grade_loss(lost), GOOD - sum(queue > limit for limit in LATE))
    if "paused" in states:
        alone = all(one == "paused" for one in states)
        return min(grade, 1 if alone else 2)
    return min(grade, GOOD - 1) if "reduced" in states else grade


def _is_gone(state: TransportState) -> bool:
    return state is TransportState.DISCONNECTED or state in ENDED


class Qualities:
    """What the room was told of its participants."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[ParticipantQuality, float]] = {}

    def take_change(self, now_is: list[ParticipantQuality], now: float) -> list[ParticipantQuality]:
        """Those who are to be told of: who changed, and was not told of just now. Who was never
        told of is good."""
        changed = []
        for quality in now_is:
            before = self._told.get(quality.participant)
            if before is None:
                if quality.up in (None, GOOD) and quality.down in (None, GOOD):
                    continue
            elif before[0] == quality or now - before[1] < INTERVAL:
                continue
            self._told[quality.participant] = quality, now
            changed.append(quality)
        return changed

    def forget(self, participant: str) -> None:
        self._told.pop(participant, None)
