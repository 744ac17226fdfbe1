"""`data` through the hub: who gets it, what is refused, and that a resume loses none."""

from __future__ import annotations

import pytest

from relay import control
from signaling.access.tokens import Access
from signaling.hub import snapshot
from signaling.protocol import messages
from signaling.protocol.messages import Grant
from tests.support.hub import FakeRelays, World


def test_everyone_else_gets_it_and_the_sender_only_ok() -> None:
    ada, bob, eve = World().join_all("Ada", "Bob", "Eve")
    content = {"text": "héllo", "n": [1, 2.5, None]}
    assert ada.ask("data", topic="caption", content=content)["type"] == "ok"
    for other in (bob, eve):
        (got,) = other.read()
        del got["seq"]
        assert got == {"type": "data", "from": ada.id, "topic": "caption", "content": content}
    assert ada.read() == []


def test_receivers_are_chosen_by_name_and_each_gets_it_once() -> None:
    ada, bob, eve = World().join_all("Ada", "Bob", "Eve")
    ada.ask("data", content=1, to=[eve.id, eve.id])
    assert (bob.types(), eve.types()) == ([], ["data"])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"content": "x" * 16383}, "bad-request"),
        ({"content": 1, "topic": "x" * 65}, "bad-request"),
        ({"content": 1, "to": []}, "bad-request"),
        ({"content": 1, "to": ["p"] * 65}, "bad-request"),
        ({"topic": "no content"}, "bad-request"),
        ({"content": 1, "to": ["p_none"]}, "unknown-participant"),
    ],
)
def test_what_is_out_of_bounds_reaches_nobody(fields: dict[str, object], code: str) -> None:
    ada, bob = World().join_all("Ada", "Bob")
    assert ada.refusal("data", **fields) == code
    assert bob.read() == []


def test_one_unknown_receiver_spoils_the_message_for_all() -> None:
    ada, bob = World().join_all("Ada", "Bob")
    assert ada.refusal("data", content=1, to=[bob.id, ada.id]) == "unknown-participant"
    assert bob.read() == []


def test_content_is_bounded_in_depth_but_brackets_in_strings_do_not_count() -> None:
    ada, bob = World().join_all("Ada", "Bob")
    deep = "[" * messages.MAX_DEPTH + "]" * messages.MAX_DEPTH
    for text, kind in (
        (deep, "ok"),
        (f"[{deep}]", "error"),
        ('"' + "[" * 999 + '\\""', "ok"),
        ('["' + "{" * 999 + '"]', "ok"),
        ("[" + ",".join(["[]"] * 200) + "]", "ok"),
    ):
        ada.send_raw(b'{"type":"data","content":%b}' % text.encode())
        assert ada.types() == [kind], text[:80]
    assert bob.types() == ["data"] * 4


def test_who_may_not_send_data_is_told_so() -> None:
    world = World(authorize=lambda *_: Access(Grant(data=False)))
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.refusal("data", content=1) == "forbidden"
    assert bob.read() == []


def test_a_resume_loses_no_data_and_doubles_none() -> None:
    ada, bob = World().join_all("Ada", "Bob")
    bob.cut()
    for n in range(20):
        for _ in range(2):
            ada.send("data", id=f"d{n}", content=n)
    assert ada.types() == ["ok"] * 40
    bob.resume()
    assert [m["content"] for m in bob.read() if m["type"] == "data"] == list(range(20))


def test_data_to_a_room_counts_as_what_goes_to_a_room() -> None:
    world = World(broadcast_rate=1.0, broadcast_burst=2)
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    for _ in range(2):
        assert ada.ask("data", content=1)["type"] == "ok"
    assert ada.refusal("data", content=1) == "rate-limited"
    assert ada.refusal("data", content=1, to=[bob.id, eve.id]) == "rate-limited"
    assert ada.ask("data", content=1, to=[bob.id])["type"] == "ok"


def test_it_is_written_as_the_encoder_would() -> None:
    raw = messages.Raw(b'{"a":[1]}')
    built = messages.build_frame(messages.build_data("p_1", 'to "pic"', raw), 3)
    said = messages.DataFrom(from_="p_1", topic='to "pic"', content=raw)
    said.seq = 3
    assert messages.parse_server_message(built) == said


@pytest.mark.parametrize("wanted", [False, True])
def test_who_takes_data_through_the_relay_does_so_on_another_hub_too(wanted: bool) -> None:
    relays = FakeRelays()
    world = World(relays=relays, mesh_limit=1)
    ada = world.join("Ada", data=wanted)
    world.join("Bob")
    told = [c for c in relays.take() if isinstance(c, control.Join) and c.participant == ada.id]
    assert [join.data for join in told] == [wanted]
    room = world.hub.find_room("demo")
    assert room is not None
    sessions = [p.session for p in room.participants.values() if p.session is not None]
    again = snapshot.restore(snapshot.take(room, sessions), room.limits, relay=True)
    assert again.participants[ada.id].data is wanted
