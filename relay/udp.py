"""One UDP socket: reads batches, tells datagrams apart, finds each one's transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import NewType, Protocol

from relay.forwarder import Forwarder
from relay.stats import Stats
from relay.tracks import Leg

Address = NewType("Address", bytes)
"""A socket address as the kernel writes it (sockaddr_in or sockaddr_in6): hashable, compared
bytewise, never parsed in the hot path. Lives in relay.batch; `unpack_address` → (host, port)."""


def pack_address(host: str, port: int, family: int) -> Address:
    raise NotImplementedError


def unpack_address(address: Address) -> tuple[str, int]:
    """Host and port; an IPv4-mapped IPv6 address is given as plain IPv4."""
    raise NotImplementedError


class Endpoint(Protocol):
    """What the socket needs of a transport."""

    leg: Leg

    def receive_stun(self, data: bytes, address: Address, now: float) -> None: ...
    def receive_dtls(self, data: bytes) -> None: ...


class Udp:
    """`open` starts reading, `close` stops and closes the socket."""

    def __init__(
        self,
        sock: socket.socket,
        forwarder: Forwarder,
        *,
        stats: Stats,
        clock: Callable[[], float],
        portable: bool = False,
    ) -> None:
        raise NotImplementedError

    def open(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def close(self) -> None: ...

    def add(self, username: str, endpoint: Endpoint) -> None:
        """STUN for this local ufrag goes to `endpoint`; more than one ufrag may (ICE restart)."""

    def remove(self, username: str) -> None: ...

    def latch(self, address: Address, endpoint: Endpoint) -> None:
        """Datagrams from `address` go to `endpoint` (after a STUN check that was verified)."""

    def unlatch(self, address: Address) -> None: ...

    def send(self, data: bytes, address: Address) -> None:
        """One datagram (STUN, DTLS, RTCP). Never blocks or raises; a drop is counted. To an
        address that is not latched, no more bytes than the datagram being answered had."""


def open_socket(
    host: str, port: int, *, receive_buffer: int = ..., send_buffer: int = ...
) -> socket.socket:
    """A bound, non-blocking UDP socket; host "" or "::" is dual-stack where IPv6 exists."""
    raise NotImplementedError
