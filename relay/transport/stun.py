"""STUN Binding requests read, and answered, with short-term credentials (RFC 8489).

Nothing else of STUN: an ICE-lite agent sends no requests and so expects no responses.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |0 0|     STUN Message Type     |         Message Length        |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                         Magic Cookie                          |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                     Transaction ID (96 bits)                  |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |         Type                  |            Length             |  then attributes,
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  each padded to
    |                         Value (variable)                ....  |  four bytes
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

HEADER: Final = struct.Struct("!HHI12s")
ATTRIBUTE: Final = struct.Struct("!HH")
COOKIE: Final = 0x2112A442

BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101

USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
XOR_MAPPED_ADDRESS: Final = 0x0020
PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
FINGERPRINT: Final = 0x8028

INTEGRITY_SIZE: Final = 24  # attribute header and SHA-1
FINGERPRINT_SIZE: Final = 8  # attribute header and CRC-32
FINGERPRINT_XOR: Final = 0x5354554E
MAX_USERNAME: Final = 513  # bytes: RFC 8489 14.3, "less than 509", and room for the liberal


class MalformedStun(ValueError):
    """Not a Binding request that can be read."""


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """A request whose MESSAGE-INTEGRITY is not verified yet: see `verify`.

    `local` and `remote` are the two halves of USERNAME as we see them: our ufrag, theirs.
    `signed` is what MESSAGE-INTEGRITY covers, its length field set as it must be for that.
    """

    transaction_id: bytes
    local: str
    remote: str
    use_candidate: bool
    priority: int
    fingerprint: bool
    signed: bytes
    integrity: bytes

    def verify(self, pwd: str) -> bool:
        """Return whether the sender knows `pwd`, our ICE password."""
        expected = hmac.digest(pwd.encode(), self.signed, "sha1")
        return hmac.compare_digest(expected, self.integrity)


def parse_request_untrusted(data: bytes) -> BindingRequest:
    """Read a Binding request; raises `MalformedStun` and nothing else.

    USERNAME and MESSAGE-INTEGRITY are required, a FINGERPRINT that is there must be right.
    What follows MESSAGE-INTEGRITY is not authenticated and ignored, FINGERPRINT excepted.
    """
    if len(data) < HEADER.size:
        raise MalformedStun("shorter than a STUN header")
    message_type, length, cookie, transaction_id = HEADER.unpack_from(data)
    if message_type != BINDING_REQUEST or cookie != COOKIE:
        raise MalformedStun("not a Binding request")
    if length != len(data) - HEADER.size or length % 4:
        raise MalformedStun("length field is wrong")

    username: bytes | None = None
    signed = integrity = b""
    use_candidate = fingerprint = False
    priority = 0
    position = HEADER.size
    while position < len(data):
        kind, size = ATTRIBUTE.unpack_from(data, position)
        start = position + ATTRIBUTE.size
        value = data[start : start + size]
        if len(value) != size:
            raise MalformedStun("attribute runs over the end")
        if kind == FINGERPRINT:
            if size != 4 or int.from_bytes(value, "big") != _crc(data[:position]):
                raise MalformedStun("FINGERPRINT does not match")
            fingerprint = True
            # RFC 8489 14.7: "When present, the FINGERPRINT attribute MUST be the last".
            if start + size != len(data):
                raise MalformedStun("FINGERPRINT is not last")
        elif integrity:
            pass
        elif kind == MESSAGE_INTEGRITY:
            if size != INTEGRITY_SIZE - ATTRIBUTE.size:
                raise MalformedStun("MESSAGE-INTEGRITY has a wrong size")
            integrity = bytes(value)
            signed = _with_length(data[:position], INTEGRITY_SIZE)
        elif kind == USERNAME:
            username = bytes(value)
        elif kind == USE_CANDIDATE:
            use_candidate = True
        elif kind == PRIORITY and size == 4:
            priority = int.from_bytes(value, "big")
        position = start + (size + 3 & ~3)

    if username is None or not integrity:
        raise MalformedStun("USERNAME or MESSAGE-INTEGRITY is missing")
    local, remote = _split_username(username)
    return BindingRequest(
        transaction_id, local, remote, use_candidate, priority, fingerprint, signed, integrity
    )


def build_response(request: BindingRequest, pwd: str, host: str, port: int) -> bytes:
    """Answer a verified request with the address it came from.

    FINGERPRINT is put in where the request had it. With local ufrags of 16 characters the
    response is then never larger than the request: 68 or 76 bytes at most, over IPv6.
    """
    address = _pack_host(host)
    pad = COOKIE.to_bytes(4, "big") + request.transaction_id
    mapped = struct.pack("!BBH", 0, 1 if len(address) == 4 else 2, port ^ (COOKIE >> 16)) + bytes(
        a ^ b for a, b in zip(address, pad, strict=False)
    )
    message = HEADER.pack(BINDING_SUCCESS, 0, COOKIE, request.transaction_id)
    message += ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(mapped)) + mapped
    message = _with_length(message, INTEGRITY_SIZE)
    digest = hmac.digest(pwd.encode(), message, "sha1")
    message += ATTRIBUTE.pack(MESSAGE_INTEGRITY, len(digest)) + digest
    if request.fingerprint:
        crc = _crc(message)
        message = _with_length(message, FINGERPRINT_SIZE)
        message += ATTRIBUTE.pack(FINGERPRINT, 4) + crc.to_bytes(4, "big")
    return message


@lru_cache(1024)  # a client checks every few seconds, from the same address
def _pack_host(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def _split_username(username: bytes) -> tuple[str, str]:
    """RFC 8445 7.2.2: "<receiver's fragment>:<sender's fragment>"."""
    if len(username) > MAX_USERNAME:
        raise MalformedStun("USERNAME is too long")
    try:
        local, _, remote = username.decode("ascii").partition(":")
    except UnicodeDecodeError:
        raise MalformedStun("USERNAME is not ASCII") from None
    return local, remote


def _with_length(message: bytes, more: int) -> bytes:
    """Set the length field as if `more` bytes followed (RFC 8489 14.5)."""
    length = len(message) - HEADER.size + more
    return bytes(message[:2]) + length.to_bytes(2, "big") + bytes(message[4:])


def _crc(message: bytes) -> int:
    """FINGERPRINT of a message that ends here: CRC-32 with the attribute counted in."""
    return binascii.crc32(_with_length(message, FINGERPRINT_SIZE)) ^ FINGERPRINT_XOR
