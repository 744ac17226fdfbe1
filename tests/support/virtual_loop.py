"""An event loop whose time jumps to the next timer instead of waiting for it, and a real hub
on that time behind simulated WebSockets."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from signaling.access.tokens import Access
from signaling.client import Client
from signaling.client.socket import SocketClosed
from signaling.hub.hub import Hub, Link
from signaling.metrics import Metrics
from signaling.settings.config import Config, Limits

T = TypeVar("T")


class _Leaping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everything waits for something that never comes")
        self.now += max(timeout, 0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing in it may use threads or real sockets: both would take no time at all."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; fails if a task is left."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(work)
        left = asyncio.all_tasks(loop)
        assert not left, left
        return result
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class SimulatedSocket:
    """Both a client's `Socket` and the hub's `Outlet`."""

    def __init__(self, hub: VirtualHub) -> None:
        self.hub = hub
        self.sent: list[bytes] = []
        self.lossy = False
        """Whether what the hub sends is lost on the way."""
        self._inbox: asyncio.Queue[bytes | SocketClosed] = asyncio.Queue()
        self._closed: SocketClosed | None = None
        self.link: Link = hub.hub.connect(_Outlet(self), address="127.0.0.1")

    @property
    def open(self) -> bool:
        return self._closed is None

    async def send(self, frame: bytes) -> None:
        if self._closed is not None:
            raise self._closed
        self.sent.append(frame)
        self.hub.hub.receive(self.link, frame)

    async def receive(self) -> bytes:
        item = await self._inbox.get()
        if isinstance(item, SocketClosed):
            raise item
        return item

    async def close(self) -> None:
        self.break_off(1000)

    def break_off(self, code: int = 1006, reason: str = "") -> None:
        if self._closed is None:
            self._closed = SocketClosed(code, reason)
            self._inbox.put_nowait(self._closed)
            self.hub.hub.disconnect(self.link)

    def deliver(self, data: bytes) -> None:
        if self._closed is None and not self.lossy:
            self._inbox.put_nowait(data)


class _Outlet:
    def __init__(self, socket: SimulatedSocket) -> None:
        self._socket = socket

    def send(self, data: bytes) -> None:
        self._socket.deliver(data)

    send_soon = send

    def close(self, code: int, reason: str) -> None:
        self._socket.break_off(code, reason)


class VirtualHub:
    """A hub that clients reach by `connect`; `down` refuses connections."""

    def __init__(
        self, *, authorize: Callable[[str | None, str], Access] | None = None, **limits: Any
    ) -> None:
        self.sockets: list[SimulatedSocket] = []
        self.attempts: list[float] = []
        self.down = False
        self._limits = limits
        self._authorize = authorize
        self._names = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """A new process: it knows nobody."""
        loop = asyncio.get_running_loop()
        old, self.sockets = self.sockets, []
        self.hub = Hub(
            Config(limits=Limits(**self._limits)),
            Metrics(),
            clock=loop.time,
            wall=loop.time,
            token=lambda: f"{next(self._names):032d}",
            authorize=self._authorize,
        )
        for socket in old:
            socket.break_off()

    async def connect(self, url: str) -> SimulatedSocket:
        assert url.partition("?")[0] == "ws://hub/ws"
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.001)
        if self.down:
            raise ConnectionRefusedError("refused")
        socket = SimulatedSocket(self)
        self.sockets.append(socket)
        return socket

    def client(self, name: str = "Ada", **options: Any) -> Client:
        options = {"room": "demo", "connect": self.connect, "random": lambda: 0.5, **options}
        return Client("http://hub", name=name, **options)


async def until(condition: Callable[[], object], *, within: float = 60.0) -> None:
    """Let virtual time pass until the condition holds."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)
