"""A room: who is in it, what they publish, how their media travel.

Rules only: each method returns `Effects`, that is who is to be told what and what the relay is
to do. Whoever calls them sends it. Long, for topology, routes and tracks depend on each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from relay import control
from relay.control import Track

from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import Grant, LeaveReason, Topology, Via
from ..settings.config import Limits
from .participant import Effects, Participant

# Seconds for which the relay goes on sending after a room went back to the mesh, so that
# nobody's picture stops before the direct connections stand.
MESH_OVERLAP: Final = 10.0
# For one room; a moderator who removes more had better lock it.
MAX_BANS: Final = 1000
HISTORY_BYTES: Final = 64 * 1024
"""Of chat kept for those who come later: what is told to each of them beside everything else."""


class Room:
    """`relay` is whether media can be relayed now."""

    __slots__ = (
        "_history",
        "_history_bytes",
        "_lost_at",
        "_restarted",
        "_return_at",
        "_settle_routes_at",
        "banned",
        "limits",
        "lobby",
        "locked",
        "name",
        "over",
        "participants",
        "relay",
        "scheduled",
        "topology",
    )

    def __init__(self, name: str, limits: Limits, *, relay: bool, lobby: bool = False) -> None:
        self.name = name
        self.limits = limits
        self.relay = relay
        self.locked = False
        self.lobby = lobby
        self._history: deque[messages.ChatLine] = deque()
        self._history_bytes = 0
        self.banned: set[str] = set()  # keys of those who may not come in again
        self.topology: Topology = "mesh"
        self.participants: dict[str, Participant] = {}  # in the order in which they came
        self.scheduled: float | None = None  # when `handle_timer` is called
        self.over = False
        self._return_at: float | None = None
        self._settle_routes_at: float | None = None
        self._lost_at: float | None = None
        self._restarted: set[str] = set()  # who has to publish anew once there is a relay

    # -- Who is in it -------------------------------------------------------------------

    @property
    def visible(self) -> Iterator[Participant]:
        return (p for p in self.participants.values() if not p.hidden)

    @property
    def peers(self) -> Iterator[Participant]:
        return (p for p in self.participants.values() if not p.guest)

    @property
    def unattended(self) -> bool:
        """Whether nobody is in but WHIP and WHEP."""
        return next(self.peers, None) is None

    @property
    def guests(self) -> Iterator[Participant]:
        """Those who publish by WHIP."""
        return (p for p in self.participants.values() if p.guest and not p.hidden)

    def others(self, participant: Participant) -> Iterator[Participant]:
        return (p for p in self.visible if p is not participant)

    def describe(self) -> messages.RoomInfo:
        lobby = True if self.lobby else UNSET
        return messages.RoomInfo(self.name, self.topology, self.locked, lobby)

    def find(self, id: str) -> Participant:
        """Raise ProtocolError `unknown-participant`."""
        participant = self.participants.get(id)
        if participant is None or participant.hidden:
            # Not quoted in full: it may be as long as a frame.
            raise ProtocolError(
                "unknown-participant", f"No participant {id[:64]} in room {self.name}."
            )
        return participant

    def find_peer(self, participant: Participant, id: str) -> Participant:
        """The same for another one who has a connection of its own."""
        peer = self.find(id)
        if peer is participant:
            raise ProtocolError("unknown-participant", f"{id} is yourself.")
        if peer.guest:
            raise ProtocolError("unknown-participant", f"{id} is there through the relay only.")
        return peer

    def find_direct_peer(self, participant: Participant, id: str) -> Participant:
        """The same for one to connect with directly. Raise ProtocolError `forbidden` if the
        grants of the two do not allow that."""
        peer = self.find_peer(participant, id)
        if participant.needs_relay(peer):
            raise ProtocolError("forbidden", f"Media with {id} go through the relay alone.")
        return peer

    def find_same(self, identity: str, *, guest: bool, hidden: bool) -> Participant | None:
        """The one of an identity that came in the same way: by WebSocket, WHIP or WHEP."""
        for participant in self.participants.values():
            if (participant.identity, participant.guest, participant.hidden) == (
                identity,
                guest,
                hidden,
            ):
                return participant
        return None

    def check_entry(
        self, ban_key: str = "", *, invited: bool = False, replaces: bool = False
    ) -> None:
        """Raise ProtocolError unless one more may come in, `invited` also where it is locked, or
        where it `replaces` another, into a full room."""
        if ban_key in self.banned:
            raise ProtocolError("forbidden", "You were removed from this room.")
        if self.locked and not invited:
            raise ProtocolError("room-locked", f"Room {self.name} is locked.")
        if len(self.participants) - replaces >= self.limits.max_participants:
            raise ProtocolError(
                "room-full", f"Room {self.name} has {self.limits.max_participants} participants."
            )

    def add(self, participant: Participant, now: float) -> Effects:
        effects = Effects()
        self.participants[participant.id] = participant
        if not participant.hidden:
            self._announce(participant, effects)
        if participant.guest:
            self._attach(participant, effects)
        if participant.guest and not participant.hidden:
            self._route_guest(participant, self.peers, effects)
        elif not participant.guest:
            for guest in self.guests:
                self._route_guest(guest, [participant], effects)
            self._keep_to_relay(participant, effects)
        if self.topology == "relay" and not participant.attached:
            self._attach(participant, effects)
        self._choose_topology(now, effects)
        return effects

    def _announce(self, participant: Participant, effects: Effects) -> None:
        for relayed in (False, True):
            to = [p for p in self.others(participant) if p.restricted is relayed]
            if to:
                joined = participant.describe(relayed=relayed)
                effects.tell(to, messages.ParticipantJoined(participant=joined))

    def remove(self, participant: Participant, reason: LeaveReason, now: float) -> Effects:
        effects = Effects()
        del self.participants[participant.id]
        self._detach(participant, effects)
        if not participant.hidden:
            left = messages.ParticipantLeft(participant=participant.id, reason=reason)
            effects.tell(self.participants.values(), left)
        for other in self.participants.values():
            if other.routes and participant.id in other.routes:
                other.routes.remove(participant.id)
                if self.topology == "mesh":
                    self._send_route(other, effects)
        if self.unattended:
            # WHIP and WHEP keep the room, but cannot unlock it.
            self.locked = False
        self._choose_topology(now, effects)
        return effects

    def update(self, participant: Participant, name: str | None, metadata: Raw | None) -> Effects:
        effects = Effects()
        if name is None and metadata is None:
            return effects
        participant.name = participant.name if name is None else name
        participant.metadata = participant.metadata if metadata is None else metadata
        if not participant.hidden:
            updated = messages.ParticipantUpdated(participant=participant.describe())
            effects.tell(self.others(participant), updated)
        return effects

    def promote(self) -> Effects:
        """Where nobody moderates any more, let the one do it who has been there longest."""
        effects = Effects()
        heir = next(self.peers, None)
        if heir is None or any(p.grant.moderate for p in self.peers):
            return effects
        heir.grant = msgspec.structs.replace(heir.grant, moderate=True)
        effects.tell([heir], messages.GrantsUpdated(grants=heir.grant))
        return effects

    def set_grant(self, participant: Participant, grant: Grant) -> Effects:
        """Change what one may do; what it may not do any more, ends now."""
        effects = Effects()
        before = [p for p in self._other_peers(participant) if participant.needs_relay(p)]
        participant.grant = grant
        effects.tell([participant], messages.GrantsUpdated(grants=grant))
        if participant.attached:
            self._attach(participant, effects)
        for peer in before:
            if not participant.needs_relay(peer):
                self._route_pair(participant, peer, "direct", "grants", effects)
        self._keep_to_relay(participant, effects, before)
        return effects

    def set_lobby(self, enabled: bool) -> Effects:
        effects = Effects()
        if enabled != self.lobby:
            self.lobby = enabled
            self._tell_room(effects)
        return effects

    def ban(self, participant: Participant) -> None:
        """Keep one out who is about to be removed, as long as the room lasts."""
        if participant.ban_key:
            if len(self.banned) >= MAX_BANS:
                self.banned.pop()
            self.banned.add(participant.ban_key)

    def remember(self, line: messages.ChatLine) -> None:
        """Keep a message to everyone for those who come later; the oldest go first."""
        self._history.append(line)
        self._history_bytes += _size(line)
        while self._history and (
            len(self._history) > self.limits.chat_history or self._history_bytes > HISTORY_BYTES
        ):
            self._history_bytes -= _size(self._history.popleft())

    @property
    def history(self) -> list[messages.ChatLine]:
        return list(self._history)

    def lock(self, locked: bool) -> Effects:
        effects = Effects()
        if locked != self.locked:
            self.locked = locked
            self._tell_room(effects)
        return effects

    def _tell_room(self, effects: Effects) -> None:
        updated = messages.RoomUpdated(room=self.describe(), relay=self.relay)
        effects.tell(self.participants.values(), updated)

    # -- How media travel ---------------------------------------------------------------

    def fail_pair(self, participant: Participant, peer: Participant) -> Effects:
        """Move a pair that cannot connect directly to the relay. Raise ProtocolError."""
        if not self.relay:
            raise ProtocolError("relay-unavailable", "There is no media relay now.")
        effects = Effects()
        if self.topology == "relay" or peer.id in (participant.routes or ()):
            return effects
        self._route_pair(participant, peer, "relay", "p2p-failed", effects)
        return effects

    def _route_pair(
        self, first: Participant, second: Participant, via: Via, reason: str, effects: Effects
    ) -> None:
        for one, other in ((first, second), (second, first)):
            one.routes = one.routes or set()
            if via == "relay":
                one.routes.add(other.id)
            else:
                one.routes.discard(other.id)
            if self.topology == "mesh":
                route = messages.RouteChanged(participant=other.id, via=via, reason=reason)
                effects.tell([one], route)
                self._send_route(one, effects)

    def _other_peers(self, participant: Participant) -> list[Participant]:
        """Those who have a connection, too, and know of each other."""
        if participant.hidden:
            return []
        return [p for p in self.peers if p is not participant and not p.hidden]

    def _keep_to_relay(
        self, participant: Participant, effects: Effects, told: Sequence[Participant] = ()
    ) -> None:
        """Route the pairs with one, whose grants say so, through the relay."""
        for peer in self._other_peers(participant):
            if participant.needs_relay(peer) and peer not in told:
                self._route_pair(participant, peer, "relay", "grants", effects)
        if participant.restricted and not self.relay:
            effects.tell([participant], _lacks_relay())

    def attach(self, participant: Participant) -> Effects:
        """Tell the relay of one who is about to ask it for something."""
        effects = Effects()
        if not participant.attached:
            self._attach(participant, effects)
        return effects

    def get_timer(self) -> float | None:
        deadlines = (self._return_at, self._settle_routes_at, self._lost_at)
        return min((d for d in deadlines if d is not None), default=None)

    def handle_timer(self, now: float) -> Effects:
        effects = Effects()
        if self._return_at is not None and now >= self._return_at:
            self._return_at = None
            self._switch("mesh", "size", effects)
            self._settle_routes_at = now + MESH_OVERLAP
        if self._settle_routes_at is not None and now >= self._settle_routes_at:
            self._settle_routes_at = None
            if self.topology == "mesh":
                self._send_routes(effects)
        if self._lost_at is not None and now >= self._lost_at:
            self._lost_at = None
            self._do_without_relay(effects)
        return effects

    def _choose_topology(self, now: float, effects: Effects) -> None:
        count = sum(1 for _ in self.peers)
        watched = any(p.hidden for p in self.participants.values())
        small = count < self.limits.mesh_limit and not watched
        if self.topology == "relay":
            if not small:
                self._return_at = None
            elif self._return_at is None:
                self._return_at = now + self.limits.mesh_return
        elif self.relay and (watched or count > self.limits.mesh_limit):
            self._switch("relay", "size" if count > self.limits.mesh_limit else "whep", effects)

    def _switch(self, topology: Topology, reason: str, effects: Effects) -> None:
        self.topology = topology
        changed = messages.TopologyChanged(topology=topology, reason=reason)
        effects.tell(self.participants.values(), changed)
        if topology == "relay":
            self._settle_routes_at = None
            self._send_routes(effects)
        else:
            for guest in self.guests:
                effects.tell(self.peers, _by_whip(guest))
            self._tell_grant_routes(effects)

    def _tell_grant_routes(self, effects: Effects) -> None:
        for participant in self.peers:
            for peer in self._other_peers(participant):
                if participant.needs_relay(peer):
                    route = messages.RouteChanged(participant=peer.id, via="relay", reason="grants")
                    effects.tell([participant], route)

    def _route_guest(self, guest: Participant, to: Iterable[Participant], effects: Effects) -> None:
        """Have `to` receive a guest through the relay, also once the room is a mesh again."""
        for peer in to:
            peer.routes = peer.routes or set()
            peer.routes.add(guest.id)
            if self.topology == "mesh":
                effects.tell([peer], _by_whip(guest))
                self._send_route(peer, effects)

    def _attach(self, participant: Participant, effects: Effects) -> None:
        grant = participant.grant
        participant.attached = True
        effects.commands.append(
            control.Join(
                self.name,
                participant.id,
                grant.publish,
                grant.subscribe,
                participant.sources,
                participant.data,
                grant.data,
            )
        )
        if grant.subscribe:
            effects.commands.append(self._build_route(participant))

    def _detach(self, participant: Participant, effects: Effects) -> None:
        """Also where the worker is gone: what serves the relay may keep note of the rest."""
        if participant.attached or participant.id in self._restarted:
            participant.attached = False
            self._restarted.discard(participant.id)
            effects.commands.append(control.Leave(self.name, participant.id))

    def _send_routes(self, effects: Effects) -> None:
        for participant in self.participants.values():
            if not participant.guest:
                self._send_route(participant, effects)

    def _send_route(self, participant: Participant, effects: Effects) -> None:
        if not self.relay:
            return  # they are sent when there is one
        if not participant.attached:
            self._attach(participant, effects)
        elif participant.grant.subscribe:
            effects.commands.append(self._build_route(participant))

    def _build_route(self, participant: Participant) -> control.Route:
        publishers: list[str] | None
        if participant.hidden:
            publishers = None if participant.watches is None else [participant.watches]
        elif self.topology == "relay" or self._settle_routes_at is not None:
            publishers = None
        else:
            publishers = sorted(participant.routes or ())
        return control.Route(self.name, participant.id, publishers)

    # -- What the relay tells -----------------------------------------------------------

    def publish_track(self, owner: Participant, track: Track) -> Effects:
        effects = Effects()
        known = owner.tracks is not None and track.id in owner.tracks
        if owner.tracks is None:
            owner.tracks = {}
        owner.tracks[track.id] = track
        kind = messages.TrackUpdated if known else messages.TrackPublished
        effects.tell(self.participants.values(), kind(participant=owner.id, track=track))
        return effects

    def update_track(self, owner: Participant, track: Track) -> Effects:
        """Nothing follows where the room knows already, as it does after `mute`."""
        if owner.tracks is None or owner.tracks.get(track.id) in (None, track):
            return Effects()
        return self.publish_track(owner, track)

    def unpublish_track(self, owner: Participant, track: str) -> Effects:
        effects = Effects()
        if owner.tracks and owner.tracks.pop(track, None) is not None:
            gone = messages.TrackUnpublished(participant=owner.id, track=track)
            effects.tell(self.participants.values(), gone)
        return effects

    def find_track(self, id: str) -> tuple[Participant, Track]:
        """Raise ProtocolError `unknown-track`."""
        for participant in self.participants.values():
            if participant.tracks and id in participant.tracks:
                return participant, participant.tracks[id]
        raise ProtocolError("unknown-track", f"No track {id[:64]} in room {self.name}.")

    def mute(self, participant: Participant, id: str, muted: bool) -> Effects:
        """Mute or unmute one's own track, or as a moderator mute anyone's. Raise ProtocolError."""
        owner, track = self.find_track(id)
        if owner is not participant and not participant.grant.moderate:
            raise ProtocolError("forbidden", "Only a moderator may mute the tracks of others.")
        if owner is not participant and not muted:
            raise ProtocolError("forbidden", "Nobody may unmute the tracks of others.")
        effects = self.update_track(owner, msgspec.structs.replace(track, muted=muted))
        effects.commands.append(control.Mute(self.name, id, muted))
        return effects

    def tell_speakers(self, speakers: list[control.Speaker]) -> Effects:
        effects = Effects()
        effects.tell(self.participants.values(), messages.SpeakersChanged(speakers=speakers))
        return effects

    def tell_quality(self, participants: list[control.ParticipantQuality]) -> Effects:
        """Of those who are still here and not hidden."""
        effects = Effects()
        known = [one for one in participants if one.participant in self.participants]
        if known:
            message = messages.QualityChanged(participants=known)
            effects.tell(self.participants.values(), message)
        return effects

    def receives(self, participant: Participant, track: str) -> bool:
        """Whether the track is one of somebody else's here."""
        return any(
            other is not participant and other.tracks and track in other.tracks
            for other in self.participants.values()
        )

    def lose_worker(self) -> tuple[Effects, list[Participant]]:
        """The process that relayed for this room is gone. Return also the guests to remove."""
        effects = Effects()
        for participant in self.participants.values():
            for track in list(participant.tracks or ()):
                self._extend(effects, self.unpublish_track(participant, track))
            if participant.attached:
                participant.attached = False
                self._restarted.add(participant.id)
        if self.relay:
            self._restart(effects)
        return effects, [p for p in self.participants.values() if p.guest]

    def set_relay(self, available: bool, now: float) -> Effects:
        """Whether there is a relay has changed. A short absence moves nobody."""
        effects = Effects()
        if available == self.relay:
            return effects
        self.relay = available
        self._lost_at = None if available else now + self.limits.mesh_return
        self._tell_room(effects)
        if available:
            self._restart(effects)
            for participant in self.peers:
                if participant.routes and not participant.attached:
                    self._attach(participant, effects)
            self._choose_topology(now, effects)
        return effects

    def _restart(self, effects: Effects) -> None:
        back = [p for p in self.participants.values() if p.id in self._restarted]
        self._restarted.clear()
        for participant in back:
            self._attach(participant, effects)
        effects.tell(back, messages.RelayRestarted())

    def _do_without_relay(self, effects: Effects) -> None:
        self._return_at = self._settle_routes_at = None
        for participant in self.participants.values():
            self._detach(participant, effects)
            kept: set[str] = set()
            for id in sorted(participant.routes or ()):
                other = self.participants.get(id)
                if other is not None and not other.guest and participant.needs_relay(other):
                    kept.add(id)
                elif self.topology == "mesh":
                    route = messages.RouteChanged(
                        participant=id, via="direct", reason="relay-unavailable"
                    )
                    effects.tell([participant], route)
            participant.routes = kept or None
            if participant.restricted:
                effects.tell([participant], _lacks_relay())
        if self.topology == "relay":
            self._switch("mesh", "relay-unavailable", effects)

    @staticmethod
    def _extend(effects: Effects, more: Effects) -> None:
        effects.deliveries += more.deliveries
        effects.commands += more.commands


def _by_whip(guest: Participant) -> messages.RouteChanged:
    return messages.RouteChanged(participant=guest.id, via="relay", reason="whip")


def _lacks_relay() -> messages.Error:
    """What one is told whose grants leave it no media for now."""
    return messages.Error(
        code="relay-unavailable",
        message="Your media go through the relay alone, and there is none now.",
    )


def _size(line: messages.ChatLine) -> int:
    return len(line.content.encode()) + len(line.user.encode())
