"""What transports cost on which nothing happens: CPU of a worker with many, in percent of a core.

    python -m tests.bench.bench_idle --transports 1000 --seconds 20

A worker with its own timers and socket; each transport is one publisher's, in rooms of four, and
connected by fiat: keys are set directly, so no handshake is in it. "timers" is without a datagram,
"checks" with a STUN check every 2.5 s for each, as Chromium makes them, given by a loop of Python
("loop" is that alone) in place of the socket.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import socket
import time
from socket import AF_INET

import uvloop

from relay import control
from relay.config import Config
from relay.plane.addresses import pack_address
from relay.plane.udp import open_socket
from relay.process.worker import Worker
from relay.transport.ice import Address
from tests.support.media import PlainKeys
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_offer
from tests.unit.relay.transport.fakes import make_check

CHECK_INTERVAL = 2.5
"""Seconds between two checks of one transport."""


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Load:
    """A worker with transports, and the checks that their peers would make."""

    def __init__(self, count: int) -> None:
        self.worker = Worker(
            Config(port=0, hosts=("127.0.0.1",)), open_socket("127.0.0.1", 0), lambda message: None
        )
        for number in range(count):
            room, name = f"room{number // 4}", f"p_{number}"
            self.worker.receive(control.Join(room, name))
            self.worker.receive(control.Publish(room, name, number, make_offer(VIDEO, AUDIO)))
        self.transports = [t for r in self.worker.routers.values() for t in r.transports]
        self._numbers = itertools.count()
        # A port that nobody reads, at which each transport has an address of loopback.
        self._peers = socket.socket(AF_INET, socket.SOCK_DGRAM)
        self._peers.bind(("0.0.0.0", 0))
        self._port: int = self._peers.getsockname()[1]

    def connect(self) -> None:
        now = time.monotonic()
        for number, transport in enumerate(self.transports):
            transport.receive_stun(self._build_check(number), self._address(number), now)
            transport.leg.connect(PlainKeys(), PlainKeys())

    def _address(self, number: int) -> Address:
        return pack_address(f"127.0.{1 + number // 200}.{1 + number % 200}", self._port, AF_INET)

    def _build_check(self, number: int) -> bytes:
        local = self.transports[number].local
        identity = next(self._numbers).to_bytes(12, "big")
        return make_check(f"{local.ufrag}:them", local.pwd, nominate=True, transaction_id=identity)

    def prepare(self, seconds: float) -> list[tuple[float, int, bytes]]:
        """Checks with their times, made before anything is measured."""
        checks = []
        for number in range(len(self.transports)):
            start = number * CHECK_INTERVAL / len(self.transports)
            for step in range(int((seconds - start) / CHECK_INTERVAL) + 1):
                at = start + step * CHECK_INTERVAL
                checks.append((at, number, self._build_check(number)))
        return sorted(checks)


async def measure(count: int, seconds: float, checks: bool, answer: bool) -> float:
    load = Load(count)
    load.worker.open(asyncio.get_running_loop())
    load.connect()
    await asyncio.sleep(1.0)
    due = load.prepare(seconds) if checks else []
    began, cpu = time.monotonic(), cpu_seconds()
    for at, number, data in due:
        delay = began + at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        transport = load.transports[number]
        if answer:
            transport.receive_stun(data, load._address(number), time.monotonic())
    await asyncio.sleep(max(began + seconds - time.monotonic(), 0.0))
    used = (cpu_seconds() - cpu) / (time.monotonic() - began)
    await load.worker.close()
    load._peers.close()
    return 100 * used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transports", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    for name, checks, answer in (
        ("timers", False, False),
        ("timers and loop", True, False),
        ("timers, loop and checks", True, True),
    ):
        used = uvloop.run(measure(arguments.transports, arguments.seconds, checks, answer))
        print(f"{arguments.transports} transports, {name}: {used:.2f} % of a core", flush=True)


if __name__ == "__main__":
    main()
