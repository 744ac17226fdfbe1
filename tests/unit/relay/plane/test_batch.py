"""Both ways to move datagrams in batches, by the same tests."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from relay.plane import batch
from relay.plane.addresses import pack_address, unpack_address
from relay.plane.arena import (
    HEADROOM,
    MAX_DATAGRAM,
    ROW,
    Arena,
    Destination,
    Destinations,
    Outbox,
    runs_of,
)
from relay.plane.inbox import Inbox, MmsgInbox, PortableInbox
from relay.plane.outbox import MmsgOutbox, PortableOutbox, _split
from relay.plane.udp import open_socket
from relay.stats import DropReason, Stats
from relay.transport.ice import Address

WAYS = [
    pytest.param(
        (MmsgInbox, MmsgOutbox),
        id="mmsg",
        marks=pytest.mark.skipif(not batch.available(), reason="needs recvmmsg"),
    ),
    pytest.param((PortableInbox, PortableOutbox), id="portable"),
]
HOSTS = ["127.0.0.1", "::1", ""]


def make_socket(host: str) -> socket.socket:
    try:
        return open_socket(host, 0)
    except OSError:
        pytest.skip(f"no {host} here")


def get_address(sock: socket.socket, family: int) -> Address:
    host, port = sock.getsockname()[:2]
    if host == "::":
        host = "127.0.0.1"
    return pack_address(host, port, family)


def wait_readable(sock: socket.socket) -> None:
    assert select.select([sock], [], [], 30)[0]


def read_all(sock: socket.socket, count: int) -> list[bytes]:
    out: list[bytes] = []
    while len(out) < count:
        wait_readable(sock)
        out.append(sock.recv(ROW))
    assert not select.select([sock], [], [], 0)[0]
    return out


def read_inbox(inbox: Inbox, sock: socket.socket, count: int) -> list[tuple[bytes, Address]]:
    out: list[tuple[bytes, Address]] = []
    while len(out) < count:
        wait_readable(sock)
        for index in range(inbox.receive()):
            start = inbox.rows[index] * ROW + HEADROOM
            data = bytes(inbox.arena.view[start : start + inbox.sizes[index]])
            out.append((data, inbox.address(index)))
    return out


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=HOSTS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, and a peer that can reach it over IPv4 where ours is dual-stack."""
    ours = make_socket(request.param)
    peer = make_socket(request.param or "127.0.0.1")
    yield ours, peer
    ours.close()
    peer.close()


@pytest.fixture
def ours() -> Iterator[socket.socket]:
    with make_socket("127.0.0.1") as sock:
        yield sock


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    socks = [make_socket("127.0.0.1") for _ in range(3)]
    yield socks
    for sock in socks:
        sock.close()


def make_destinations(*addresses: Address) -> Destinations:
    items = []
    for address in addresses:
        destination = Destination()
        destination.set(address)
        items.append(destination)
    return Destinations(items)


def put(arena: Arena, row: int, data: bytes) -> None:
    arena.view[row * ROW : row * ROW + len(data)] = data
    arena.length_pointers[row][0] = len(data)


def test_what_was_sent_is_read_with_the_address_it_came_from(
    way: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, peer = pair
    inbox: Inbox = way[0](ours, rows=4)
    target = ours.getsockname()[:2]
    if target[0] == "::":
        target = ("127.0.0.1", target[1])
    sent = [bytes((number,)) * (100 + number) for number in range(10)]
    for data in sent:
        peer.sendto(data, target)
    got = read_inbox(inbox, ours, len(sent))
    assert [data for data, _ in got] == sent
    assert {address for _, address in got} == {get_address(peer, ours.family)}
    assert unpack_address(got[0][1]) == peer.getsockname()[:2]
    assert inbox.receive() == 0


def test_what_was_read_can_be_answered(way: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    outbox: Outbox = way[1](ours, Stats(), rows=4)
    row = outbox.reserve(1)
    put(outbox.arena, row, b"answer")
    outbox.commit(row, make_destinations(get_address(peer, ours.family)), [1])
    outbox.send()
    assert read_all(peer, 1) == [b"answer"]


def test_a_datagram_that_does_not_fit_is_told_by_its_size(
    way: Any, ours: socket.socket, peers: list[socket.socket]
) -> None:
    inbox: Inbox = way[0](ours)
    peers[0].sendto(bytes(ROW + 500), ours.getsockname())
    peers[0].sendto(b"next", ours.getsockname())
    assert [len(data) for data, _ in read_inbox(inbox, ours, 2)] == [MAX_DATAGRAM, 4]


def test_a_kept_row_is_not_written_to_until_it_is_free(
    way: Any, ours: socket.socket, peers: list[socket.socket]
) -> None:
    inbox: Inbox = way[0](ours, rows=1, spare=1)
    peers[0].sendto(b"first", ours.getsockname())
    wait_readable(ours)
    assert inbox.receive() == 1
    kept = inbox.rows[0]
    assert inbox.keep(0)
    for data in (b"second", b"third"):
        peers[0].sendto(data, ours.getsockname())
        assert read_inbox(inbox, ours, 1)[0][0] == data
        assert not inbox.keep(0)
        start = kept * ROW + HEADROOM
        assert bytes(inbox.arena.view[start : start + 5]) == b"first"
    inbox.free(kept)
    assert inbox.keep(0)
    assert inbox.rows == [kept]


@pytest.mark.parametrize("segment", [True, False])
@pytest.mark.parametrize("sizes", [[900], [900, 900, 900, 40], [900, 41, 40, 900, 900], [7] * 20])
def test_each_destination_gets_its_packets_in_order(
    way: Any,
    ours: socket.socket,
    peers: list[socket.socket],
    sizes: list[int],
    segment: bool,
) -> None:
    stats = Stats()
    outbox: Outbox = way[1](ours, stats, rows=64)
    if isinstance(outbox, MmsgOutbox):
        outbox._segment = segment and outbox._segment
    first = outbox.reserve(3 * len(sizes))
    expected: list[list[bytes]] = []
    for k in range(3):
        packets = [bytes((k, p)) * (size // 2) + b"." for p, size in enumerate(sizes)]
        for p, data in enumerate(packets):
            put(outbox.arena, first + k * len(sizes) + p, data)
        expected.append(packets)
    destinations = make_destinations(*(get_address(peer, ours.family) for peer in peers))
    outbox.commit(first, destinations, runs_of([len(data) for data in expected[0]]))
    single = outbox.reserve(1)
    put(outbox.arena, single, b"single")
    outbox.commit(single, make_destinations(get_address(peers[1], ours.family)), [1])
    outbox.send()
    expected[1].append(b"single")
    for peer, packets in zip(peers, expected, strict=True):
        assert read_all(peer, len(packets)) == packets
    assert stats.packets_out == 3 * len(sizes) + 1
    assert stats.bytes_out == sum(len(data) for packets in expected for data in packets)


def test_what_was_composed_before_serves_other_packets_and_addresses(
    way: Any, ours: socket.socket, peers: list[socket.socket]
) -> None:
    stats = Stats()
    outbox: Outbox = way[1](ours, stats, rows=64)
    destinations = make_destinations(*(get_address(peer, ours.family) for peer in peers))
    arrived: list[list[bytes]] = [[], [], []]
    expected: list[list[bytes]] = [[], [], []]
    rounds = [[900, 900, 40], [30, 30, 30], [8], [900, 40, 50, 50], [900, 900, 900], [9]]
    for turn, sizes in enumerate(rounds):
        first = outbox.reserve(3 * len(sizes))
        for k in range(3):
            for p, size in enumerate(sizes):
                data = bytes((turn, k, p)) + b"." * size
                put(outbox.arena, first + k * len(sizes) + p, data)
                # From the fourth turn on, the first two have changed places.
                expected[(1, 0, 2)[k] if turn >= 3 else k].append(data)
        outbox.commit(first, destinations, runs_of(sizes))
        outbox.send()
        for k, peer in enumerate(peers):
            arrived[k] += read_all(peer, len(sizes))
        if turn == 2:
            addresses = [get_address(peer, ours.family) for peer in peers]
            destinations.items[0].set(addresses[1])
            destinations.items[1].set(addresses[0])
    assert arrived == expected
    assert stats.packets_out == sum(map(len, expected))


def test_a_full_outbox_sends_what_it_has(
    way: Any, ours: socket.socket, peers: list[socket.socket]
) -> None:
    outbox: Outbox = way[1](ours, Stats(), rows=2)
    target = make_destinations(get_address(peers[0], ours.family))
    for number in range(5):
        row = outbox.reserve(1)
        put(outbox.arena, row, bytes((number,)))
        outbox.commit(row, target, [1])
    outbox.send()
    assert read_all(peers[0], 5) == [bytes((number,)) for number in range(5)]


def test_a_destination_that_cannot_be_reached_costs_the_others_nothing(
    way: Any, ours: socket.socket, peers: list[socket.socket]
) -> None:
    stats = Stats()
    outbox: Outbox = way[1](ours, stats)
    bad = pack_address("127.0.0.1", 0, ours.family)  # nobody can be sent to port 0
    good = [get_address(peer, ours.family) for peer in peers[:2]]
    first = outbox.reserve(6)
    for row in range(first, first + 6):
        put(outbox.arena, row, bytes((row,)) * 50)
    outbox.commit(first, make_destinations(good[0], bad, good[1]), [2])
    outbox.send()
    assert read_all(peers[0], 2) == [bytes((row,)) * 50 for row in (0, 1)]
    assert read_all(peers[1], 2) == [bytes((row,)) * 50 for row in (4, 5)]
    assert stats.drops[DropReason.SEND_FAILED] == 2
    assert stats.packets_out == 4


class FullSocket:
    """libc whose socket takes `room` messages and is full then."""

    def __init__(self, room: int) -> None:
        self.room = room

    def sendmmsg(self, _fd: int, _messages: Any, count: int, _flags: int) -> int:
        if not self.room:
            batch.ffi.errno = errno.EAGAIN
            return -1
        sent, self.room = min(self.room, count), 0
        return sent


@pytest.mark.skipif(not batch.available(), reason="needs sendmmsg")
@pytest.mark.parametrize("segment", [True, False])
def test_what_a_full_socket_does_not_take_is_dropped_and_counted(
    ours: socket.socket, peers: list[socket.socket], segment: bool
) -> None:
    stats = Stats()
    outbox = MmsgOutbox(ours, stats, segment=segment)
    outbox._libc = FullSocket(room=1)
    first = outbox.reserve(6)
    for row in range(first, first + 6):
        put(outbox.arena, row, b"packet")
    targets = (get_address(peer, ours.family) for peer in peers)
    outbox.commit(first, make_destinations(*targets), [2])
    outbox.send()
    sent = 2 if segment else 1
    assert stats.drops[DropReason.SOCKET_FULL] == 6 - sent
    assert stats.packets_out == sent
    assert outbox.reserve(1) == 0, "nothing is left to be sent later"


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([9], [1]),
        ([9, 9, 9], [3]),
        ([9, 9, 4], [3]),
        ([9, 9, 4, 9], [3, 1]),
        ([9, 4, 4], [2, 1]),
        ([4, 9, 9], [1, 2]),
    ],
)
def test_equal_sizes_make_a_run_that_a_shorter_one_may_end(
    sizes: list[int], runs: list[int]
) -> None:
    assert runs_of(sizes) == runs


def test_a_run_is_no_longer_than_one_send_takes() -> None:
    assert _split([100], 1200) == [54, 46]
    assert _split([100, 3], 100) == [64, 36, 3]
    assert _split([2, 3], 1200) == [2, 3]


def test_the_kernels_structures_are_laid_out_as_declared() -> None:
    ffi: Any = batch.ffi
    assert ffi.sizeof("struct mmsghdr") == batch.MMSGHDR.itemsize
    fields: Any = batch.MMSGHDR.fields
    for ours, theirs in (
        ("name", "msg_name"),
        ("namelen", "msg_namelen"),
        ("iov", "msg_iov"),
        ("iovlen", "msg_iovlen"),
        ("control", "msg_control"),
        ("controllen", "msg_controllen"),
    ):
        assert fields[ours][1] == ffi.offsetof("struct mmsghdr", "msg_hdr", theirs)
    assert fields["len"][1] == ffi.offsetof("struct mmsghdr", "msg_len")
