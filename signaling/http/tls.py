"""TLS contexts: from certificate files, or with a certificate made in memory for this machine."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..logs import Log
from ..settings.config import Config
from ..settings.setting import ConfigError

# Browsers refuse certificates that are valid for longer than 398 days.
VALIDITY = datetime.timedelta(days=365)
# A phone's clock may be behind ours.
CLOCK_SKEW = datetime.timedelta(days=1)

_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, PEM, and its SHA-256 fingerprint in the form `AB:CD:…`."""

    chain: bytes
    key: bytes
    fingerprint: str


class Tls:
    """The context that a server serves with, None for plain HTTP, and its renewal.

    `fingerprint` is a made certificate's. Raises ConfigError where a file cannot be read or does
    not hold what it should.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made = self._make_certificate()
        self.fingerprint = None if self._made is None else self._made.fingerprint
        self.context = self._make_context()
        self.end = self._find_end()
        """When the certificate ends, in seconds since the epoch; None without one."""

    def _make_certificate(self) -> Certificate | None:
        if self._config.tls != "self-signed":
            return None
        names = ["localhost", socket.gethostname()]
        now = datetime.datetime.now(datetime.UTC)
        return make_certificate(names, [*list_addresses(), "127.0.0.1", "::1"], now)

    def _make_context(self) -> ssl.SSLContext | None:
        config = self._config
        if self._made is not None:
            context = serve_made(self._made)
        elif config.tls_cert is not None and config.tls_key is not None:
            context = load_context(config.tls_cert, config.tls_key)
        else:
            return None
        return _require_clients(context, config.tls_client_ca)

    def _find_end(self) -> float | None:
        if self._made is not None:
            chain = self._made.chain
        elif self.context is not None and self._config.tls_cert is not None:
            with open(self._config.tls_cert, "rb") as file:
                chain = file.read()
        else:
            return None
        return x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()

    def stamp_files(self) -> tuple[int, ...]:
        """What changes when the files do; empty where there are none."""
        config = self._config
        paths = [p for p in (config.tls_cert, config.tls_key, config.tls_client_ca) if p]
        try:
            return tuple(os.stat(path).st_mtime_ns for path in paths)
        except OSError:
            return (0,)

    def reload(self) -> bool:
        """Serve new connections by the files as they are now; False where they do not do.

        Renewal writes one file after the other, and half of each is worse than the old ones.
        """
        if not self.stamp_files():
            return True
        try:
            self.context = self._make_context()
            self.end = self._find_end()
        except ConfigError as error:
            _log.error("certificate not reloaded", extra={"reason": str(error)})
            return False
        _log.info("certificate loaded", extra={"file": self._config.tls_cert})
        return True


def serve_made(certificate: Certificate) -> ssl.SSLContext:
    """A server's context with a certificate that was made in memory."""
    with _as_files(certificate) as (chain, key):
        return load_context(chain, key)


def _require_clients(context: ssl.SSLContext, authority: str | None) -> ssl.SSLContext:
    """Have clients show a certificate, where it is configured who signs them."""
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except OSError as error:  # ssl.SSLError is one, too
            reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"--tls-client-ca: cannot read {authority}: {reason}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_context(chain: str, key: str) -> ssl.SSLContext:
    """A server's context from PEM files. Raises ConfigError."""
    for flag, path in (("--tls-cert", chain), ("--tls-key", key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{flag}: cannot read {path}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An encrypted key would make OpenSSL ask on the terminal; an empty password refuses it.
        context.load_cert_chain(chain, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not a certificate and its key in PEM form"
        raise ConfigError(
            f"--tls-cert, --tls-key: {chain} and {key} do not work together:"
            f" {str(reason).lower().replace('_', ' ')}"
        ) from None
    return context


def make_certificate(
    names: Sequence[str], addresses: Sequence[str], now: datetime.datetime
) -> Certificate:
    """A self-signed certificate for this machine's names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tandem (self-signed)")])
    hosts: list[x509.GeneralName] = [
        x509.DNSName(name) for name in dict.fromkeys(names) if name.isascii()
    ]
    hosts += [x509.IPAddress(ipaddress.ip_address(a)) for a in dict.fromkeys(addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def list_addresses() -> list[str]:
    """The addresses of this machine's interfaces but loopback and link-local ones."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if not address.is_loopback and not address.is_link_local:
                found.append(str(address))
    return found


@contextlib.contextmanager
def _as_files(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """Paths under which OpenSSL can read the certificate; nothing reaches a disk on Linux."""
    if hasattr(os, "memfd_create"):
        with contextlib.ExitStack() as stack:
            paths = []
            for content in (certificate.chain, certificate.key):
                file = stack.enter_context(os.fdopen(os.memfd_create("tandem-tls"), "wb"))
                file.write(content)
                file.flush()
                paths.append(f"/proc/self/fd/{file.fileno()}")
            yield paths[0], paths[1]
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("chain.pem", "key.pem")]
        for path, content in zip(paths, (certificate.chain, certificate.key), strict=True):
            with open(path, "xb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
                file.write(content)
        yield paths[0], paths[1]
