"""DTLS-SRTP handshakes: the one file that knows aiortc's private names.

aiortc's RTCDtlsTransport runs over a stand-in for the ICE transport that it expects; once
the keys are there, media never passes through it. It is the one part of a transport that
is asyncio: its retransmission timers run in a task that `Dtls` owns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, cast

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCIceTransport
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from OpenSSL import SSL

from ..sdp.description import Fingerprint
from ..stats import DropReason
from .srtp import Srtp

logger = logging.getLogger(__name__)

Role = Literal["client", "server"]

# Datagrams waiting for the handshake's task. A flight is at most some eight of them; more
# come only from a flood, or once the peer sends application data that nobody reads.
MAX_QUEUE: Final = 64

MAX_ATTEMPTS: Final = 8  # handshakes begun anew before it counts as failed

MAX_RECORD: Final = 16 * 1024 + 256  # bytes of a record, encrypted
MAX_EARLY: Final = 8  # datagrams of application data kept while the handshake ends
MAX_RECORDS: Final = 64  # of application data in one datagram; peers send one

# RFC 6347 4.1: type, version 254.x, epoch, 48-bit number, length.
RECORD_HEADER: Final = 13
# From the cheapest to compute: GCM needs one pass, and 128 bits two thirds of the rounds.
PROFILE_ORDER: Final = (
    b"SRTP_AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80",
)
# What OpenSSL does safely and peers have: forward secrecy, with ECDSA as browsers, or with RSA as
# many programs sign it. aiortc's own list leaves out RSA, and AES with 256 bits in GCM. CBC last.
CIPHERS: Final = (
    b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)


def ignore(_data: bytes) -> None:
    """Throw application data away, for which nobody waits."""


class Certificate:
    """A self-signed certificate, one for each worker. `fingerprint` is its SHA-256 digest.

    It is valid for 30 days, though peers compare its fingerprint alone (RFC 8122 6.2).
    """

    def __init__(self) -> None:
        self._rtc = _RtcCertificate.generateCertificate()
        digests = {f.algorithm: f.value for f in self._rtc.getFingerprints()}
        self.fingerprint = Fingerprint("sha-256", digests["sha-256"])


class _RtcCertificate(RTCCertificate):
    """One that makes its SSL context once, for all its handshakes, and with more ciphers."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            self._context.set_cipher_list(CIPHERS)
        return self._context


class Dtls:
    """One peer's handshake, and the end that it may announce.

    `send` takes each outgoing datagram. `on_connected` is called once, with the SRTP of both
    directions; `on_closed` once if it ends by itself: after it was connected by the peer's
    close_notify, before that because the handshake failed: it gets the reason, in words. After
    `close` neither is called.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        send: Callable[[bytes], None],
        on_connected: Callable[[Srtp | None, Srtp | None], None],
        on_closed: Callable[[str], None],
        on_data: Callable[[bytes], None] = ignore,
    ) -> None:
        self._wire = _Wire(send)
        self._send_datagram = send
        self._on_data = on_data
        self._early: list[bytes] = []  # application data that overtook the handshake's task
        self._connected = False
        self._fault = ""  # why a handshake failed
        self._certificate = certificate
        self._rtc = self._make_rtc()
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def fault(self) -> str:
        """The reason why the last attempt failed, in words; "" if none has."""
        return self._rtc.fault or self._fault

    @property
    def started(self) -> bool:
        """Return whether `start` was called."""
        return self._task is not None

    def start(self, role: Role, fingerprints: Sequence[Fingerprint]) -> None:
        """Shake hands with the peer whose certificate has one of `fingerprints`."""
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in fingerprints]
        )
        self._task = asyncio.get_running_loop().create_task(self._run(role, parameters))

    def receive(self, data: bytes) -> DropReason | None:
        """Take a datagram, before or after `start`; returns why it was dropped, if it was."""
        if is_application_data(data):
            return self._receive_application(data) if self._connected else self._keep(data)
        if not looks_like_dtls(data):
            return DropReason.MALFORMED
        return None if self._wire.put(data) else DropReason.FLOOD

    def send(self, data: bytes) -> None:
        """Encrypt one packet of application data, and send it; dropped unless connected."""
        ssl = self._rtc._ssl
        if not self._connected or self._closed or ssl is None:
            return
        try:
            ssl.send(data)
            self._send_datagram(ssl.bio_read(MAX_RECORD))
        except SSL.Error as error:
            logger.debug("DTLS could not send: %s", type(error).__name__)

    def _keep(self, data: bytes) -> DropReason | None:
        if not self.started or self._closed or len(self._early) >= MAX_EARLY:
            return DropReason.MALFORMED
        self._early.append(data)
        return None

    def _receive_application(self, data: bytes) -> DropReason | None:
        """Decrypt at once, without the handshake's task, which does the same for the rest."""
        ssl = self._rtc._ssl
        if self._closed or ssl is None:
            return None
        ssl.bio_write(data)
        read = False
        for _ in range(MAX_RECORDS):
            try:
                plain = ssl.recv(MAX_RECORD)
            except SSL.WantReadError:
                break
            except SSL.Error:
                # A goodbye among them comes again through the task, which ends everything.
                return None if read else DropReason.AUTHENTICATION
            read = True
            self._on_data(plain)
        return None if read else DropReason.AUTHENTICATION

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
                self._connected = True
                self._on_connected(*self._rtc.take_keys())
                early, self._early = self._early, []
                for data in early:
                    self._receive_application(data)
            if pump is not None:
                await asyncio.gather(pump, return_exceptions=True)
        except Exception as error:
            # Whatever a peer sends, it ends its own handshake and nothing more.
            self._fault = type(error).__name__
            logger.debug("DTLS ended by %s", self._fault)
        if not self._closed:
            self._closed = True
            self._on_closed(self.fault or "no reason known")

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
            self._fault = self.fault
            self._rtc = self._make_rtc()

    def _make_rtc(self) -> _Rtc:
        # RTCDtlsTransport wants of its transport what _Wire has, and nothing else.
        rtc = _Rtc(cast(RTCIceTransport, self._wire), [self._certificate._rtc])
        rtc._srtp_profiles = _order_profiles(SRTP_PROFILES)
        return rtc


class _Rtc(RTCDtlsTransport):
    """One that also serves peers without media, which agree on no SRTP profile, and that knows
    why it failed."""

    fault = ""

    async def _do_handshake(self) -> None:
        ssl = self._ssl
        assert ssl is not None
        self._ssl = cast(SSL.Connection, _Noted(ssl, self._note))
        try:
            await super()._do_handshake()
        finally:
            self._ssl = ssl

    def _note(self, error: SSL.Error) -> None:
        self.fault = _describe(error) or self.fault

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        super()._validate_peer_identity(remoteParameters)
        if self.state == "failed":
            self.fault = "another certificate than announced"

    def _setup_srtp(self) -> None:
        if self._ssl is not None and self._ssl.get_selected_srtp_profile():
            super()._setup_srtp()

    def take_keys(self) -> tuple[Srtp | None, Srtp | None]:
        """Return the SRTP of both directions, if there is any."""
        if self._rx_srtp is None or self._tx_srtp is None:
            return None, None
        return Srtp(self._rx_srtp), Srtp(self._tx_srtp)


class _Noted:
    """An SSL connection during its handshake, whose errors are noted."""

    def __init__(self, ssl: SSL.Connection, note: Callable[[SSL.Error], None]) -> None:
        self._ssl = ssl
        self._note = note

    def do_handshake(self) -> None:
        with self._noting():
            self._ssl.do_handshake()

    def recv(self, size: int) -> bytes:
        """aiortc goes on with a handshake by this, and passes over what it raises."""
        with self._noting():
            return self._ssl.recv(size)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except (SSL.WantReadError, SSL.ZeroReturnError):
            raise
        except SSL.Error as error:
            self._note(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ssl, name)


def _describe(error: SSL.Error) -> str:
    """OpenSSL's words for an error, if it has any: fixed ones, nothing that a peer wrote."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in entries if isinstance(entry, tuple) and entry]
    return ", ".join(dict.fromkeys(reasons))


class _Wire:
    """A stand-in for RTCIceTransport, with what RTCDtlsTransport uses of it.

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


def is_application_data(data: bytes) -> bool:
    """Return whether a datagram begins with a record of application data."""
    return len(data) > RECORD_HEADER and data[0] == 23 and data[1] == 0xFE


def looks_like_dtls(data: bytes) -> bool:
    """Return whether the first record's header is one that a DTLS peer has reason to send.

    Change of cipher, alert, handshake.
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
