"""Data channels between two associations."""

from __future__ import annotations

import pytest

from relay.transport.sctp.association import Association
from relay.transport.sctp.channels import (
    DCEP,
    MAX_CHANNELS,
    Arrived,
    ChannelEvent,
    Channels,
    Closed,
    Opened,
    Ready,
    Refused,
)
from relay.transport.sctp.dcep import Open
from relay.transport.sctp.states import Ended
from tests.support.sctp import Pair


class Talk:
    """Two sides with channels."""

    def __init__(self, **path: float) -> None:
        self.pair = Pair(2, **path)
        self.sides = [Channels(end, server=bool(n)) for n, end in enumerate(self.pair.ends)]
        self.events: list[list[ChannelEvent]] = [[], []]
        for end in self.pair.ends:
            end.connect(0.0)
        self.run(5)

    def run(self, seconds: float) -> None:
        end = self.pair.now + seconds
        while self.pair.now < end:
            self.pair.run(0.05)
            for side in (0, 1):
                association = self.pair.ends[side]
                for event in self.pair.events[side]:
                    association._events.append(event)
                self.pair.events[side].clear()
                self.events[side] += self.sides[side].next_events()

    def got(self, side: int) -> list[tuple[str, bytes, bool]]:
        return [
            (e.channel.open.label, e.payload, e.text)
            for e in self.events[side]
            if isinstance(e, Arrived)
        ]


def test_text_bytes_and_nothing_arrive_as_what_they_are() -> None:
    talk = Talk()
    ada, _ = talk.sides
    channel = ada.open(Open("reliable"))
    for payload, text in ((b"text", True), (b"bytes", False), (b"", True), (b"", False)):
        ada.send(channel, payload, text=text)
    talk.run(1)
    assert talk.got(1) == [
        ("reliable", b"text", True),
        ("reliable", b"bytes", False),
        ("reliable", b"", True),
        ("reliable", b"", False),
    ]
    assert talk.events[0] == [Ready(), Opened(channel)]


def test_each_side_has_its_own_streams() -> None:
    talk = Talk()
    streams = [[side.open(Open("x")).stream for _ in range(3)] for side in talk.sides]
    assert streams == [[0, 2, 4], [1, 3, 5]]


def test_a_closed_channel_closes_on_both_sides_and_its_stream_comes_back() -> None:
    talk = Talk(loss=0.1)
    ada, bob = talk.sides
    channel = ada.open(Open("one"))
    ada.send(channel, b"last", text=False)
    ada.close(channel)
    ada.send(channel, b"too late", text=False)
    talk.run(10)
    assert talk.got(1) == [("one", b"last", False)]
    assert [type(event) for event in talk.events[1]] == [Ready, Opened, Arrived, Closed]
    assert not ada._channels
    assert not bob._channels
    assert not ada._resetting
    assert not bob._resetting


def test_one_channel_too_many_is_closed_and_no_other_one_suffers() -> None:
    talk = Talk()
    ada, bob = talk.sides
    channels = [ada.open(Open(str(n))) for n in range(MAX_CHANNELS + 5)]
    talk.run(5)
    assert len(bob._channels) == MAX_CHANNELS
    assert sum(isinstance(e, Refused) for e in talk.events[1]) == 5
    ada.send(channels[0], b"x", text=False)
    talk.run(1)
    assert talk.got(1) == [("0", b"x", False)]


@pytest.mark.parametrize(
    ("stream", "ppid", "payload"),
    [(6, 53, b"no channel"), (6, DCEP, b"\3nonsense"), (6, DCEP, b"\2"), (6, 4711, b"x")],
)
def test_what_is_of_no_channel_is_refused(stream: int, ppid: int, payload: bytes) -> None:
    talk = Talk()
    talk.pair.ada.send(stream, ppid, payload)
    talk.run(1)
    assert talk.events[1] == [Ready(), Refused()]


def test_channels_end_with_their_association_and_with_the_peers_beginning_anew() -> None:
    talk = Talk()
    ada, bob = talk.sides
    channel = ada.open(Open("one"))
    talk.run(1)
    talk.pair.ends[1] = Association(random=talk.pair.rng.randbytes)
    talk.sides[1] = Channels(talk.pair.bob, server=True)
    talk.pair.bob.connect(talk.pair.now)
    talk.run(3)
    assert talk.events[0][-2:] == [Closed(channel), Ready()]
    again = ada.open(Open("again"))
    talk.run(1)
    bob = talk.sides[1]
    talk.pair.ada.abort("bye")
    talk.run(1)
    assert talk.events[0][-2:] == [Closed(again), Ended("bye", aborted=True)]
    assert not bob._channels
