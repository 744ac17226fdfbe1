"""One socket for many transports: which datagram goes to whom, and what is sent back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from relay.plane.addresses import pack_address
from relay.plane.batch import available
from relay.plane.forwarder import Forwarder
from relay.plane.framehold import PATIENCE
from relay.plane.leg import HOLD, REPORT_GRACE, Leg
from relay.plane.tracks import DownTrack, UpTrack
from relay.plane.udp import MAX_BATCHES, Udp, get_stun_username_untrusted, open_socket
from relay.rtp import rtcp
from relay.rtp.twcc import Feedback, parse_feedback_untrusted
from relay.sdp.capabilities import MID, TRANSPORT_CC, VIDEO_CONTENT_TYPE
from relay.stats import DropReason, Stats
from relay.transport.ice import Address
from tests.support.media import PLAIN, PlainKeys, build_rtp, build_vp8, video_media

SSRC = 0x1001


@dataclass
class Peer:
    """An `Endpoint` that notes what it gets."""

    leg: Leg
    stun: list[tuple[bytes, Address]] = field(default_factory=list)
    dtls: list[bytes] = field(default_factory=list)
    answer: Any = None

    def receive_stun(self, data: bytes, address: Address, _now: float) -> None:
        self.stun.append((data, address))
        if self.answer is not None:
            self.answer(address)

    def receive_dtls(self, data: bytes) -> None:
        self.dtls.append(data)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A `Udp` whose socket is real and whose time is not; a test calls `receive` itself."""

    def __init__(self, portable: bool) -> None:
        self.stats = Stats()
        self.clock = Clock()
        self.forwarder = Forwarder(stats=self.stats, crypto=PLAIN)
        self.sock = open_socket("127.0.0.1", 0)
        self.udp = Udp(
            self.sock, self.forwarder, stats=self.stats, clock=self.clock, portable=portable
        )
        self.socks: list[socket.socket] = []

    def open_peer(self) -> tuple[socket.socket, Peer, Address]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        self.socks.append(sock)
        address = pack_address(*sock.getsockname(), socket.AF_INET)
        return sock, Peer(self.forwarder.open_leg("peer")), address

    def connect_peer(self) -> tuple[socket.socket, Peer]:
        sock, peer, address = self.open_peer()
        peer.leg.connect(PlainKeys(), PlainKeys())
        peer.leg.set_address(address)
        self.udp.latch(address, peer)
        return sock, peer

    def send(self, sock: socket.socket, *datagrams: bytes) -> None:
        """Loopback delivers at once: it is there when `sendto` returns."""
        for data in datagrams:
            sock.sendto(data, self.sock.getsockname())
        self.udp.receive()

    def close(self) -> None:
        self.udp.close()
        for sock in self.socks:
            sock.close()


@pytest.fixture(params=["mmsg", "portable"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "mmsg" and not available():
        pytest.skip("needs recvmmsg")
    rig = Rig(portable=request.param == "portable")
    yield rig
    rig.close()


def build_stun(username: str | None, *, padding: int = 0) -> bytes:
    attributes = b""
    if padding:
        attributes += struct.pack("!HH", 0x8022, padding) + bytes(padding + -padding % 4)
    if username is not None:
        value = username.encode()
        attributes += struct.pack("!HH", 6, len(value)) + value + bytes(-len(value) % 4)
    return struct.pack("!HHI12s", 1, len(attributes), 0x2112A442, bytes(12)) + attributes


def test_stun_goes_by_the_ufrag_in_its_username(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    _, other, _ = rig.open_peer()
    rig.udp.add("ours", peer)
    rig.udp.add("other", other)
    data = build_stun("ours:theirs", padding=5)
    rig.send(sock, data)
    assert peer.stun == [(data, address)]
    assert other.stun == []
    assert rig.stats.stun_in == 1


def test_the_username_counts_more_than_the_address(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    _, before, _ = rig.open_peer()
    rig.udp.latch(address, before)
    rig.udp.add("ours", peer)
    rig.send(sock, build_stun("ours:theirs"))
    assert len(peer.stun) == 1
    assert before.stun == []


@pytest.mark.parametrize("username", [None, "nobody:x", "nobody", ":", ""])
def test_stun_for_nobody_is_dropped_and_not_answered(rig: Rig, username: str | None) -> None:
    sock, _, _ = rig.open_peer()
    rig.send(sock, build_stun(username))
    assert rig.stats.drops[DropReason.UNKNOWN_USERNAME] == 1
    assert rig.stats.packets_out == 0


def test_dtls_and_media_go_by_the_address(rig: Rig) -> None:
    sock, peer = rig.connect_peer()
    rig.send(sock, b"\x16dtls")
    assert peer.dtls == [b"\x16dtls"]
    rig.send(sock, build_rtp(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=b"x"))
    assert rig.stats.rtp_in == 1
    assert rig.stats.drops[DropReason.UNKNOWN_SSRC] == 1


@pytest.mark.parametrize("data", [b"\x16dtls", b"\x80" + bytes(20), b"\x80\xc9" + bytes(20)])
def test_what_comes_from_an_unknown_address_is_dropped(rig: Rig, data: bytes) -> None:
    sock, peer, _ = rig.open_peer()
    rig.send(sock, data)
    assert rig.stats.drops[DropReason.UNKNOWN_ADDRESS] == 1
    assert peer.dtls == []


def test_an_address_that_passed_to_another_peer_is_not_taken_from_it(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    _, other, _ = rig.open_peer()
    rig.udp.latch(address, other)
    rig.udp.latch(address, peer)
    rig.udp.unlatch(address, other)
    rig.send(sock, b"\x16dtls")
    assert peer.dtls == [b"\x16dtls"]


def test_after_unlatching_an_address_is_unknown(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    rig.udp.latch(address, peer)
    rig.udp.add("ours", peer)
    assert rig.udp.count_addresses() == (1, 1)
    rig.udp.unlatch(address, peer)
    rig.udp.remove("ours")
    rig.udp.remove("ours")
    rig.send(sock, b"\x16dtls", build_stun("ours:x"))
    assert (peer.dtls, peer.stun) == ([], [])
    assert rig.udp.count_addresses() == (0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.MALFORMED),
        (b"\x00", DropReason.MALFORMED),
        (b"\x04" * 30, DropReason.MALFORMED),
        (b"\x40turn channel data", DropReason.MALFORMED),
        (b"\xff" * 30, DropReason.MALFORMED),
        (b"\x80", DropReason.MALFORMED),
        (b"\x80\x60" + bytes(9), DropReason.MALFORMED),
        (b"\x80\xc9" + bytes(4), DropReason.MALFORMED),
        (b"\x80" + bytes(2000), DropReason.TRUNCATED),
        (b"\x16" + bytes(2000), DropReason.TRUNCATED),
        (b"\x00" + bytes(2000), DropReason.TRUNCATED),
    ],
)
def test_a_datagram_that_makes_no_sense_is_counted(
    rig: Rig, data: bytes, reason: DropReason
) -> None:
    sock, _ = rig.connect_peer()
    rig.send(sock, data)
    assert rig.stats.drops[reason] == 1
    assert sum(rig.stats.drops.values()) == 1
    assert rig.stats.packets_in == 1


def test_an_answer_is_never_larger_than_the_request(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    rig.udp.add("ours", peer)
    request = build_stun("ours:theirs")
    peer.answer = lambda address: rig.udp.send(bytes(len(request) + 1), address)
    rig.send(sock, request)
    assert rig.stats.drops[DropReason.UNREQUESTED_ANSWER] == 1
    assert rig.stats.packets_out == 0
    peer.answer = lambda address: (
        rig.udp.send(bytes(len(request)), address),
        rig.udp.send(b"and another", address),
    )
    rig.send(sock, request)
    assert sock.recv(2000) == bytes(len(request))
    assert rig.stats.drops[DropReason.UNREQUESTED_ANSWER] == 2
    rig.udp.send(b"later", address)
    assert rig.stats.drops[DropReason.UNREQUESTED_ANSWER] == 3


def test_to_a_latched_address_anything_may_be_sent(rig: Rig) -> None:
    sock, peer, address = rig.open_peer()
    rig.udp.latch(address, peer)
    rig.udp.send(bytes(1200), address)
    assert sock.recv(2000) == bytes(1200)
    assert (rig.stats.packets_out, rig.stats.bytes_out) == (1, 1200)


def test_a_datagram_that_cannot_be_sent_is_counted(rig: Rig) -> None:
    _, peer, _ = rig.open_peer()
    nowhere = pack_address("127.0.0.1", 0, socket.AF_INET)
    rig.udp.latch(nowhere, peer)
    rig.udp.send(b"x", nowhere)
    assert rig.stats.drops[DropReason.SEND_FAILED] == 1


def test_a_turn_of_the_loop_is_bounded(rig: Rig) -> None:
    sock, _, _ = rig.open_peer()
    limit = MAX_BATCHES * len(rig.udp.inbox.rows)
    for _ in range(limit + 10):
        sock.sendto(b"\xff", rig.sock.getsockname())
    rig.udp.receive()
    assert rig.stats.packets_in == limit
    rig.udp.receive()
    assert rig.stats.packets_in == limit + 10


# -- Frames that are held --------------------------------------------------------------------


def publish(rig: Rig) -> tuple[socket.socket, socket.socket]:
    """A publisher's socket and a subscriber's."""
    sock, publisher = rig.connect_peer()
    receiver, subscriber = rig.connect_peer()
    track = UpTrack("t", video_media(SSRC, rtx_ssrc=SSRC + 1))
    publisher.leg.add_up(track)
    down = DownTrack(subscriber.leg, "video", 0x5000, None, sequence=10, timestamp=0)
    subscriber.leg.add_down(down)
    down.attach(track, {96: 96}, rig.clock.now)
    return sock, receiver


def build_frame(count: int, sequence: int = 1, ssrc: int = SSRC) -> list[bytes]:
    return [
        build_rtp(
            payload_type=120,
            sequence=sequence + index,
            timestamp=1,
            ssrc=ssrc,
            marker=index == count - 1,
            payload=build_vp8(1, key_frame=True, first=index == 0, data=bytes((index,)) * 50),
        )
        for index in range(count)
    ]


def read_sequences(sock: socket.socket, count: int) -> list[int]:
    return [struct.unpack("!H", sock.recv(2000)[2:4])[0] for _ in range(count)]


def test_a_frame_leaves_when_its_last_packet_has_come(rig: Rig) -> None:
    sock, receiver = publish(rig)
    frame = build_frame(4)
    rig.send(sock, frame[0])
    rig.send(sock, *frame[1:3])
    assert rig.stats.packets_out == 0
    rig.send(sock, frame[3])
    assert read_sequences(receiver, 4) == [10, 11, 12, 13]
    assert rig.stats.rtp_in == 4


@pytest.mark.parametrize("subscribers", [1, 2])
def test_packets_of_unequal_headers_arrive_whole(rig: Rig, subscribers: int) -> None:
    """A browser puts some extensions into a frame's first packet or its last only."""
    sock, publisher = rig.connect_peer()
    ids = {6: VIDEO_CONTENT_TYPE.id}
    track = UpTrack("t", video_media(SSRC, extensions=ids))
    publisher.leg.add_up(track)
    receivers = []
    for number in range(subscribers):
        receiver, subscriber = rig.connect_peer()
        receivers.append(receiver)
        down = DownTrack(subscriber.leg, "video", 5, 6, sequence=10, timestamp=0)
        subscriber.leg.add_down(down)
        down.attach(track, {96: 96, 97: 97}, rig.clock.now)
        assert down.extensions, number
    frame = [
        build_rtp(
            payload_type=120,
            sequence=index,
            timestamp=1,
            ssrc=SSRC,
            marker=index == 3,
            payload=build_vp8(1, key_frame=True, data=bytes((index,)) * 50),
            extensions={6: bytes(9)} if index in (1, 3) else None,
        )
        for index in range(4)
    ]
    rig.send(sock, *frame)
    for receiver in receivers:
        assert [receiver.recv(2000)[-50:] for _ in frame] == [packet[-50:] for packet in frame]


def test_a_retransmission_does_not_wait(rig: Rig) -> None:
    sock, receiver = publish(rig)
    rig.send(sock, build_frame(1)[0])
    missing = struct.pack("!H", 2) + build_vp8(1, key_frame=False, first=True, data=bytes(50))
    rig.send(
        sock,
        build_rtp(payload_type=121, sequence=1, timestamp=2, ssrc=SSRC + 1, payload=missing),
    )
    assert read_sequences(receiver, 2) == [10, 11]


def test_a_frame_that_dawdles_leaves_in_parts(rig: Rig) -> None:
    sock, receiver = publish(rig)
    frame = build_frame(4)
    rig.send(sock, frame[0])
    rig.clock.now += PATIENCE * 1.1
    rig.send(sock, frame[1])
    assert read_sequences(receiver, 2) == [10, 11]
    rig.send(sock, *frame[2:])
    assert read_sequences(receiver, 2) == [12, 13]


async def test_a_frame_whose_rest_never_comes_leaves_by_a_timer(rig: Rig) -> None:
    sock, receiver = publish(rig)
    rig.udp.open(asyncio.get_running_loop())
    frame = build_frame(3)
    sock.sendto(frame[0], rig.sock.getsockname())
    while not rig.stats.rtp_in:
        rig.clock.now += HOLD
        await asyncio.sleep(0)
    assert read_sequences(receiver, 1) == [10]


def test_rows_that_were_held_are_free_again(rig: Rig) -> None:
    sock, receiver = publish(rig)
    rows = rig.udp.inbox.arena.rows
    for number in range(rows):
        rig.send(sock, *build_frame(3, sequence=1 + 3 * number))
        assert len(read_sequences(receiver, 3)) == 3
    assert rig.stats.packets_out == 3 * rows


def test_held_packets_are_not_overwritten_by_what_comes_meanwhile(rig: Rig) -> None:
    sock, receiver = publish(rig)
    frame = build_frame(3)
    rig.send(sock, *frame[:2])
    rig.send(sock, *[b"\xff" * 1000] * 70)
    rig.send(sock, frame[2])
    for packet in frame:
        assert receiver.recv(2000)[-50:] == packet[-50:]


def test_media_of_a_leg_that_closed_meanwhile_goes_nowhere(rig: Rig) -> None:
    sock, _ = publish(rig)
    rig.send(sock, build_frame(2)[0])
    for leg in list(rig.forwarder.legs.values()):
        leg.close(rig.clock.now)
    rig.clock.now += HOLD
    rig.udp._handle_hold()
    assert rig.stats.packets_out == 0


def test_what_is_held_is_not_reported_as_lost(rig: Rig) -> None:
    sock, publisher = rig.connect_peer()
    sock.settimeout(0)
    _, subscriber = rig.connect_peer()
    ids = {5: TRANSPORT_CC.id, 9: MID.id}
    for number, ssrc in enumerate((SSRC, SSRC + 2)):
        track = UpTrack("t", video_media(ssrc, mid=str(number), extensions=ids))
        publisher.leg.add_up(track)
        down = DownTrack(subscriber.leg, "video", 0x5000 + number, None, sequence=10, timestamp=0)
        subscriber.leg.add_down(down)
        down.attach(track, {96: 96}, rig.clock.now)

    def send(number: int, ssrc: int = SSRC, *, marker: bool = True) -> None:
        packet = build_rtp(
            payload_type=120,
            sequence=number,
            timestamp=1,
            ssrc=ssrc,
            marker=marker,
            payload=build_vp8(1, key_frame=True),
            extensions={5: struct.pack("!H", number)},
        )
        rig.send(sock, packet)

    def take_feedback() -> list[Feedback]:
        """After whatever is due."""
        rig.forwarder.handle_timer(rig.clock.now)
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = sock.recv(2000)
                for packet in rtcp.parse_compound_untrusted(data, 0, len(data)):
                    if isinstance(packet, rtcp.TransportFeedback):
                        found.append(parse_feedback_untrusted(packet.body))
        return found

    send(1)
    take_feedback()
    rig.clock.now += 0.2
    send(2, marker=False)
    send(3, ssrc=SSRC + 2)
    first = take_feedback()
    rig.clock.now += HOLD / 2
    send(4)
    rig.clock.now += HOLD
    feedback = [*first, *take_feedback()]
    assert [(f.base, len(f.arrivals)) for f in feedback] == [(2, 3)]
    assert None not in feedback[0].arrivals


# -- The socket and its timer ----------------------------------------------------------------


async def test_the_forwarders_timer_runs_when_it_is_due(rig: Rig) -> None:
    rig.udp.open(asyncio.get_running_loop())
    sock, _ = publish(rig)
    sock.sendto(build_frame(1)[0], rig.sock.getsockname())
    while not rig.stats.rtcp_out:
        rig.clock.now += 0.1
        await asyncio.sleep(0)
    rig.udp.close()
    rig.udp.close()
    assert rig.sock.fileno() == -1


def test_a_report_leaves_with_packets_rather_than_by_a_timer_of_its_own(rig: Rig) -> None:
    sock, _ = publish(rig)
    # The key frame's answer, and the first reports.
    rig.send(sock, build_frame(1)[0])
    for _ in range(20):
        rig.clock.now += 0.1
        rig.forwarder.handle_timer(rig.clock.now)
    before = rig.stats.rtcp_out
    timer = rig.forwarder.get_timer()
    assert timer is not None
    rig.clock.now = timer - REPORT_GRACE
    rig.send(sock, build_frame(1, 2)[0])
    assert rig.stats.rtcp_out > before
    later = rig.forwarder.get_timer()
    assert later is not None
    assert later > timer


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", ""])
def test_a_socket_is_bound_to_the_host(host: str) -> None:
    try:
        sock = open_socket(host, 0)
    except OSError:
        pytest.skip(f"no {host} here")
    with sock:
        assert not sock.getblocking()
        assert sock.getsockname()[0] in (host or "::", "0.0.0.0")
        if host in ("", "::") and sock.family == socket.AF_INET6:
            assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_a_port_that_is_taken_raises() -> None:
    with open_socket("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        open_socket("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize(
    ("data", "username"),
    [
        (build_stun("abc:def"), "abc"),
        (build_stun("abc"), "abc"),
        (build_stun(None), None),
        (build_stun("abc:def", padding=3), "abc"),
        (bytes(20), None),
        (build_stun("abc:def")[:22], None),
        (build_stun("é:x"), "\ufffd\ufffd"),
        (bytes(20) + b"\x80\x22\xff\xff", None),
    ],
)
def test_a_username_is_found_or_not(data: bytes, username: str | None) -> None:
    assert get_stun_username_untrusted(data) == username
