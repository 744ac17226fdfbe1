"""What hostile datagrams cost a call: watched from beside it, in frames a second.

    python -m tests.bench.bench_attack --datagrams 10000000 --workers 2

Floods of STUN, DTLS hellos, RTP and noise come from strangers to the ports of all workers, as fast
as one core can, while a call goes on through each worker. Shown are the frames of picture (ten are
sent) and of sound (fifty) that the callers got in each second: least and median.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import re
import socket
import statistics
import time
from contextlib import AsyncExitStack

from aiohttp import ClientSession

from tests.integration.test_attacks_relay import find_ufrag, list_floods
from tests.support.caller import RED, Caller, Picture, Tone, call, until
from tests.support.processes import ServerProcess, run_server

POOL = 4000
"""Different datagrams of each flood."""


class Beside:
    """A call's frames, second by second."""

    def __init__(self, ada: Caller, bob: Caller) -> None:
        watchers = {kind: bob.watch(ada.participant, kind) for kind in ("video", "audio")}
        self._watchers = {kind: watcher for kind, watcher in watchers.items() if watcher}
        self.seconds: dict[str, list[int]] = {kind: [] for kind in self._watchers}

    async def watch(self) -> None:
        while True:
            before = {kind: watcher.frames for kind, watcher in self._watchers.items()}
            await asyncio.sleep(1.0)
            for kind, watcher in self._watchers.items():
                self.seconds[kind].append(watcher.frames - before[kind])

    def show(self, name: str) -> None:
        for kind, counts in self.seconds.items():
            if counts:
                middle = statistics.median(counts)
                print(f"  {name}: {kind:5} frames a second: least {min(counts)}, median {middle}")


def flood(ports: list[int], pools: list[list[bytes]], count: int) -> None:
    """The attacker's process."""
    rng = random.Random(1)
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    sent = 0
    while sent < count:
        pool = pools[rng.randrange(len(pools))]
        port = ports[rng.randrange(len(ports))]
        for data in rng.choices(pool, k=200):
            sockets[sent % len(sockets)].sendto(data, ("127.0.0.1", port))
            sent += 1


def find_ports(server: ServerProcess, workers: int) -> list[int]:
    lines = [line for line in server.log if "takes rooms on UDP port" in line]
    ports = [int(found[1]) for line in lines if (found := re.search(r"UDP port (\d+)", line))]
    assert len(set(ports)) == workers, lines
    return sorted(set(ports))


async def attack_with_datagrams(count: int, workers: int) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            run_server("--mesh-limit", "1", "--relay-workers", str(workers), relay=True)
        )
        session = await stack.enter_async_context(ClientSession())
        besides, pools = [], []
        for number in range(workers):
            room = f"room{number}"
            ada = await stack.enter_async_context(call(session, server.ws_url, room, "Ada"))
            bob = await stack.enter_async_context(call(session, server.ws_url, room, "Bob"))
            await ada.publish(Picture(RED), Tone(440))
            await until(lambda a=ada, b=bob: b.sees(a, RED) and b.hears(a, 440))
            besides.append(Beside(ada, bob))
            pools += [[make(n) for n in range(POOL)] for _, make in list_floods(find_ufrag(ada))]
        ports = find_ports(server, workers)
        process = multiprocessing.get_context("fork").Process(
            target=flood, args=(ports, pools, count), daemon=True
        )
        watches = [asyncio.ensure_future(beside.watch()) for beside in besides]
        began = time.monotonic()
        process.start()
        while process.is_alive():  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(0.2)
        elapsed = time.monotonic() - began
        for watch in watches:
            watch.cancel()
        print(f"{count} datagrams in {elapsed:.0f} s, {count / elapsed:.0f} a second")
        for number, beside in enumerate(besides):
            beside.show(f"call through worker {number}")
        async with session.get(server.url + "/metrics") as response:
            rows = (await response.text()).splitlines()
        drops = {row for row in rows if "relay_dropped" in row or "drop" in row.split("{")[0]}
        for row in sorted(drops):
            if not row.startswith("#") and not row.endswith(" 0.0") and "reason" in row:
                print(" ", row)
        ended = [line for line in server.log if "relay worker" in line and "ended" in line]
        print(f"  workers that ended: {len(ended)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datagrams", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    asyncio.run(attack_with_datagrams(arguments.datagrams, arguments.workers))


if __name__ == "__main__":
    main()
