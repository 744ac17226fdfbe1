"""A hub in virtual time, with clients that check what every client may rely on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Literal

from relay import control
from signaling.access.tokens import Access
from signaling.hub.delivery import Notify, notify_nobody
from signaling.hub.hub import Hub
from signaling.hub.session import Link
from signaling.hub.turns import Soon, call_now
from signaling.metrics import Metrics
from signaling.settings.config import Config, Limits
from tests.support.clock import Clock

Json = dict[str, Any]


class FakeRelays:
    """Relay workers that write down what they are told."""

    def __init__(self) -> None:
        self.available = True
        self.commands: list[control.Command] = []

    def send(self, command: control.Command) -> None:
        self.commands.append(command)

    def take(self) -> list[control.Command]:
        taken, self.commands = self.commands, []
        return taken


class World:
    """One hub, its clock and what surrounds it."""

    def __init__(
        self,
        *,
        relays: FakeRelays | None = None,
        authorize: Callable[[str | None, str], Access] | None = None,
        invite: Callable[[str], tuple[str, float] | None] = lambda _: None,
        lobby: bool = False,
        identity: Literal["once", "many"] = "once",
        notify: Notify = notify_nobody,
        soon: Soon = call_now,
        **limits: Any,
    ) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.relays = relays
        numbers = itertools.count(1)
        self.hub = Hub(
            Config(limits=Limits(**limits), lobby=lobby, identity=identity),
            self.metrics,
            clock=self.clock,
            wall=self.clock.wall,
            token=lambda: str(next(numbers)),
            relays=relays,
            authorize=authorize,
            invite=invite,
            notify=notify,
            soon=soon,
        )

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds, self.hub)

    def client(self, address: str = "127.0.0.1") -> Client:
        return Client(self, address)

    def join(self, name: str, room: str = "demo", **fields: Any) -> Client:
        """A client that has joined, its reply read."""
        client = self.client()
        client.send("join", room=room, name=name, **fields)
        client.take("joined")
        return client

    def join_all(self, *names: str, room: str = "demo") -> list[Client]:
        """Clients that have joined, everything read that came of it."""
        clients = [self.join(name, room) for name in names]
        for client in clients:
            client.read()
        return clients


class Socket:
    """An outlet of one connection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.closed: tuple[int, str] | None = None
        self.seq: int | None = None

    def send(self, data: bytes) -> None:
        if self.closed is None and self.client.socket is self:
            self.client.receive(data)
        elif self.closed is None:
            self.client.stray.append(json.loads(data))

    send_soon = send

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)


class Client:
    """A client as the protocol has it. It fails the test where a number is missing or double."""

    def __init__(self, world: World, address: str = "127.0.0.1") -> None:
        self.world = world
        self.address = address
        self.id = ""
        self.session = ""
        self.seq = 0
        self.ids = itertools.count(1)
        self.unread: list[Json] = []
        self.stray: list[Json] = []
        """What came on a connection that this client has given up."""
        self.link: Link | None = None
        self.connect()

    def connect(self) -> None:
        self.socket = Socket(self)
        self.link = None
        self.link = self.world.hub.connect(self.socket, address=self.address)

    @property
    def closed(self) -> tuple[int, str] | None:
        return self.socket.closed

    def receive(self, data: bytes) -> None:
        message = json.loads(data)
        kind = message["type"]
        if kind == "joined":
            self.id, self.session = message["participant"], message["session"]
        if kind in ("heartbeat", "resumed", "knocking") or (
            kind == "error" and "seq" not in message
        ):
            assert "seq" not in message
            # An error has no number before there is a session on this connection.
            assert kind != "error" or self.link is None or self.link.session is None
        else:
            assert message["seq"] == self.seq + 1, message
            self.seq += 1
        self.unread.append(message)

    def send(self, type: str, **fields: Any) -> None:
        self.send_raw(json.dumps({"type": type, **fields}).encode())

    def send_raw(self, data: bytes) -> None:
        assert self.link is not None
        self.world.hub.receive(self.link, data)

    def read(self) -> list[Json]:
        """Everything that has come since the last look."""
        unread, self.unread = self.unread, []
        return unread

    def types(self) -> list[str]:
        return [message["type"] for message in self.read()]

    def take(self, type: str) -> Json:
        """The first unread message of that type; what came before it counts as read."""
        while self.unread:
            message = self.unread.pop(0)
            if message["type"] == type:
                return message
        raise AssertionError(f"no {type}")

    def ask(self, type: str, **fields: Any) -> Json:
        """Send a message and return its reply."""
        id = f"q{next(self.ids)}"
        self.send(type, id=id, **fields)
        replies = [m for m in self.read() if m.get("id") == id]
        assert len(replies) == 1, replies
        return replies[0]

    def refusal(self, type: str, **fields: Any) -> str:
        """Send a message and return the code with which it is refused."""
        reply = self.ask(type, **fields)
        assert reply["type"] == "error", reply
        code: str = reply["code"]
        return code

    def cut(self) -> None:
        """Lose the connection."""
        assert self.link is not None
        self.world.hub.disconnect(self.link)

    def resume(self, seq: int | None = None) -> None:
        """Go on on a new connection."""
        self.connect()
        self.send("resume", session=self.session, seq=self.seq if seq is None else seq)
