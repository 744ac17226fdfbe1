"""DTLS-SRTP handshakes: the one file that knows aiortc's private names.

aiortc's RTCDtlsTransport runs over a stand-in for the ICE transport that it expects; once
the keys are there, media never passes through it.
"""

from __future__ import annotations

from relay.sdp.description import Fingerprint


class Certificate:
    """A self-signed certificate, one for each worker. `fingerprint` is its SHA-256 digest."""

    def __init__(self) -> None:
        raise NotImplementedError

    fingerprint: Fingerprint
