"""A server and clients in network namespaces of their own, joined by links with a rate, a delay, a
queue and a seeded loss, which can change while programs run.

Each link is a pair of TUN devices, and a thread of this process carries the packets: nothing of
the kernel's queueing disciplines is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import shlex
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x1
IFF_NO_PI: Final = 0x1000
LARGEST: Final = 2048
"""Bytes of a packet that is carried."""

BATCH: Final = 64
"""Packets read of one device before the others have their turn."""


@dataclass
class Way:
    """One direction of a link. `rate` in bit/s of IP packets, 0 is no limit; others in seconds."""

    rate: float = 0.0
    delay: float = 0.0
    queue: float = 0.3
    loss: float = 0.0
    seed: int = 1
    carried: int = 0
    dropped: int = 0
    _free_at: float = 0.0
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    def take(self, size: int, now: float) -> float | None:
        """When a packet of `size` bytes arrives; None: it is lost, or the queue is full."""
        if self.loss and self._random.random() < self.loss:
            return None
        start = max(now, self._free_at)
        if self.rate:
            if start - now > self.queue:
                self.dropped += 1
                return None
            start += 8 * size / self.rate
            self._free_at = start
        self.carried += 1
        return start + self.delay


@dataclass
class Link:
    """A client's access: `down` leads to it, `up` away from it."""

    down: Way = field(default_factory=Way)
    up: Way = field(default_factory=Way)


class Lab:
    """The server is at 10.98.N.1 for client N, who is at 10.98.N.2. A context manager."""

    def __init__(self, links: list[Link], folder: Path) -> None:
        self.links = links
        self._folder = folder
        self._tag = f"lab{os.getpid() % 100_000}"
        self._devices: list[tuple[int, int]] = []
        self._children: list[subprocess.Popen[bytes]] = []
        self._wake = os.eventfd(0)
        self._running = True
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Lab:
        try:
            self._make("server")
            for number in range(len(self.links)):
                self._make(str(number))
                near = self._open_device("server", f"s{number}", f"10.98.{number}.1/24")
                far = self._open_device(str(number), "c0", f"10.98.{number}.2/24")
                self._ip(str(number), "route", "add", "default", "via", f"10.98.{number}.1")
                self._devices.append((near, far))
        except BaseException:
            self._end()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running = False
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._end()

    def start(self, where: str, command: list[str], log: Path) -> None:
        """Run a program in a namespace; it ends with the lab."""
        words = ["ip", "netns", "exec", self._name(where), *command]
        with log.open("wb") as file:
            self._children.append(subprocess.Popen(words, stdout=file, stderr=file))

    def wrap(self, where: str, program: str) -> Path:
        """A script that runs `program` in a namespace, for a browser driver."""
        path = self._folder / f"{program}-{where}"
        found = shutil.which(program)
        assert found is not None
        command = shlex.join(["ip", "netns", "exec", self._name(where), found])
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)
        return path

    # -- Namespaces -------------------------------------------------------------------------

    def _name(self, where: str) -> str:
        return f"{self._tag}-{where}"

    def _make(self, where: str) -> None:
        subprocess.run(["ip", "netns", "add", self._name(where)], check=True)
        self._ip(where, "link", "set", "lo", "up")

    def _ip(self, where: str, *words: str) -> None:
        subprocess.run(["ip", "-n", self._name(where), *words], check=True)

    def _open_device(self, where: str, name: str, address: str) -> int:
        """A TUN device in a namespace; the file stays this process's."""
        library = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self._name(where)}", os.O_RDONLY)
        try:
            if library.setns(there, 0):
                raise OSError(ctypes.get_errno(), "setns")
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI)
            fcntl.ioctl(device, TUNSETIFF, request)
        finally:
            library.setns(home, 0)
            os.close(home)
            os.close(there)
        self._ip(where, "addr", "add", address, "dev", name)
        self._ip(where, "link", "set", name, "mtu", "1500", "up")
        return device

    def _end(self) -> None:
        for near, far in self._devices:
            os.close(near)
            os.close(far)
        os.close(self._wake)
        for where in ("server", *map(str, range(len(self.links)))):
            subprocess.run(
                ["ip", "netns", "del", self._name(where)], stderr=subprocess.DEVNULL, check=False
            )

    # -- Packets ----------------------------------------------------------------------------

    def _carry(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._wake, selectors.EVENT_READ)
        for link, (near, far) in zip(self.links, self._devices, strict=True):
            selector.register(near, selectors.EVENT_READ, (link.down, far))
            selector.register(far, selectors.EVENT_READ, (link.up, near))
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while self._running:
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for key, _ in selector.select(pause):
                if key.data is None:
                    continue
                way, target = key.data
                for packet in _read_some(key.fd):
                    at = way.take(len(packet), time.monotonic())
                    if at is not None:
                        count += 1
                        heapq.heappush(waiting, (at, count, target, packet))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, target, packet = heapq.heappop(waiting)
                _write(target, packet)


def _read_some(device: int) -> list[bytes]:
    packets: list[bytes] = []
    try:
        while len(packets) < BATCH:
            packets.append(os.read(device, LARGEST))
    except OSError:
        pass  # none is left
    return packets


def _write(device: int, packet: bytes) -> None:
    # Where the device's queue is full, the packet is lost, as on any link.
    with contextlib.suppress(OSError):
        os.write(device, packet)
