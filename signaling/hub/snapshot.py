"""What another hub needs to go on with a room: its state, and what its sessions were sent.

A snapshot holds no session's secret, only its hash: whoever reads it cannot resume anything.
Offers, answers and candidates are not kept: after a takeover those who need one make a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from relay.control import Track

from ..protocol.messages import Grant, Topology
from ..settings.config import Limits
from .journal import FILLER
from .participant import Participant
from .room import Room
from .session import Session

PASSING: Final = tuple(
    f'"type":"{kind}"'.encode() for kind in ("offer", "answer", "candidate", "speakers")
)
"""How bodies begin that are of no use to anybody later."""


class ParticipantState(msgspec.Struct, frozen=True, array_like=True):
    """`metadata` is JSON, `session` the secret's hash, `seq` the last message's number."""

    id: str
    name: str
    metadata: bytes
    grant: Grant
    identity: str
    ban_key: str
    tracks: list[Track]
    routes: list[str]
    session: str
    seq: int
    data: bool = False


class RoomState(msgspec.Struct, frozen=True, array_like=True):
    name: str
    topology: Topology
    locked: bool
    lobby: bool
    banned: list[str]
    participants: list[ParticipantState]


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """One body, and to which participants it went under which numbers. Empty: not kept.

    The number 0 is for a reply that is still to be sent: what it answers has been carried out.
    """

    body: bytes
    to: list[tuple[str, int]]


def take(room: Room, sessions: Iterable[Session]) -> RoomState:
    """A room as it is, with its sessions. Whoever came by WHIP or WHEP is not in it: their hub's
    death ends them."""
    return RoomState(
        room.name,
        room.topology,
        room.locked,
        room.lobby,
        sorted(room.banned),
        [_describe(session) for session in sessions],
    )


def _describe(session: Session) -> ParticipantState:
    participant = session.participant
    return ParticipantState(
        participant.id,
        participant.name,
        bytes(participant.metadata),
        participant.grant,
        participant.identity,
        participant.ban_key,
        list((participant.tracks or {}).values()),
        sorted(participant.routes or ()),
        session.digest,
        session.seq,
        participant.data,
    )


def restore(state: RoomState, limits: Limits, *, relay: bool) -> Room:
    """The room that a snapshot was taken of; its participants have no sessions yet."""
    room = Room(state.name, limits, relay=relay, lobby=state.lobby)
    room.locked = state.locked
    room.banned = set(state.banned)
    room.topology = state.topology
    for known in state.participants:
        participant = Participant(
            known.id,
            known.name,
            known.grant,
            metadata=Raw(known.metadata),
            identity=known.identity,
            ban_key=known.ban_key,
            data=known.data,
        )
        participant.guest = False
        participant.tracks = {track.id: track for track in known.tracks}
        participant.routes = set(known.routes)
        participant.attached = bool(known.tracks or known.routes) or state.topology == "relay"
        room.participants[participant.id] = participant
    return room


@dataclass(slots=True)
class Received:
    """What a participant was sent, by number, and the replies that may not have been sent."""

    bodies: dict[int, bytes] = field(default_factory=dict)
    replies: list[bytes] = field(default_factory=list)


def collect(sent: Iterable[Sent]) -> dict[str, Received]:
    """What each participant was sent."""
    received: dict[str, Received] = {}
    for one in sent:
        for participant, seq in one.to:
            known = received.setdefault(participant, Received())
            if seq:
                known.bodies[seq] = one.body or FILLER
            else:
                known.replies.append(one.body)
    return received
