"""The room as a client sees it: who is there, what they publish and what one may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..protocol import messages
from ..protocol.messages import Grant, IceServer, Track


@dataclass(eq=False)
class Participant:
    """Somebody else in the room, kept up to date. `tracks` has those published on the relay."""

    id: str
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)
    via_relay: bool = False
    elder: bool = True
    """Whether they were in the room before this client: then this side is the polite one."""


class Room:
    """Follows what the hub tells of one room."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.participants: dict[str, Participant] = {}
        self.topology: messages.Topology = "mesh"
        self.relay = False
        self.grants = Grant()
        self.ice_servers: list[IceServer] = []
        self.speakers: list[tuple[str, int]] = []
        self.reception: dict[str, messages.ReceptionState] = {}
        """What this client gets of tracks, where it was told: `full`, `reduced` or `paused`."""
        self.quality: dict[str, messages.ParticipantQuality] = {}
        """How well participants' ways to the relay and from it do, by id."""

    def begin(self, joined: messages.Joined) -> None:
        """A session has begun: only what it says holds."""
        self.topology, self.relay = joined.room.topology, joined.relay
        self.grants, self.ice_servers = joined.grants, joined.ice_servers
        self.participants, self.reception, self.quality = {}, {}, {}
        for one in joined.participants:
            self._add(one, elder=True)

    def follow(self, message: messages.AnyServerMessage) -> None:
        """Keep the picture of the room up to date."""
        match message:
            case messages.ParticipantJoined(participant=told):
                self._add(told, elder=False)
            case messages.ParticipantUpdated(participant=told):
                if one := self.participants.get(told.id):
                    one.name, one.metadata = told.name, _metadata(told)
            case messages.ParticipantLeft(participant=id):
                self.participants.pop(id, None)
                self.quality.pop(id, None)
            case messages.RoomUpdated(room=room, relay=relay):
                self.topology, self.relay = room.topology, relay
            case messages.GrantsUpdated(grants=grants):
                self.grants = grants
            case messages.TopologyChanged(topology=topology):
                self.topology = topology
            case messages.RouteChanged(participant=id, via=via):
                if one := self.participants.get(id):
                    one.via_relay = via == "relay"
            case messages.TrackPublished() | messages.TrackUpdated():
                if one := self.participants.get(message.participant):
                    one.tracks[message.track.id] = message.track
            case messages.TrackUnpublished(participant=id, track=track):
                self.reception.pop(track, None)
                if one := self.participants.get(id):
                    one.tracks.pop(track, None)
            case messages.SpeakersChanged(speakers=speakers):
                self.speakers = [(speaker.participant, speaker.level) for speaker in speakers]
            case messages.ReceptionChanged(tracks=tracks):
                self.reception.update((track.track, track.state) for track in tracks)
            case messages.QualityChanged(participants=participants):
                self.quality.update((told.participant, told) for told in participants)

    def _add(self, told: messages.ParticipantInfo, *, elder: bool) -> None:
        self.participants[told.id] = Participant(
            id=told.id,
            name=told.name,
            metadata=_metadata(told),
            tracks={track.id: track for track in told.tracks},
            via_relay=told.via == "relay",
            elder=elder,
        )


def _metadata(told: messages.ParticipantInfo) -> dict[str, Any]:
    value = msgspec.json.decode(told.metadata)
    return value if isinstance(value, dict) else {}
