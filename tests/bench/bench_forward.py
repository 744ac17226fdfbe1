"""What it costs to forward a packet: process CPU per packet sent, and latency added.

    python -m tests.bench.bench_forward --subs 1,10,100 --seconds 8
    python -m tests.bench.bench_forward --subs 10 --load 70 --media-relay 2

A server with the relay's own socket, forwarder and SRTP on one core, its load
(`forward_load`) in another process on the other. Publishers send 640x360 VP8 at 1.2 Mbit/s and
Opus; keys are set directly, so no handshake is in it. Beside it, in the same process, the plain
bound: the same crypto and one `sendto` per packet, called through cffi, in a loop and ("paced")
with the pauses that one publisher's packets have.
`--load` adds publishers until that share of the core is used: how late are packets then?
`--media-relay` measures aiortc's MediaRelay, which decodes and encodes, in processes of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import cffi
import uvloop

from relay.plane.addresses import pack_address
from relay.plane.arena import ROW, Arena
from relay.plane.forwarder import Forwarder
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack, UpTrack
from relay.plane.udp import Udp, open_socket
from relay.rtp.packet import HEADER_SIZE
from relay.sdp.capabilities import OPUS, VP8
from relay.sdp.negotiation import PublishedCodec, PublishedMedia
from relay.stats import DropReason, Stats
from relay.transport import srtp
from relay.transport.ice import Address
from relay.transport.srtp import Srtp
from tests.bench.forward_load import make_key, make_schedule

RAMP_START = 4
"""Publishers that a ramp begins with."""

RAMP_STEPS = 6
RAMP_CLOSE = 5.0
"""Percent of a core that are near enough."""

BOUND_PACKETS = 40_000
BOUND_SIZE = 900
BOUND_SECONDS = 4.0


@dataclass
class Peer:
    """An `Endpoint` whose handshake has been done by fiat."""

    leg: Leg

    def receive_stun(self, data: bytes, address: Address, now: float) -> None: ...
    def receive_dtls(self, data: bytes) -> None: ...


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def publish(leg: Leg, index: int) -> list[UpTrack]:
    video = PublishedMedia(
        "0", "video", True, (PublishedCodec(96, None, VP8),), ssrcs=(0x1000 + index,)
    )
    audio = PublishedMedia(
        "1", "audio", True, (PublishedCodec(111, None, OPUS),), ssrcs=(0x2000 + index,)
    )
    tracks = [UpTrack(f"v{index}", video), UpTrack(f"a{index}", audio)]
    for track in tracks:
        leg.add_up(track)
    return tracks


def set_up(udp: Udp, forwarder: Forwarder, arguments: argparse.Namespace, ports: list[int]) -> None:
    tracks: list[UpTrack] = []
    names = [f"pub{i}" for i in range(arguments.pubs)] + [f"sub{i}" for i in range(arguments.count)]
    for name, port in zip(names, ports, strict=True):
        leg = forwarder.open_leg(name)
        key = make_key(arguments.profile, name)
        leg.connect(
            Srtp.from_key(arguments.profile, key, inbound=True),
            Srtp.from_key(arguments.profile, key, inbound=False),
        )
        address = pack_address("127.0.0.1", port, udp.socket.family)
        leg.set_address(address)
        udp.latch(address, Peer(leg))
        if name.startswith("pub"):
            tracks += publish(leg, int(name[3:]))
            continue
        for number, track in enumerate(tracks):
            down = DownTrack(leg, track.kind, 0x5000 + number, None, sequence=1, timestamp=1)
            leg.add_down(down)
            down.attach(track, {96: 96, 111: 111}, 0.0, extensions=arguments.extensions)


class Bound:
    """The least a packet can cost here: encrypted and sent by one `sendto`, through cffi, from a
    socket of its own to `subs` others that nobody reads. Nothing is received or looked at."""

    def __init__(self, profile: str, subs: int) -> None:
        ffi = cffi.FFI()
        ffi.cdef("ssize_t sendto(int, void *, size_t, int, void *, unsigned int);")
        self._libc: Any = ffi.dlopen(None)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(subs)]
        sock = open_socket("127.0.0.1", 0)
        self._fd = sock.fileno()
        self._arena = Arena(subs)
        self._keys = [
            Srtp.from_key(profile, make_key(profile, f"bound{i}"), inbound=False)
            for i in range(subs)
        ]
        names = []
        for receiver in self._sockets:
            receiver.bind(("127.0.0.1", 0))
            port = receiver.getsockname()[1]
            names.append(ffi.new("char[]", pack_address("127.0.0.1", port, sock.family)))
        self._sockets.append(sock)
        head = bytes((0x80, 96)) + bytes(HEADER_SIZE - 2)
        for row in range(subs):
            self._arena.view[row * ROW : row * ROW + HEADER_SIZE] = head
        self._rows = list(
            zip(
                range(subs),
                self._keys,
                self._arena.pointers,
                self._arena.length_pointers,
                names,
                strict=True,
            )
        )

    def send(self, number: int, size: int) -> None:
        """A packet of `size` bytes to each."""
        view, fd, protect, sendto = self._arena.view, self._fd, srtp.protect, self._libc.sendto
        for row, key, pointer, length, name in self._rows:
            start = row * ROW
            view[start + 2] = number >> 8 & 0xFF
            view[start + 3] = number & 0xFF
            length[0] = size
            protect(key.context, pointer, length)
            sendto(fd, pointer, length[0], 0, name, 16)

    def close(self) -> None:
        for used in self._sockets:
            used.close()


def measure_bound(profile: str, subs: int) -> tuple[float, float]:
    """CPU µs per packet of a `Bound`: in a loop without a pause, and at the pace of one publisher
    of the load, whose packets each find the caches cold."""
    bound = Bound(profile, subs)
    rounds = BOUND_PACKETS // subs
    began = cpu_seconds()
    for number in range(rounds):
        bound.send(number, BOUND_SIZE)
    hot = (cpu_seconds() - began) / (rounds * subs)
    schedule = sorted(make_schedule(0, BOUND_SECONDS, False))
    began, start = cpu_seconds(), time.monotonic()
    for number, due in enumerate(schedule):
        delay = start + due.at - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        bound.send(rounds + number, len(due.packet))
    paced = (cpu_seconds() - began) / (len(schedule) * subs)
    bound.close()
    return hot * 1e6, paced * 1e6


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """One measurement with `arguments.count` subscribers."""
    stats = Stats()
    forwarder = Forwarder(stats=stats)
    udp = Udp(
        open_socket("127.0.0.1", 0),
        forwarder,
        stats=stats,
        clock=time.monotonic,
        portable=arguments.portable,
    )
    command = ["taskset", "-c", "1", sys.executable, "-m", "tests.bench.forward_load"]
    command += ["--port", str(udp.socket.getsockname()[1]), "--pubs", str(arguments.pubs)]
    command += ["--subs", str(arguments.count), "--seconds", str(arguments.seconds)]
    command += ["--profile", arguments.profile] + ["--burst"] * arguments.burst
    load = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert load.stdin is not None
    assert load.stdout is not None
    ports = json.loads(await load.stdout.readline())["ports"]
    set_up(udp, forwarder, arguments, ports)
    udp.open(asyncio.get_running_loop())
    load.stdin.write(b"go\n")
    json.loads(await load.stdout.readline())
    before, cpu, began = stats.packets_out - stats.rtcp_out, cpu_seconds(), time.monotonic()
    load.stdin.write(b"go\n")
    line = await load.stdout.readline()
    cpu, elapsed = cpu_seconds() - cpu, time.monotonic() - began
    result: dict[str, Any] = json.loads(line)
    await load.wait()
    udp.close()
    packets = stats.packets_out - stats.rtcp_out - before
    expected = result["sent"] * arguments.count
    drops = {str(reason): count for reason, count in stats.drops.items() if count}
    lost = DropReason.SOCKET_FULL in stats.drops and stats.drops[DropReason.SOCKET_FULL]
    return {
        "pubs": arguments.pubs,
        "subs": arguments.count,
        "us": cpu / max(packets, 1) * 1e6,
        "load": cpu / elapsed * 100,
        "sent%": packets / max(expected, 1) * 100,
        "got%": result["received"] / max(expected, 1) * 100,
        "full": lost,
        "p50": result["p50"] * 1e3,
        "p99": result["p99"] * 1e3,
        "worst": result["worst"] * 1e3,
        "frame_p50": result["frame_p50"] * 1e3,
        "frame_p99": result["frame_p99"] * 1e3,
        "changed": result["changed"],
        "drops": drops,
    }


def show(row: dict[str, Any], bound: tuple[float, float]) -> None:
    print(
        f"{row['pubs']:6} {row['subs']:6} {row['us']:10.1f} {bound[0]:6.1f} {bound[1]:6.1f} "
        f"{row['load']:6.1f} "
        f"{row['sent%']:7.2f} {row['got%']:7.2f} {row['p50']:8.2f} {row['p99']:7.2f} "
        f"{row['worst']:6.1f} {row['frame_p50']:10.2f} {row['frame_p99']:10.2f} "
        f"{row['changed']:8} {row['drops'] or ''}",
        flush=True,
    )


def ramp(arguments: argparse.Namespace, bound: tuple[float, float]) -> None:
    """Add publishers, as many as the last measurement says are missing, up to `--load`."""
    arguments.pubs = RAMP_START
    for _ in range(RAMP_STEPS):
        row = uvloop.run(run(arguments))
        show(row, bound)
        if row["load"] >= arguments.load - RAMP_CLOSE:
            return
        missing = arguments.load / max(row["load"], 1.0)
        arguments.pubs = max(arguments.pubs + 1, int(arguments.pubs * min(missing, 4.0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subs", default="1,10,100")
    parser.add_argument("--pubs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--profile", default="aes128-cm-sha1-80", choices=sorted(srtp.PROFILES))
    parser.add_argument("--load", type=float, help="percent of the core to reach")
    parser.add_argument("--media-relay", type=int, help="subscribers of aiortc's MediaRelay")
    parser.add_argument("--burst", action="store_true", help="frames at once, as Chromium sends")
    parser.add_argument("--extensions", action="store_true")
    parser.add_argument("--portable", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {0})
    print(
        "  pubs   subs  µs/packet  bound  paced  core%   sent%    got%   p50 ms  p99 ms  worst"
        "  frame p50  frame p99  changed"
    )
    for _ in range(arguments.rounds):
        for subs in arguments.subs.split(","):
            arguments.count = int(subs)
            bound = measure_bound(arguments.profile, min(arguments.count, 100))
            if arguments.load is not None:
                ramp(arguments, bound)
            else:
                show(uvloop.run(run(arguments)), bound)
    if arguments.media_relay is not None:
        command = ["--subs", str(arguments.media_relay), "--seconds", str(arguments.seconds)]
        subprocess.run([sys.executable, "-m", "tests.bench.media_relay", *command], check=True)


if __name__ == "__main__":
    main()
