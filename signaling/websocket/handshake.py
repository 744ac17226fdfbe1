"""The opening handshake of RFC 6455 seen from a server: what is asked for, and who may ask.

Pure: header values in, the value to answer with out, or a `Refusal` that says which HTTP status.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping

# RFC 6455, 1.3: "the Globally Unique Identifier (GUID, [RFC4122])
# '258EAFA5-E914-47DA-95CA-C5AB0DC85B11' in string form".
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Refusal(Exception):
    """The handshake is not accepted: an HTTP status, a stable code and a text for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def accept_upgrade(headers: Mapping[str, str]) -> str:
    """Check a client's handshake and return the Sec-WebSocket-Accept value. Raises Refusal.

    `headers` has to look names up whatever their case.
    """
    if "websocket" not in _tokens(headers.get("Upgrade", "")):
        raise Refusal(426, "upgrade-required", "This address speaks WebSocket only.")
    if "upgrade" not in _tokens(headers.get("Connection", "")):
        raise Refusal(400, "bad-request", "The Connection header has to name upgrade.")
    # RFC 6455, 4.2.2: "If this version does not match a version understood by the server, the
    # server MUST abort the WebSocket handshake described in this section and instead send an
    # appropriate HTTP error code (such as 426 Upgrade Required)".
    if headers.get("Sec-WebSocket-Version", "").strip() != "13":
        raise Refusal(426, "upgrade-required", "Only WebSocket version 13 is spoken here.")
    key = headers.get("Sec-WebSocket-Key", "").strip()
    # RFC 6455, 4.2.1: "A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4
    # of [RFC4648]) value that, when decoded, is 16 bytes in length."
    try:
        nonce = base64.b64decode(key.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        nonce = b""
    if len(nonce) != 16:
        raise Refusal(400, "bad-request", "Sec-WebSocket-Key has to be 16 bytes in base64.")
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _GUID).digest()).decode("ascii")


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def check_origin(origin: str | None, host: str, allowed: Collection[str]) -> None:
    """Let in pages of our own and of `allowed` origins (`*`: of all). Raises Refusal.

    A browser always names the page's origin; a request without one is no page's, so nobody's
    cookies or network position are being borrowed. Schemes are not compared: behind a proxy that
    ends TLS they differ.
    """
    if origin is None or "*" in allowed:
        return
    origin = origin.strip().lower()
    if origin in {entry.lower().rstrip("/") for entry in allowed}:
        return
    scheme, _, address = origin.partition("://")
    suffix = _DEFAULT_PORTS.get(scheme)
    if suffix is not None and address:
        ours = host.strip().lower()
        if address.removesuffix(suffix) == ours.removesuffix(suffix):
            return
    raise Refusal(403, "forbidden", "Pages of this origin may not connect (--allow-origin).")
