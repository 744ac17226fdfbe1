"""Time-limited TURN credentials, as coturn's `use-auth-secret` expects them.

The scheme is "A REST API For Access To TURN Services"
(draft-uberti-behave-turn-rest-00): the server and coturn share one secret, and a
client gets a user name that says until when it holds, with its HMAC as password.
Nothing is stored, and a leaked credential ends by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

from ..protocol.messages import IceServer

# RFC 7064 and RFC 7065: scheme ":" host [ ":" port ] [ "?transport=" transport ].
_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


class TurnUrl(msgspec.Struct, frozen=True):
    """A parsed STUN or TURN URI; `port` is the scheme's default where none is given."""

    scheme: str
    host: str
    port: int
    transport: str

    @property
    def needs_credentials(self) -> bool:
        return self.scheme in ("turn", "turns")


def parse_url(text: str) -> TurnUrl:
    """Raise ValueError, with a sentence for the operator, where `text` is no such URI."""
    match = _URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise ValueError(
            f"{text!r} is not a STUN or TURN URI such as turn:turn.example.org:3478?transport=udp"
        )
    secure = match["scheme"] in ("stuns", "turns")
    if match["transport"] and match["scheme"] in ("stun", "stuns"):
        raise ValueError(f"{text!r}: a STUN URI takes no transport (RFC 7064)")
    transport = match["transport"] or ("tcp" if secure else "udp")
    port = int(match["port"] or (5349 if secure else 3478))
    return TurnUrl(match["scheme"], match["host"].strip("[]"), port, transport)


def make_credentials(secret: str, identity: str, *, expires: int) -> tuple[str, str]:
    """Return user name and password, good until `expires` (seconds since the epoch)."""
    # ":" separates the two parts of the user name; an identity must not bring one of its own.
    username = f"{expires}:{identity.replace(':', '_')}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def ice_servers(
    urls: Sequence[str], secret: str, identity: str, *, wall: float, ttl: int
) -> list[IceServer]:
    """Return what a client puts into `iceServers`; the credentials hold for `ttl` seconds.

    TURN servers are left out where there is no secret: without credentials they are of no use.
    """
    stun = [url for url in urls if not parse_url(url).needs_credentials]
    turn = [url for url in urls if parse_url(url).needs_credentials]
    servers = [IceServer(urls=stun)] if stun else []
    if turn and secret:
        username, credential = make_credentials(secret, identity, expires=int(wall) + ttl)
        servers.append(IceServer(urls=turn, username=username, credential=credential))
    return servers
