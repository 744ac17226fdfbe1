"""Links between hubs: one TLS connection from each hub to each other that owns rooms it needs.

TLS hides what is said, with certificates that nobody signed; who is there, both sides prove by
the cluster's secret (`wire.prove`). A link is opened by the hub that has clients for the other's
rooms, and only that side probes it.

    connecting hub                  accepting hub
        ◀──────── Challenge(nonce) ────
        ───── Proof(nonce, mac) ──────▶
        ◀──────────── Proof(mac) ──────
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from relay.process.channel import Channel

from ..logs import Log
from . import wire

PROBES_MISSED: Final = 2
"""Probes without an answer, one a second, after which the other hub counts as dead."""

CONNECT_WITHIN: Final = 2.0
"""Seconds for a link to be made and both sides to have proved who they are."""

NONCE: Final = 32
"""Bytes."""

log = Log(__name__)


class LinkDown(Exception):
    """The other hub cannot be reached, or is not one of ours."""


class Receiver(Protocol):
    """What the messages of open links go to."""

    def receive(self, link: Link, message: Any) -> None: ...

    def lose(self, link: Link) -> None: ...


class Link:
    """One end of a link. `hub` is the other hub's id once it has proved it, empty before."""

    def __init__(self, union: Any, receiver: Receiver) -> None:
        self.hub = ""
        self._receiver = receiver
        self._stream: Channel[Any] = Channel(union, self._receive, self._lose, on_open=self._open)

    @property
    def stream(self) -> Channel[Any]:
        """The asyncio protocol of the connection."""
        return self._stream

    def send(self, message: wire.Message) -> bool:
        """Never blocks or raises; False where the link is gone."""
        return self._stream.send(message)

    def close(self) -> None:
        self._stream.close()

    def _open(self) -> None:
        """The TLS handshake is done."""

    def _receive(self, message: Any) -> None:
        if isinstance(message, wire.Ping):
            self.send(wire.Pong(message.number))
        elif self.hub:
            self._receiver.receive(self, message)
        else:
            self.close()

    def _lose(self, fault: Exception | None) -> None:
        if self.hub:
            log.info("link closed", extra={"hub": self.hub, "reason": str(fault or "")})
            self._receiver.lose(self)


class Outgoing(Link):
    """The connecting end."""

    def __init__(self, own: str, secret: str, expected: str, receiver: Receiver) -> None:
        super().__init__(wire.ToConnecting, receiver)
        self._own = own
        self._secret = secret
        self._expected = expected
        self._mac = b""
        self._probe = self._answered = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def probe(self) -> None:
        """Ask whether the other end is alive, and cut the link where it has been silent."""
        if self._probe - self._answered >= PROBES_MISSED:
            log.warning("hub does not answer", extra={"hub": self.hub})
            self._stream.abort()
            return
        self._probe += 1
        self.send(wire.Ping(self._probe))

    def _receive(self, message: Any) -> None:
        match message:
            case wire.Pong():
                self._answered = max(self._answered, min(message.number, self._probe))
            case wire.Challenge() if not self._mac:
                self._answer(message)
            case wire.Proof() if self._mac and not self.hub:
                if wire.is_proof(self._mac, message.mac):
                    self.hub = self._expected
                    self.opened.set_result(None)
                else:
                    self.close()
            case _:
                super()._receive(message)

    def _answer(self, challenge: wire.Challenge) -> None:
        if challenge.version != wire.VERSION or challenge.hub != self._expected:
            self.close()
            return
        nonce = secrets.token_bytes(NONCE)
        certificate = self._stream.get_extra_info("ssl_object").getpeercert(True)
        hubs = (self._own.encode(), challenge.hub.encode())
        parts = (challenge.nonce, nonce, *hubs)
        self._mac = wire.prove(self._secret, "accepting", certificate, *parts)
        mac = wire.prove(self._secret, "connecting", certificate, *parts)
        self.send(wire.Proof(self._own, nonce, mac))

    def _lose(self, fault: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(LinkDown("The link was closed."))
            self.opened.exception()  # somebody may have stopped waiting
        super()._lose(fault)


class Incoming(Link):
    """The accepting end."""

    def __init__(
        self,
        own: str,
        secret: str,
        certificate: bytes,
        receiver: Receiver,
        on_refused: Callable[[], None],
    ) -> None:
        super().__init__(wire.ToAccepting, receiver)
        self._own = own
        self._secret = secret
        self._certificate = certificate
        self._on_refused = on_refused
        self._nonce = secrets.token_bytes(NONCE)

    def _open(self) -> None:
        self.send(wire.Challenge(wire.VERSION, self._own, self._nonce))

    def _receive(self, message: Any) -> None:
        if self.hub or not isinstance(message, wire.Proof):
            super()._receive(message)
            return
        parts = (self._nonce, message.nonce, message.hub.encode(), self._own.encode())
        expected = wire.prove(self._secret, "connecting", self._certificate, *parts)
        if not message.hub or not wire.is_proof(expected, message.mac):
            log.warning("link refused: the other side does not know the cluster's secret")
            self._on_refused()
            self.close()
            return
        mac = wire.prove(self._secret, "accepting", self._certificate, *parts)
        self.send(wire.Proof(self._own, b"", mac))
        self.hub = message.hub


class Links:
    """All links of one hub. `clients` gets what comes on those that it has accepted, `owners`
    what comes on those that it has opened."""

    def __init__(self, own: str, secret: str, *, clients: Receiver, owners: Receiver) -> None:
        self._own = own
        self._secret = secret
        self._clients = clients
        self._owners = owners
        self._outgoing: dict[str, Outgoing] = {}
        self._opening: dict[str, asyncio.Task[Outgoing]] = {}
        self._server: asyncio.AbstractServer | None = None
        self._accepted: set[Incoming] = set()
        self._certificate = b""
        self.refused = 0
        """Connections from outside that did not prove the secret."""

    async def listen(
        self, host: str, port: int, context: ssl.SSLContext, certificate: bytes
    ) -> int:
        """Accept links under a context and its certificate, DER; returns the port. Raises
        OSError."""
        self._certificate = certificate
        self._server = await asyncio.get_running_loop().create_server(
            self._accept, host, port, ssl=context
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def _accept(self) -> asyncio.Protocol:
        link = Incoming(
            self._own, self._secret, self._certificate, self._clients, self._count_refused
        )
        self._accepted.add(link)
        return link.stream

    def _count_refused(self) -> None:
        self.refused += 1

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._opening.values()):
            task.cancel()
        for link in [*self._outgoing.values(), *self._accepted]:
            link.close()

    def list_outgoing(self) -> list[Outgoing]:
        return list(self._outgoing.values())

    def discard(self, link: Link) -> None:
        """A link is gone."""
        if self._outgoing.get(link.hub) is link:
            del self._outgoing[link.hub]
        if isinstance(link, Incoming):
            self._accepted.discard(link)

    async def get(self, hub: str, address: str) -> Outgoing:
        """The link to a hub, made where there is none. Raises LinkDown."""
        link = self._outgoing.get(hub)
        if link is not None:
            return link
        task = self._opening.get(hub)
        if task is None:
            task = self._opening[hub] = asyncio.create_task(self._connect(hub, address))
            task.add_done_callback(lambda _: self._opening.pop(hub, None))
        return await asyncio.shield(task)

    async def _connect(self, hub: str, address: str) -> Outgoing:
        host, _, port = address.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        link = Outgoing(self._own, self._secret, hub, self._owners)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await asyncio.get_running_loop().create_connection(
                    lambda: link.stream, host.strip("[]"), int(port), ssl=context
                )
                await link.opened
        except (OSError, TimeoutError, ValueError, LinkDown) as error:
            link.close()
            raise LinkDown(f"Hub {hub} is not to be reached.") from error
        self._outgoing[hub] = link
        log.info("link opened", extra={"hub": hub})
        return link
