"""Real DTLS peers over a wire in memory."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable

from aiortc.rtcdtlstransport import SRTP_PROFILES
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from pylibsrtp._binding import ffi

from relay.sdp.description import Fingerprint
from relay.transport.dtls import Certificate, Dtls, Role
from relay.transport.srtp import Srtp, unprotect_rtcp

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

RTCP = bytes.fromhex("80c90001 00000001".replace(" ", ""))  # an empty receiver report


class Peer:
    """One side: a `Dtls`, what it was told, and what it sent."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.certificate = certificate or Certificate()
        self.sent: list[bytes] = []
        self.deliver: Callable[[bytes], object] = lambda data: None
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""
        self.srtp: tuple[Srtp, Srtp] | None = None
        self.dtls = Dtls(
            self.certificate,
            send=self.send,
            on_connected=self.receive_keys,
            on_closed=self.receive_end,
        )

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        self.deliver(data)

    def receive_keys(self, rx: Srtp, tx: Srtp) -> None:
        self.srtp = (rx, tx)
        self.connected.set()

    def receive_end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()

    def start(self, role: Role, other: Fingerprint) -> None:
        self.dtls.start(role, [other])


class RawClient:
    """OpenSSL's own DTLS client, that splits its flights into datagrams of `mtu` bytes."""

    def __init__(self, mtu: int) -> None:
        self.certificate = Certificate()
        context = self.certificate._rtc._create_ssl_context(SRTP_PROFILES)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        self.ssl = SSL.Connection(context)
        self.ssl.set_ciphertext_mtu(mtu)
        # Makes the hello as long as a browser's with post-quantum keys.
        self.ssl.set_alpn_protos([bytes([65 + number]) * 100 for number in range(12)])
        self.ssl.set_connect_state()
        self.done = False

    def step(self) -> list[bytes]:
        """Go on with the handshake; returns the datagrams to send, one record each."""
        try:
            self.ssl.do_handshake()
            self.done = True
        except SSL.WantReadError:
            pass
        try:
            flight = self.ssl.bio_read(65536)
        except SSL.WantReadError:
            return []
        return split_records(flight)


def split_records(data: bytes) -> list[bytes]:
    """RFC 6347 4.1: a record's length stands in bytes 11 and 12 of its header of 13."""
    records = []
    while data:
        size = 13 + int.from_bytes(data[11:13], "big")
        records.append(data[:size])
        data = data[size:]
    return records


def join(a: Peer, b: Peer) -> None:
    """Let what each sends reach the other."""
    loop = asyncio.get_running_loop()
    a.deliver = lambda data: loop.call_soon(b.dtls.receive, data)
    b.deliver = lambda data: loop.call_soon(a.dtls.receive, data)


def decrypts(tx: Srtp, rx: Srtp) -> bool:
    """Whether what one side protects the other side can read."""
    packet = tx.protect_rtcp(RTCP)
    assert packet is not None
    buffer, length = ffi.new("char[]", packet), ffi.new("int *", len(packet))
    return not unprotect_rtcp(rx.context, buffer, length)


class RawPeer:
    """OpenSSL's own DTLS peer, in either role, with a key and ciphers of choice."""

    def __init__(self, key: PrivateKey, ciphers: bytes, *, server: bool) -> None:
        certificate = sign_certificate(key)
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.fingerprint = Fingerprint("sha-256", digest)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *args: True)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_cipher_list(ciphers)
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
        self.ssl = SSL.Connection(context)
        if server:
            self.ssl.set_accept_state()
        else:
            self.ssl.set_connect_state()
        self.done = False
        self.failed = False

    def receive(self, data: bytes) -> None:
        self.ssl.bio_write(data)

    def step(self) -> list[bytes]:
        """Go on with the handshake; returns the datagrams to send."""
        try:
            if not self.done:
                self.ssl.do_handshake()
                self.done = True
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.failed = True
        try:
            return split_records(self.ssl.bio_read(65536))
        except SSL.WantReadError:
            return []


def sign_certificate(key: PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
    )
    return builder.sign(key, hashes.SHA256())
