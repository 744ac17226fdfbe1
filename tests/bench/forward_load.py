"""The load of `bench_forward`: one or more publishers and K subscribers on sockets of their own.

Receiving is kept cheap, so that it does not disturb: sockets are drained every 10 ms, packets
counted by their headers, and only the first subscriber decrypts, to prove that what arrives is
what was sent and to learn how long it took, by the kernel's own time of arrival.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pylibsrtp import Session

from relay.transport.srtp import Srtp
from tests.support.media import build_rtp, build_vp8

FRAME_RATE = 30
BITRATE = 1_200_000
KEY_FRAME_EVERY = 60  # frames
PAYLOAD = 1100
PACE = 2.5
"""How many times the mean rate a frame's packets are sent at, as libwebrtc's pacer does."""
OPUS_INTERVAL = 0.02
DRAIN_EVERY = 0.01
STAMP = struct.Struct("!Id")
SO_TIMESTAMPNS = 35
PROFILE_KEYS = {"aead-aes-128-gcm": 28, "aead-aes-256-gcm": 44, "aes128-cm-sha1-80": 30}


def make_key(profile: str, name: str) -> bytes:
    """The master key and salt of one direction: no secret, the same on both sides."""
    return random.Random(name).randbytes(PROFILE_KEYS[profile])


def get_session(profile: str, name: str, *, inbound: bool) -> Session:
    return Srtp.from_key(profile, make_key(profile, name), inbound=inbound)._session


@dataclass(order=True)
class Due:
    at: float
    publisher: int = field(compare=False)
    packet: bytes = field(compare=False)


def make_schedule(publisher: int, seconds: float, burst: bool) -> list[Due]:
    """A publisher's packets with their times: VP8 in frames, and Opus. Payloads end in zeros
    where a stamp goes."""
    out: list[Due] = []
    chance = random.Random(publisher)
    video_ssrc, audio_ssrc = 0x1000 + publisher, 0x2000 + publisher
    spacing = 0.00008 if burst else PAYLOAD * 8 / (PACE * BITRATE)
    mean = BITRATE / 8 / FRAME_RATE
    sequence = 1
    phase = chance.random() / FRAME_RATE
    # Nobody's key frames wait for another's: together they would be a load of their own.
    shift = chance.randrange(KEY_FRAME_EVERY)
    for frame in range(int(seconds * FRAME_RATE)):
        key = frame == 0 or (frame + shift) % KEY_FRAME_EVERY == 0
        size = int(mean * (5 if key else chance.uniform(0.7, 1.16)))
        at = phase + frame / FRAME_RATE
        sizes = [PAYLOAD] * (size // PAYLOAD) + [max(64, size % PAYLOAD)]
        for index, length in enumerate(sizes):
            payload = build_vp8(
                frame, key_frame=key, first=index == 0, data=bytes(length - 5 + (index > 0))
            )
            packet = build_rtp(
                payload_type=96,
                sequence=sequence,
                timestamp=frame * 3000,
                ssrc=video_ssrc,
                payload=payload,
                marker=index == len(sizes) - 1,
            )
            out.append(Due(at + index * spacing, publisher, packet))
            sequence += 1
    for index in range(int(seconds / OPUS_INTERVAL)):
        packet = build_rtp(
            payload_type=111,
            sequence=index + 1,
            timestamp=index * 960,
            ssrc=audio_ssrc,
            payload=bytes(chance.randrange(60, 110)),
        )
        out.append(Due(phase + index * OPUS_INTERVAL, publisher, packet))
    return out


class Load:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.profile: str = arguments.profile
        self.server = ("127.0.0.1", int(arguments.port))
        self.pubs: list[socket.socket] = [make_socket() for _ in range(arguments.pubs)]
        self.subs: list[socket.socket] = [make_socket() for _ in range(arguments.subs)]
        self.subs[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.tx = [
            get_session(self.profile, f"pub{index}", inbound=False)
            for index in range(arguments.pubs)
        ]
        self.rx = get_session(self.profile, "sub0", inbound=True)
        self.sent = self.received = self.verified = self.changed = self.decrypted = 0
        self.latencies: list[float] = []
        self.frame_latencies: list[float] = []
        """Of frames' last packets, before which a player can show nothing."""
        self.gaps: dict[int, int] = {}
        self.poll = select.epoll()
        self.by_fd = {sock.fileno(): sock for sock in self.subs[1:]}
        for fd in self.by_fd:
            self.poll.register(fd, select.EPOLLIN)
        self.memory = bytearray(2048)
        self.sent_payloads: dict[int, bytes] = {}

    def publish(self, due: Due) -> None:
        """Stamp a packet with its number and time, and send it."""
        self.sent += 1
        stamp = STAMP.pack(self.sent & 0xFFFFFFFF, time.time())
        packet = due.packet[: -STAMP.size] + stamp
        self.pubs[due.publisher].sendto(self.tx[due.publisher].protect(packet), self.server)
        self.sent_payloads[self.sent] = packet[12:]
        self.sent_payloads.pop(self.sent - 5000, None)

    def drain(self) -> None:
        for fd, _ in self.poll.poll(0, len(self.by_fd) or 1):
            sock = self.by_fd[fd]
            while True:
                try:
                    size = sock.recv_into(self.memory)
                except BlockingIOError:
                    break
                self.received += not 64 <= self.memory[1] & 0x7F <= 95 and size > 12
        while True:
            try:
                data, ancillary, _, _ = self.subs[0].recvmsg(2048, 64)
            except BlockingIOError:
                return
            if 64 <= data[1] & 0x7F <= 95:
                continue
            self.received += 1
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            self.verify(self.rx.unprotect(data), seconds + nanoseconds / 1e9)

    def verify(self, packet: bytes, arrived: float) -> None:
        self.decrypted += 1
        number, sent = STAMP.unpack(packet[-STAMP.size :])
        self.latencies.append(arrived - sent)
        if packet[1] == 0x80 | 96:
            self.frame_latencies.append(arrived - sent)
        if self.sent_payloads.get(number) == packet[12:]:
            self.verified += 1
        else:
            self.changed += 1

    def forget(self) -> None:
        """Start counting: the warm-up is over."""
        self.drain()
        self.sent = self.received = self.verified = self.changed = self.decrypted = 0
        self.latencies.clear()
        self.frame_latencies.clear()


def make_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def play(load: Load, schedule: Iterator[Due], start: float, until: float) -> None:
    """Send what is due until `until`, draining in between."""
    drained = 0.0
    for due in schedule:
        while True:
            now = time.monotonic()
            if now - drained >= DRAIN_EVERY:
                load.drain()
                drained = now
            wait = start + due.at - now
            if wait <= 0:
                break
            time.sleep(min(wait, DRAIN_EVERY))
        load.publish(due)
        if start + due.at >= until:
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in (("port", int), ("pubs", int), ("subs", int), ("seconds", float)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--burst", action="store_true")
    arguments = parser.parse_args()
    load = Load(arguments)
    warm_up = 2.5
    total = arguments.seconds + warm_up + 1
    schedule = iter(
        sorted(
            due
            for publisher in range(arguments.pubs)
            for due in make_schedule(publisher, total, arguments.burst)
        )
    )
    ports = [sock.getsockname()[1] for sock in load.pubs + load.subs]
    print(json.dumps({"ports": ports}), flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    play(load, schedule, start, start + warm_up)
    load.forget()
    print(json.dumps({"begin": True}), flush=True)
    sys.stdin.readline()
    play(load, schedule, start, time.monotonic() + arguments.seconds)
    time.sleep(0.05)
    load.drain()
    latencies = sorted(load.latencies) or [0.0]
    frames = sorted(load.frame_latencies) or [0.0]
    result = {
        "sent": load.sent,
        "received": load.received,
        "verified": load.verified,
        "changed": load.changed,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99)],
        "worst": latencies[-1],
        "frame_p50": frames[len(frames) // 2],
        "frame_p99": frames[int(len(frames) * 0.99)],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
