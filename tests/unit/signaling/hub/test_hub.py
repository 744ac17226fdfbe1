"""The hub's answers, message by message."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from signaling.access.tokens import Access
from signaling.hub.hub import REJECTIONS
from signaling.protocol import messages
from signaling.protocol.errors import KINDS, ProtocolError
from signaling.protocol.messages import Grant, Joined, parse_server_message
from tests.support.clock import EPOCH
from tests.support.hub import FakeRelays, World

SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
CANDIDATE = {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0"}


@pytest.fixture
def world() -> World:
    return World()


# -- Joining ----------------------------------------------------------------------------


def test_joined_says_who_and_where_one_is(world: World) -> None:
    world.join("Bob", metadata={"x": 1})
    ada = world.client()
    ada.send("join", id="1", room="demo", name="Ada")
    (joined,) = ada.read()
    assert joined == {
        "type": "joined",
        "id": "1",
        "seq": 1,
        "protocol": 1,
        "participant": ada.id,
        "session": ada.session,
        "room": {"name": "demo", "topology": "mesh", "locked": False},
        "participants": [
            {"id": joined["participants"][0]["id"], "name": "Bob", "metadata": {"x": 1}}
            | {"tracks": []}
        ],
        "ice_servers": [],
        "grants": {
            "publish": True,
            "subscribe": True,
            "chat": True,
            "moderate": False,
            "data": True,
        },
        "relay": False,
        "heartbeat": 25,
        "resume_within": 30,
    }
    assert ada.id.startswith("p_")
    assert ada.session.startswith("s_")


def test_others_hear_of_one_who_joins(world: World) -> None:
    bob = world.join("Bob")
    ada = world.join("Ada", metadata={"hand": True})
    assert bob.read() == [
        {
            "type": "participant-joined",
            "seq": 2,
            "participant": {
                "id": ada.id,
                "name": "Ada",
                "metadata": {"hand": True},
                "tracks": [],
            },
        }
    ]


def test_rooms_do_not_hear_of_each_other(world: World) -> None:
    ada = world.join("Ada", "one")
    world.join("Bob", "two").send("chat", content="hello")
    assert ada.read() == []


def test_before_joining_there_is_only_joining(world: World) -> None:
    client = world.client()
    assert client.ask("chat", content="x") == {
        "type": "error",
        "id": "q1",
        "code": "not-joined",
        "message": "Join a room first.",
    }
    for kind, fields in {
        "leave": {},
        "update": {},
        "offer": {"to": "p_1", "sdp": SDP},
        "candidate": {"to": "relay", "candidate": None},
        "p2p-failed": {"participant": "p_1", "reason": "x"},
        "kick": {"participant": "p_1"},
        "close-room": {},
        "subscribe": {"tracks": []},
    }.items():
        assert client.refusal(kind, **fields) == "not-joined"
    assert client.closed is None


def test_one_joins_once(world: World) -> None:
    ada = world.join("Ada")
    assert ada.refusal("join", room="other", name="Ada") == "already-joined"
    assert ada.refusal("resume", session=ada.session, seq=1) == "already-joined"
    assert ada.refusal("resume", session="s_none", seq=1) == "already-joined"


@pytest.mark.parametrize(
    "fields",
    [
        {"room": "a b"},
        {"room": "x" * 65},
        {"name": "x" * 65},
        {"name": ""},
        {"name": 7},
        {"metadata": {"x": "y" * 2048}},
        {"metadata": [1]},
        {"metadata": "x"},
        {"token": 7},
    ],
)
def test_a_wrong_join_is_refused_and_may_be_repeated(world: World, fields: dict[str, Any]) -> None:
    client = world.client()
    assert client.refusal("join", **{"room": "demo", "name": "Ada"} | fields) == "bad-request"
    assert client.closed is None
    assert client.ask("join", room="demo", name="Ada")["type"] == "joined"


def test_names_may_be_64_characters_of_any_kind(world: World) -> None:
    assert world.client().ask("join", room="demo", name="😀" * 64)["type"] == "joined"


def test_a_full_room_is_full_until_somebody_leaves() -> None:
    world = World(max_participants=2)
    ada, _ = world.join_all("Ada", "Bob")
    late = world.client()
    assert late.refusal("join", room="demo", name="Eve") == "room-full"
    ada.send("leave")
    assert late.ask("join", room="demo", name="Eve")["type"] == "joined"


def test_rooms_are_bounded_and_end_with_their_last_participant() -> None:
    world = World(max_rooms=1)
    ada = world.join("Ada", "one")
    bob = world.client()
    assert bob.refusal("join", room="two", name="Bob") == "room-full"
    assert world.metrics.rooms == 1
    ada.send("leave")
    assert world.metrics.rooms == 0
    assert bob.ask("join", room="two", name="Bob")["type"] == "joined"


# -- Tokens -----------------------------------------------------------------------------


def authorize(token: str | None, room: str) -> Access:
    if token != "good":
        raise ProtocolError("unauthorized", "No.")
    grant = Grant(publish=False, subscribe=False, chat=False, data=False)
    return Access(grant, room=room, name="Ada L.")


def test_a_bad_token_closes() -> None:
    client = World(authorize=authorize).client()
    assert client.refusal("join", room="demo", name="Ada", token="bad") == "unauthorized"
    assert client.closed == (4401, "unauthorized")


def test_a_token_says_what_one_may_do_and_who_one_is() -> None:
    world = World(authorize=authorize, relays=FakeRelays())
    first, ada = world.join("x", token="good"), world.join("y", token="good")
    assert ada.refusal("chat", content="x") == "forbidden"
    assert ada.refusal("offer", to="relay", sdp=SDP) == "forbidden"
    assert ada.refusal("subscribe", tracks=[]) == "forbidden"
    assert ada.refusal("lock", locked=True) == "forbidden"
    # The first does not moderate by being there, where tokens say who does.
    assert first.refusal("lock", locked=True) == "forbidden"
    room = world.hub.room("demo")
    assert room is not None
    assert [p.name for p in room.participants] == ["Ada L.", "Ada L."]


def test_a_token_may_limit_the_sources() -> None:
    relays = FakeRelays()
    world = World(
        relays=relays,
        authorize=lambda *_: Access(Grant(), sources=frozenset({"microphone"})),
    )
    ada = world.join("Ada")
    tracks = [{"mid": "0", "source": "camera"}]
    assert ada.refusal("offer", to="relay", sdp=SDP, tracks=tracks) == "forbidden"
    ada.send("offer", to="relay", sdp=SDP, tracks=[{"mid": "0", "source": "microphone"}])
    assert ada.read() == []


# -- Replies ----------------------------------------------------------------------------


def test_every_message_gets_one_reply_with_or_without_an_id(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    for kind, fields in {
        "offer": {"to": bob.id, "sdp": SDP},
        "answer": {"to": bob.id, "sdp": SDP},
        "candidate": {"to": bob.id, "candidate": None},
        "update": {"name": "Ada"},
        "chat": {"content": "x", "to": bob.id},
        "lock": {"locked": False},
    }.items():
        assert ada.ask(kind, **fields)["type"] == "ok"
        ada.send(kind, **fields)
        assert ada.types().count("ok") == 1


def test_a_repeat_gets_the_first_reply_and_is_not_carried_out(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    for _ in range(3):
        ada.send("chat", id="9", content="hello")
    assert ada.types() == ["chat", "ok", "ok", "ok"]
    assert bob.types() == ["chat"]


def test_a_repeated_join_gets_the_same_session(world: World) -> None:
    ada = world.client()
    for _ in range(2):
        ada.send("join", id="1", room="demo", name="Ada")
    first, second = ada.read()
    assert (first.pop("seq"), second.pop("seq")) == (1, 2)
    assert first == second


def test_a_repeat_of_a_refused_message_is_refused_alike(world: World) -> None:
    ada = world.join("Ada")
    for _ in range(2):
        ada.send("chat", id="1", content="x", to="p_none")
    assert [m["code"] for m in ada.read()] == ["unknown-participant"] * 2


def test_a_message_that_could_not_be_read_does_not_use_up_its_id(world: World) -> None:
    ada = world.join("Ada")
    ada.send("chat", id="1")
    ada.send("chat", id="1", content="x")
    assert ada.types() == ["error", "chat", "ok"]


def test_heartbeats_are_answered_each_time(world: World) -> None:
    ada = world.client()
    world.advance(0.012)
    for _ in range(2):
        ada.send("heartbeat", id="1", timestamp=1732406400000)
    expected = {
        "type": "heartbeat",
        "id": "1",
        "timestamp": 1732406400000,
        "server_time": int(EPOCH * 1000) + 12,
    }
    assert ada.read() == [expected] * 2
    ada.send("join", room="demo", name="Ada")
    ada.read()
    ada.send("heartbeat", timestamp=1.5)
    assert ada.read()[0]["timestamp"] == 1.5


def test_a_later_resume_may_go_further_back_than_the_one_before(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    bob.send("chat", content="x")
    ada.read()
    everything = ada.seq
    for seq in (everything, 1, 0):
        ada.cut()
        ada.seq = seq
        ada.resume(seq=seq)
        read = ada.read()
        assert read[0]["type"] == "resumed"
        assert [m["seq"] for m in read[1:]] == list(range(seq + 1, everything + 1))


def test_an_acknowledged_message_cannot_be_resumed_from(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    bob.send("chat", content="x")
    ada.read()
    ada.send("heartbeat", timestamp=1, seq=ada.seq)
    ada.cut()
    ada.resume(seq=1)
    assert ada.read()[-1]["code"] == "session-expired"


# -- Faults -----------------------------------------------------------------------------


def test_the_fifth_bad_request_in_a_row_closes(world: World) -> None:
    ada = world.join("Ada")
    for _ in range(4):
        ada.send_raw(b"no json")
    ada.send("heartbeat", timestamp=1)
    for _ in range(4):
        ada.send("nonsense")
    assert ada.closed is None
    ada.send_raw(b"no json")
    assert [m.get("code") for m in ada.read()][-1] == "bad-request"
    assert ada.closed == (4400, "bad-request")
    ada.send("chat", content="x")
    assert ada.read() == []
    ada.resume()
    assert ada.types() == ["resumed"]


def test_refused_messages_of_good_shape_do_not_close(world: World) -> None:
    ada = world.join("Ada")
    for _ in range(20):
        assert ada.refusal("kick", participant="p_none") == "unknown-participant"
    assert ada.closed is None


def test_a_refusal_carries_the_id(world: World) -> None:
    ada = world.join("Ada")
    assert ada.refusal("chat") == "bad-request"
    assert ada.refusal("offer", to="p_none", sdp=7) == "bad-request"


def test_too_many_messages_are_refused_for_a_time() -> None:
    world = World(message_rate=10, message_burst=5)
    ada = world.join("Ada")
    for _ in range(4):
        assert ada.ask("update")["type"] == "ok"
    refused = ada.ask("update")
    assert (refused["code"], refused["retry_after"]) == ("rate-limited", 0.1)
    world.advance(0.1)
    assert ada.ask("update")["type"] == "ok"
    assert ada.closed is None


def test_a_message_over_the_rate_can_be_repeated_later() -> None:
    world = World(message_rate=10, message_burst=1)
    ada = world.join("Ada")
    ada.send("chat", id="1", content="x")
    world.advance(0.1)
    ada.send("chat", id="1", content="x")
    assert ada.types() == ["error", "chat", "ok"]


def test_going_on_over_the_rate_closes() -> None:
    world = World(message_rate=10, message_burst=5)
    ada = world.join("Ada")
    for _ in range(100):
        ada.send("update")
    assert ada.closed == (4429, "rate-limited")
    replies = ada.types()
    assert replies.count("ok") == 4
    assert replies.count("error") == 6


def test_a_little_over_the_rate_does_not_close() -> None:
    world = World(message_rate=10, message_burst=5)
    ada = world.join("Ada")
    for _ in range(500):
        ada.send("update")
        world.advance(1 / 10.5)
    assert ada.closed is None
    assert "error" in ada.types()


@pytest.mark.parametrize("code", ["too-large", "heartbeat-timeout"])
def test_what_the_connection_saw_closes_and_the_session_goes_on(world: World, code: str) -> None:
    ada = world.join("Ada")
    world.hub.reject(ada.link, code)
    assert ada.read()[0]["code"] == code
    assert ada.closed == (KINDS[code].close, code)
    ada.resume()
    assert ada.types() == ["resumed"]


def test_only_a_description_for_the_relay_may_be_longer_than_a_frame() -> None:
    world = World(max_frame=1024)
    ada = world.join("Ada")
    ada.send("offer", to="relay", sdp="v=0" + " " * 2000)
    assert ada.closed is None
    for to, sdp in (("p_x", "v" * 2000), ("", "v" * 2000)):
        ada.send("offer", to=to, sdp=sdp)
        assert ada.closed == (4413, "too-large")
        ada.resume()
    stranger = world.client()
    stranger.send("offer", to="relay", sdp="v=0" + " " * 2000)
    assert stranger.closed == (4413, "too-large")


def test_a_client_that_does_not_read_is_not_told_so(world: World) -> None:
    ada = world.join("Ada")
    world.hub.reject(ada.link, "overloaded")
    assert ada.read() == []
    assert ada.closed == (4503, "overloaded")
    ada.resume()
    assert ada.types() == ["resumed"]


def test_binary_frames_are_bad_requests(world: World) -> None:
    client = world.client()
    for _ in range(5):
        world.hub.reject(client.link, "bad-request")
    assert [m["code"] for m in client.read()] == ["bad-request"] * 5
    assert client.closed == (4400, "bad-request")


def test_each_rejection_has_a_text() -> None:
    assert set(REJECTIONS) <= set(KINDS)


@pytest.mark.parametrize("joined", [False, True])
def test_overload_comes_as_a_close_alone(world: World, joined: bool) -> None:
    ada = world.join("Ada") if joined else world.client()
    assert ada.link is not None
    world.hub.reject(ada.link, "overloaded")
    assert ada.read() == []
    assert ada.closed == (4503, "overloaded")


def test_a_mistake_of_the_connection_is_told_the_client(world: World) -> None:
    ada = world.join("Ada")
    assert ada.link is not None
    world.hub.reject(ada.link, "internal")
    assert ada.take("error")["code"] == "internal"


def test_a_message_of_the_wrong_shape_may_be_sent_again_under_its_id(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("candidate", id="7", to=bob.id, candidate=7)
    assert ada.take("error")["code"] == "bad-request"
    ada.send("candidate", id="7", to=bob.id, candidate=None)
    assert ada.take("ok")["id"] == "7"
    assert bob.types() == ["candidate"]


def test_a_mistake_of_ours_costs_one_message(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ada = world.join("Ada")

    def fail(**_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(messages, "ChatFrom", fail)
    reply = ada.ask("chat", content="x")
    assert reply["code"] == "internal"
    assert "secret" not in json.dumps(reply)
    assert ada.ask("update")["type"] == "ok"
    assert [r.levelno for r in caplog.records if r.exc_info] == [logging.ERROR]


# -- Resuming ---------------------------------------------------------------------------


def test_a_resumed_session_gets_what_it_missed_in_order(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.cut()
    for n in range(3):
        bob.send("chat", content=str(n))
    bob.send("offer", to=ada.id, sdp=SDP)
    ada.resume()
    resumed, *missed = ada.read()
    assert resumed == {"type": "resumed", "participant": ada.id}
    assert [m.get("content") or m["sdp"] for m in missed] == ["0", "1", "2", SDP]
    bob.send("chat", content="live")
    assert ada.read()[0]["content"] == "live"


def test_nobody_hears_of_a_resume(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.cut()
    world.advance(29.9)
    ada.resume()
    assert bob.read() == []


def test_a_resume_carries_its_id(world: World) -> None:
    ada = world.join("Ada")
    ada.cut()
    ada.connect()
    ada.send("resume", id="r", session=ada.session, seq=1)
    assert ada.read() == [{"type": "resumed", "id": "r", "participant": ada.id}]


def test_a_session_ends_when_its_time_is_over(world: World) -> None:
    bob, ada = world.join_all("Bob", "Ada")
    ada.cut()
    world.advance(30)
    (left,) = bob.read()
    assert (left["participant"], left["reason"]) == (ada.id, "timeout")
    ada.resume()
    assert ada.read()[0]["code"] == "session-expired"
    assert ada.closed is None
    ada.seq = 0
    ada.send("join", room="demo", name="Ada")
    assert ada.types() == ["joined"]


def test_a_session_lost_twice_has_its_full_time_each_time(world: World) -> None:
    bob, ada = world.join_all("Bob", "Ada")
    ada.cut()
    world.advance(20)
    ada.resume()
    ada.cut()
    world.advance(20)
    assert bob.read() == []
    world.advance(10)
    assert bob.types() == ["participant-left"]


@pytest.mark.parametrize("seq", [99, 10**30])
def test_a_number_that_was_never_sent_cannot_be_resumed_from(world: World, seq: int) -> None:
    ada = world.join("Ada")
    ada.cut()
    ada.resume(seq=seq)
    assert ada.read()[0]["code"] == "session-expired"
    ada.resume()
    assert ada.types() == ["resumed"]


@pytest.mark.parametrize("seq", [-1, 1.5, "1", None])
def test_a_resume_has_a_number(world: World, seq: object) -> None:
    ada = world.join("Ada")
    ada.cut()
    ada.connect()
    ada.send("resume", session=ada.session, seq=seq)
    assert ada.read()[0]["code"] == "bad-request"


def test_who_has_missed_too_much_joins_again_and_leaves_no_ghost() -> None:
    world = World(replay_messages=4)
    ada, bob = world.join_all("Ada", "Bob")
    ada.cut()
    for _ in range(10):
        bob.send("chat", content="x")
    bob.read()
    ada.resume()
    assert ada.read()[0]["code"] == "session-expired"
    assert bob.read()[0]["reason"] == "timeout"


def test_a_session_in_use_moves_to_the_new_connection(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    old = ada.socket
    ada.resume()
    assert old.closed == (4409, "replaced")
    assert [(m["code"], m["seq"]) for m in ada.stray] == [("replaced", ada.seq + 1)]
    assert ada.types() == ["resumed"]
    bob.send("chat", content="x")
    assert ada.types() == ["chat"]


def test_the_end_of_a_replaced_connection_changes_nothing(world: World) -> None:
    ada, _ = world.join_all("Ada", "Bob")
    old = ada.link
    ada.resume()
    world.hub.disconnect(old)
    world.hub.receive(old, b'{"type":"leave"}')
    world.advance(60)
    assert ada.ask("update")["type"] == "ok"


def test_a_message_repeated_after_a_resume_is_carried_out_once(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    before = ada.seq
    ada.send("chat", id="9", content="hello")
    ada.cut()
    ada.read()
    # As if nothing had come of it.
    ada.seq = before
    ada.resume(seq=before)
    ada.send("chat", id="9", content="hello")
    assert ada.types() == ["resumed", "chat", "ok", "ok"]
    assert bob.types() == ["chat"]


# -- Leaving ----------------------------------------------------------------------------


def test_leaving_is_answered_and_closes(world: World) -> None:
    bob, ada = world.join_all("Bob", "Ada")
    ada.send("leave", id="x")
    assert ada.read() == [{"type": "ok", "id": "x", "seq": ada.seq}]
    assert ada.closed == (1000, "left")
    assert bob.read() == [
        {"type": "participant-left", "seq": bob.seq, "participant": ada.id, "reason": "left"}
    ]
    ada.send("leave")
    world.hub.disconnect(ada.link)
    assert ada.read() == []
    ada.resume()
    assert ada.read()[0]["code"] == "session-expired"


def test_nothing_is_left_of_those_who_left(world: World) -> None:
    clients = world.join_all(*"abcdefgh")
    for client in clients[:4]:
        client.send("leave")
        client.cut()
    for client in clients[4:]:
        client.cut()
    world.advance(31)
    metrics = world.metrics
    assert (metrics.rooms, metrics.participants, metrics.detached) == (0, 0, 0)
    assert world.hub.rooms() == []
    assert world.hub.get_timer() is None


# -- Between participants ---------------------------------------------------------------


def test_offers_answers_and_candidates_reach_the_other_untouched(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("offer", to=bob.id, sdp=SDP, tracks="none of your business")
    ada.send("answer", to=bob.id, sdp=SDP)
    ada.send("candidate", to=bob.id, candidate=CANDIDATE)
    ada.send("candidate", to=bob.id, candidate=None)
    messages = bob.read()
    for message in messages:
        del message["seq"]
    assert messages == [
        {"type": "offer", "from": ada.id, "sdp": SDP},
        {"type": "answer", "from": ada.id, "sdp": SDP},
        {"type": "candidate", "from": ada.id, "candidate": CANDIDATE},
        {"type": "candidate", "from": ada.id, "candidate": None},
    ]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("offer", {"sdp": SDP}),
        ("answer", {"sdp": SDP}),
        ("candidate", {"candidate": None}),
        ("chat", {"content": "x"}),
    ],
)
def test_there_has_to_be_somebody_to_reach(world: World, kind: str, fields: Any) -> None:
    ada = world.join("Ada")
    stranger = world.join("Bob", "other")
    for to in ("", "p_none", stranger.id, "x" * 10000):
        assert ada.refusal(kind, to=to, **fields) == "unknown-participant"
    assert stranger.read() == []


def test_one_does_not_call_oneself(world: World) -> None:
    ada = world.join("Ada")
    assert ada.refusal("offer", to=ada.id, sdp=SDP) == "unknown-participant"
    assert ada.refusal("p2p-failed", participant=ada.id, reason="x") == "unknown-participant"


def test_empty_descriptions_are_refused(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.refusal("offer", to=bob.id, sdp="") == "bad-sdp"
    assert ada.refusal("answer", to=bob.id, sdp="") == "bad-sdp"
    assert bob.read() == []


def test_nothing_is_logged_of_descriptions_and_secrets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("offer", to=bob.id, sdp="sensitive")
    ada.send("offer", to="p_none", sdp="sensitive")
    ada.cut()
    ada.resume()
    ada.send("leave")
    text = "\n".join(repr(vars(record)) for record in caplog.records)
    assert "sensitive" not in text
    assert ada.session not in text.replace("'", " ").split()
    assert {getattr(r, "room", None) for r in caplog.records} <= {"demo", None}


# -- Chat and what one is called --------------------------------------------------------


def test_chat_reaches_the_room_and_its_sender(world: World) -> None:
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    reply = ada.ask("chat", content="hello\n<b>")
    assert reply["type"] == "ok"
    for client in (bob, eve):
        (chat,) = client.read()
        assert chat == {
            "type": "chat",
            "seq": client.seq,
            "from": ada.id,
            "user": "Ada",
            "content": "hello\n<b>",
            "timestamp": int(EPOCH * 1000),
        }
    ada.send("chat", content="x")
    assert ada.types() == ["chat", "ok"]


def test_private_chat_reaches_one_and_its_sender(world: World) -> None:
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    ada.send("chat", content="x", to=bob.id)
    assert (ada.types(), bob.types(), eve.types()) == (["chat", "ok"], ["chat"], [])


def test_chat_with_oneself_comes_once(world: World) -> None:
    ada = world.join("Ada")
    ada.send("chat", content="x", to=ada.id)
    assert ada.types() == ["chat", "ok"]


def test_chat_may_have_4096_characters(world: World) -> None:
    ada = world.join("Ada")
    assert ada.ask("chat", content="😀" * 4096)["type"] == "ok"
    assert ada.refusal("chat", content="x" * 4097) == "bad-request"


def test_an_update_changes_what_is_given(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.ask("update", name="Countess")["type"] == "ok"
    assert ada.ask("update", metadata={"hand": True})["type"] == "ok"
    first, second = (m["participant"] for m in bob.read())
    assert (first["name"], first["metadata"]) == ("Countess", {})
    assert (second["name"], second["metadata"]) == ("Countess", {"hand": True})
    assert ada.ask("update")["type"] == "ok"
    assert bob.read() == []
    assert ada.refusal("update", name="x" * 65) == "bad-request"
    assert ada.refusal("update", metadata={"x": "y" * 2048}) == "bad-request"


# -- Moderation -------------------------------------------------------------------------


def test_the_first_moderates_and_others_may_not(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert bob.refusal("kick", participant=ada.id) == "forbidden"
    assert bob.refusal("lock", locked=True) == "forbidden"
    assert bob.refusal("close-room") == "forbidden"
    assert ada.ask("lock", locked=True)["type"] == "ok"


def test_kicking_removes(world: World) -> None:
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    assert ada.ask("kick", participant=bob.id)["type"] == "ok"
    assert [m["code"] for m in bob.read()] == ["kicked"]
    assert bob.closed == (4403, "kicked")
    assert eve.read()[0]["reason"] == "kicked"
    bob.resume()
    assert bob.read()[0]["code"] == "session-expired"


def test_a_detached_participant_can_be_kicked(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    bob.cut()
    assert ada.ask("kick", participant=bob.id)["type"] == "ok"
    world.advance(60)
    assert world.metrics.detached == 0


def test_kicking_oneself_is_answered_before(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("kick", id="1", participant=ada.id)
    assert ada.types() == ["ok", "error"]
    assert ada.closed == (4403, "kicked")
    assert bob.types() == ["participant-left", "grants-updated"]


def test_a_moderator_silences_where_no_relay_could(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.ask("silence", participant=bob.id)["type"] == "ok"
    assert [(m["type"], m["by"]) for m in bob.read()] == [("silenced", ada.id)]
    assert bob.refusal("silence", participant=ada.id) == "forbidden"
    assert ada.refusal("silence", participant=ada.id) == "unknown-participant"
    assert ada.refusal("silence", participant="p_none") == "unknown-participant"


def test_a_locked_room_takes_nobody_in_but_those_who_resume(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert ada.ask("lock", locked=True)["type"] == "ok"
    assert bob.read()[0]["room"] == {"name": "demo", "topology": "mesh", "locked": True}
    late = world.client()
    assert late.refusal("join", room="demo", name="Eve") == "room-locked"
    bob.cut()
    bob.resume()
    assert bob.types() == ["resumed"]
    ada.send("lock", locked=False)
    ada.send("lock", locked=False)
    assert bob.types() == ["room-updated"]
    assert late.ask("join", room="demo", name="Eve")["type"] == "joined"


def test_a_lock_does_not_outlive_those_who_could_lift_it() -> None:
    world = World(relays=FakeRelays())
    ada, bob = world.join_all("Ada", "Bob")
    world.hub.join_guest("demo", name="WHEP", grant=Grant(), hidden=True)
    ada.ask("lock", locked=True)
    ada.send("leave")
    assert world.client().refusal("join", room="demo", name="Eve") == "room-locked"
    bob.send("leave")
    eve = world.join("Eve")
    assert eve.ask("lock", locked=True)["type"] == "ok"


def test_closing_a_room_sends_all_out(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    eve = world.join("Eve")
    eve.cut()
    bob.read()
    ada.send("close-room", id="x")
    assert ada.read()[1]["id"] == "x"
    left = bob.read()
    assert {m["participant"] for m in left} == {ada.id, bob.id, eve.id}
    assert {m["reason"] for m in left} == {"room-closed"}
    assert ada.closed == bob.closed == (1000, "room-closed")
    assert world.hub.rooms() == []
    assert (world.metrics.participants, world.metrics.detached) == (0, 0)
    eve.resume()
    assert eve.read()[0]["code"] == "session-expired"


def test_the_longest_present_moderates_after_the_moderator(world: World) -> None:
    ada, bob, eve = world.join_all("Ada", "Bob", "Eve")
    ada.cut()
    world.advance(10)
    assert bob.read() == []
    world.advance(20)
    assert bob.types() == ["participant-left", "grants-updated"]
    assert eve.types() == ["participant-left"]
    assert bob.ask("lock", locked=True)["type"] == "ok"


# -- Operations -------------------------------------------------------------------------


def test_rooms_are_listed_for_operators(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    bob.cut()
    (room,) = world.hub.rooms()
    assert (room.name, room.topology, room.locked) == ("demo", "mesh", False)
    assert [(p.id, p.connected, p.moderator) for p in room.participants] == [
        (ada.id, True, True),
        (bob.id, False, False),
    ]
    assert world.hub.room("demo") == room
    assert world.hub.room("other") is None


def test_operators_kick_and_close(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    assert world.hub.kick("demo", bob.id)
    assert bob.closed == (4403, "kicked")
    assert not world.hub.kick("demo", bob.id)
    assert not world.hub.kick("other", ada.id)
    assert world.hub.close_room("demo")
    assert ada.closed == (1000, "room-closed")
    assert not world.hub.close_room("demo")


def test_draining_sends_everyone_elsewhere(world: World) -> None:
    ada = world.join("Ada")
    waiting = world.client()
    world.hub.drain()
    late = world.client()
    for client in (ada, waiting, late):
        assert client.read()[-1]["code"] == "draining"
        assert client.closed == (1001, "draining")


def test_what_is_counted(world: World) -> None:
    ada, bob = world.join_all("Ada", "Bob")
    ada.send("offer", to=bob.id, sdp=SDP)
    ada.send("chat", content="x")
    ada.send_raw(b"nonsense")
    metrics = world.metrics
    assert dict(metrics.messages) == {"join": 2, "offer": 1, "chat": 1, "invalid": 1}
    assert dict(metrics.errors) == {"bad-request": 1}
    assert (metrics.relayed, metrics.rooms, metrics.participants) == (2, 1, 2)
    assert sum(metrics.relay_latency.counts) == 2
    bob.cut()
    assert metrics.detached == 1
    bob.resume()
    assert (metrics.detached, metrics.resumed) == (0, 1)


def test_frames_are_what_the_message_types_say(world: World) -> None:
    client = world.client()
    frames: list[bytes] = []
    receive = client.receive

    def note(data: bytes) -> None:
        frames.append(data)
        receive(data)

    client.receive = note  # type: ignore[method-assign]  # only to listen in
    client.send("join", room="demo", name="Ada")
    joined = parse_server_message(frames[0])
    assert isinstance(joined, Joined)
    assert joined.seq == 1
