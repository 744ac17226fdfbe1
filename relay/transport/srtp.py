"""SRTP in place (RFC 3711, RFC 7714): the one file that knows pylibsrtp's private binding.

`pylibsrtp.Session.protect` copies in and out, refuses more than 1356 bytes and raises on a
replayed packet; the functions below it work on a buffer of ours and return a status.
"""

from __future__ import annotations

from typing import Any, Final

from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from ..stats import DropReason

Context = Any
"""libsrtp's `srtp_t`."""

PROFILES: Final = {
    "aead-aes-256-gcm": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "aead-aes-128-gcm": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "aes128-cm-sha1-80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "aes128-cm-sha1-32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}

WINDOW: Final = 1024
"""Packets that may come late and still be new; the default of 128 is a tenth of a second."""

MAX_TRAILER: Final = 20
"""Bytes that `protect_rtcp` adds at most: a tag of 16 and the index of 4. Without MKI."""

# The hot path calls these with pointers into an arena: (context, packet, length) → status,
# `length` being read and written. 0 is success.
protect: Final = lib.srtp_protect
unprotect: Final = lib.srtp_unprotect
unprotect_rtcp: Final = lib.srtp_unprotect_rtcp

# srtp_err_status_auth_fail, _replay_fail and _replay_old of srtp.h, which the binding leaves out.
_DROPS: Final = {
    7: DropReason.AUTHENTICATION,
    9: DropReason.REPLAYED,
    10: DropReason.TOO_OLD,
}


def get_drop_reason(status: int) -> DropReason:
    """Under which name a packet that libsrtp refused is counted."""
    return _DROPS.get(status, DropReason.SRTP)


class Srtp:
    """One direction of a transport's SRTP and SRTCP.

    `session` is a pylibsrtp session, as aiortc's RTCDtlsTransport makes them. `context` is
    what the functions above take; it is valid as long as this object lives.
    """

    __slots__ = ("_length", "_session", "context")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.context: Context = session._srtp[0]
        self._length = ffi.new("int *")

    @classmethod
    def from_key(cls, profile: str, key: bytes, *, inbound: bool) -> Srtp:
        """One of `PROFILES` by name; `key` is the master key followed by the master salt.

        Raises ValueError on a key that is too short, KeyError on an unknown profile.
        """
        policy = Policy(
            key=key,
            ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=PROFILES[profile],
        )
        policy.allow_repeat_tx = True  # a retransmission without RTX is the same packet again
        policy.window_size = WINDOW
        return cls(Session(policy))

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """An encrypted copy of a compound packet; None if libsrtp refuses it."""
        memory = ffi.new("char[]", len(packet) + MAX_TRAILER)
        ffi.memmove(memory, packet, len(packet))
        self._length[0] = len(packet)
        if lib.srtp_protect_rtcp(self.context, memory, self._length):
            return None
        return bytes(ffi.buffer(memory, self._length[0]))
