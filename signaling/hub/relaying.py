"""Between clients and the relay: their messages become commands, its events become messages.

Who is owed an answer is in `relayrequests`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from relay import control

from ..metrics import Metrics
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import RELAY
from .delivery import Delivery
from .members import Members
from .participant import Participant
from .relayrequests import Build, RelayRequests, Relays, Reply
from .room import Room
from .session import PENDING, Session, State

_OVERLOADED: Final = "The relay has more to do than it can: you receive nothing until it has time."

StatsReceiver = Callable[[list[control.TrackStats] | None], None]
"""Gets None where no answer comes."""


class Relaying:
    """`receive_*` for clients' messages and the relay's events."""

    def __init__(
        self,
        relays: Relays,
        members: Members,
        delivery: Delivery,
        requests: RelayRequests,
        metrics: Metrics,
    ) -> None:
        self._relays = relays
        self._members = members
        self._delivery = delivery
        self.requests = requests
        self._metrics = metrics

    # -- From clients: each returns the reply, or None where it comes later ---------------

    def receive_offer(self, session: Session, message: messages.Offer, now: float) -> bytes | None:
        participant = session.participant
        if not (participant.grant.publish or participant.grant.data):
            raise ProtocolError("forbidden", "You may not publish here.")
        tracks = messages.parse_publish_tracks_untrusted(message.tracks)
        sdp = messages.parse_sdp_untrusted(message.sdp)
        allowed = participant.sources
        if allowed is not None and any(track.source not in allowed for track in tracks):
            raise ProtocolError("forbidden", "You may not publish from that source here.")
        self._ask(
            session,
            message.id,
            len(message.sdp),
            lambda number: control.Publish(session.room.name, participant.id, number, sdp, tracks),
            now,
        )
        return None

    def receive_answer(
        self, session: Session, message: messages.Answer, now: float
    ) -> bytes | None:
        sdp = messages.parse_sdp_untrusted(message.sdp)
        self._ask(
            session,
            message.id,
            len(message.sdp),
            lambda number: control.AnswerOffer(
                session.room.name, session.participant.id, number, sdp
            ),
            now,
        )
        return None

    def receive_selection(
        self, session: Session, message: messages.Subscribe | messages.Unsubscribe
    ) -> bytes:
        self.requests.check_available()
        if not session.participant.grant.subscribe:
            raise ProtocolError("forbidden", "You may not subscribe here.")
        tracks = list(dict.fromkeys(message.tracks))
        for track in tracks:
            session.room.find_track(track)
        self._attach(session)
        wanted = isinstance(message, messages.Subscribe)
        self._relays.send(control.Select(session.room.name, session.participant.id, tracks, wanted))
        return messages.build_ok(message.id)

    def receive_preferences(self, session: Session, message: messages.Prefer) -> bytes:
        """The sizes of the tracks that are there count, also if others are refused: a track may
        have ended while the message was under way."""
        self.requests.check_available()
        room, participant = session.room, session.participant
        if not participant.grant.subscribe:
            raise ProtocolError("forbidden", "You may not subscribe here.")
        known, unknown = [], None
        for preference in message.tracks:
            if room.receives(participant, preference.track):
                known.append(preference)
            else:
                unknown = preference.track
        self._attach(session)
        if known or message.reset:
            prefer = control.Prefer(room.name, participant.id, known, message.reset)
            self._relays.send(prefer)
        if unknown is not None:
            text = f"No track {unknown} of others in room {room.name}."
            raise ProtocolError("unknown-track", text)
        return messages.build_ok(message.id)

    def receive_restart(self, session: Session, message: messages.RestartIce) -> bytes:
        self.requests.check_available()
        self._attach(session)
        self._relays.send(control.RestartIce(session.room.name, session.participant.id))
        return messages.build_ok(message.id)

    def ask_stats(self, room: str, receiver: StatsReceiver, now: float) -> None:
        """Have `receiver` called with what the relay measures in `room`, or with None."""

        def receive(reply: Reply) -> None:
            receiver(reply.tracks if isinstance(reply, control.RoomStats) else None)

        try:
            self.requests.ask(room, lambda number: control.GetStats(room, number), receive, now)
        except ProtocolError:
            receiver(None)

    def _ask(self, session: Session, id: str | None, size: int, build: Build, now: float) -> None:
        """Pass on a description, and have its answer go to the client. Raise ProtocolError."""
        self.requests.check_available()
        self._attach(session)
        address = "" if session.link is None else session.link.address
        self.requests.describe(
            session.room.name,
            session.participant.id,
            address,
            size,
            build,
            lambda reply: self._complete(session, id, reply),
            now,
        )
        if id is not None and session.recall(id) is None:
            session.remember(id, PENDING)

    def _attach(self, session: Session) -> None:
        self._delivery.apply(session.room, session.room.attach(session.participant))

    # -- From the relay -----------------------------------------------------------------

    def receive_event(self, event: control.Event, now: float) -> list[Participant]:
        """Pass on an event; return those who came by WHIP and WHEP and have to go.

        Events about rooms and participants that are gone already are passed over.
        """
        match event:
            case control.Answer() | control.Refused() | control.RoomStats():
                self.requests.receive(event)
            case control.Availability():
                for room in self._members.list_rooms():
                    self._delivery.apply(room, room.set_relay(event.available, now))
            case control.WorkerLost():
                return [guest for name in event.rooms for guest in self._lose_worker(name)]
            case control.Speakers():
                room_ = self._members.find_room(event.room)
                if room_ is not None:
                    self._delivery.apply(room_, room_.tell_speakers(event.speakers))
            case control.Quality():
                room_ = self._members.find_room(event.room)
                if room_ is not None:
                    self._delivery.apply(room_, room_.tell_quality(event.participants))
            case _:
                room_ = self._members.find_room(event.room)
                participant = room_ and room_.participants.get(event.participant)
                if room_ is not None and participant:
                    self._receive_about(room_, participant, event)
        return []

    def _receive_about(
        self,
        room: Room,
        participant: Participant,
        event: control.Offer
        | control.TrackPublished
        | control.TrackUnpublished
        | control.TrackUpdated
        | control.Layers
        | control.Reception
        | control.Unserved
        | control.TransportChanged,
    ) -> None:
        match event:
            case control.Offer():
                offer = messages.OfferFrom(from_=RELAY, sdp=event.sdp, tracks=event.tracks)
                self._tell(participant, offer)
            case control.TrackPublished():
                self._delivery.apply(room, room.publish_track(participant, event.track))
            case control.TrackUnpublished():
                self._delivery.apply(room, room.unpublish_track(participant, event.track))
            case control.TrackUpdated():
                self._delivery.apply(room, room.update_track(participant, event.track))
            case control.Layers():
                wanted = messages.LayersWanted(track=event.track, active=event.active)
                self._tell(participant, wanted)
            case control.Reception():
                self._tell(participant, messages.ReceptionChanged(tracks=event.tracks))
            case control.Unserved():
                error = messages.Error(code="relay-unavailable", message=_OVERLOADED)
                self._tell(participant, error)
            case control.TransportChanged():
                # Clients see their own transports; of a guest there is nothing else to see.
                participant.connected |= event.state == "connected"

    def _tell(self, participant: Participant, message: messages.ServerMessage) -> None:
        if participant.session is not None:
            participant.session.send(messages.encode_body(message))

    def _complete(self, session: Session, id: str | None, reply: Reply) -> None:
        if session.state is State.CLOSED:
            return
        if isinstance(reply, ProtocolError):
            self._metrics.errors[reply.code] += 1
            session.reply(id, messages.build_error(reply, id))
            return
        body = messages.build_ok(id)
        if isinstance(reply, control.Answer) and reply.sdp:
            answer = messages.AnswerFrom(from_=RELAY, sdp=reply.sdp)
            answer.id = UNSET if id is None else id
            body = messages.encode_body(answer)
        session.reply(id, body)

    def _lose_worker(self, name: str) -> list[Participant]:
        self.requests.lose_room(name)
        room = self._members.find_room(name)
        if room is None:
            return []
        effects, guests = room.lose_worker()
        self._delivery.apply(room, effects)
        # Their publishers notice by themselves and come back by WHIP.
        return guests
