"""From a room to those in it: encoded once, numbered for each, and in turn.

It carries out the effects of a room: commands to the relay, messages to participants, events for
programs elsewhere, a note in a cluster's journal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..protocol import messages
from ..protocol.messages import LeaveReason, ServerMessage
from .journal import Journal
from .participant import Effects, Participant
from .relayrequests import Relays
from .room import Room
from .timers import Timers
from .turns import Turns


class Notify(Protocol):
    """Tells programs elsewhere of what happens in rooms."""

    def __call__(self, event: str, room: str, **fields: object) -> None:
        """Never blocks, never raises."""


def notify_nobody(event: str, room: str, **fields: object) -> None:
    """Where nobody wants to know."""


class Delivery:
    """Sends out what follows from an input."""

    def __init__(
        self,
        relays: Relays,
        turns: Turns,
        timers: Timers,
        notify: Notify,
        journal: Journal | None,
    ) -> None:
        self._relays = relays
        self._turns = turns
        self._timers = timers
        self._journal = journal
        self.notify = notify

    def apply(self, room: Room, effects: Effects) -> None:
        """Send what follows from an input to a room, and arm its timer."""
        for command in effects.commands:
            self._relays.send(command)
        for to, message in effects.deliveries:
            self.deliver(room.name, to, message)
            if isinstance(message, (messages.TrackPublished, messages.TrackUnpublished)):
                self._notify_track(room, message)
        if self._journal is not None and _changes(effects):
            self._journal.change(room.name)
        deadline = room.get_timer()
        if deadline is not None and (room.scheduled is None or deadline < room.scheduled):
            room.scheduled = deadline
            self._timers.call_at(deadline, lambda now: self._handle_timer(room, deadline, now))

    def deliver(self, room: str, to: Collection[Participant], message: ServerMessage) -> None:
        """Send to each, encoding once."""
        self.send(room, to, messages.encode_body(message))

    def send(self, room: str, to: Collection[Participant], body: bytes) -> None:
        """Send a body to each; it counts as so many messages of the room's share."""
        self._turns.spend(room, len(to))
        for participant in to:
            if participant.session is not None:
                participant.session.send(body)

    def _handle_timer(self, room: Room, deadline: float, now: float) -> None:
        if room.scheduled == deadline:
            room.scheduled = None
            if not room.over:
                self.apply(room, room.handle_timer(now))

    # -- For programs elsewhere ---------------------------------------------------------

    def notify_joined(self, room: Room, participant: Participant) -> None:
        if not participant.hidden:
            self.notify("participant-joined", room.name, participant=_outline(participant))

    def notify_left(self, room: Room, participant: Participant, reason: LeaveReason) -> None:
        if not participant.hidden:
            outline = _outline(participant)
            self.notify("participant-left", room.name, participant=outline, reason=reason)

    def _notify_track(
        self, room: Room, message: messages.TrackPublished | messages.TrackUnpublished
    ) -> None:
        owner = room.participants.get(message.participant)
        outline = {"id": message.participant} if owner is None else _outline(owner)
        track: object = message.track
        if isinstance(message, messages.TrackUnpublished):
            track = {"id": message.track}
        event = str(type(message).__struct_config__.tag)
        self.notify(event, room.name, participant=outline, track=track)


def _changes(effects: Effects) -> bool:
    """True where there is something to write down: who talks is not."""
    told = [message for _, message in effects.deliveries]
    return not told or any(not isinstance(m, messages.SpeakersChanged) for m in told)


def _outline(participant: Participant) -> dict[str, object]:
    """What webhooks say of one in a room."""
    return {
        "id": participant.id,
        "identity": participant.identity,
        "name": participant.name,
        "guest": participant.guest,
    }
