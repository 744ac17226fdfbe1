"""One room's media: who publishes what, who receives it, and what the hub hears of it.

Commands come in with `now`; events go out through `emit`. Changes to what somebody receives
are gathered until `flush`, so that a burst of them makes one offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from .. import control
from ..plane.leg import Leg
from ..sdp.description import BadSdp
from ..sdp.reading import parse_offer_untrusted
from ..stats import DropReason
from ..timers import Timers
from ..transport.sctp.channels import Arrived
from ..transport.transport import ENDED, Transport, TransportState
from . import figures
from .adaptation import Adaptation
from .data import Receiving, pass_on
from .participant import Participant
from .publisher import Changes, Published, Publisher, SourceForbidden
from .site import Site
from .speakers import Speakers
from .subscriber import Player, Receiver, Subscriber

LOOK_INTERVAL = 0.2
"""Seconds between two looks at who speaks, and in which codec."""

QUIET_AFTER = 3.0
"""Seconds without a packet of anybody in the room after which nothing is looked at: nobody is
taken to speak for longer (`speakers.HOLD`)."""

QUIET_INTERVAL = 0.5
"""Seconds between two looks whether it is quiet still."""

FULL = "The relay has more to do than it can, and takes no more. Try again later."

MAX_WRITTEN = 256 * 1024
"""Characters of offers that are written in one turn of the event loop: some 3 ms. To a room of
50 in which somebody publishes they come to 8 MB."""


class Router:
    """The media of one room; it ends with the last participant, or with `close`."""

    def __init__(
        self,
        room: str,
        site: Site,
        emit: Callable[[control.Event], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called when `get_timer` may have become earlier."""
        self.room = room
        self._site = replace(site, on_timer=self._set_timer)
        self._emit = emit
        self._wake = wake
        self._timers: Timers[Transport[Leg]] = Timers()
        self._look_at = 0.0
        self._participants: dict[str, Participant] = {}
        self._tracks: dict[str, Published] = {}
        self._speakers = Speakers()
        self._adaptation = Adaptation(room, emit)
        self._stale: set[str] = set()
        """Participants whose reception has to be looked at in `flush`."""
        self._waiting: set[str] = set()
        """Those who receive nothing, since the worker is overloaded."""
        self._ended: list[Publisher | Receiver] = []
        """Whose transport has ended by itself; `flush` draws the consequences."""

    @property
    def is_empty(self) -> bool:
        return not self._participants

    @property
    def participant_count(self) -> int:
        return len(self._participants)

    @property
    def tracks(self) -> list[Published]:
        return list(self._tracks.values())

    @property
    def receivers(self) -> list[Receiver]:
        return [p.receiver for p in self._participants.values() if p.receiver is not None]

    @property
    def transports(self) -> list[Transport[Leg]]:
        sides = [s for p in self._participants.values() for s in (p.publisher, p.receiver)]
        return [side.transport for side in sides if side is not None]

    def count_states(self) -> dict[control.ReceptionState, int]:
        """How many pictures come as they are wanted, smaller, or not."""
        return self._adaptation.count_states()

    def receive(self, command: control.Command, now: float) -> None:
        """Carry out one command; a faulty one is refused or ignored, never raised."""
        match command:
            case control.Join():
                self._join(command, now)
            case control.Leave():
                self._leave(command.participant, now)
            case control.CloseRoom():
                self.close(now)
            case control.Publish():
                self._publish(command, now)
            case control.Pull():
                self._pull(command, now)
            case control.AnswerOffer():
                self._take_answer(command, now)
            case control.Route():
                self._route(command)
            case control.Select():
                self._select(command)
            case control.Prefer() if command.participant in self._participants:
                self._adaptation.prefer(command, self._tracks)
                self._look_at = now
                self._wake()
            case control.Mute():
                self._mute(command, now)
            case control.RestartIce():
                self._restart_ice(command.participant, now)
            case control.GetStats():
                receivers = {
                    name: participant.receiver
                    for name, participant in self._participants.items()
                    if participant.receiver is not None
                }
                states = self._adaptation.get_state
                tracks = figures.describe_tracks(self.tracks, receivers, states, now)
                self._emit(control.RoomStats(command.request, tracks))

    def flush(self, now: float) -> bool:
        """Draw the consequences of what happened since the last time; make the offers due.

        In a large room not all at once: True asks for another `flush`, after packets that came.
        """
        ended, self._ended = self._ended, []
        for side in ended:
            if isinstance(side, Publisher):
                self._lose_publisher(side, now)
            else:
                self._lose_receiver(side, now)
        written = 0
        while self._stale and written < MAX_WRITTEN:
            name = self._stale.pop()
            participant = self._participants.get(name)
            if participant is not None:
                written += self._refresh(name, participant, now)
        return bool(self._stale)

    def get_timer(self) -> float | None:
        """When to call `handle_timer`; None: there is nothing to wait for."""
        if self._ended or self._stale:
            return 0.0
        timer = self._timers.get_timer()
        if not self._tracks:
            return timer
        return self._look_at if timer is None else min(self._look_at, timer)

    def handle_timer(self, now: float) -> bool:
        """Timers of transports, and who is speaking; ends with a `flush`."""
        for transport in self._timers.take_due(now):
            transport.handle_timer(now)
        if self._tracks and now >= self._look_at:
            heard = any(
                now - p.publisher.transport.leg.heard_at < QUIET_AFTER
                for p in self._participants.values()
                if p.publisher is not None
            )
            self._look_at = now + (LOOK_INTERVAL if heard else QUIET_INTERVAL)
            if heard:
                self._look_at_levels(now)
                self._look_at_codecs(now)
            self._look_at_silence(now)
            self._look_at_players(now)
            if not self._is_full:
                self._stale |= self._waiting
                self._waiting.clear()
            talking = self._speakers.talking
            self._adaptation.update(self._participants, self._tracks, talking, now)
        return self.flush(now)

    def _set_timer(self, transport: Transport[Leg], at: float | None) -> None:
        if at is None:
            self._timers.discard(transport)
        else:
            self._timers.set(transport, at)
            self._wake()

    def close(self, now: float) -> None:
        """End every transport; says nothing of it to the hub. Idempotent."""
        for participant in self._participants.values():
            for side in (participant.publisher, participant.receiver):
                if side is not None:
                    side.close(now)
        self._participants.clear()
        self._tracks.clear()
        self._stale.clear()
        self._ended.clear()

    # -- Participants -------------------------------------------------------------------

    def _join(self, command: control.Join, now: float) -> None:
        participant = self._participants.get(command.participant)
        if participant is None:
            self._participants[command.participant] = Participant(command)
        else:
            participant.join = command
            if participant.publisher is not None and not participant.publisher.is_allowed(command):
                self._end_publisher(participant, now)
            if not command.subscribe and participant.receiver is not None:
                participant.receiver.close(now)
                participant.receiver = None
        self._stale.add(command.participant)

    def _leave(self, name: str, now: float) -> None:
        participant = self._participants.get(name)
        if participant is None:
            return
        if participant.publisher is not None:
            self._end_publisher(participant, now)
        if participant.receiver is not None:
            participant.receiver.close(now)
        del self._participants[name]
        self._stale.discard(name)
        self._waiting.discard(name)
        self._speakers.remove(name)
        self._adaptation.forget(name)

    def _route(self, command: control.Route) -> None:
        participant = self._participants.get(command.participant)
        if participant is not None:
            names = command.publishers
            participant.routes = None if names is None else frozenset(names)
            self._stale.add(command.participant)

    def _select(self, command: control.Select) -> None:
        participant = self._participants.get(command.participant)
        if participant is not None:
            # Only what exists: what is refused can't grow without bound.
            tracks = [track for track in command.tracks if track in self._tracks]
            participant.select(tracks, command.wanted)
            self._stale.add(command.participant)

    # -- Publishing ---------------------------------------------------------------------

    def _publish(self, command: control.Publish, now: float) -> None:
        participant = self._participants.get(command.participant)
        if participant is None:
            self._refuse(command.request, "unknown-participant", "Nobody of that name is here.")
            return
        grants = participant.join
        if not (grants.publish or grants.publish_data):
            self._refuse(command.request, "forbidden", "Publishing is not allowed.")
            return
        if participant.publisher is None and participant.former is None and self._is_full:
            self._refuse(command.request, "relay-unavailable", FULL)
            return
        sources = {track.mid: track.source for track in command.tracks}
        allowed = grants.sources if grants.publish else []
        try:
            offer = parse_offer_untrusted(command.sdp)
            publisher = participant.publisher
            if publisher is not None and not publisher.is_continued_by(offer):
                publisher = None
            fresh = publisher or Publisher(
                command.participant,
                self._site,
                on_state=self._receive_publisher_state,
                deliver=self._deliver,
                former=participant.former,
            )
            try:
                answer, changes = fresh.receive_offer(
                    offer, sources, now, allowed, whole=command.whole
                )
            except (BadSdp, SourceForbidden):
                if publisher is None:
                    fresh.close(now)
                raise
        except BadSdp as error:
            self._refuse(command.request, error.code, str(error))
            return
        except SourceForbidden:
            text = "Publishing from that source is not allowed."
            self._refuse(command.request, "forbidden", text)
            return
        if fresh is not participant.publisher:
            if participant.publisher is not None:
                self._end_publisher(participant, now)
            participant.publisher = fresh
        self._emit(control.Answer(command.request, answer))
        self._announce(changes, now)

    def _deliver(self, publisher: Publisher, event: Arrived, lossy: bool) -> None:
        """Data of a publisher, whose turn has come."""
        name = publisher.participant
        sender = self._participants.get(name)
        if sender is None or not sender.join.publish_data:
            self._site.stats.drops[DropReason.DATA_FORBIDDEN] += 1
            return
        pass_on(name, event, lossy, partial(self._find_receivers, name), self._site.stats)

    def _find_receivers(self, sender: str, names: list[str] | None) -> Iterator[Receiving | None]:
        """Those that hear `sender` through the relay, or of `names` each, None where it cannot."""
        for name in self._participants if names is None else dict.fromkeys(names):
            participant = self._participants.get(name)
            receiver = participant.receiver if participant is not None else None
            hears = participant is not None and participant.hears(sender)
            if hears and isinstance(receiver, Subscriber) and receiver.data.is_open:
                yield receiver.data
            elif names is not None:
                yield None

    def _announce(self, changes: Changes, now: float) -> None:
        self._withdraw(changes.removed)
        for track in changes.added:
            self._tracks[track.id] = track
            self._emit(control.TrackPublished(self.room, track.participant, track.describe()))
        for track in changes.updated:
            self._emit(control.TrackUpdated(self.room, track.participant, track.describe()))
        for track in changes.recoded:
            self._follow_codec(track, now)
        if changes.added:
            self._stale.update(self._participants)

    def _look_at_codecs(self, now: float) -> None:
        for track in self._tracks.values():
            if track.note_codec(now):
                self._follow_codec(track, now)

    def _look_at_silence(self, now: float) -> None:
        """Tell the room whose media have stopped, or go on."""
        for track in self._tracks.values():
            if track.note_stop(now):
                self._emit(control.TrackUpdated(self.room, track.participant, track.describe()))

    def _look_at_players(self, now: float) -> None:
        """They cannot be offered anything: their lines go to what is heard, and the session of one
        that can have nothing of what there is ends: when it comes again it is told why."""
        for participant in self._participants.values():
            player = participant.receiver
            if isinstance(player, Player):
                tracks = participant.choose(self._tracks)
                player.change_over(tracks, now)
                if player.is_left_out(tracks, now):
                    player.close(now)
                    participant.receiver = None
                    self._tell_state(player.participant, "subscribe", TransportState.CLOSED)

    def _follow_codec(self, track: Published, now: float) -> None:
        """Who receives the track is to be offered the codec that it is sent in."""
        for name, participant in self._participants.items():
            receiver = participant.receiver
            if receiver is not None:
                receiver.follow_codec(track, now)
                self._stale.add(name)

    def _withdraw(self, tracks: list[Published]) -> None:
        for track in tracks:
            self._tracks.pop(track.id, None)
            self._adaptation.forget_track(track.id)
            for participant in self._participants.values():
                participant.refused.discard(track.id)
            self._emit(control.TrackUnpublished(self.room, track.participant, track.id))
        if tracks:
            self._stale.update(self._participants)

    def _end_publisher(self, participant: Participant, now: float) -> None:
        publisher, participant.publisher = participant.publisher, None
        if publisher is not None:
            self._withdraw(publisher.close(now))
            participant.former = publisher
            self._speakers.remove(publisher.participant)

    def _receive_publisher_state(self, publisher: Publisher, state: TransportState) -> None:
        self._tell_state(publisher.participant, "publish", state)
        if state in ENDED:
            self._ended.append(publisher)
            self._wake()

    def _lose_publisher(self, publisher: Publisher, now: float) -> None:
        participant = self._participants.get(publisher.participant)
        if participant is not None and participant.publisher is publisher:
            self._end_publisher(participant, now)

    def _mute(self, command: control.Mute, now: float) -> None:
        track = self._tracks.get(command.track)
        if track is not None and track.up.muted != command.muted:
            track.up.set_muted(command.muted, now)
            self._emit(control.TrackUpdated(self.room, track.participant, track.describe()))

    # -- Receiving ----------------------------------------------------------------------

    def _refresh(self, name: str, participant: Participant, now: float) -> int:
        """Have it receive what it is to; the size of the offer that this takes, in characters."""
        tracks = participant.choose(self._tracks)
        receiver = participant.receiver
        if receiver is None:
            if not (tracks or participant.wants_data):
                return 0
            if self._is_full:
                self._put_off(name)
                return 0
            receiver = participant.receiver = Subscriber(
                name,
                self._site,
                on_state=self._receive_receiver_state,
                data=participant.join.data,
            )
        receiver.choose(tracks, now)
        offer = receiver.take_offer() if isinstance(receiver, Subscriber) else None
        if offer is not None:
            self._emit(control.Offer(self.room, name, *offer))
        news = participant.take_reception(tracks)
        if news:
            self._emit(control.Reception(self.room, name, news))
        return 0 if offer is None else len(offer[0])

    @property
    def _is_full(self) -> bool:
        return self._site.load.overloaded

    def _put_off(self, name: str) -> None:
        """It receives nothing until the worker keeps up again."""
        if name not in self._waiting:
            self._waiting.add(name)
            self._emit(control.Unserved(self.room, name))

    def _take_answer(self, command: control.AnswerOffer, now: float) -> None:
        participant = self._participants.get(command.participant)
        receiver = participant.receiver if participant is not None else None
        if not isinstance(receiver, Subscriber):
            self._refuse(command.request, "unknown-participant", "No offer waits for an answer.")
            return
        try:
            receiver.receive_answer(command.sdp, now)
        except BadSdp as error:
            self._refuse(command.request, error.code, str(error))
            return
        self._emit(control.Answer(command.request, ""))
        self._stale.add(command.participant)

    def _pull(self, command: control.Pull, now: float) -> None:
        participant = self._participants.get(command.participant)
        if participant is None:
            self._refuse(command.request, "unknown-participant", "Nobody of that name is here.")
            return
        if not participant.join.subscribe:
            self._refuse(command.request, "forbidden", "Subscribing is not allowed.")
            return
        tracks = participant.choose(self._tracks)
        player = participant.receiver
        if player is None and self._is_full:
            self._refuse(command.request, "relay-unavailable", FULL)
            return
        if not isinstance(player, Player):
            player = Player(command.participant, self._site, on_state=self._receive_receiver_state)
        try:
            answer = player.receive_offer(parse_offer_untrusted(command.sdp), tracks, now)
        except BadSdp as error:
            if player is not participant.receiver:
                player.close(now)
            self._refuse(command.request, error.code, str(error))
            return
        if participant.receiver is not player and participant.receiver is not None:
            participant.receiver.close(now)
        participant.receiver = player
        self._emit(control.Answer(command.request, answer, player.carried))

    def _restart_ice(self, name: str, now: float) -> None:
        participant = self._participants.get(name)
        if participant is None:
            return
        receiver = participant.receiver
        if isinstance(receiver, Subscriber):
            if receiver.state in ENDED:
                receiver.reopen(now)
            else:
                receiver.restart_ice()
        self._stale.add(name)

    def _receive_receiver_state(self, receiver: Receiver, state: TransportState) -> None:
        self._tell_state(receiver.participant, "subscribe", state)
        if state in ENDED:
            self._ended.append(receiver)
            self._wake()
        elif state is TransportState.DISCONNECTED and isinstance(receiver, Subscriber):
            receiver.restart_ice()
            self._stale.add(receiver.participant)
            self._wake()

    def _lose_receiver(self, receiver: Receiver, now: float) -> None:
        participant = self._participants.get(receiver.participant)
        if participant is None or participant.receiver is not receiver:
            return
        if receiver.state not in ENDED:
            return  # it was opened again in the meantime
        if isinstance(receiver, Subscriber) and receiver.state is TransportState.FAILED:
            receiver.reopen(now)
            self._stale.add(receiver.participant)
        else:
            # The client closed its peer connection: it gets an offer when there is news.
            receiver.close(now)
            participant.receiver = None

    # -- Telling ------------------------------------------------------------------------

    def _tell_state(self, name: str, direction: control.Direction, state: TransportState) -> None:
        told = figures.TOLD.get(state)
        if told is not None and name in self._participants:
            self._emit(control.TransportChanged(self.room, name, direction, told))

    def _refuse(self, request: int, code: control.RefusalCode, reason: str) -> None:
        self._emit(control.Refused(request, code, reason))

    def _look_at_levels(self, now: float) -> None:
        for track in self._tracks.values():
            if track.kind == "audio":
                level = track.up.take_level()
                if level is not None and not track.up.muted:
                    self._speakers.receive_level(track.participant, level, now)
        change = self._speakers.take_change(now)
        if change is not None:
            self._emit(control.Speakers(self.room, change))
