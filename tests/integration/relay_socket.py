"""A bare UDP socket under transports: it tells datagrams apart and counts decrypted packets."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections import Counter
from collections.abc import Callable
from typing import cast

from pylibsrtp._binding import ffi

from relay.sdp.description import TransportDescription
from relay.sdp.negotiation import Local
from relay.stats import Stats
from relay.transport.dtls import Certificate
from relay.transport.ice import Address
from relay.transport.srtp import Srtp, unprotect, unprotect_rtcp
from relay.transport.stun import MalformedStun, parse_request_untrusted
from relay.transport.transport import Transport, TransportState
from tests.support.timing import LoopTiming


def pack_address(host: str, port: int) -> Address:
    return Address(f"{host} {port}".encode())


def unpack_address(address: Address) -> tuple[str, int]:
    host, port = address.decode().split()
    return host, int(port)


def make_token(length: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


class Leg:
    """Decrypts what comes and counts it by payload type; RTCP by "rtcp"."""

    def __init__(self) -> None:
        self.srtp: tuple[Srtp, Srtp] | None = None
        self.address: Address | None = None
        self.packets: Counter[int | str] = Counter()
        self.failures = 0

    def connect(self, rx: Srtp, tx: Srtp) -> None:
        self.srtp = (rx, tx)

    def set_address(self, address: Address) -> None:
        self.address = address

    def receive(self, data: bytes) -> None:
        if self.srtp is None or len(data) < 12:
            self.failures += 1
            return
        buffer = ffi.new("char[]", data)
        length = ffi.new("int *", len(data))
        is_rtcp = 192 <= data[1] <= 223
        function = unprotect_rtcp if is_rtcp else unprotect
        if function(self.srtp[0].context, buffer, length):
            self.failures += 1
        else:
            self.packets["rtcp" if is_rtcp else data[1] & 0x7F] += 1


class RelaySocket(asyncio.DatagramProtocol):
    """The `Network` of transports, on a real socket."""

    def __init__(self) -> None:
        self.certificate = Certificate()
        self.stats = Stats()
        self.usernames: dict[str, Transport[Leg]] = {}
        self.addresses: dict[Address, Transport[Leg]] = {}
        self.states: list[TransportState] = []
        self.transports: list[Transport[Leg]] = []
        self.unanswered = 0
        self.received = 0
        self.recorded: list[tuple[bytes, tuple[str, int]]] | None = None
        self._asked = 0
        self._socket: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> RelaySocket:
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_datagram_endpoint(cls, local_addr=(host, 0))
        return relay

    @property
    def address(self) -> tuple[str, int]:
        assert self._socket is not None
        host, port = self._socket.get_extra_info("sockname")[:2]
        return host, port

    def make_transport(self) -> Transport[Leg]:
        transport = Transport(
            certificate=self.certificate,
            network=self,
            leg=Leg(),
            stats=self.stats,
            token=make_token,
            unpack_address=unpack_address,
            on_state=lambda _transport, state: self.states.append(state),
            timing=LoopTiming(),
            random=secrets.token_bytes,
        )
        self.transports.append(transport)
        return transport

    def describe(self, transport: TransportDescription) -> Local:
        return Local(transport, (self.address,))

    async def close(self) -> None:
        for transport in self.transports:
            transport.close()
            await transport.wait_closed()
        if self._socket is not None:
            self._socket.close()
        assert not self.usernames
        assert not self.addresses

    # Network

    def add(self, username: str, endpoint: Transport[Leg]) -> None:
        self.usernames[username] = endpoint

    def remove(self, username: str) -> None:
        self.usernames.pop(username, None)

    def latch(self, address: Address, endpoint: Transport[Leg]) -> None:
        self.addresses[address] = endpoint

    def unlatch(self, address: Address, endpoint: Transport[Leg]) -> None:
        if self.addresses.get(address) is endpoint:
            del self.addresses[address]

    def send(self, data: bytes, address: Address) -> None:
        assert self._socket is not None
        if data[0] <= 3:
            assert len(data) <= self._asked
        self._socket.sendto(data, unpack_address(address))

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.receive(data, addr)

    def receive(self, data: bytes, addr: tuple[str, int]) -> None:
        address = pack_address(*addr[:2])
        self.received += 1
        self._asked = len(data)
        if self.recorded is not None:
            self.recorded.append((data, addr))
        now = asyncio.get_running_loop().time()
        endpoint = self.addresses.get(address)
        if data and data[0] <= 3:
            try:
                endpoint = self.usernames.get(parse_request_untrusted(data).local)
            except MalformedStun:
                endpoint = None
        if endpoint is None or not data:
            self.unanswered += 1
        elif data[0] <= 3:
            endpoint.receive_stun(data, address, now)
        elif 20 <= data[0] <= 63:
            endpoint.receive_dtls(data)
        else:
            endpoint.leg.receive(data)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` is true; for as long as a slow machine may take."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)
