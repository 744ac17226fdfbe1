"""Any messages in any order: nothing raises, no number is missed, nothing comes twice.

`Client` checks the numbers; here is checked that each chat message reaches whoever was in the
room when it was sent, once and in order, whatever happens to connections, relay and room.
"""

from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay import control
from signaling.hub.session import State
from tests.support.hub import Client, FakeRelays, Json, World

ROOMS = st.sampled_from(["one", "two"])
WHO = st.integers(0, 4)
IDS = st.sampled_from([None, "1", "2", "3"])
GARBAGE = st.sampled_from(
    [b"", b"[]", b'{"type":"leave","id":7}', b'{"type":"chat","id":"1"}', b"\xff", b"[" * 9000]
)


class Caller(Client):
    """Keeps apart what it was sent and what it should have been sent."""

    def __init__(self, world: World, address: str) -> None:
        self.heard: list[str] = []
        self.expected: list[str] = []
        super().__init__(world, address)

    @property
    def alive(self) -> bool:
        return self.session in self.world.hub.members._sessions

    @property
    def live(self) -> bool:
        """Whether it is in a room and connected."""
        return self.link is not None and self.link.session is not None

    @property
    def waits(self) -> bool:
        """Whether it is in a lobby."""
        return self.link is not None and bool(self.link.knock)

    def start_anew(self) -> None:
        self.cut()
        self.seq = 0
        self.heard.clear()
        self.expected.clear()
        self.connect()

    def receive(self, data: bytes) -> None:
        message: Json = json.loads(data)
        if message["type"] == "chat":
            self.heard.append(message["content"])
        super().receive(data)


class Anything(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.relays = FakeRelays()
        self.world = World(
            relays=self.relays,
            mesh_limit=2,
            replay_messages=30,
            invite=lambda room: (f"token for {room}", 1.0),
        )
        self.callers = [Caller(self.world, f"198.51.100.{n}") for n in range(5)]
        self.count = 0
        self.lost = 0

    def others(self, caller: Caller) -> list[Caller]:
        """Who is in the room with `caller`, itself included, connected or not."""
        session = self.world.hub.members._sessions.get(caller.session)
        if session is None:
            return []
        return [c for c in self.callers if c.alive and c.id in session.room.participants]

    @rule(who=WHO, room=ROOMS, id=IDS)
    def join(self, who: int, room: str, id: str | None) -> None:
        caller = self.callers[who]
        if not caller.live:
            caller.start_anew()
        caller.send("join", room=room, name=str(who), id=id)

    @rule(who=WHO, to=WHO, private=st.booleans(), repeat=st.integers(1, 3))
    def chat(self, who: int, to: int, private: bool, repeat: int) -> None:
        caller, target = self.callers[who], self.callers[to]
        self.count += 1
        text = f"message {self.count}"
        room = self.others(caller)
        if caller.live and (not private or target in room):
            for hearer in [h for h in room if not private or h in (caller, target)]:
                hearer.expected.append(text)
        fields = {"to": target.id} if private else {}
        for _ in range(repeat):
            caller.send("chat", content=text, id=f"m{self.count}", **fields)

    @rule(who=WHO, to=WHO, id=IDS, kind=st.sampled_from(["offer", "answer", "candidate"]))
    def negotiate(self, who: int, to: int, id: str | None, kind: str) -> None:
        self.callers[who].send(kind, to=self.callers[to].id, sdp="v=0", candidate=None, id=id)

    @rule(who=WHO, to=WHO, id=IDS, what=st.integers(0, 13))
    def say(self, who: int, to: int, id: str | None, what: int) -> None:
        target = self.callers[to].id
        messages: list[tuple[str, Json]] = [
            ("leave", {}),
            ("update", {"name": "x"}),
            ("kick", {"participant": target}),
            ("lock", {"locked": to % 2 == 0}),
            ("close-room", {}),
            ("p2p-failed", {"participant": target, "reason": "x"}),
            ("mute", {"track": "t_1", "muted": True}),
            ("subscribe", {"tracks": ["t_1"]}),
            ("restart-ice", {}),
            ("heartbeat", {"timestamp": 1}),
            ("silence", {"participant": target}),
            ("lobby", {"enabled": to % 2 == 0}),
            ("invite", {}),
            ("kick", {"participant": target, "ban": True}),
        ]
        kind, fields = messages[what]
        self.callers[who].send(kind, id=id, **fields)

    @rule(who=WHO, id=IDS, which=st.integers(0, 2), admit=st.booleans())
    def answer_a_knock(self, who: int, id: str | None, which: int, admit: bool) -> None:
        waiting = [*self.world.hub.lobby._waiting._knocks, "k_none"]
        knock = waiting[which % len(waiting)]
        self.callers[who].send("admit" if admit else "decline", id=id, knock=knock)

    @rule(who=WHO, id=IDS)
    def publish(self, who: int, id: str | None) -> None:
        self.callers[who].send("offer", to="relay", sdp="v=0", id=id)

    @rule(who=WHO, data=GARBAGE)
    def send_garbage(self, who: int, data: bytes) -> None:
        self.callers[who].send_raw(data)

    @rule(who=WHO)
    def cut(self, who: int) -> None:
        self.callers[who].cut()

    @rule(who=WHO)
    def come_back(self, who: int) -> None:
        """Also where the old connection is still there."""
        caller = self.callers[who]
        if caller.alive:
            if caller.waits:
                caller.cut()
            caller.resume()
            if not caller.live:
                caller.start_anew()

    @rule(who=WHO, seq=st.integers(0, 50), whose=WHO)
    def resume_wrongly(self, who: int, seq: int, whose: int) -> None:
        """With a number that is none, or on a connection that is in a room already."""
        caller, other = self.callers[who], self.callers[whose]
        session = self.world.hub.members._sessions.get(other.session)
        if caller.live or session is None:
            caller.send("resume", session=other.session, seq=seq)
        elif seq > session.seq and not caller.waits:
            caller.connect()
            caller.send("resume", session=other.session, seq=seq)

    @rule(who=WHO, code=st.sampled_from(["heartbeat-timeout", "too-large", "overloaded"]))
    def reject(self, who: int, code: str) -> None:
        link = self.callers[who].link
        assert link is not None
        self.world.hub.reject(link, code)

    @rule(seconds=st.sampled_from([0.1, 5.0, 11.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(who=WHO, room=ROOMS, what=st.integers(0, 6))
    def hear_of_the_relay(self, who: int, room: str, what: int) -> None:
        caller = self.callers[who].id
        track = control.Track("t_1", "video", "camera")
        event: list[control.Event] = [
            control.TrackPublished(room, caller, track),
            control.TrackUnpublished(room, caller, "t_1"),
            control.Offer(room, caller, "v=0", []),
            control.Speakers(room, []),
            control.Answer(who, "v=0"),
            control.Availability(who % 2 == 0),
            control.WorkerLost([room]),
        ]
        if what == 5:
            self.relays.available = who % 2 == 0
        self.world.hub.receive_relay(event[what])

    @invariant()
    def nothing_has_gone_wrong_inside(self) -> None:
        assert self.world.metrics.errors["internal"] == 0

    @invariant()
    def everyone_connected_has_heard_everything_once(self) -> None:
        for caller in self.callers:
            if caller.live:
                assert caller.heard == caller.expected

    @invariant()
    def what_is_counted_is_there(self) -> None:
        hub, metrics = self.world.hub, self.world.metrics
        sessions = hub.members._sessions.values()
        assert metrics.detached == sum(s.state is State.DETACHED for s in sessions)
        assert metrics.participants == sum(len(r.participants) for r in hub.list_rooms())
        lobby = hub.lobby._waiting
        assert len(lobby) == sum(caller.waits for caller in self.callers)
        assert len(lobby) == sum(len(lobby.list_waiting(room)) for room in ("one", "two"))
        assert metrics.rooms == len(hub.list_rooms())
        assert all(room.participants for room in hub.list_rooms())

    def teardown(self) -> None:
        for caller in self.callers:
            caller.cut()
        self.world.advance(120)
        assert self.world.hub.rooms() == []
        assert self.world.hub.get_timer() is None


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=80, stateful_step_count=40)
