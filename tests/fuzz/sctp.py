"""Fuzz targets of `relay.transport.sctp`: each parser, and a whole association."""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress

from relay.rooms.data import (
    MAX_RECEIVERS,
    MAX_TOPIC,
    BadFrame,
    build_frame,
    parse_frame_untrusted,
)
from relay.transport.sctp import dcep, parameters
from relay.transport.sctp.association import Association
from relay.transport.sctp.channels import MAX_CHANNELS, Arrived, Channels
from relay.transport.sctp.cookie import Cookie, parse_cookie_untrusted, sign
from relay.transport.sctp.inbound import WINDOW
from relay.transport.sctp.packet import (
    MalformedSctp,
    build_chunk,
    build_packet,
    parse_packet_untrusted,
)
from relay.transport.sctp.states import State
from tests.fuzz.engine import mutate, read_corpus

KEY = b"k" * 32
MAX_ANSWER = 20 * 1200
"""Bytes that one packet may have for an answer: those of the first congestion window, and more."""


def packet(data: bytes) -> None:
    """A packet is read or malformed, also with a checksum that is right."""
    with suppress(MalformedSctp):
        parse_packet_untrusted(data)
    with suppress(MalformedSctp):
        parsed = parse_packet_untrusted(_mend(data))
        chunks = [build_chunk(chunk.type, chunk.value, chunk.flags) for chunk in parsed.chunks]
        again = build_packet(parsed.source, parsed.destination, parsed.tag, chunks)
        assert parse_packet_untrusted(again) == parsed


def insides(data: bytes) -> None:
    """What chunks hold is read or malformed; what is read is written the same way."""
    with suppress(MalformedSctp):
        parameters.parse_parameters_untrusted(data)
    with suppress(MalformedSctp):
        init = parameters.parse_init_untrusted(data)
        assert parameters.parse_init_untrusted(parameters.build_init(init)) == init
    with suppress(MalformedSctp):
        sack = parameters.parse_sack_untrusted(data)
        built = parameters.build_sack(sack.cumulative, sack.window, sack.gaps, ())
        assert parameters.parse_sack_untrusted(built) == sack
    with suppress(MalformedSctp):
        forward = parameters.parse_forward_untrusted(data)
        assert parameters.parse_forward_untrusted(parameters.build_forward(*forward)) == forward
    with suppress(MalformedSctp):
        parameters.parse_reset_untrusted(data)
    with suppress(MalformedSctp):
        parameters.parse_response_untrusted(data)
    assert parameters.read_reason_untrusted(data).isprintable()


def channel(data: bytes) -> None:
    """An OPEN is read or malformed; what is read is written the same way."""
    with suppress(MalformedSctp):
        open = dcep.parse_open_untrusted(data)
        assert dcep.parse_open_untrusted(dcep.build_open(open)) == open


def cookie(data: bytes) -> None:
    """Nothing is a cookie but what we have signed."""
    with suppress(MalformedSctp):
        found: Cookie = parse_cookie_untrusted(data, KEY, 1.0)
        assert sign(found, KEY) == data


def frame(data: bytes) -> None:
    """A frame is read within its bounds or it is none."""
    with suppress(BadFrame):
        read = parse_frame_untrusted(data)
        assert len(read.topic) <= MAX_TOPIC
        assert read.to is None or 0 < len(read.to) <= MAX_RECEIVERS
        parse_frame_untrusted(build_frame("p_1", read.topic, read.payload))
        assert data.endswith(read.payload)


def association(data: bytes) -> None:
    """No packets of a peer that knows the tags break an association, or make it swell."""
    rng = random.Random(5)
    us, peer = (Association(random=rng.randbytes, max_message=20_000) for _ in range(2))
    channels = Channels(us, server=True)
    us.connect(0.0)
    peer.connect(0.0)
    now = 0.0
    for _ in range(8):
        for one, other in ((us, peer), (peer, us)):
            for sent in one.datagrams_to_send(now):
                other.receive(sent, now)
    for _ in channels.next_events():
        pass
    for n in range(20):
        channels.send(channels.open(dcep.Open("x", max_retransmits=n % 2)), bytes(900), text=False)
    us.datagrams_to_send(now)
    tag, first = us._opening.tag, peer._opening.first_tsn
    for number, part in enumerate(data.split(b"SCTP")):
        now += 0.3
        whole = _translate(part, first, us._opening.first_tsn)
        us.receive(_mend(whole, tag if number % 8 else None), now)
        for _ in channels.next_events():
            pass
        at = us.get_timer()
        if at is not None and at <= now:
            us.handle_timer(now)
        assert sum(map(len, us.datagrams_to_send(now))) <= MAX_ANSWER
        assert len(channels._channels) <= MAX_CHANNELS
        if us._inbound is not None:
            assert us._inbound.held <= 3 * WINDOW
    assert us.state in State


def _translate(part: bytes, theirs: int, ours: int) -> bytes:
    """Let a corpus speak of TSNs near the true ones: `TTT` and `UUU` begin such a number."""
    part = part.replace(b"TTT", theirs.to_bytes(4, "big")[:3])
    return part.replace(b"UUU", ours.to_bytes(4, "big")[:3])


def _mend(data: bytes, tag: int | None = None) -> bytes:
    """Give a packet the right checksum, and if `tag` is there right ports and tag."""
    if tag is not None:
        data = (5000).to_bytes(2, "big") * 2 + tag.to_bytes(4, "big") + data[8:]
    if len(data) < 12:
        return data
    head = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    return build_packet(*head, int.from_bytes(data[4:8], "big"), [data[12:]])


class Hostile:
    """A peer that knows the tags, and sends one association nothing but mutated packets."""

    def __init__(self, seed: int) -> None:
        self.packets = 0
        self.ended = 0
        self._rng = random.Random(seed)
        self._now = 0.0
        self._open()

    def _open(self) -> None:
        self._us, peer = (
            Association(random=self._rng.randbytes, max_message=262_144) for _ in range(2)
        )
        self._channels = Channels(self._us, server=True)
        peer.connect(self._now)
        for _ in range(4):
            for one, other in ((peer, self._us), (self._us, peer)):
                for sent in one.datagrams_to_send(self._now):
                    other.receive(sent, self._now)
        self._tag, self._first = self._us._opening.tag, peer._opening.first_tsn

    def send(self, data: bytes) -> None:
        """One packet; opens another association when this one has ended."""
        self.packets += 1
        self._now += self._rng.choice((0.0, 0.001, 0.1))
        ours = self._us._opening.first_tsn
        self._us.receive(_mend(_translate(data, self._first, ours), self._tag), self._now)
        for event in self._channels.next_events():
            if isinstance(event, Arrived) and self._rng.random() < 0.1:
                self._channels.send(event.channel, bytes(2000), text=False)
        at = self._us.get_timer()
        if at is not None and at <= self._now:
            self._us.handle_timer(self._now)
        assert sum(map(len, self._us.datagrams_to_send(self._now))) <= 10 * MAX_ANSWER
        if self._us._inbound is not None:
            assert self._us._inbound.held <= 3 * WINDOW
        if self._us.state is State.ENDED:
            self.ended += 1
            self._open()


def flood(count: int, seed: int, seeds: list[bytes]) -> Hostile:
    """Send `count` mutated packets."""
    hostile = Hostile(seed)
    rng = random.Random(seed)
    parts = [part for whole in seeds for part in whole.split(b"SCTP")]
    for _ in range(count):
        hostile.send(mutate(rng, parts, 1200))
    return hostile


def main() -> None:
    """`python -m tests.fuzz.sctp 1000000`: so many hostile packets, outside of the suite."""
    count = int(sys.argv[1])
    begun = time.process_time()
    hostile = flood(count, 7, read_corpus("sctp"))
    each = (time.process_time() - begun) / count * 1e6
    print(f"{hostile.packets} packets, {hostile.ended} associations ended, {each:.1f} us each")


if __name__ == "__main__":
    main()
