"""SRTP in place: the one file that knows pylibsrtp's private binding."""

from __future__ import annotations

from pylibsrtp import Session


class Srtp:
    """One direction of a transport's SRTP and SRTCP.

    `session` is a pylibsrtp session (aiortc's RTCDtlsTransport makes them: `_rx_srtp`,
    `_tx_srtp`; its policies allow repeats and a window of 1024).
    """

    def __init__(self, session: Session) -> None:
        raise NotImplementedError

    @classmethod
    def from_key(cls, profile: str, key: bytes, *, inbound: bool) -> Srtp:
        """`profile`: "aead-aes-256-gcm", "aead-aes-128-gcm", "aes128-cm-sha1-80"; `key` is master key + salt."""
        raise NotImplementedError

    def protect_rtcp(self, packet: bytes) -> bytes:
        raise NotImplementedError
