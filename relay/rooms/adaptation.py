"""A room's media made to fit everybody's line: what each receives, which layers are published,
and how well each one's ways do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from .. import control
from .allotment import Allotment
from .dynacast import Dynacast
from .participant import Participant
from .publisher import Published, Publisher
from .quality import Qualities, grade_down, grade_up
from .subscriber import Receiver


class Adaptation:
    """One room's; `update` is to be called a few times a second."""

    def __init__(self, room: str, emit: Callable[[control.Event], None]) -> None:
        self._room = room
        self._emit = emit
        self._preferences: dict[str, dict[str, control.Preference]] = {}
        """By participant and track."""
        self._allotments: dict[str, Allotment] = {}
        self._dynacasts: dict[str, Dynacast] = {}
        self._qualities = Qualities()

    def prefer(self, command: control.Prefer, tracks: Collection[str]) -> None:
        """Note what a participant shows; of tracks that are here, so that it can't grow."""
        known = self._preferences.setdefault(command.participant, {})
        if command.reset:
            known.clear()
        if command.default is not None:
            self.get_allotment(command.participant).default = command.default
        known.update((one.track, one) for one in command.tracks if one.track in tracks)

    def forget(self, participant: str) -> None:
        """It has left."""
        self._preferences.pop(participant, None)
        self._allotments.pop(participant, None)
        self._qualities.forget(participant)

    def forget_track(self, track: str) -> None:
        """It is not published any more."""
        self._dynacasts.pop(track, None)
        for known in self._preferences.values():
            known.pop(track, None)

    def get_allotment(self, name: str) -> Allotment:
        allotment = self._allotments.get(name)
        if allotment is None:
            allotment = self._allotments[name] = Allotment()
        return allotment

    def get_state(self, participant: str, track: str) -> control.ReceptionState:
        """What becomes of a track at a subscriber."""
        allotment = self._allotments.get(participant)
        return "full" if allotment is None else allotment.states.get(track, "full")

    def count_states(self) -> dict[control.ReceptionState, int]:
        """How many pictures come as they are wanted, smaller, or not."""
        counts: dict[control.ReceptionState, int] = {"full": 0, "reduced": 0, "paused": 0}
        for allotment in self._allotments.values():
            for state in allotment.states.values():
                counts[state] += 1
        return counts

    def update(
        self,
        participants: Mapping[str, Participant],
        tracks: Mapping[str, Published],
        talking: Collection[str],
        now: float,
    ) -> None:
        """Look at every line and every track; tell what has changed."""
        for name, participant in participants.items():
            if participant.receiver is not None:
                self._allot(name, participant.receiver, tracks, talking, now)
        for track in tracks.values():
            if track.kind == "video":
                dynacast = self._dynacasts.setdefault(track.id, Dynacast())
                active = dynacast.update(track.up, now)
                if active is not None:
                    told = control.Layers(self._room, track.participant, track.id, list(active))
                    self._emit(told)
        changed = self._qualities.take_change(self._grade(participants, now), now)
        if changed:
            self._emit(control.Quality(self._room, changed))

    def _allot(
        self,
        name: str,
        receiver: Receiver,
        tracks: Mapping[str, Published],
        talking: Collection[str],
        now: float,
    ) -> None:
        carried = {
            down: tracks[down.source.id]
            for down in receiver.downs
            if down.source is not None and down.source.id in tracks
        }
        allotment = self.get_allotment(name)
        preferences = self._preferences.get(name, {})
        changed = allotment.update(receiver.transport.leg, carried, preferences, talking, now)
        if changed:
            self._emit(control.Reception(self._room, name, changed))

    def _grade(
        self, participants: Mapping[str, Participant], now: float
    ) -> list[control.ParticipantQuality]:
        return [
            control.ParticipantQuality(
                name, _grade_up(one.publisher), self._grade_down(name, one.receiver, now)
            )
            for name, one in participants.items()
        ]

    def _grade_down(self, name: str, receiver: Receiver | None, now: float) -> int | None:
        if receiver is None:
            return None
        bandwidth = receiver.transport.leg.bandwidth
        states = set(self.get_allotment(name).states.values())
        return grade_down(receiver.state, bandwidth.loss, bandwidth.get_queue(now), states)


def _grade_up(publisher: Publisher | None) -> int | None:
    if publisher is None:
        return None
    layers = [layer for track in publisher.tracks.values() for layer in track.up.layers.values()]
    lost = max((layer.received.fraction for layer in layers), default=0.0)
    return grade_up(publisher.state, lost)
