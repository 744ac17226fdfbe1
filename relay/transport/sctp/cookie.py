"""The State Cookie (RFC 9260, 5.1.3): what an INIT ACK's sender does not remember, signed."""

from __future__ import annotations

import hmac
from struct import Struct
from typing import Final, NamedTuple

from .packet import MalformedSctp

LIFETIME: Final = 60.0
"""Seconds; RFC 9260, 16: Valid.Cookie.Life."""

_SIGNATURE_SIZE: Final = 32
_COOKIE: Final = Struct("!dIIIIIHHBII")


class Cookie(NamedTuple):
    """Both sides' beginnings. Ties are the tags of the association that a restart replaces."""

    created: float
    local_tag: int
    remote_tag: int
    local_tsn: int
    remote_tsn: int
    window: int
    outbound: int
    inbound: int
    features: int
    local_tie: int
    remote_tie: int


def sign(cookie: Cookie, key: bytes) -> bytes:
    """Return the cookie as it is sent."""
    content = _COOKIE.pack(*cookie)
    return hmac.digest(key, content, "sha256") + content


def parse_cookie_untrusted(data: bytes, key: bytes, now: float) -> Cookie:
    """Return what was signed with `key` not too long ago. Raise MalformedSctp."""
    signature, content = data[:_SIGNATURE_SIZE], data[_SIGNATURE_SIZE:]
    if len(content) != _COOKIE.size:
        raise MalformedSctp("cookie length")
    if not hmac.compare_digest(hmac.digest(key, content, "sha256"), signature):
        raise MalformedSctp("cookie signature")
    cookie = Cookie(*_COOKIE.unpack(content))
    if not 0 <= now - cookie.created <= LIFETIME:
        raise MalformedSctp("cookie age")
    return cookie
