"""What hubs say to each other: MessagePack messages on one stream for each pair of hubs.

`Open` begins the way of one client's WebSocket from the hub that it reached to the hub that owns
its room; `channel` numbers it, chosen by the hub that opens. All of a client's messages, and all
that goes to it, take that way, in order. `Ask` carries an HTTP request about a room likewise.
"""

from __future__ import annotations

from relay.control import Message
from relay.process.links import FromAccepting, FromConnecting

# -- A client's WebSocket ---------------------------------------------------------------


class Open(Message, frozen=True):
    """A client whose messages follow is at `address` and wants `room`."""

    channel: int
    room: str
    address: str


class Data(Message, frozen=True):
    """One text frame, from the client or to it."""

    channel: int
    frame: bytes
    soon: bool = False


class Reject(Message, frozen=True):
    """The hub that has the WebSocket saw a fault of the client: `code` says which."""

    channel: int
    code: str


class Gone(Message, frozen=True):
    """The client's connection has ended."""

    channel: int


class Moved(Message, frozen=True):
    """The room is not this hub's: ask again where it is."""

    channel: int


class Joined(Message, frozen=True):
    """Whether the client is in the room now."""

    channel: int
    joined: bool


class Closed(Message, frozen=True):
    """Close the client's WebSocket."""

    channel: int
    code: int
    reason: str


# -- HTTP about a room ------------------------------------------------------------------


class Ask(Message, frozen=True):
    request: int
    room: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    address: str


class Told(Message, frozen=True):
    request: int
    status: int
    headers: list[tuple[str, str]]
    body: bytes


ToAccepting = FromConnecting | Open | Data | Reject | Gone | Ask
ToConnecting = FromAccepting | Data | Moved | Joined | Closed | Told
