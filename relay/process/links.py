"""Links between machines: TLS with certificates that nobody signed, and a secret that both prove.

TLS hides what is said; who is there, each side proves over both nonces and the accepting side's
certificate, so that a stranger in between, who has another certificate, can pass nothing on.
Only the side that has connected probes the other.

    connecting                      accepting
        ◀──────── Challenge(nonce) ────
        ───── Proof(nonce, mac) ──────▶
        ◀──────────── Proof(mac) ──────
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ..control import Message
from .channel import Channel

VERSION: Final = 1

PROBES_MISSED: Final = 2
"""Probes without an answer, one a second, after which the other side counts as dead."""

CONNECT_WITHIN: Final = 2.0
"""Seconds for a link to be made and both sides to have proved who they are."""

NONCE: Final = 32
"""Bytes."""

log = logging.getLogger(__name__)


class Challenge(Message, frozen=True):
    """The accepting side's first message; `name` is its own."""

    version: int
    name: str
    nonce: bytes


class Proof(Message, frozen=True):
    """The connecting side's answer; then the accepting side proves itself with one as well."""

    name: str
    nonce: bytes
    mac: bytes


class Ping(Message, frozen=True, tag="linkping"):
    number: int


class Pong(Message, frozen=True, tag="linkpong"):
    number: int


FromConnecting = Proof | Ping | Pong
FromAccepting = Challenge | Proof | Ping | Pong


def prove(secret: str, role: str, certificate: bytes, *parts: bytes) -> bytes:
    """The proof that a side knows the secret and sees this very TLS certificate, DER."""
    mac = hmac.new(secret.encode(), role.encode(), hashlib.sha256)
    for part in (hashlib.sha256(certificate).digest(), *parts):
        mac.update(len(part).to_bytes(4, "big") + part)
    return mac.digest()


class LinkDown(Exception):
    """The other side cannot be reached, or is not one of ours."""


class Receiver(Protocol):
    """What the messages of open links go to."""

    def receive(self, link: Link, message: Any) -> None: ...

    def lose(self, link: Link) -> None: ...


class Link:
    """One end of a link. `peer` is the other side's name once it has proved it, empty before."""

    def __init__(self, union: Any, receiver: Receiver) -> None:
        self.peer = ""
        self._receiver = receiver
        self._stream: Channel[Any] = Channel(union, self._receive, self._lose, on_open=self._open)

    @property
    def stream(self) -> Channel[Any]:
        """The asyncio protocol of the connection."""
        return self._stream

    def send(self, message: msgspec.Struct) -> bool:
        """Never blocks or raises; False where the link is gone."""
        return self._stream.send(message)

    def close(self) -> None:
        self._stream.close()

    def _open(self) -> None:
        """The TLS handshake is done."""

    def _receive(self, message: Any) -> None:
        if isinstance(message, Ping):
            self.send(Pong(message.number))
        elif self.peer:
            self._receiver.receive(self, message)
        else:
            self.close()

    def _lose(self, fault: Exception | None) -> None:
        if self.peer:
            log.info("link closed", extra={"peer": self.peer, "reason": str(fault or "")})
            self._receiver.lose(self)


class Outgoing(Link):
    """The connecting end."""

    def __init__(
        self, union: Any, own: str, secret: str, expected: str, receiver: Receiver
    ) -> None:
        super().__init__(union, receiver)
        self._own = own
        self._secret = secret
        self.expected = expected
        self._mac = b""
        self._probe = self._answered = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def probe(self) -> None:
        """Ask whether the other end is alive, and cut the link where it has been silent."""
        if self._probe - self._answered >= PROBES_MISSED:
            log.warning("peer does not answer", extra={"peer": self.peer})
            self._stream.abort()
            return
        self._probe += 1
        self.send(Ping(self._probe))

    def _receive(self, message: Any) -> None:
        match message:
            case Pong():
                self._answered = max(self._answered, min(message.number, self._probe))
            case Challenge() if not self._mac:
                self._answer(message)
            case Proof() if self._mac and not self.peer:
                if hmac.compare_digest(self._mac, message.mac):
                    self.peer = self.expected
                    self.opened.set_result(None)
                else:
                    self.close()
            case _:
                super()._receive(message)

    def _answer(self, challenge: Challenge) -> None:
        if challenge.version != VERSION or challenge.name != self.expected:
            self.close()
            return
        nonce = secrets.token_bytes(NONCE)
        certificate = self._stream.get_extra_info("ssl_object").getpeercert(True)
        hubs = (self._own.encode(), challenge.name.encode())
        parts = (challenge.nonce, nonce, *hubs)
        self._mac = prove(self._secret, "accepting", certificate, *parts)
        mac = prove(self._secret, "connecting", certificate, *parts)
        self.send(Proof(self._own, nonce, mac))

    def _lose(self, fault: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(LinkDown("The link was closed."))
            self.opened.exception()  # somebody may have stopped waiting
        super()._lose(fault)


class Incoming(Link):
    """The accepting end."""

    def __init__(
        self,
        union: Any,
        own: str,
        secret: str,
        certificate: bytes,
        receiver: Receiver,
        on_refused: Callable[[], None],
    ) -> None:
        super().__init__(union, receiver)
        self._own = own
        self._secret = secret
        self._certificate = certificate
        self._on_refused = on_refused
        self._nonce = secrets.token_bytes(NONCE)

    def _open(self) -> None:
        self.send(Challenge(VERSION, self._own, self._nonce))

    def _receive(self, message: Any) -> None:
        if self.peer or not isinstance(message, Proof):
            super()._receive(message)
            return
        parts = (self._nonce, message.nonce, message.name.encode(), self._own.encode())
        expected = prove(self._secret, "connecting", self._certificate, *parts)
        if not message.name or not hmac.compare_digest(expected, message.mac):
            log.warning("link refused: the other side does not know the secret")
            self._on_refused()
            self.close()
            return
        mac = prove(self._secret, "accepting", self._certificate, *parts)
        self.send(Proof(self._own, b"", mac))
        self.peer = message.name


async def connect(link: Outgoing, address: str) -> None:
    """Make a link to `host:port`. Raises LinkDown."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await asyncio.get_running_loop().create_connection(
                lambda: link.stream, host.strip("[]"), int(port), ssl=context
            )
            await link.opened
    except (OSError, TimeoutError, ValueError, LinkDown) as error:
        link.close()
        raise LinkDown(f"{link.expected} is not to be reached.") from error
    log.info("link opened", extra={"peer": link.peer})
