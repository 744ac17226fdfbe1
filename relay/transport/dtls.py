"""DTLS-SRTP handshakes: the one file that knows aiortc's private names.

aiortc's RTCDtlsTransport runs over a stand-in for the ICE transport that it expects; once
the keys are there, media never passes through it. It is the one part of a transport that
is asyncio: its retransmission timers run in a task that `Dtls` owns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Literal, cast

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCIceTransport
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)

from ..sdp.description import Fingerprint
from ..stats import DropReason
from .srtp import Srtp

logger = logging.getLogger(__name__)

Role = Literal["client", "server"]

# Datagrams waiting for the handshake's task. A flight is at most some eight of them; more
# come only from a flood, or once the peer sends application data that nobody reads.
MAX_QUEUE: Final = 64

MAX_ATTEMPTS: Final = 8  # handshakes begun anew before it counts as failed

# RFC 6347 4.1: type, version 254.x, epoch, 48-bit number, length.
RECORD_HEADER: Final = 13
# From the cheapest to compute: GCM needs one pass, and 128 bits two thirds of the rounds.
PROFILE_ORDER: Final = (
    b"SRTP_AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80",
)


class Certificate:
    """A self-signed certificate, one for each worker. `fingerprint` is its SHA-256 digest.

    It is valid for 30 days, though peers compare its fingerprint alone (RFC 8122 6.2).
    """

    def __init__(self) -> None:
        self._rtc = RTCCertificate.generateCertificate()
        digests = {f.algorithm: f.value for f in self._rtc.getFingerprints()}
        self.fingerprint = Fingerprint("sha-256", digests["sha-256"])


class Dtls:
    """One peer's handshake, and the end that it may announce.

    `send` takes each outgoing datagram. `on_connected` is called once, with the SRTP of both
    directions; `on_closed` once if it ends by itself: after it was connected by the peer's
    close_notify, before that because the handshake failed. After `close` neither is called.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        send: Callable[[bytes], None],
        on_connected: Callable[[Srtp, Srtp], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._wire = _Wire(send)
        self._certificate = certificate
        self._rtc = self._make_rtc()
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._task is not None

    def start(self, role: Role, fingerprints: Sequence[Fingerprint]) -> None:
        """Shake hands with the peer whose certificate has one of `fingerprints`."""
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in fingerprints]
        )
        self._task = asyncio.get_running_loop().create_task(self._run(role, parameters))

    def receive(self, data: bytes) -> DropReason | None:
        """Take a datagram, before or after `start`; returns why it was dropped, if it was."""
        if not looks_like_dtls(data):
            return DropReason.MALFORMED
        return None if self._wire.put(data) else DropReason.FLOOD

    def close(self) -> None:
        """Send close_notify if there is a connection, and end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        _drive(self._rtc.stop())
        self._wire.close()

    async def wait_closed(self) -> None:
        """Wait until every task of this handshake has ended; after `close`, or `on_closed`."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, role: Role, parameters: RTCDtlsParameters) -> None:
        try:
            await self._shake_hands(role, parameters)
            pump = self._rtc._task
            if pump is not None and not self._closed:
                self._on_connected(Srtp(self._rtc._rx_srtp), Srtp(self._rtc._tx_srtp))
            if pump is not None:
                await asyncio.gather(pump, return_exceptions=True)
        except Exception as error:
            # Whatever a peer sends, it ends its own handshake and nothing more.
            logger.debug("DTLS ended by %s", type(error).__name__)
        if not self._closed:
            self._closed = True
            self._on_closed()

    async def _shake_hands(self, role: Role, parameters: RTCDtlsParameters) -> None:
        """Begin anew if it fails before the peer could prove who it is.

        Until then anyone who can send from the peer's address can spoil a handshake with one
        record, and the peer, which knows nothing of it, repeats its own.
        """
        for _ in range(MAX_ATTEMPTS):
            self._rtc._set_role(role)
            await self._rtc.start(parameters)
            if self._rtc.encrypted or self._closed:
                return
            self._rtc = self._make_rtc()

    def _make_rtc(self) -> RTCDtlsTransport:
        # RTCDtlsTransport wants of its transport what _Wire has, and nothing else.
        rtc = RTCDtlsTransport(cast(RTCIceTransport, self._wire), [self._certificate._rtc])
        rtc._srtp_profiles = _order_profiles(SRTP_PROFILES)
        return rtc


class _Wire:
    """What RTCDtlsTransport uses of an RTCIceTransport: `_recv`, `_send`, `role`.

    Once it is closed, `_recv` raises ConnectionError, which ends a handshake in any state.
    Cancelling its task does not: asyncio.wait_for swallows that when a datagram has just come.
    """

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(MAX_QUEUE + 1)
        self._send_datagram = send
        self._closed = False

    def put(self, data: bytes) -> bool:
        if self._queue.qsize() >= MAX_QUEUE:
            return False
        self._queue.put_nowait(data)
        return True

    def close(self) -> None:
        self._closed = True
        self._queue.put_nowait(b"")  # wakes whoever waits; there is always room for this one

    async def _recv(self) -> bytes:
        data = b"" if self._closed else await self._queue.get()
        if self._closed:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        self._send_datagram(data)


def looks_like_dtls(data: bytes) -> bool:
    """Whether the first record's header is one that a DTLS peer has reason to send.

    Change of cipher, alert, handshake; application data would be of data channels, which the
    relay does not have.
    """
    return (
        len(data) > RECORD_HEADER
        and 20 <= data[0] <= 22
        and data[1] == 0xFE
        and RECORD_HEADER + int.from_bytes(data[11:13], "big") <= len(data)
    )


def _order_profiles(profiles: Sequence[SRTPProtectionProfile]) -> list[SRTPProtectionProfile]:
    known = [p for p in profiles if p.openssl_profile in PROFILE_ORDER]
    return sorted(known, key=lambda p: PROFILE_ORDER.index(p.openssl_profile))


def _drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing to its end, here and now.

    RTCDtlsTransport.stop is one, over our wire: so close_notify is sent while the peer's
    address is still ours.
    """
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
