"""A UDP proxy on a thread that loses a share of what passes, both ways, by a seed."""

from __future__ import annotations

import random
import selectors
import socket
import threading
from typing import Any


class LossyUdp:
    """Clients send to `port`; each has a socket of its own toward `target` on this machine.

    `loss` may be changed at any time.
    """

    def __init__(self, target: int, loss: float = 0.0, seed: int = 1) -> None:
        self.loss = loss
        self.passed = self.lost = 0
        self._target = ("127.0.0.1", target)
        self._rng = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("0.0.0.0", 0))
        self._front.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._upstream: dict[Any, socket.socket] = {}
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended = True
        self._thread.join(5)
        for sock in (self._front, *self._upstream.values()):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                self._move(key.fileobj, key.data)

    def _move(self, sock: Any, client: Any) -> None:
        for _ in range(64):
            try:
                data, address = sock.recvfrom(4096)
            except OSError:
                return
            if self._rng.random() < self.loss:
                self.lost += 1
                continue
            self.passed += 1
            try:
                if client is not None:
                    self._front.sendto(data, client)
                else:
                    self._find(address).send(data)
            except OSError:
                self.lost += 1

    def _find(self, client: Any) -> socket.socket:
        upstream = self._upstream.get(client)
        if upstream is None:
            upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            upstream.connect(self._target)
            upstream.setblocking(False)
            self._upstream[client] = upstream
            self._selector.register(upstream, selectors.EVENT_READ, client)
        return upstream
