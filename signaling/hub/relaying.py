"""Between clients and the relay: their messages become commands, its events become messages.

The relay answers commands by number; this keeps who asked, for a bounded time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import UNSET

from relay import control

from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import RELAY
from .room import Effects, Participant, Room
from .session import MAX_PENDING, PENDING, Session, State

# Seconds. A worker answers within milliseconds; one that hangs must not keep a client waiting
# for longer than the client would wait itself.
ANSWER_TIMEOUT: Final = 10.0


class Relays(Protocol):
    """What the hub needs of the relay workers."""

    @property
    def available(self) -> bool: ...

    def send(self, command: control.Command) -> None:
        """Never blocks, never raises."""


class NoRelay:
    """Where media are not relayed."""

    available = False

    def send(self, command: control.Command) -> None:
        """Nobody is there."""


class Desk(Protocol):
    """What is needed of the hub."""

    def find_room(self, name: str) -> Room | None: ...
    def list_rooms(self) -> list[Room]: ...
    def apply(self, room: Room, effects: Effects) -> None: ...
    def reply(self, session: Session, id: str | None, body: bytes) -> None: ...
    def fail(self, session: Session, id: str | None, error: ProtocolError) -> None: ...
    def send(self, session: Session, body: bytes) -> None: ...
    def leave_guest(self, participant: str) -> None: ...


StatsReceiver = Callable[[list[control.TrackStats] | None], None]
"""Gets None where no answer comes."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A client's message, under way to the relay."""

    session: Session
    id: str | None
    room: str
    offer: bool


@dataclass(frozen=True, slots=True)
class _StatsRequest:
    receiver: StatsReceiver
    room: str


class Relaying:
    """`receive_*` for clients' messages and the relay's events, and a timer for lost answers."""

    def __init__(self, relays: Relays, desk: Desk) -> None:
        self._relays = relays
        self._desk = desk
        self._requests: dict[int, _Request | _StatsRequest] = {}
        self._deadlines: deque[tuple[float, int]] = deque()  # all equally long, so in order
        self._number = 0

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
        number = self._ask(session, message.id, True, now)
        name = session.room.name
        self._relays.send(control.Publish(name, participant.id, number, sdp, tracks))
        return None

    def receive_answer(
        self, session: Session, message: messages.Answer, now: float
    ) -> bytes | None:
        sdp = messages.parse_sdp_untrusted(message.sdp)
        number = self._ask(session, message.id, False, now)
        self._relays.send(
            control.AnswerOffer(session.room.name, session.participant.id, number, sdp)
        )
        return None

    def receive_selection(
        self, session: Session, message: messages.Subscribe | messages.Unsubscribe
    ) -> bytes:
        self._check_available()
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
        self._check_available()
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
        self._check_available()
        self._attach(session)
        self._relays.send(control.RestartIce(session.room.name, session.participant.id))
        return messages.build_ok(message.id)

    def ask_stats(self, room: str, receiver: StatsReceiver, now: float) -> None:
        """Have `receiver` called with what the relay measures in `room`, or with None."""
        if not self._relays.available:
            receiver(None)
            return
        number = self._take_number(_StatsRequest(receiver, room), now)
        self._relays.send(control.GetStats(room, number))

    def _ask(self, session: Session, id: str | None, offer: bool, now: float) -> int:
        """Note who gets the answer. Raise ProtocolError."""
        self._check_available()
        if session.pending >= MAX_PENDING:
            raise ProtocolError(
                "rate-limited", "Too many offers wait for the relay.", retry_after=1.0
            )
        self._attach(session)
        session.pending += 1
        if id is not None:
            session.remember(id, PENDING)
        return self._take_number(_Request(session, id, session.room.name, offer), now)

    def _take_number(self, request: _Request | _StatsRequest, now: float) -> int:
        self._number += 1
        self._requests[self._number] = request
        self._deadlines.append((now + ANSWER_TIMEOUT, self._number))
        return self._number

    def _attach(self, session: Session) -> None:
        self._desk.apply(session.room, session.room.attach(session.participant))

    def _check_available(self) -> None:
        if not self._relays.available:
            raise ProtocolError("relay-unavailable", "There is no media relay now.")

    # -- From the relay -----------------------------------------------------------------

    def receive_event(self, event: control.Event, now: float) -> None:
        """Events about rooms and participants that are gone already are passed over."""
        match event:
            case control.Answer() | control.Refused() | control.RoomStats():
                self._receive_answer(event)
            case control.Availability():
                for room in self._desk.list_rooms():
                    self._desk.apply(room, room.set_relay(event.available, now))
            case control.WorkerLost():
                for name in event.rooms:
                    self._lose_worker(name)
            case control.Speakers():
                room_ = self._desk.find_room(event.room)
                if room_ is not None:
                    self._desk.apply(room_, room_.tell_speakers(event.speakers))
            case control.Quality():
                room_ = self._desk.find_room(event.room)
                if room_ is not None:
                    self._desk.apply(room_, room_.tell_quality(event.participants))
            case _:
                room_ = self._desk.find_room(event.room)
                participant = room_ and room_.participants.get(event.participant)
                if room_ is not None and participant:
                    self._receive_about(room_, participant, event)

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
        | control.TransportChanged,
    ) -> None:
        match event:
            case control.Offer():
                offer = messages.OfferFrom(from_=RELAY, sdp=event.sdp, tracks=event.tracks)
                self._tell(participant, offer)
            case control.TrackPublished():
                self._desk.apply(room, room.publish_track(participant, event.track))
            case control.TrackUnpublished():
                self._desk.apply(room, room.unpublish_track(participant, event.track))
            case control.TrackUpdated():
                self._desk.apply(room, room.update_track(participant, event.track))
            case control.Layers():
                wanted = messages.LayersWanted(track=event.track, active=event.active)
                self._tell(participant, wanted)
            case control.Reception():
                self._tell(participant, messages.ReceptionChanged(tracks=event.tracks))
            case control.TransportChanged():
                # Clients see their own transports; of a guest there is nothing else to see.
                participant.connected |= event.state == "connected"

    def _tell(self, participant: Participant, message: messages.ServerMessage) -> None:
        if participant.session is not None:
            self._desk.send(participant.session, messages.encode_body(message))

    def _receive_answer(self, event: control.Answer | control.Refused | control.RoomStats) -> None:
        request = self._requests.pop(event.request, None)
        if isinstance(request, _StatsRequest):
            tracks = event.tracks if isinstance(event, control.RoomStats) else None
            request.receiver(tracks)
        elif request is not None and isinstance(event, control.Answer):
            self._complete(request, event.sdp)
        elif request is not None and isinstance(event, control.Refused):
            self._fail(request, ProtocolError(event.code, event.reason[: messages.MAX_ERROR_TEXT]))

    def _complete(self, request: _Request, sdp: str) -> None:
        session, id = request.session, request.id
        session.pending -= 1
        if session.state is State.CLOSED:
            return
        if request.offer:
            answer = messages.AnswerFrom(from_=RELAY, sdp=sdp)
            answer.id = UNSET if id is None else id
            body = messages.encode_body(answer)
        else:
            body = messages.build_ok(id)
        self._desk.reply(session, id, body)

    def _fail(self, request: _Request | _StatsRequest, error: ProtocolError) -> None:
        if isinstance(request, _StatsRequest):
            request.receiver(None)
            return
        request.session.pending -= 1
        if request.session.state is not State.CLOSED:
            self._desk.fail(request.session, request.id, error)

    def _lose_worker(self, name: str) -> None:
        lost = [n for n, request in self._requests.items() if request.room == name]
        for number in lost:
            self._fail(self._requests.pop(number), _lost())
        room = self._desk.find_room(name)
        if room is not None:
            effects, guests = room.lose_worker()
            self._desk.apply(room, effects)
            for guest in guests:
                # Its publisher notices by itself and comes back by WHIP.
                self._desk.leave_guest(guest.id)

    # -- Time ---------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        while self._deadlines and self._deadlines[0][1] not in self._requests:
            self._deadlines.popleft()
        return self._deadlines[0][0] if self._deadlines else None

    def handle_timer(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            request = self._requests.pop(self._deadlines.popleft()[1], None)
            if request is not None:
                self._fail(request, _lost())


def _lost() -> ProtocolError:
    return ProtocolError("relay-unavailable", "The relay did not answer. Try again.")
