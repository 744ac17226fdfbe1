"""Data between participants: frames, bounds, and who gets what."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from relay import control
from relay.rooms.data import (
    BURST,
    LOSSY,
    MAX_LOSSY,
    MAX_UNSENT,
    RATE,
    RELIABLE,
    BadFrame,
    Receiving,
    Sending,
    build_frame,
    parse_frame_untrusted,
)
from relay.stats import DropReason, Stats
from relay.transport.data import DataPath
from relay.transport.sctp.channels import Arrived, Channel, ChannelEvent, Closed, Opened
from relay.transport.sctp.dcep import Open
from tests.support.timing import VirtualTiming
from tests.unit.relay.rooms.rooms import World
from tests.unit.relay.sdp.offers import make_offer

DATA = ("application", "webrtc-datachannel", ["sctp-port:5000", "max-message-size:262144"])


def frame(payload: bytes, **header: object) -> bytes:
    text = json.dumps(header).encode()
    return b"\0" + len(text).to_bytes(2, "big") + text + payload


# -- Frames -----------------------------------------------------------------------------


def test_a_frame_says_to_whom_and_on_what() -> None:
    parsed = parse_frame_untrusted(frame(b"\0x", to=["a"], topic="t", more=1))
    assert (parsed.to, parsed.topic, parsed.payload) == (["a"], "t", b"\0x")
    assert parse_frame_untrusted(b"\0\0\2{}").to is None


def test_a_receiver_is_told_from_whom() -> None:
    built = build_frame("p_1", 'a"b', b"pay")
    size = int.from_bytes(built[1:3], "big")
    assert built[0] == 0
    assert json.loads(built[3 : 3 + size]) == {"from": "p_1", "topic": 'a"b'}
    assert built[3 + size :] == b"pay"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\0\2{}",
        b"\0\0\3{}",
        b"\0\0\2[]",
        b"\0\0\1x",
        frame(b"", to=[]),
        frame(b"", to=["x"] * 65),
        frame(b"", to="x"),
        frame(b"", topic="x" * 65),
        b"\0\xff\xff" + b"[" * 65535,
    ],
)
def test_anything_else_is_no_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_frame_untrusted(data)


# -- Both ends with a path between them -----------------------------------------------------


class Link:
    """A relay's path and a client's, with packets in between."""

    def __init__(self, timing: VirtualTiming) -> None:
        self.timing = timing
        self.stats = Stats()
        self.slow = False
        self.events: list[ChannelEvent] = []
        rng = random.Random(4)
        self.relay: DataPath
        self.client: DataPath
        self.on_relay: Callable[[ChannelEvent], None] = lambda event: None
        self.relay, self.client = (
            DataPath(
                server=server,
                remote_port=5000,
                send=self._carry(server),
                on_event=on_event,
                timing=timing,
                random=rng.randbytes,
                stats=self.stats,
            )
            for server, on_event in (
                (True, lambda event: self.on_relay(event)),
                (False, self.events.append),
            )
        )

    def _carry(self, from_relay: bool) -> Callable[[bytes], None]:
        def send(packet: bytes) -> None:
            if not self.slow:
                to = self.client if from_relay else self.relay
                self.timing.call_at(self.timing.now() + 0.01, lambda: to.receive(packet))

        return send

    def connect(self) -> None:
        self.relay.connect()
        self.client.connect()
        self.timing.advance(1)

    @property
    def arrived(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, Arrived)]


class Listener:
    """A receiver at the end of a link."""

    def __init__(self) -> None:
        self.link = Link(VirtualTiming())
        self.stats = self.link.stats
        self.receiving = Receiving("p_1", self.stats)
        self.link.on_relay = self.receiving.receive
        self.link.connect()
        self.receiving.begin(self.link.relay, 262144)
        self.link.relay.flush()
        self.link.timing.advance(1)

    def send(self, payload: bytes, *, lossy: bool = False) -> None:
        self.receiving.send(payload, text=False, lossy=lossy)


def test_a_receiver_has_two_channels_and_gets_messages_on_them() -> None:
    one = Listener()
    one.send(b"reliable")
    one.send(b"lossy", lossy=True)
    one.link.timing.advance(1)
    assert one.link.arrived == [b"reliable", b"lossy"]
    opened = [e.channel.open for e in one.link.events if isinstance(e, Opened)]
    assert opened == [RELIABLE, LOSSY]


def test_a_receiver_that_does_not_read_loses_the_oldest_lossy_ones() -> None:
    one = Listener()
    one.link.slow = True
    for n in range(1000):
        one.send(b"%04d" % n + bytes(900), lossy=True)
    dropped = one.stats.drops[DropReason.DATA_FULL]
    assert dropped > 600
    one.link.slow = False
    one.link.timing.advance(20)
    got = [int(payload[:4]) for payload in one.link.arrived]
    assert got[-1] == 999
    assert len(got) > 200
    assert not set(range(20, dropped)) & set(got)


def test_a_receiver_that_does_not_read_is_let_go_with_a_reason_when_reliable_ones_wait() -> None:
    one = Listener()
    one.link.slow = True
    while one.receiving.is_open:
        one.send(bytes(10_000))
    assert one.stats.drops[DropReason.DATA_FULL] == 1
    one.send(b"later")
    assert one.stats.drops[DropReason.DATA_NO_RECEIVER] == 1


def test_what_is_larger_than_the_receiver_takes_is_not_sent() -> None:
    one = Listener()
    one.send(bytes(262145))
    assert one.stats.drops[DropReason.DATA_TOO_LARGE] == 1
    one.send(bytes(262144))
    one.link.timing.advance(5)
    assert [len(payload) for payload in one.link.arrived] == [262144]


def test_a_receiver_that_closes_a_channel_gets_no_more_on_it() -> None:
    one = Listener()
    (reliable, lossy) = (e.channel for e in one.link.events if isinstance(e, Opened))
    one.link.client._channels.close(lossy)
    one.link.client.flush()
    one.link.timing.advance(2)
    one.send(b"x", lossy=True)
    one.send(b"y")
    one.link.timing.advance(1)
    assert one.link.arrived == [b"y"]
    assert isinstance(reliable, Channel)


def test_a_reliable_sender_that_is_too_fast_is_slowed_down_and_loses_nothing() -> None:
    link = Link(VirtualTiming())
    got: list[bytes] = []
    sending = Sending(lambda event, _: got.append(event.payload), link.timing, link.stats)
    sending.path = link.relay
    link.on_relay = sending.receive
    link.connect()
    channel = link.client.open(RELIABLE)
    for n in range(600):
        link.client.write(channel, b"%04d" % n + bytes(10_000), text=False)
    link.client.flush()
    link.timing.advance(2)
    passed = sum(map(len, got))
    assert RATE <= passed <= 2 * RATE + BURST + 20_000
    link.timing.advance(10)
    assert [int(payload[:4]) for payload in got] == list(range(600))
    assert link.stats.drops[DropReason.SCTP_WINDOW] < 600


def test_a_lossy_sender_that_is_too_fast_loses_what_is_over() -> None:
    timing, stats = VirtualTiming(), Stats()
    got: list[bytes] = []
    sending = Sending(lambda event, _: got.append(event.payload), timing, stats)
    for n in range(400):
        sending.receive(Arrived(Channel(1, LOSSY), b"%03d" % n + bytes(1000), False))
    assert len(got) + stats.drops[DropReason.DATA_RATE] == 400
    assert BURST // 1131 <= len(got) <= BURST // 1131 + 2


def test_other_channels_than_the_two_carry_nothing() -> None:
    stats = Stats()
    sending = Sending(lambda *_: pytest.fail("delivered"), VirtualTiming(), stats)
    sending.receive(Arrived(Channel(1, Open("other")), b"x", False))
    sending.receive(Closed(Channel(1, Open("other"))))
    assert stats.drops[DropReason.DATA_CHANNEL] == 1


# -- In a room ------------------------------------------------------------------------------


def join(world: World, name: str, *, routes: list[str] | None = None, **grants: bool) -> None:
    world.do(control.Join("demo", name, data=True, **grants))
    world.do(control.Route("demo", name, routes))


def test_who_takes_data_is_offered_them_where_there_is_nothing_else() -> None:
    world = World()
    join(world, "ada")
    (offer,) = [e for e in world.events if isinstance(e, control.Offer)]
    assert "m=application 9 UDP/DTLS/SCTP webrtc-datachannel" in offer.sdp
    assert "a=mid:data" in offer.sdp
    assert "a=rtcp-mux" not in offer.sdp
    assert not [e for e in world.answer(offer) if isinstance(e, control.Refused)]


def test_who_does_not_ask_for_data_or_is_in_a_mesh_is_offered_none() -> None:
    world = World()
    world.join("ada")
    join(world, "bob", routes=[])
    assert not [e for e in world.events if isinstance(e, control.Offer)]


def test_tracks_come_after_the_data_line_and_keep_their_places() -> None:
    world = World()
    join(world, "ada")
    world.answer(next(e for e in world.events if isinstance(e, control.Offer)))
    world.join("bob")
    events = world.publish("bob")
    offer = next(e for e in events if isinstance(e, control.Offer) and e.participant == "ada")
    assert [line.split()[0] for line in offer.sdp.splitlines() if line.startswith("m=")] == [
        "m=application",
        "m=video",
        "m=audio",
    ]
    assert not [e for e in world.answer(offer) if isinstance(e, control.Refused)]


@pytest.mark.parametrize(
    ("grants", "media", "code"),
    [
        ({"publish": False, "publish_data": False}, DATA, "forbidden"),
        ({"publish": False}, None, "forbidden"),
        ({"publish": False}, DATA, None),
        ({"publish_data": False}, None, None),
    ],
)
def test_grants_say_what_an_offer_may_hold(
    grants: dict[str, bool], media: object, code: str | None
) -> None:
    world = World()
    join(world, "ada", **grants)
    sdp = make_offer(DATA) if media else None
    events = world.publish("ada", sdp=sdp)
    assert [e.code for e in events if isinstance(e, control.Refused)] == ([code] if code else [])


class Room:
    """A room whose data paths are stood in for by lists."""

    def __init__(self, *names: str, **routes: list[str]) -> None:
        self.world = World()
        self.got: dict[str, list[tuple[bytes, bool, bool]]] = {name: [] for name in names}
        for name in names:
            join(self.world, name, routes=routes.get(name))
            self.world.publish(name, sdp=make_offer(DATA, ufrag=name * 2))
            receiver = self.world.router._participants[name].receiver
            assert receiver is not None
            receiver.data = Heard(self.got[name])  # type: ignore[union-attr, assignment]

    def say(self, name: str, data: bytes, *, lossy: bool = False) -> None:
        publisher = self.world.router._participants[name].publisher
        assert publisher is not None
        channel = Channel(0, LOSSY if lossy else RELIABLE)
        publisher._sending.receive(Arrived(channel, data, True))

    @property
    def drops(self) -> dict[str, int]:
        return {k.value: n for k, n in self.world.plane.stats.drops.items() if n}


class Heard:
    is_open = True

    def __init__(self, got: list[tuple[bytes, bool, bool]]) -> None:
        self._got = got

    def send(self, frame: bytes, *, text: bool, lossy: bool) -> None:
        self._got.append((frame, text, lossy))

    def end(self) -> None: ...


def test_a_message_reaches_everyone_else_or_those_who_are_named() -> None:
    room = Room("ada", "bob", "eve")
    room.say("ada", frame(b"all", topic="t"))
    room.say("ada", frame(b"bob", to=["bob", "bob"]), lossy=True)
    assert room.got == {
        "ada": [],
        "bob": [
            (build_frame("ada", "t", b"all"), True, False),
            (build_frame("ada", "", b"bob"), True, True),
        ],
        "eve": [(build_frame("ada", "t", b"all"), True, False)],
    }
    assert room.drops == {}


def test_data_follow_the_routes_and_what_cannot_is_counted() -> None:
    room = Room("ada", "bob", "eve", bob=["eve"])
    room.say("ada", frame(b"x"))
    assert [name for name, got in room.got.items() if got] == ["eve"]
    room.say("ada", frame(b"x", to=["bob", "ada", "nobody"]))
    assert room.drops == {"data-no-receiver": 3}


def test_what_is_wrong_is_counted_and_reaches_nobody() -> None:
    room = Room("ada", "bob")
    room.say("ada", b"nonsense")
    room.say("ada", frame(bytes(MAX_LOSSY + 1)), lossy=True)
    room.world.do(control.Join("demo", "ada", data=True, publish_data=False))
    room.say("ada", frame(b"x"))
    assert room.got["bob"] == []
    assert room.drops == {"data-frame": 1, "data-too-large": 1, "data-forbidden": 1}


def test_bounds_are_as_documented() -> None:
    assert (MAX_UNSENT, RATE) == (256 * 1024, 1024 * 1024)
