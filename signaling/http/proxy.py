"""Who is on the other side of a proxy: X-Forwarded-For and -Proto, from those one trusts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# More hops than any deployment has; a longer list is an attack on the parser.
MAX_HOPS = 16

# A path of plain segments, without a slash at its end.
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read CIDR blocks or single addresses. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def find_client(remote: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of the client.

    `remote` is the socket's peer, `forwarded_for` the header's lines as they came. The
    list is read from its end, where our own proxy wrote, up to the first address that
    is no trusted proxy: everything before that is the client's own invention.
    """
    if not is_trusted(remote, trusted):
        return remote
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",")][-MAX_HOPS:]
    client = remote
    for hop in reversed(hops):
        address = _parse(hop)
        if address is None:
            break  # what a trusted proxy was told by somebody else, and passed on
        client = address
        if not is_trusted(address, trusted):
            break
    return client


def find_scheme(remote: str, forwarded_proto: str | None, trusted: Sequence[Network]) -> str | None:
    """Return "http" or "https" as the nearest proxy says, or None where none is believed."""
    if forwarded_proto is None or not is_trusted(remote, trusted):
        return None
    scheme = forwarded_proto.rpartition(",")[2].strip().lower()
    return scheme if scheme in ("http", "https") else None


def find_prefix(remote: str, forwarded_prefix: str | None, trusted: Sequence[Network]) -> str:
    """Return the path below which the nearest proxy shows us, without a slash at its end.

    It goes into URLs that clients are sent to, so that only plain paths are believed.
    """
    if forwarded_prefix is None or not is_trusted(remote, trusted):
        return ""
    prefix = forwarded_prefix.strip().rstrip("/")
    return prefix if _PREFIX.fullmatch(prefix) else ""


def _parse(hop: str) -> str | None:
    """Some proxies add the port: 192.0.2.1:4711 or [2001:db8::1]:4711."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether `address` is one of our proxies'."""
    if not trusted:
        return False
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in trusted)
