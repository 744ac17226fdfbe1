"""The list of who is talking: smooths the audio levels that packets carry (RFC 6464), says when the
list of speakers changes, not when a level wobbles.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..control import Speaker

MIN_INTERVAL = 1 / 3
"""Seconds between two reports: the protocol promises at most three a second."""

START_LEVEL = -45.0
"""dBov above which somebody starts to count as speaking."""

STOP_LEVEL = -55.0
"""dBov below which somebody stops; the gap to `START_LEVEL` keeps a quiet voice from flickering."""

HOLD = 1.0
"""Seconds that somebody still counts as speaking after falling below: a pause between words."""

ATTACK = 0.08
"""Time constant, in seconds, with which a level rises: a click is not a voice."""

RELEASE = 0.3
"""Time constant with which it falls."""

SILENT = -127.0
STALE = 0.5
"""Seconds without a packet after which a source is silent: DTX, mute, or gone."""

MIN_LEAD = 6.0
"""dB by which a speaker must be louder to move ahead of another in the list."""


@dataclass(slots=True)
class _Voice:
    level: float = SILENT
    heard: float = 0.0
    above: float = 0.0
    speaking: bool = False


class Speakers:
    """The active speakers of one room. A source is a participant."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}
        self._order: list[str] = []
        self._next_report = 0.0

    @property
    def talking(self) -> list[str]:
        """The participants that talk, as it was told last."""
        return self._order

    def receive_level(self, participant: str, level: int, now: float) -> None:
        """One audio packet's level in dBov, 0 (loudest) to -127."""
        voice = self._voices.get(participant)
        if voice is None:
            voice = self._voices[participant] = _Voice(heard=now)
        elapsed = min(max(now - voice.heard, 0.0), STALE) or 0.02
        constant = ATTACK if level > voice.level else RELEASE
        voice.level += (level - voice.level) * min(1.0, elapsed / constant)
        voice.heard = now

    def remove(self, participant: str) -> None:
        """The participant is gone or has no audio any more."""
        self._voices.pop(participant, None)

    def take_change(self, now: float) -> list[Speaker] | None:
        """The speakers, loudest first, if they are others than last time; otherwise None."""
        if now < self._next_report:
            return None
        for voice in self._voices.values():
            _decide(voice, now)
        order = self._ranked()
        if order == self._order:
            return None
        self._order = order
        self._next_report = now + MIN_INTERVAL
        return [Speaker(name, round(self._voices[name].level)) for name in order]

    def _ranked(self) -> list[str]:
        speaking = [name for name, voice in self._voices.items() if voice.speaking]
        rank = {name: place for place, name in enumerate(self._order)}
        # Whoever was ahead stays ahead unless clearly quieter: sort by old place, then let
        # a later one pass each earlier one that it leads by MIN_LEAD.
        speaking.sort(key=lambda name: (rank.get(name, len(rank)), -self._voices[name].level))
        for end in range(1, len(speaking)):
            place = end
            while place and self._leads(speaking[place], speaking[place - 1], rank):
                speaking[place - 1], speaking[place] = speaking[place], speaking[place - 1]
                place -= 1
        return speaking

    def _leads(self, name: str, other: str, rank: dict[str, int]) -> bool:
        lead = MIN_LEAD if name in rank and other in rank else 0.0
        return self._voices[name].level > self._voices[other].level + lead


def _decide(voice: _Voice, now: float) -> None:
    level = voice.level if now - voice.heard <= STALE else SILENT
    if level >= (STOP_LEVEL if voice.speaking else START_LEVEL):
        voice.above = now
        voice.speaking = True
    elif voice.speaking and now - voice.above > HOLD:
        voice.speaking = False
