"""PeerJS: the rules of `peerjs-server` for clients of `peerjs` 1.x, with bounds everywhere.

A client comes with an id and a token of its own making; whoever comes with the same of both takes
its place. Messages for an id that is not there wait for it for a few seconds.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from ..access.addresses import AddressLimits
from ..logs import Log
from ..metrics import Metrics
from ..protocol.errors import NORMAL_CLOSE
from ..protocol.messages import IceServer
from ..settings.config import Limits
from .link import Link, Links, Outlet

EXPIRES: Final = 5.0
"""Seconds that a message waits for its receiver: the default of peerjs-server."""
MAX_WAITING: Final = 64
"""Messages that wait for one id, and those that one client has waiting."""
MAX_ALL_WAITING: Final = 10_000
MAX_ID: Final = 64
TOKEN_SIZE: Final = 64
_FORWARDED: Final = frozenset({"OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"})
_KEPT: Final = frozenset({"OFFER", "ANSWER", "CANDIDATE"})

_encode = msgspec.json.Encoder().encode
log = Log(__name__)


class Message(msgspec.Struct, gc=False):
    """What a client sends; `payload` goes on as it came."""

    type: Literal["HEARTBEAT", "OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"]
    dst: Annotated[str, Meta(max_length=MAX_ID)] | None = None
    payload: Raw = Raw()


_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class MalformedMessage(ValueError):
    """Not a message of PeerJS."""


def parse_message_untrusted(data: bytes) -> Message:
    """Parse what a client sends. Raise MalformedMessage."""
    try:
        if not data.isascii():
            data.decode()
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        raise MalformedMessage from None


@dataclass(frozen=True, slots=True)
class Visit:
    """What a connection's address says."""

    key: str
    id: str
    token: str


class Client(Link):
    """One connection; `id` is empty while it has none."""

    def __init__(self, outlet: Outlet, address: str, limits: Limits, now: float) -> None:
        super().__init__(outlet, address, limits, now)
        self.id = ""
        self.token = ""
        self.waiting = 0
        """Messages of this one that wait for somebody."""


@dataclass(slots=True)
class _Waiting:
    until: float
    sender: Client
    receiver: str
    frame: bytes


class PeerJs:
    """All PeerJS clients of one server; what a `Connection` needs of its hub."""

    def __init__(
        self,
        key: str,
        limits: Limits,
        metrics: Metrics,
        guard: AddressLimits,
        *,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._key = key
        self._links = Links(limits, metrics, guard)
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._token = token
        self._clients: dict[str, Client] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._order: deque[_Waiting] = deque()  # all wait equally long

    @property
    def ids(self) -> list[str]:
        """Who is there."""
        return list(self._clients)

    def make_id(self) -> str:
        """An id that nobody has."""
        return self._token()

    def has_key(self, key: str) -> bool:
        return hmac.compare_digest(key.encode(), self._key.encode())

    # -- Connections --------------------------------------------------------------------

    def connect(self, outlet: Outlet, *, address: str) -> Client:
        """A new WebSocket whose address says nothing."""
        return self.enter(Visit("", "", ""), [], outlet, address=address)

    def enter(
        self, visit: Visit, servers: Sequence[IceServer], outlet: Outlet, *, address: str
    ) -> Client:
        """A new WebSocket. `servers` are what it may relay through."""
        now = self._clock()
        self._links.opened(address, now)
        client = Client(outlet, address, self._limits, now)
        before = self._clients.get(visit.id)
        if not self.has_key(visit.key):
            self._turn_away(client, "INVALID-KEY", "Invalid key provided")
        elif not (_is_name(visit.id) and 0 < len(visit.token) <= TOKEN_SIZE):
            self._turn_away(client, "ERROR", "No id, token, or key supplied to websocket server")
        elif before is not None and not hmac.compare_digest(
            before.token.encode(), visit.token.encode()
        ):
            self._turn_away(client, "ID-TAKEN", "ID is taken")
        else:
            if before is not None:
                self._replace(before)
            self._take_in(client, visit, servers)
        return client

    def _turn_away(self, client: Client, type: str, text: str) -> None:
        self._metrics.errors["unauthorized" if type == "INVALID-KEY" else "bad-request"] += 1
        self._send(client, _encode({"type": type, "payload": {"msg": text}}))
        client.closed = True
        client.outlet.close(NORMAL_CLOSE, type)

    def _replace(self, before: Client) -> None:
        """The same one has come back on another connection."""
        del self._clients[before.id]
        before.id = ""
        before.closed = True
        before.outlet.close(NORMAL_CLOSE, "replaced")

    def _take_in(self, client: Client, visit: Visit, servers: Sequence[IceServer]) -> None:
        client.id, client.token = visit.id, visit.token
        self._clients[client.id] = client
        opened: dict[str, object] = {"type": "OPEN"}
        if servers:
            # More than peerjs-server says; the client passes over it.
            opened["payload"] = {"iceServers": servers}
        self._send(client, _encode(opened))
        log.debug("PeerJS client joined", extra={"address": client.address})
        for waiting in self._waiting.pop(client.id, ()):
            waiting.sender.waiting -= 1
            waiting.receiver = ""
            self._pass(client, waiting.frame)

    def disconnect(self, client: Client) -> None:
        """The socket is gone."""
        self._links.closed(client)
        if self._clients.get(client.id) is client:
            del self._clients[client.id]

    def reject(self, client: Client, code: str) -> None:
        """The connection saw a fault of the client."""
        self._links.refuse(client, code, self._clock())

    def drain(self) -> None:
        """Send everyone elsewhere."""
        for client in list(self._clients.values()):
            self.reject(client, "draining")

    # -- Messages -----------------------------------------------------------------------

    def receive(self, client: Client, data: bytes) -> None:
        """One text frame. Never raises."""
        if client.closed:
            return
        now = self._clock()
        if len(data) > self._limits.max_frame:
            self.reject(client, "too-large")
            return
        if not client.spend(now):
            self.reject(client, "rate-limited")
            return
        try:
            message = parse_message_untrusted(data)
        except MalformedMessage:
            self._metrics.messages["invalid"] += 1
            if not client.note(good=False):
                self.reject(client, "bad-request")
            return
        client.note(good=True)
        self._metrics.messages[f"peerjs-{message.type.lower()}"] += 1
        if message.type in _FORWARDED and message.dst is not None:
            self._forward(client, message, message.dst, now)

    def _forward(self, client: Client, message: Message, to: str, now: float) -> None:
        frame = _build(message.type, client.id, to, message.payload)
        receiver = self._clients.get(to)
        if receiver is not None:
            self._pass(receiver, frame)
        elif message.type in _KEPT:
            self._keep(client, to, frame, now)

    def _pass(self, receiver: Client, frame: bytes) -> None:
        self._metrics.relayed += 1
        self._send(receiver, frame)

    def _keep(self, client: Client, to: str, frame: bytes, now: float) -> None:
        queue = self._waiting.get(to, ())
        full = len(queue) >= MAX_WAITING or len(self._order) >= MAX_ALL_WAITING
        if full or client.waiting >= MAX_WAITING:
            self._metrics.dropped["peerjs"] += 1
            self._send(client, _build("EXPIRE", to, client.id, Raw()))
            return
        waiting = _Waiting(now + EXPIRES, client, to, frame)
        client.waiting += 1
        self._waiting.setdefault(to, deque()).append(waiting)
        self._order.append(waiting)

    def _send(self, client: Client, data: bytes) -> None:
        self._links.send(client, data)

    # -- Time ---------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        """Give up on messages whose receivers have not come, and tell their senders once each."""
        told: set[tuple[int, str]] = set()
        while self._order and self._order[0].until <= now:
            waiting = self._order.popleft()
            if not waiting.receiver:
                continue  # it has been passed on
            queue = self._waiting[waiting.receiver]
            queue.popleft()
            if not queue:
                del self._waiting[waiting.receiver]
            sender, to = waiting.sender, waiting.receiver
            sender.waiting -= 1
            if (id(sender), to) not in told:
                told.add((id(sender), to))
                self._send(sender, _build("EXPIRE", to, sender.id, Raw()))


def _is_name(id: str) -> bool:
    """PeerJS's own rule: letters and digits at both ends, `-`, `_` and spaces between."""
    inner = id.replace("-", "").replace("_", "").replace(" ", "")
    ends = id[:1].isalnum() and id[-1:].isalnum()
    return len(id) <= MAX_ID and ends and inner.isalnum() and id.isascii()


def _build(type: str, sender: str, receiver: str, payload: Raw) -> bytes:
    end = b',"payload":%b}' % payload if bytes(payload) else b"}"
    head = {"type": type, "src": sender, "dst": receiver}
    return _encode(head)[:-1] + end
