"""What SCTP costs, beside aiortc's in the same run: `python -m tests.bench.bench_data`.

CPU for each message of 300 bytes and receiver (written, sent, its acknowledgement taken), and
for 100 MB in messages of 64 KiB, both sides in this process, without DTLS.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCSctpCapabilities, RTCSctpTransport

from relay.transport.sctp.association import Association
from relay.transport.sctp.reassembly import Received

SIZE = 300
LARGE = 65536


class Ours:
    """Two associations, and the time that one of them took."""

    def __init__(self) -> None:
        self.sender, self.receiver = (Association(random=os.urandom) for _ in range(2))
        self.now = 1.0
        self.got = 0
        self.spent = 0.0
        self.sender.connect(self.now)
        for _ in range(6):
            self.turn()

    def turn(self) -> bool:
        """Send what is due both ways; whether there was anything."""
        begun = time.process_time()
        there = self.sender.datagrams_to_send(self.now)
        self.spent += time.process_time() - begun
        for data in there:
            self.receiver.receive(data, self.now)
        while (event := self.receiver.next_event()) is not None:
            self.got += isinstance(event, Received)
        back = self.receiver.datagrams_to_send(self.now)
        begun = time.process_time()
        for data in back:
            self.sender.receive(data, self.now)
        self.sender.get_timer()
        self.spent += time.process_time() - begun
        return bool(there or back)

    def send_small(self, count: int) -> float:
        """CPU seconds of the sender."""
        payload = os.urandom(SIZE)
        self.spent = 0.0
        for _ in range(count):
            self.now += 0.001
            begun = time.process_time()
            self.sender.send(1, 53, payload)
            self.spent += time.process_time() - begun
            self.turn()
        return self.spent

    def send_large(self, size: int) -> float:
        """CPU seconds of both sides."""
        payload, left, wanted = os.urandom(LARGE), size // LARGE, self.got + size // LARGE
        begun = time.process_time()
        while self.got < wanted:
            while left and self.sender.get_waiting(1) < 1 << 20:
                self.sender.send(1, 53, payload)
                left -= 1
            if not self.turn():
                self.now += 0.06
        return time.process_time() - begun


class Pipe:
    """What aiortc's association needs of a DTLS transport."""

    state = "connected"

    def __init__(self, controlling: bool) -> None:
        self.other: Pipe
        self.receiver: Any = None
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._role = "client" if controlling else "server"

    def _register_data_receiver(self, receiver: Any) -> None:
        self.receiver = receiver
        self._task = asyncio.get_running_loop().create_task(self._pump())

    async def _pump(self) -> None:
        while self.receiver is not None:
            await self.receiver._handle_data(await self.waiting.get())

    def _unregister_data_receiver(self, receiver: Any) -> None:
        self.receiver = None

    async def _send_data(self, data: bytes) -> None:
        self.other.waiting.put_nowait(data)


class Theirs:
    """Two of aiortc's associations, which take each other's packets at once."""

    def __init__(self) -> None:
        pipes = Pipe(True), Pipe(False)
        pipes[0].other, pipes[1].other = pipes[1], pipes[0]
        self.sender, self.receiver = (RTCSctpTransport(pipe, 5000) for pipe in pipes)  # type: ignore[arg-type]
        self.got = 0

    async def open(self) -> None:
        async def count(*_: object) -> None:
            self.got += 1

        self.receiver._receive = count  # type: ignore[method-assign]
        for one in (self.receiver, self.sender):
            await one.start(RTCSctpCapabilities(LARGE), 5000)
        await asyncio.sleep(1)

    async def send_small(self, count: int) -> float:
        payload = os.urandom(SIZE)
        begun = time.process_time()
        wanted = self.got + count
        for _ in range(count):
            await self.sender._send(1, 53, payload)
        await self._until(lambda: self.got >= wanted)
        return time.process_time() - begun

    async def send_large(self, size: int) -> float:
        payload, wanted = os.urandom(LARGE), self.got + size // LARGE
        begun = time.process_time()
        for n in range(size // LARGE):
            await self.sender._send(1, 53, payload)
            if n % 8 == 7:
                await self._until(lambda: len(self.sender._outbound_queue) < 1000)
        await self._until(lambda: self.got >= wanted)
        return time.process_time() - begun

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - another's private state
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for one in (self.sender, self.receiver):
            await one.stop()


def show(name: str, seconds: float, unit: str, count: float) -> None:
    print(f"{name:32} {seconds / count:10.2f} {unit}")


async def run(arguments: argparse.Namespace) -> None:
    count, size = arguments.count, arguments.megabytes << 20
    show("ours, 300 bytes, sender", Ours().send_small(count) * 1e6, "us", count)
    both: Callable[[int], float] = Ours().send_small
    begun = time.process_time()
    both(count)
    show("ours, 300 bytes, both sides", (time.process_time() - begun) * 1e6, "us", count)
    theirs = Theirs()
    await theirs.open()
    spent = await theirs.send_small(count)
    show("aiortc, 300 bytes, both sides", spent * 1e6, "us", count)
    show("ours, 64 KiB, both sides", Ours().send_large(size), "s for 100 MB", size / 100e6)
    few = size // arguments.fewer
    spent = await theirs.send_large(few)
    show("aiortc, 64 KiB, both sides", spent, "s for 100 MB", few / 100e6)
    await theirs.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_data")
    parser.add_argument("--count", type=int, default=20_000, help="small messages")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--fewer", type=int, default=10, help="aiortc sends a part of it")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
