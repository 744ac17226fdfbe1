"""A room as operators see it: what `/api` tells of it."""

from __future__ import annotations

import msgspec

from relay.control import Track

from ..protocol.messages import Topology
from .room import Room


class ParticipantDetails(msgspec.Struct):
    """`routes`: whom it receives through the relay."""

    id: str
    identity: str
    name: str
    metadata: msgspec.Raw
    connected: bool
    guest: bool
    moderator: bool
    tracks: list[Track]
    routes: list[str]


class RoomDetails(msgspec.Struct):
    name: str
    topology: Topology
    locked: bool
    participants: list[ParticipantDetails]


def describe(room: Room) -> RoomDetails:
    """What there is to tell now."""
    return RoomDetails(
        name=room.name,
        topology=room.topology,
        locked=room.locked,
        participants=[
            ParticipantDetails(
                id=p.id,
                identity=p.identity,
                name=p.name,
                metadata=p.metadata,
                connected=p.guest or (p.session is not None and p.session.connected),
                guest=p.guest,
                moderator=p.grant.moderate,
                tracks=list((p.tracks or {}).values()),
                routes=sorted(p.routes or ()),
            )
            for p in room.visible
        ],
    )
