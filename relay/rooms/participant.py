"""One participant of a room: what it may do, what it sends, and whose tracks it receives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .. import control
from .publisher import Published, Publisher
from .subscriber import Player, Subscriber


@dataclass(slots=True)
class Participant:
    """One may receive what others publish, as far as it is routed here and not refused."""

    join: control.Join
    routes: frozenset[str] | None = frozenset()
    """Whose tracks it is to receive; None: everyone's. Nobody's, until it has been said: between
    its `Join` and its `Route` it must not be offered what the mesh carries."""
    refused: set[str] = field(default_factory=set)
    """Tracks that it unsubscribed from."""
    publisher: Publisher | None = None
    former: Publisher | None = None
    """The last one that has ended."""
    receiver: Subscriber | Player | None = None
    reception: dict[str, control.ReceptionState] = field(default_factory=dict)
    """What it was told of how tracks reach it; of others it takes that for granted ("full")."""

    def choose(self, tracks: Mapping[str, Published]) -> dict[str, Published]:
        """Those of the room's tracks, by id, that it is to receive."""
        if not self.join.subscribe:
            return {}
        return {
            identity: track
            for identity, track in tracks.items()
            if track.participant != self.join.participant
            and identity not in self.refused
            and (self.routes is None or track.participant in self.routes)
        }

    @property
    def wants_data(self) -> bool:
        """Return whether data of others are to reach it through the relay."""
        return self.join.data and self.routes != frozenset()

    def hears(self, sender: str) -> bool:
        """Return whether the data of this one are to reach it through the relay."""
        return (
            self.join.data
            and sender != self.join.participant
            and (self.routes is None or sender in self.routes)
        )

    def take_reception(self, tracks: Collection[str]) -> list[control.TrackReception]:
        """Return what is new to it of how these tracks reach it; others it may forget."""
        news: list[control.TrackReception] = []
        self.reception = {id: told for id, told in self.reception.items() if id in tracks}
        if isinstance(self.receiver, Subscriber):
            for identity, state in self.receiver.list_reception().items():
                if state != self.reception.get(identity, "full"):
                    self.reception[identity] = state
                    news.append(control.TrackReception(identity, state))
        return news

    def select(self, tracks: Collection[str], wanted: bool) -> None:
        """It subscribes to these, or unsubscribes."""
        if wanted:
            self.refused.difference_update(tracks)
        else:
            self.refused.update(tracks)
