"""Which connections a bot has: opens and closes them as the room's topology and routes say, and
gives each track its media from whichever has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Literal

import msgspec

from relay.control import Track

from ..client import Client, Event, Participant, Rejoined
from ..protocol import messages
from .clock import SharedClock, media_time
from .internals import machine_addresses
from .liveness import Liveness
from .peer import Peer
from .relayed import PUBLISHER, SUBSCRIBER, Publisher, Subscriber
from .sources import Kind, Label, Source
from .tap import Tap
from .tracks import RemoteTrack

SWEEP = 0.5
"""Seconds between two looks at what lingers."""
LOOK = 0.25
"""Seconds between two looks at what has fallen silent."""
LOOK_FOR_ADDRESSES = 1.0
"""Seconds between two looks at the machine's addresses."""
LINGER = 5.0
"""Seconds that an old way stays open while the new one takes over, and that a track waits
for new media before it ends."""
RETURN_WITHIN = 30.0
"""Seconds in which a participant who comes back under the same name, after the server lost
its sessions, is taken for the same one."""

Way = Literal["auto", "relay"]


class _Returning:
    """Tracks of somebody whom the server has forgotten, until they come back."""

    def __init__(self, name: str, tracks: list[RemoteTrack], until: float) -> None:
        self.name = name
        self.tracks = tracks
        self.until = until


class Connections:
    """The bot's connections, kept in step with the room. They know it as their `lines.Room`.

    spawn: runs work as a task that ends with the bot. on_track: is told of each new track.
    on_data: of what comes over a data channel, with the sender's id.
    """

    def __init__(
        self,
        client: Client,
        *,
        via: Way,
        receive: bool,
        jitter: tuple[float, float],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        on_track: Callable[[RemoteTrack], None],
        on_data: Callable[[str, bytes | str], None],
    ) -> None:
        self.client = client
        self.sources: list[Source] = []
        self.receiving = receive
        self.jitter = jitter
        self.spawn = spawn
        self.receive_data = on_data
        self.direct: dict[str, Peer] = {}
        self.publisher: Publisher
        self.subscriber: Subscriber
        self._via = via
        self.closing = False
        self._on_track = on_track
        self._tracks: dict[tuple[str, Label], RemoteTrack] = {}
        self._declined: set[str] = set()  # of whom the hub has been told, with via="relay"
        self._returning: list[_Returning] = []
        self._unbound: dict[RemoteTrack, float] = {}
        self._liveness = Liveness()
        self._clocks: dict[str, SharedClock] = {}
        client.on_any(self._receive)

    def open(self) -> None:
        """Begin; to be called in the loop, before the client joins."""
        self.publisher = Publisher(self)
        self.subscriber = Subscriber(self)

    def watch(self) -> None:
        """Look from now on after what lingers, and what has fallen silent."""
        self.spawn(self._sweep())
        self.spawn(self._keep_alive())

    @property
    def tracks(self) -> list[RemoteTrack]:
        """Those that are published now."""
        return list(self._tracks.values())

    @property
    def taps(self) -> set[Tap]:
        """Of every line that ever received."""
        return self.subscriber.taps.union(*(peer.taps for peer in self.direct.values()))

    def refresh(self) -> None:
        """`sources` has changed."""
        for peer in self.direct.values():
            peer.refresh()
        self.publisher.refresh()

    def release(self, sources: list[Source]) -> None:
        """Send these no more at once; other bots may go on sending them."""
        for peer in self.direct.values():
            peer.release(sources)
        self.publisher.release(sources)

    async def close(self) -> None:
        """End every track and every connection."""
        self.closing = True
        for track in self._all_tracks():
            track.end()
        await asyncio.gather(*(peer.close() for peer in self.direct.values()))
        await self.publisher.close()
        await self.subscriber.close()

    async def wait_closed(self) -> None:
        """Return when nothing is decoded any more, after `close`."""
        for track in self._all_tracks():
            await track.wait_closed()

    def _all_tracks(self) -> list[RemoteTrack]:
        return [*self.tracks, *(track for one in self._returning for track in one.tracks)]

    # -- What connections bring ---------------------------------------------------------

    def receive_track(self, participant: str, kind: Kind, label: Label, tap: Tap) -> None:
        """Media have come for this track: bind it, and announce it if it is new."""
        owner = self.client.participants.get(participant)
        if owner is None or self.closing:
            return
        key = (participant, label)
        track = self._tracks.get(key)
        if track is None:
            clock = self._clocks.setdefault(participant, SharedClock())
            prefer = partial(self._prefer, owner, label)
            track = RemoteTrack(owner, kind, label, clock=clock, prefer=prefer)
            self._tracks[key] = track
            self._take_mute(owner)
            track.bind(tap)
            self._on_track(track)
        else:
            track.bind(tap)

    def _prefer(
        self, owner: Participant, label: Label, width: int, height: int, priority: int
    ) -> None:
        published = next((t for t in owner.tracks.values() if t.source == label), None)
        if published is not None:
            preference = messages.Preference(published.id, width, height, priority)
            self.client.tell(messages.Prefer(tracks=[preference]))

    def lose_tap(self, tap: Tap) -> None:
        for track in self._tracks.values():
            track.unbind(tap)
        for returning in self._returning:
            for track in returning.tracks:
                track.unbind(tap)

    def _end_tracks(self, participant: str) -> None:
        for key in [key for key in self._tracks if key[0] == participant]:
            track = self._tracks.pop(key)
            self._unbound.pop(track, None)
            track.end()

    def _take_mute(self, owner: Participant) -> None:
        """Whether a camera or microphone is off, as its owner says in its metadata, or the
        relay of its track."""
        for (id, label), track in self._tracks.items():
            if id != owner.id:
                continue
            published = next((t for t in owner.tracks.values() if t.source == label), None)
            on = owner.metadata.get(label)
            track.muted = (published is not None and published.muted) or on is False

    # -- What the hub tells -------------------------------------------------------------

    def _receive(self, event: Event) -> None:
        match event:
            case messages.OfferFrom(from_=sender, sdp=sdp) if sender == messages.RELAY:
                slots = event.tracks if isinstance(event.tracks, list) else []
                self.subscriber.receive_offer(sdp, slots)
            case messages.OfferFrom(from_=sender, sdp=sdp):
                self._signal(sender, "offer", sdp)
            case messages.AnswerFrom(from_=sender, sdp=sdp) if sender != messages.RELAY:
                self._signal(sender, "answer", sdp)
            case messages.CandidateFrom(from_=sender, candidate=candidate):
                self._signal(sender, "candidate", msgspec.json.decode(candidate))
            case messages.ParticipantJoined(participant=info):
                self._welcome(self.client.participants[info.id])
            case messages.ParticipantUpdated(participant=info):
                if owner := self.client.participants.get(info.id):
                    self._take_mute(owner)
            case messages.ParticipantLeft(participant=id):
                self._end_tracks(id)
                self._clocks.pop(id, None)
            case messages.TrackUpdated(participant=id):
                if owner := self.client.participants.get(id):
                    self._take_mute(owner)
            case messages.TrackPublished(participant=id, track=published) if not self.receiving:
                if id != self.client.id:
                    self.client.tell(messages.Unsubscribe(tracks=[published.id]))
            case messages.Joined(participants=others) if not self.receiving:
                if tracks := [track.id for other in others for track in other.tracks]:
                    self.client.tell(messages.Unsubscribe(tracks=tracks))
            case messages.RouteChanged(participant=id, via="relay", reason="grants"):
                if peer := self.direct.pop(id, None):
                    self.spawn(peer.close())
            case messages.RelayRestarted():
                self.publisher.reset()
                self.subscriber.reset()
            case Rejoined(gone=gone):
                self._start_over(gone)
        self.sync()

    def _signal(self, sender: str, kind: str, payload: Any) -> None:
        peer = self.direct.get(sender)
        owner = self.client.participants.get(sender)
        if peer is None and kind == "offer" and owner and not self._is_relayed(owner):
            peer = self._open_peer(owner)
        if peer is not None:
            peer.receive(kind, payload)

    def _start_over(self, gone: list[Participant]) -> None:
        """A new session: others know nothing of this one's connections."""
        for peer in self.direct.values():
            self.spawn(peer.close())
        self.direct.clear()
        self.publisher.reset()
        self.subscriber.reset()
        until = media_time() + RETURN_WITHIN
        for owner in gone:
            keys = [key for key in self._tracks if key[0] == owner.id]
            if keys:
                tracks = [self._tracks.pop(key) for key in keys]
                for track in tracks:
                    self._unbound.pop(track, None)
                self._returning.append(_Returning(owner.name, tracks, until))
        for participant in self.client.participants.values():
            self._welcome(participant)

    def _welcome(self, participant: Participant) -> None:
        """Give somebody who comes back their tracks."""
        for returning in self._returning:
            if returning.name == participant.name:
                self._returning.remove(returning)
                for track in returning.tracks:
                    track.participant = participant
                    self._tracks[(participant.id, track.label)] = track
                return

    # -- Which ways media take ----------------------------------------------------------

    def sync(self) -> None:
        """Open and close connections as the room's topology and routes say."""
        if self.closing or not self.client.id or self.client.closed:
            return
        participants = self.client.participants
        for id in [id for id in self.direct if id not in participants]:
            self.spawn(self.direct.pop(id).close())
        relayed = False
        for participant in participants.values():
            if self._is_relayed(participant):
                relayed = True
                self._retire(participant)
                self._decline(participant)
            elif participant.id not in self.direct:
                self._open_peer(participant)
            else:
                self.direct[participant.id].resume()
        in_relay = self.client.relay and self.client.topology == "relay"
        self._declined.intersection_update(participants)
        if self.client.relay and (relayed or in_relay):
            self.publisher.set_active(True)
        elif all(peer.connected for peer in self.direct.values()):
            self.publisher.set_active(False)

    def _is_relayed(self, participant: Participant) -> bool:
        """Also while the relay is away: the hub takes the routes back when it stays so, and who
        asked for the relay alone never shows the others an address."""
        relayed = self.client.topology == "relay" or participant.via_relay
        return relayed or self._via == "relay"

    def _decline(self, participant: Participant) -> None:
        """Tell the hub, once, of one whom it wants direct although that is not wanted here."""
        if participant.via_relay or self.client.topology == "relay" or not self.client.relay:
            self._declined.discard(participant.id)
        elif participant.id not in self._declined:
            self._declined.add(participant.id)
            self.client.tell(messages.P2pFailed(participant=participant.id, reason="not wanted"))

    def _open_peer(self, participant: Participant) -> Peer:
        peer = Peer(self, participant)
        self.direct[participant.id] = peer
        return peer

    def _retire(self, participant: Participant) -> None:
        """Close a direct connection a while after the relay's media have come, or without them."""
        peer = self.direct.get(participant.id)
        if peer is None:
            return
        now = media_time()
        if peer.retired_at is None:
            peer.retired_at = now
        mine = [track for key, track in self._tracks.items() if key[0] == participant.id]
        taps = self.subscriber.taps
        flowing = bool(mine) and all(track.tap in taps for track in mine)
        # Kept for a while: the other side may still look through it, or the room shrink again.
        if not peer.connected or now - peer.retired_at > (LINGER if flowing else 2 * LINGER):
            del self.direct[participant.id]
            self.spawn(peer.close())

    # -- Networks that go and come --------------------------------------------------------

    def hear(self, key: Hashable) -> None:
        """A connection has brought something."""
        self._liveness.hear(key, asyncio.get_running_loop().time(), alone=key != SUBSCRIBER)

    def forget(self, key: Hashable) -> None:
        self._liveness.forget(key)

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        machine = machine_addresses()
        looked_at = loop.time()
        while True:
            await asyncio.sleep(LOOK)
            now = loop.time()
            if now - looked_at > LOOK_FOR_ADDRESSES:
                looked_at = now
                before, machine = machine, machine_addresses()
                if before - machine & self._addresses():
                    self._liveness.move(now)
                    self.client.reconnect()
            client = self.client
            verdict = self._liveness.check(
                now, connected=client.connected, hub_heard_at=client.heard_at
            )
            if verdict.probe:
                client.probe()
            for key in verdict.remake:
                self._remake(key)

    def _addresses(self) -> set[str]:
        """Where packets leave from now."""
        found = self.publisher.addresses | self.subscriber.addresses
        return found.union(*(peer.addresses for peer in self.direct.values()))

    def _remake(self, key: Hashable) -> None:
        if key == PUBLISHER:
            self.publisher.reset()
        elif key == SUBSCRIBER:
            self.subscriber.restart()
        elif peer := self.direct.get(str(key)):
            peer.restart()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.sync()
            now = media_time()
            for returning in [one for one in self._returning if one.until < now]:
                self._returning.remove(returning)
                for track in returning.tracks:
                    track.end()
            self._end_silent(now)

    def _end_silent(self, now: float) -> None:
        """End tracks that are published no more and have no connection left."""
        for key, track in list(self._tracks.items()):
            owner = self.client.participants.get(key[0])
            published: list[Track] = list(owner.tracks.values()) if owner else []
            if track.bound or any(t.source == key[1] for t in published):
                self._unbound.pop(track, None)
            elif now - self._unbound.setdefault(track, now) > LINGER:
                del self._unbound[track]
                del self._tracks[key]
                track.end()
