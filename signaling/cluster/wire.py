"""What hubs say to each other: MessagePack messages on one stream for each pair of hubs.

`Open` begins the way of one client's WebSocket from the hub that it reached to the hub that owns
its room; `channel` numbers it, chosen by the hub that opens. All of a client's messages, and all
that goes to it, take that way, in order. `Ask` carries an HTTP request about a room likewise.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

VERSION: Final = 1
MAX_BODY: Final = 512 * 1024
"""Bytes of an HTTP request or response between hubs; a description has half of that."""


class Message(msgspec.Struct, frozen=True, tag_field="type", array_like=True):
    """Base of all."""


# -- Who is there -----------------------------------------------------------------------


class Challenge(Message, frozen=True, tag="challenge"):
    """The accepting hub's first message."""

    version: int
    hub: str
    nonce: bytes


class Proof(Message, frozen=True, tag="proof"):
    """The connecting hub's answer; then the accepting hub proves itself with a `Proof` as well."""

    hub: str
    nonce: bytes
    mac: bytes


class Ping(Message, frozen=True, tag="ping"):
    number: int


class Pong(Message, frozen=True, tag="pong"):
    number: int


# -- A client's WebSocket ---------------------------------------------------------------


class Open(Message, frozen=True, tag="open"):
    """A client whose messages follow is at `address` and wants `room`."""

    channel: int
    room: str
    address: str


class Data(Message, frozen=True, tag="data"):
    """One text frame, from the client or to it."""

    channel: int
    frame: bytes
    soon: bool = False


class Reject(Message, frozen=True, tag="reject"):
    """The hub that has the WebSocket saw a fault of the client: `code` says which."""

    channel: int
    code: str


class Gone(Message, frozen=True, tag="gone"):
    """The client's connection has ended."""

    channel: int


class Moved(Message, frozen=True, tag="moved"):
    """The room is not this hub's: ask again where it is."""

    channel: int


class Joined(Message, frozen=True, tag="joined"):
    """Whether the client is in the room now."""

    channel: int
    joined: bool


class Closed(Message, frozen=True, tag="closed"):
    """Close the client's WebSocket."""

    channel: int
    code: int
    reason: str


# -- HTTP about a room ------------------------------------------------------------------


class Ask(Message, frozen=True, tag="ask"):
    request: int
    room: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    address: str


class Told(Message, frozen=True, tag="told"):
    request: int
    status: int
    headers: list[tuple[str, str]]
    body: bytes


ToAccepting = Proof | Ping | Pong | Open | Data | Reject | Gone | Ask
ToConnecting = Challenge | Proof | Ping | Pong | Data | Moved | Joined | Closed | Told


def prove(secret: str, role: str, certificate: bytes, *parts: bytes) -> bytes:
    """The proof that a hub knows the cluster's secret and sees this very TLS certificate.

    Both sides prove over both nonces and the accepting hub's certificate, so that a stranger in
    between, who has another certificate, can pass nothing on.
    """
    mac = hmac.new(secret.encode(), role.encode(), hashlib.sha256)
    for part in (hashlib.sha256(certificate).digest(), *parts):
        mac.update(len(part).to_bytes(4, "big") + part)
    return mac.digest()


def is_proof(expected: bytes, mac: bytes) -> bool:
    return hmac.compare_digest(expected, mac)
