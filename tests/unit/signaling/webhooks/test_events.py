"""What webhooks are told of rooms, and in which order."""

from __future__ import annotations

from relay import control
from relay.control import Track
from signaling.access.tokens import Access
from signaling.protocol.messages import Grant
from tests.support.hub import FakeRelays, World


class Told:
    """Events in one line each."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fields: list[dict[str, object]] = []

    def __call__(self, event: str, room: str, **fields: object) -> None:
        participant = fields.get("participant")
        name = f" {participant['name']}" if isinstance(participant, dict) else ""
        reason = f" {fields['reason']}" if "reason" in fields else ""
        self.events.append(f"{room} {event}{name}{reason}")
        self.fields.append(fields)


def test_a_call_from_its_first_to_its_last_participant() -> None:
    told = Told()
    world = World(notify=told, relays=FakeRelays())
    ada, bob = world.join("Ada"), world.join("Bob")
    track = Track("t_1", "video", "camera")
    world.hub.receive_relay(control.TrackPublished("demo", ada.id, track))
    world.hub.receive_relay(control.TrackUpdated("demo", ada.id, track))
    world.hub.receive_relay(control.TrackUnpublished("demo", ada.id, "t_1"))
    ada.send("leave")
    bob.cut()
    world.advance(31)
    assert told.events == [
        "demo room-started",
        "demo participant-joined Ada",
        "demo participant-joined Bob",
        "demo track-published Ada",
        "demo track-unpublished Ada",
        "demo participant-left Ada left",
        "demo participant-left Bob timeout",
        "demo room-ended",
    ]
    assert told.fields[3]["track"] == track
    assert told.fields[4]["track"] == {"id": "t_1"}


def test_a_room_that_is_closed_and_someone_removed() -> None:
    told = Told()
    world = World(notify=told)
    ada, bob, _ = world.join_all("Ada", "Bob", "Eve")
    told.events.clear()
    ada.ask("kick", participant=bob.id)
    ada.send("close-room")
    assert told.events == [
        "demo participant-left Bob kicked",
        "demo participant-left Ada room-closed",
        "demo participant-left Eve room-closed",
        "demo room-ended",
    ]


def test_whip_is_a_participant_and_whep_is_none() -> None:
    told = Told()
    world = World(notify=told, relays=FakeRelays())
    access = Access(Grant(), identity="obs-1")
    for hidden in (False, True):
        guest = world.hub.join_guest(
            "demo", name="OBS", grant=Grant(), hidden=hidden, access=access
        )
        world.hub.leave_guest(guest)
    assert told.events == [
        "demo room-started",
        "demo participant-joined OBS",
        "demo participant-left OBS left",
        "demo room-ended",
        "demo room-started",
        "demo room-ended",
    ]
    participant = told.fields[1]["participant"]
    assert isinstance(participant, dict)
    assert (participant["identity"], participant["guest"]) == ("obs-1", True)


def test_a_resume_is_no_news() -> None:
    told = Told()
    world = World(notify=told)
    ada = world.join("Ada")
    ada.cut()
    ada.resume()
    assert told.events == ["demo room-started", "demo participant-joined Ada"]
