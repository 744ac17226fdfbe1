"""Facts about a request: whose it is, by which way it came, which token it shows."""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import hdrs, web

from ..protocol.errors import ProtocolError
from ..settings.config import is_local

ADDRESS: Final = web.RequestKey("address", str)
"""The client's address, also behind trusted proxies."""

PREFIX: Final = web.RequestKey("prefix", str)
"""The path at which a trusted proxy shows this server, like `/tandem`; empty for the root."""

FROM_HUB: Final = web.RequestKey("from_hub", bool)
"""True where another hub of the cluster passed the request on, and has checked where it is from."""

_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def find_token(request: web.Request) -> str | None:
    """The Bearer token of a request (RFC 6750, 2.1)."""
    kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return (token.strip() or None) if kind.lower() == "bearer" else None


def is_media_path(path: str) -> bool:
    """True for WHIP and WHEP, which pages of other origins use."""
    return path.startswith(("/whip/", "/whep/"))


def is_forwarded(request: web.Request) -> bool:
    """True where a proxy says that it passed the request on."""
    return any(name in request.headers for name in _FORWARDED)


def authorize_local(request: web.Request) -> None:
    """Without keys, only this machine may administer, and no proxy or rebound name on it.

    Behind a proxy everyone's address is the proxy's, and a page whose name was made to point at
    127.0.0.1 has a Host that is not local.
    """
    if request[FROM_HUB]:
        return
    if is_forwarded(request) or not is_loopback(request.remote) or not names_this_machine(request):
        raise ProtocolError("forbidden", "Without a key, only this machine may do that.")


def names_this_machine(request: web.Request) -> bool:
    """True where the Host header is one that only this machine answers to."""
    host = strip_port(request.host).lower()
    # RFC 6761, 6.3: names below localhost. resolve to loopback, too.
    return is_local(host) or host.endswith(".localhost")


def is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def strip_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
