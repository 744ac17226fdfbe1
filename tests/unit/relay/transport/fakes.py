"""Fakes of what surrounds a transport: the socket, the media, and a client's STUN checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aioice import stun

from relay.transport.ice import Address
from relay.transport.srtp import Srtp


def make_address(number: int, host: str = "192.0.2.1") -> Address:
    return Address(f"{host} {number}".encode())


def unpack_address(address: Address) -> tuple[str, int]:
    host, port = address.decode().split()
    return host, int(port)


def make_check(
    username: str,
    pwd: str,
    *,
    nominate: bool = False,
    transaction_id: bytes | None = None,
    controlling: bool = True,
    fingerprint: bool = True,
) -> bytes:
    """A client's Binding request, written by aioice."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id)
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 2130706431
    if controlling:
        message.attributes["ICE-CONTROLLING"] = 7
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(pwd.encode())
    if not fingerprint:
        del message.attributes["FINGERPRINT"]
    return bytes(message)


def make_counter_token() -> Any:
    """Stands for random text: the length asked for, different each time."""
    numbers = count(1)
    return lambda length: str(next(numbers)).rjust(length, "x")


@dataclass
class FakeNetwork:
    usernames: dict[str, Any] = field(default_factory=dict)
    addresses: dict[Address, Any] = field(default_factory=dict)
    sent: list[tuple[bytes, Address]] = field(default_factory=list)

    def add(self, username: str, endpoint: Any) -> None:
        self.usernames[username] = endpoint

    def remove(self, username: str) -> None:
        del self.usernames[username]

    def latch(self, address: Address, endpoint: Any) -> None:
        self.addresses[address] = endpoint

    def unlatch(self, address: Address, endpoint: Any) -> None:
        assert self.addresses.pop(address) is endpoint

    def send(self, data: bytes, address: Address) -> None:
        self.sent.append((data, address))


@dataclass
class FakeLeg:
    keys: tuple[Srtp, Srtp] | None = None
    address: Address | None = None
    heard_at: float = float("-inf")
    name: str = "p_1/publish"

    def connect(self, rx: Srtp, tx: Srtp) -> None:
        self.keys = (rx, tx)

    def set_address(self, address: Address) -> None:
        self.address = address
