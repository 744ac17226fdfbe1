"""Socket addresses as the kernel writes them, and as people and Python do."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any, Final

from ..transport.ice import Address

_SOCKADDR_IN = struct.Struct("=HH4s8x")
_SOCKADDR_IN6 = struct.Struct("=HHI16sI")
_MAPPED: Final = bytes(10) + b"\xff\xff"


def pack_address(host: str, port: int, family: int) -> Address:
    """A numeric host as a socket of `family` names it: IPv4 is mapped on an IPv6 socket.

    Raises ValueError on what is not an IP address or cannot be reached from that family.
    """
    ip = ipaddress.ip_address(host.partition("%")[0])
    nport = socket.htons(port)
    if family == socket.AF_INET:
        if ip.version != 4:
            raise ValueError(f"{host} is not an IPv4 address")
        return Address(_SOCKADDR_IN.pack(socket.AF_INET, nport, ip.packed))
    raw = ip.packed if ip.version == 6 else _MAPPED + ip.packed
    return Address(_SOCKADDR_IN6.pack(socket.AF_INET6, nport, 0, raw, 0))


def unpack_address(address: Address) -> tuple[str, int]:
    """Host and port; an IPv4-mapped IPv6 address is given as plain IPv4."""
    if len(address) == _SOCKADDR_IN.size:
        _, nport, raw = _SOCKADDR_IN.unpack(address)
    else:
        _, nport, _, raw, _ = _SOCKADDR_IN6.unpack(address)
        if raw.startswith(_MAPPED):
            raw = raw[12:]
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), socket.ntohs(nport)


def sockaddr(address: Address) -> tuple[Any, ...]:
    """The address as Python's socket functions want it for the family it was made for."""
    if len(address) == _SOCKADDR_IN.size:
        return unpack_address(address)
    _, nport, flow, raw, scope = _SOCKADDR_IN6.unpack(address)
    return socket.inet_ntop(socket.AF_INET6, raw), socket.ntohs(nport), flow, scope


def pack_sockaddr(name: tuple[Any, ...], family: int) -> Address:
    if family == socket.AF_INET:
        raw = socket.inet_aton(name[0])
        return Address(_SOCKADDR_IN.pack(socket.AF_INET, socket.htons(name[1]), raw))
    raw = socket.inet_pton(socket.AF_INET6, name[0].partition("%")[0])
    return Address(
        _SOCKADDR_IN6.pack(
            socket.AF_INET6, socket.htons(name[1]), socket.htonl(name[2]), raw, name[3]
        )
    )


def get_name_length(sock: socket.socket) -> int:
    """Bytes of an address of the socket's family."""
    return _SOCKADDR_IN.size if sock.family == socket.AF_INET else _SOCKADDR_IN6.size
