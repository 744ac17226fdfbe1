"""Waiting rules: who, for how long, and how many."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.access.tokens import Access
from signaling.hub.lobby import KNOCK_TIMEOUT, MAX_KNOCKS, Waiting
from signaling.hub.members import Applicant, make_ban_key
from signaling.hub.participant import NO_METADATA, Participant
from signaling.hub.room import Room
from signaling.hub.session import Link
from signaling.metrics import Metrics
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant
from signaling.settings.config import Limits


class NoOutlet:
    def send(self, data: bytes) -> None: ...
    def send_soon(self, data: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


def make_applicant(room: str = "demo", access: Access | None = None) -> Applicant:
    link = Link(NoOutlet(), "198.51.100.7", Limits(), Metrics(), 0.0)
    return Applicant(link, "1", room, "Eve", NO_METADATA, access)


def test_whoever_knocks_waits_in_the_order_of_coming() -> None:
    lobby = Waiting()
    for number in range(3):
        lobby.add(f"k_{number}", make_applicant(), float(number))
    lobby.add("k_9", make_applicant("other"), 3.0)
    assert [knock.id for knock in lobby.list_waiting("demo")] == ["k_0", "k_1", "k_2"]
    assert lobby.get_timer() == KNOCK_TIMEOUT
    lobby.remove(lobby.find("demo", "k_0"))
    assert lobby.get_timer() == KNOCK_TIMEOUT + 1
    assert len(lobby) == 3


def test_a_knock_is_found_in_its_own_room_only() -> None:
    lobby = Waiting()
    lobby.add("k_1", make_applicant("other"), 0.0)
    with pytest.raises(ProtocolError) as caught:
        lobby.find("demo", "k_1")
    assert caught.value.code == "unknown-participant"


def test_so_many_wait_for_one_room() -> None:
    lobby = Waiting()
    for number in range(MAX_KNOCKS):
        lobby.add(f"k_{number}", make_applicant(), 0.0)
    with pytest.raises(ProtocolError) as caught:
        lobby.add("k_x", make_applicant(), 0.0)
    assert caught.value.code == "room-full"
    lobby.add("k_x", make_applicant("other"), 0.0)


@given(st.lists(st.tuples(st.sampled_from("kre"), st.sampled_from(["one", "two"]))))
def test_what_waits_is_what_came_and_did_not_go(steps: list[tuple[str, str]]) -> None:
    lobby, now, ids = Waiting(), 0.0, itertools.count()
    waiting: dict[str, tuple[str, float]] = {}
    for step, room in steps:
        now += 50.0
        if step == "k":
            id = f"k_{next(ids)}"
            lobby.add(id, make_applicant(room), now)
            waiting[id] = (room, now + KNOCK_TIMEOUT)
        elif step == "r" and lobby.list_waiting(room):
            knock = lobby.list_waiting(room)[-1]
            lobby.remove(knock)
            del waiting[knock.id]
        while (expired := lobby.find_expired(now)) is not None:
            lobby.remove(expired)
            assert waiting.pop(expired.id)[1] <= now
        assert len(lobby) == len(waiting)
        assert all(deadline > now for _, deadline in waiting.values())
        for name in ("one", "two"):
            expected = [id for id, (place, _) in waiting.items() if place == name]
            assert [knock.id for knock in lobby.list_waiting(name)] == expected


@pytest.mark.parametrize(
    ("identity", "address", "key"),
    [
        ("eve", "198.51.100.7", "identity eve"),
        ("", "198.51.100.7", "address 198.51.100.7"),
        ("", "2001:db8::1", "address 2001:db8::/64"),
        ("", "127.0.0.1", "address 127.0.0.1"),
    ],
)
def test_a_ban_remembers(identity: str, address: str, key: str) -> None:
    assert make_ban_key(identity, address) == key


def test_a_name_in_the_token_is_shown() -> None:
    assert make_applicant().shown_name == "Eve"
    assert make_applicant(access=Access(Grant(), name="Eva")).shown_name == "Eva"
    assert make_applicant(access=Access(Grant())).shown_name == "Eve"


def test_who_is_banned_does_not_come_in_and_others_do() -> None:
    room = Room("demo", Limits(), relay=False)
    room.ban(Participant("p_1", "Eve", Grant(), ban_key="identity eve"))
    room.ban(Participant("p_2", "Guest", Grant()))  # nothing is known of it
    room.check_entry("identity ada")
    room.check_entry("")
    with pytest.raises(ProtocolError) as caught:
        room.check_entry("identity eve", invited=True)
    assert caught.value.code == "forbidden"


def test_an_invited_one_comes_into_a_locked_room() -> None:
    room = Room("demo", Limits(), relay=False)
    room.lock(True)
    room.check_entry(invited=True)
    with pytest.raises(ProtocolError):
        room.check_entry()
