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


def make_context(config: Config) -> tuple[ssl.SSLContext | None, str | None]:
    """The context to serve with, None for plain HTTP, and a made certificate's fingerprint.

    Raises ConfigError where a file cannot be read or does not hold what it should.
    """
    if config.tls_cert is not None and config.tls_key is not None:
        return _require_clients(load_context(config.tls_cert, config.tls_key), config), None
    if config.tls == "self-signed":
        names = ["localhost", socket.gethostname()]
        now = datetime.datetime.now(datetime.UTC)
        certificate = make_certificate(names, [*list_addresses(), "127.0.0.1", "::1"], now)
        return _require_clients(serve_made(certificate), config), certificate.fingerprint
    return None, None


def serve_made(certificate: Certificate) -> ssl.SSLContext:
    """A server's context with a certificate that was made in memory."""
    with _as_files(certificate) as (chain, key):
        return load_context(chain, key)


def _require_clients(context: ssl.SSLContext, config: Config) -> ssl.SSLContext:
    """Have clients show a certificate, where the configuration names who signs them."""
    if config.tls_client_ca is not None:
        try:
            context.load_verify_locations(config.tls_client_ca)
        except OSError as error:  # ssl.SSLError is one, too
            reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(
                f"--tls-client-ca: cannot read {config.tls_client_ca}: {reason}"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def stamp_files(config: Config) -> tuple[int, ...]:
    """What changes when the certificate's files do; empty where there are none."""
    if config.tls_cert is None or config.tls_key is None:
        return ()
    try:
        return tuple(os.stat(path).st_mtime_ns for path in (config.tls_cert, config.tls_key))
    except OSError:
        return (0,)


def reload_context(context: ssl.SSLContext, config: Config) -> bool:
    """Give new connections the certificate as it is on disk now; whether that worked.

    Both files are tried first: renewal writes one after the other, and half of each is worse
    than the old pair.
    """
    if config.tls_cert is None or config.tls_key is None:
        return True
    try:
        load_context(config.tls_cert, config.tls_key)
        context.load_cert_chain(config.tls_cert, config.tls_key, password="")
    except (ConfigError, OSError, ValueError) as error:
        _log.error("certificate not reloaded", extra={"reason": str(error)})
        return False
    _log.info("certificate loaded", extra={"file": config.tls_cert})
    return True


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
