"""One UDP socket for all transports of a worker: reads batches, tells datagrams apart by their
first byte (RFC 7983), and finds each one's transport by its source address or, for STUN, by the
username that it carries."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from ..rtp.packet import HEADER_SIZE
from ..stats import DropReason, Stats
from ..transport.ice import Address
from .addresses import sockaddr
from .arena import HEADROOM, MAX_DATAGRAM, ROW, Outbox
from .batch import available
from .forwarder import Forwarder
from .framehold import FrameHold
from .inbox import Inbox, MmsgInbox, PortableInbox
from .leg import Leg
from .outbox import MmsgOutbox, PortableOutbox

MAX_BATCHES: Final = 4
"""Batches read per turn of the event loop: timers and other sockets get theirs under a flood."""

RECEIVE_BUFFER: Final = 4 << 20
SEND_BUFFER: Final = 4 << 20
"""Bytes asked of the kernel, which may grant less (net.core.rmem_max): about a key frame's burst
to a few hundred subscribers, and what arrives while one turn of the loop takes."""

_HEAD: Final = struct.Struct("!BB6xI")
"""Of an RTP header: version and flags, marker and payload type, SSRC."""

# linux/sock_diag.h: nine numbers, the last of which is SK_MEMINFO_DROPS.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")

_STUN_HEADER: Final = 20
_STUN_USERNAME: Final = 0x0006


class Endpoint(Protocol):
    """A transport, as the socket needs it."""

    leg: Leg

    def receive_stun(self, data: bytes, address: Address, now: float) -> None: ...
    def receive_dtls(self, data: bytes) -> None: ...


def open_socket(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket; `host` "" is every address of both families, where the
    system has IPv6. Raises OSError."""
    family = socket.AF_INET
    if (":" in host or not host) and socket.has_ipv6:
        family = socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        if host:
            raise
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host) and host != "::")
            )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        if sock.family == socket.AF_INET6 and not host:
            return open_socket("0.0.0.0", port)  # IPv6 is compiled in but switched off
        raise
    return sock


def count_kernel_drops(sock: socket.socket) -> int:
    """Datagrams that came when the socket's buffer was full; 0 where the system does not say."""
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[-1])
    except (OSError, struct.error):
        return 0


def get_stun_username_untrusted(data: bytes | memoryview) -> str | None:
    """The part of a STUN message's USERNAME before the colon, which is the receiver's ufrag
    (RFC 8445, 7.2.2); None if there is none. Never raises.

    RFC 8489, 14: | type (2) | length (2) | value, padded to a multiple of 4 |
    """
    at, end = _STUN_HEADER, len(data)
    while at + 4 <= end:
        length = data[at + 2] << 8 | data[at + 3]
        if data[at] << 8 | data[at + 1] == _STUN_USERNAME:
            value = bytes(data[at + 4 : at + 4 + length])
            return value.partition(b":")[0].decode("ascii", "replace")
        at += 4 + (length + 3 & ~3)
    return None


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
        self.socket = sock
        self._forwarder = forwarder
        self._stats = stats
        self._clock = clock
        self._usernames: dict[str, Endpoint] = {}
        self._addresses: dict[Address, Endpoint] = {}
        # Bytes of the datagram that is being answered; see `send`.
        self._asked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.inbox: Inbox
        self.outbox: Outbox
        if portable or not available():
            self.inbox, self.outbox = PortableInbox(sock), PortableOutbox(sock, stats)
        else:
            self.inbox, self.outbox = MmsgInbox(sock), MmsgOutbox(sock, stats)
        self._timer: asyncio.TimerHandle | None = None
        self._hold = FrameHold()
        self._hold_timer: asyncio.TimerHandle | None = None
        # Rows of the inbox that were held and are forwarded with the next flush.
        self._released: list[int] = []
        forwarder.bind(self.inbox.arena, self.outbox, self._wake)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_reader(self.socket.fileno(), self.receive)
        due = self._forwarder.get_timer()
        if due is not None:
            self._wake(due)

    def _wake(self, at: float) -> None:
        """The forwarder's timer is due at `at`, earlier than it was."""
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        # Not at once, even if it is due: whoever changes a track has more to change.
        delay = max(at - self._clock(), 0.0)
        self._timer = self._loop.call_later(delay, self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        self._forwarder.handle_timer(self._clock())

    def close(self) -> None:
        """Idempotent."""
        for timer in (self._timer, self._hold_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._hold_timer = None
        if self._loop is not None:
            self._loop.remove_reader(self.socket.fileno())
            self._loop = None
        self.socket.close()

    def add(self, username: str, endpoint: Endpoint) -> None:
        """STUN for this local ufrag goes to `endpoint`; several may (ICE restart)."""
        self._usernames[username] = endpoint

    def remove(self, username: str) -> None:
        self._usernames.pop(username, None)

    def latch(self, address: Address, endpoint: Endpoint) -> None:
        """Give what comes from `address` to `endpoint`: after a check that was verified."""
        self._addresses[address] = endpoint

    def unlatch(self, address: Address, endpoint: Endpoint) -> None:
        """`endpoint` has left `address`; another that has come to it since keeps it."""
        if self._addresses.get(address) is endpoint:
            del self._addresses[address]

    def count_addresses(self) -> tuple[int, int]:
        """Return how many usernames and addresses are known."""
        return len(self._usernames), len(self._addresses)

    def send(self, data: bytes, address: Address) -> None:
        """One datagram that is not media. Never blocks, never raises; a drop is counted.

        To an address that is not latched goes at most what the datagram being answered had:
        nobody can make this socket send more to a victim than they send themselves.
        """
        if address not in self._addresses:
            if len(data) > self._asked:
                self._stats.drops[DropReason.UNREQUESTED_ANSWER] += 1
                return
            self._asked = 0
        try:
            self.socket.sendto(data, sockaddr(address))
        except BlockingIOError:
            self._stats.drops[DropReason.SOCKET_FULL] += 1
        except OSError:
            self._stats.drops[DropReason.SEND_FAILED] += 1
        else:
            self._stats.packets_out += 1
            self._stats.bytes_out += len(data)

    def receive(self) -> None:
        """Read until the socket is empty, or the turn is over, and send what comes of it."""
        for _ in range(MAX_BATCHES):
            count = self.inbox.receive()
            if not count:
                return
            self._receive_batch(count, self._clock())
            if count < len(self.inbox.rows):
                return

    def _receive_batch(self, count: int, now: float) -> None:
        inbox, stats, addresses = self.inbox, self._stats, self._addresses
        view, sizes = inbox.arena.view, inbox.sizes
        stats.packets_in += count
        stats.bytes_in += sum(sizes)
        for index in range(count):
            size = sizes[index]
            address = inbox.address(index)
            endpoint = addresses.get(address)
            start = inbox.rows[index] * ROW + HEADROOM
            first = view[start] if size else 255
            # RFC 7983: 0-3 STUN, 20-63 DTLS, 128-191 RTP or RTCP.
            if 128 <= first <= 191:
                if endpoint is None:
                    stats.drops[DropReason.UNKNOWN_ADDRESS] += 1
                elif size >= MAX_DATAGRAM:
                    stats.drops[DropReason.TRUNCATED] += 1
                else:
                    self._receive_media(endpoint.leg, index, size, start, now)
            else:
                self._receive_control(bytes(view[start : start + size]), address, endpoint, now)
        self._flush(now)

    def _receive_media(self, leg: Leg, index: int, size: int, start: int, now: float) -> None:
        """Forward it, or hold it until the rest of its frame has come."""
        inbox, hold = self.inbox, self._hold
        row = inbox.rows[index]
        if size >= HEADER_SIZE:
            _, second, ssrc = _HEAD.unpack_from(inbox.arena.view, start)
            layer = leg.streams.get(ssrc)
            if layer is not None and layer.ssrc == ssrc:
                if hold.wants(layer, second >= 128, now) and inbox.keep(index):
                    hold.hold(leg, layer, row, size, now)
                    if self._hold_timer is None:
                        self._arm_hold(now)
                    return
                if layer in hold.held:
                    self._release(leg, hold.take(layer))
        self._forwarder.receive(leg, row, size, now)

    def _release(self, leg: Leg, held: list[tuple[int, int, float]]) -> None:
        for row, size, arrived in held:
            self._forwarder.receive(leg, row, size, arrived)
            self._released.append(row)

    def _flush(self, now: float) -> None:
        self._forwarder.flush(now)
        if self._released:
            # Only now: until it is forwarded, a packet lies where it was read to.
            for row in self._released:
                self.inbox.free(row)
            self._released.clear()
        if self._hold_timer is not None and not self._hold.held:
            self._hold_timer.cancel()
            self._hold_timer = None
        if now >= self._forwarder.report_due:
            self._forwarder.handle_timer(now)

    def _arm_hold(self, now: float) -> None:
        due = self._hold.get_timer()
        if self._loop is not None and due is not None:
            self._hold_timer = self._loop.call_later(max(due - now, 0.0), self._handle_hold)

    def _handle_hold(self) -> None:
        """Forward what has waited long enough."""
        self._hold_timer = None
        now = self._clock()
        for held in self._hold.take_due(now):
            self._release(held.leg, held.rows)
        self._flush(now)
        self._arm_hold(now)

    def _receive_control(
        self, data: bytes, address: Address, endpoint: Endpoint | None, now: float
    ) -> None:
        stats = self._stats
        if len(data) >= MAX_DATAGRAM:
            stats.drops[DropReason.TRUNCATED] += 1
        elif len(data) >= _STUN_HEADER and data[0] <= 3:
            stats.stun_in += 1
            # The username comes first: a port may have passed to another client meanwhile.
            username = get_stun_username_untrusted(data)
            if username is not None:
                endpoint = self._usernames.get(username)
            if endpoint is None:
                stats.drops[DropReason.UNKNOWN_USERNAME] += 1
                return
            self._asked = len(data)
            endpoint.receive_stun(data, address, now)
            self._asked = 0
        elif data and 20 <= data[0] <= 63:
            if endpoint is None:
                stats.drops[DropReason.UNKNOWN_ADDRESS] += 1
                return
            stats.dtls_in += 1
            endpoint.receive_dtls(data)
        else:
            stats.drops[DropReason.MALFORMED] += 1
