"""Load for one signaling hub, from a process of its own: idle connections, then calls.

A call is 22 messages: the caller's offer (2.5 KB) and ten candidates (250 B), one each 10 ms; the
callee's answer when the offer arrives, and its ten candidates. Calls begin by a Poisson process,
the same for every hub, in all rooms in turn. Sockets are driven by one epoll loop with frames made
by hand, so that the load costs less than what it measures. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CANDIDATES = 10
PER_CALL = 2 + 2 * CANDIDATES
GAP = 0.01
OFFER_BYTES = 2500
CANDIDATE_BYTES = 200
# How long after the last send a message counts as lost. Seconds.
PATIENCE = 5.0

STAMP = b"~T~%016x%08x"
STAMP_SIZE = 24
MASK = 0x5AC3961E
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Peer:
    """One connection, the client's side."""

    __slots__ = ("id", "mate", "rest", "room", "sock")

    def __init__(self, room: str, id: str) -> None:
        self.room, self.id = room, id
        self.rest = b""
        self.mate: Peer
        self.sock: socket.socket


@dataclass
class Tally:
    """What one phase saw. Latencies are nanoseconds."""

    sent: int = 0
    latencies: list[int] = field(default_factory=list)
    others: int = 0  # acknowledgements and notices


def mask_frame(payload: bytes) -> bytes:
    """A text frame as a client sends it (RFC 6455, 5.3)."""
    size = len(payload)
    words = (size + 3) // 4
    key = int.from_bytes(MASK.to_bytes(4, "big") * words, "big")
    padded = int.from_bytes(payload.ljust(words * 4, b"\0"), "big")
    masked = (padded ^ key).to_bytes(words * 4, "big")[:size]
    if size < 126:
        return struct.pack("!BBI", 0x81, 0x80 | size, MASK) + masked
    return struct.pack("!BBHI", 0x81, 0xFE, size, MASK) + masked


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server in `data`, as opcode and payload, and what is left."""
    frames, at, end = [], 0, len(data)
    while end - at >= 2:
        size, head = data[at + 1], 2
        if size == 126:
            if end - at < 4:
                break
            size, head = data[at + 2] << 8 | data[at + 3], 4
        elif size == 127:
            if end - at < 10:
                break
            size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        if end - at < head + size:
            break
        frames.append((data[at] & 15, data[at + head : at + head + size]))
        at += head + size
    return frames, data[at:]


def make_sdp(kind: str) -> str:
    lines = [f"v=0 {kind}", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += [f"a=rtpmap:{n} VP8/90000\r\na=rtcp-fb:{n} nack pli" for n in range(96, 150)]
    return "\r\n".join(lines)[: OFFER_BYTES - 60] + "\r\n"


class Minimal:
    """The protocol of the reference hubs in `hubs/`."""

    def join(self, peer: Peer) -> bytes:
        return json.dumps({"type": "join", "room": peer.room, "id": peer.id}).encode()

    def joined(self, _peer: Peer, message: dict[str, Any], /) -> bool:
        return bool(message["type"] == "joined")

    def build(self, kind: str, peer: Peer, stamp: bytes) -> bytes:
        body = CANDIDATE if kind == "candidate" else SDPS[kind]
        to = peer.mate.id.encode()
        return b'{"type":"%b","to":"%b","payload":{"t":"%b","x":%b}}' % (
            kind.encode(), to, stamp, body,
        )  # fmt: skip


class Tandem:
    """Ours: each message has an id and is acknowledged."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def join(self, peer: Peer) -> bytes:
        return json.dumps({"type": "join", "id": "0", "room": peer.room, "name": "A"}).encode()

    def joined(self, peer: Peer, message: dict[str, Any], /) -> bool:
        if message["type"] != "joined":
            return False
        peer.id = message["participant"]
        return True

    def build(self, kind: str, peer: Peer, stamp: bytes) -> bytes:
        to = peer.mate.id.encode()
        if kind == "candidate":
            return b'{"type":"candidate","id":"%d","to":"%b","candidate":{"t":"%b",%b}' % (
                next(self._ids), to, stamp, CANDIDATE[1:],
            )  # fmt: skip
        return b'{"type":"%b","id":"%d","to":"%b","sdp":"%b%b}' % (
            kind.encode(), next(self._ids), to, stamp, SDPS[kind][1:],
        )  # fmt: skip


CANDIDATE = json.dumps(
    {
        "candidate": "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx".ljust(
            CANDIDATE_BYTES - 60, "0"
        ),
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    }
).encode()
SDPS = {kind: json.dumps(make_sdp(kind)).encode() for kind in ("offer", "answer")}
PROTOCOLS: dict[str, Callable[[], Minimal | Tandem]] = {"minimal": Minimal, "tandem": Tandem}


class Load:
    """All connections and the calls between them."""

    def __init__(self, port: int, protocol: Minimal | Tandem, connections: int) -> None:
        self.port = port
        self.protocol = protocol
        self.peers: list[Peer] = []
        self.by_fd: dict[int, Peer] = {}
        self.callers: dict[int, Peer] = {}  # by call
        self.epoll = select.epoll()
        self.due: list[tuple[float, int, str, Peer, int, int]] = []
        self.order = itertools.count()
        self.calls = itertools.count()
        self.turn = 0
        self.tally = Tally()
        for n in range(connections // 2):
            pair = Peer(f"r{n}", "a"), Peer(f"r{n}", "b")
            pair[0].mate, pair[1].mate = pair[1], pair[0]
            self.peers += pair

    def connect(self) -> None:
        for peer in self.peers:
            peer.sock = socket.create_connection(("127.0.0.1", self.port), 30)
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sock.sendall(HANDSHAKE.format(self.port).encode())
            while b"\r\n\r\n" not in peer.rest:
                peer.rest += peer.sock.recv(4096)
            head, _, peer.rest = peer.rest.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"handshake: {head[:80]!r}")
            peer.sock.sendall(mask_frame(self.protocol.join(peer)))
            self._wait_joined(peer)
            peer.sock.setblocking(False)
            self.by_fd[peer.sock.fileno()] = peer
            self.epoll.register(peer.sock.fileno(), select.EPOLLIN)

    def _wait_joined(self, peer: Peer) -> None:
        while True:
            frames, peer.rest = split_frames(peer.rest)
            if any(self.protocol.joined(peer, json.loads(text)) for op, text in frames if op == 1):
                return
            peer.rest += peer.sock.recv(4096)

    def rest(self, seconds: float) -> None:
        self._loop(lambda: False, time.perf_counter() + seconds)

    def run(self, rate: float, seconds: float) -> Tally:
        """Have `rate` calls a second begin for `seconds`, and wait for what they send."""
        self.tally = tally = Tally()
        count = int(rate * seconds)
        at = time.perf_counter() + 0.01
        chance = random.Random(1)
        for _ in range(count):
            caller = self.peers[self.turn]
            self.turn = (self.turn + 2) % len(self.peers)
            self._plan(at, "offer", caller, next(self.calls), 0)
            at += chance.expovariate(rate)
        wanted = count * PER_CALL
        patience = GAP * CANDIDATES + PATIENCE
        self._loop(lambda: len(tally.latencies) >= wanted, at + patience)
        return tally

    def _plan(self, at: float, kind: str, peer: Peer, call: int, left: int) -> None:
        heapq.heappush(self.due, (at, next(self.order), kind, peer, call, left))

    def _loop(self, done: Callable[[], bool], until: float) -> None:
        poll, clock = self.epoll.poll, time.perf_counter
        while not done():
            now = clock()
            if now >= until:
                return
            while self.due and self.due[0][0] <= now:
                at, _, kind, peer, call, left = heapq.heappop(self.due)
                self._send(kind, peer, call)
                if kind == "offer":
                    self.callers[call] = peer
                    self._plan(at + GAP, "candidate", peer, call, CANDIDATES)
                elif left > 1:
                    self._plan(at + GAP, "candidate", peer, call, left - 1)
            wait = min(self.due[0][0], until) - clock() if self.due else 0.005
            # epoll counts in milliseconds, in which messages would go out in bunches.
            if select.select([self.epoll], [], [], max(0.0, min(wait, 0.005)))[0]:
                for fd, _ in poll(0):
                    self._receive(self.by_fd[fd])

    def _send(self, kind: str, peer: Peer, call: int) -> None:
        stamp = STAMP % (time.perf_counter_ns(), call)
        self.tally.sent += 1
        peer.sock.send(mask_frame(self.protocol.build(kind, peer, stamp)))

    def _receive(self, peer: Peer) -> None:
        data = peer.sock.recv(65536)
        now = time.perf_counter_ns()
        if not data:
            raise SystemExit("the hub closed a connection")
        frames, peer.rest = split_frames(peer.rest + data if peer.rest else data)
        for op, text in frames:
            if op == 9:
                peer.sock.send(struct.pack("!BBI", 0x8A, 0x80, MASK))
            at = text.find(b"~T~")
            if op != 1 or at < 0:
                self.tally.others += 1
                continue
            self.tally.latencies.append(now - int(text[at + 3 : at + 19], 16))
            call = int(text[at + 19 : at + 27], 16)
            if b'"offer"' in text[:64]:
                self._send("answer", peer, call)
                self._plan(time.perf_counter() + GAP, "candidate", peer, call, CANDIDATES)


def read_cpu(pid: int) -> float:
    """Seconds of CPU of all threads of a process, by its CPU clock, which counts nanoseconds."""
    return time.clock_gettime(~pid << 3 | 2)


def read_rss(pid: int) -> int:
    """Resident memory, KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def read_busy() -> float:
    """Seconds of CPU that the whole machine has spent."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[int], q: float) -> float:
    """Milliseconds."""
    return sorted(values)[int(q * (len(values) - 1))] / 1e6 if values else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="of the hub")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--calls", type=float, default=400, help="a second")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()

    load = Load(options.port, PROTOCOLS[options.protocol](), options.connections)
    empty = read_rss(options.pid)
    began = time.perf_counter()
    load.connect()
    connecting = time.perf_counter() - began
    load.rest(2)
    idle = read_rss(options.pid)
    load.run(options.calls, 1)  # warm up
    clock, cpu, own, busy = (
        time.perf_counter(), read_cpu(options.pid), time.process_time(), read_busy(),
    )  # fmt: skip
    tally = load.run(options.calls, options.seconds)
    took = time.perf_counter() - clock
    cpu, own = read_cpu(options.pid) - cpu, time.process_time() - own
    expected = int(options.calls * options.seconds) * PER_CALL
    json.dump(
        {
            "connections": options.connections,
            "connect_seconds": connecting,
            "kib_per_connection": (idle - empty) / options.connections,
            "messages": len(tally.latencies),
            "acknowledged": tally.others,
            "lost": expected - len(tally.latencies),
            "messages_per_second": len(tally.latencies) / took,
            "cpu_us_per_message": cpu / max(1, len(tally.latencies)) * 1e6,
            "p50_ms": quantile(tally.latencies, 0.5),
            "p99_ms": quantile(tally.latencies, 0.99),
            "max_ms": quantile(tally.latencies, 1),
            "load_core": own / took,
            "others_core": (read_busy() - busy - cpu - own) / took,
        },
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
