"""Checks of a running server from where the doctor runs: what a browser would run into."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import ipaddress
import json
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from . import report
from .report import Finding

# Let's Encrypt renews 30 days before the end: with less than half of that left it does not.
EXPIRES_SOON = datetime.timedelta(days=14)
# Tokens and TURN credentials hold for minutes and are checked with 10 s of leeway.
CLOCK_TOLERANCE = 5.0
PATIENCE = 10.0


class Server:
    """The server's address as the operator gave it, taken apart. Raises ValueError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address such as https://call.example.org")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self.local = is_local(self.host)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_local(host: str) -> bool:
    """True where the address is this machine's own and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def resolve(host: str) -> list[str]:
    """Return the host's addresses; none where the name does not resolve."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for what can be no name, like a..b
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def check_port(server: Server) -> Finding:
    """Can a TCP connection be made at all?"""
    if not await resolve(server.host):
        return report.failure(
            "port",
            f"The name {server.host} does not resolve.",
            "Add an A or AAAA record for it, or check the spelling.",
        )
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(server.host, server.port)
    except TimeoutError:
        return report.failure(
            "port",
            f"Nothing answers at {server.host}, TCP port {server.port}.",
            f"Open {server.port}/tcp in the firewall and in the cloud's security group.",
        )
    except OSError:
        return report.failure(
            "port",
            f"{server.host} refuses connections to TCP port {server.port}.",
            "Check that the server (or the proxy before it) runs, and on which address: by"
            " default it listens on localhost only (--host).",
        )
    writer.close()
    return report.ok("port", f"{server.host} answers at TCP port {server.port}.")


def check_origin(server: Server) -> Finding:
    """May a page from there use a camera? Only in a secure context (W3C Secure Contexts, 3.1)."""
    if server.secure or server.local:
        return report.ok("camera", "Browsers let a page from this address use the camera.")
    return report.failure(
        "camera",
        f"Browsers give no camera or microphone to a page from {server.url}.",
        "Serve it over HTTPS: --tls-cert and --tls-key, a proxy with TLS, or --tls self-signed"
        " to try it on the LAN.",
    )


async def check_certificate(
    server: Server,
    *,
    now: datetime.datetime,
    authority: str | None = None,
    shown: tuple[str, str] | None = None,
    check: str = "certificate",
) -> Finding:
    """Chain, name, expiry, and whether clients need one. `authority`: a PEM file of a private
    certificate authority; `shown`: files of the client's certificate and its key."""
    http = check == "certificate"
    finding = await _try_certificate(server, now, authority, shown, http=http)
    return msgspec.structs.replace(finding, check=check)


async def _try_certificate(
    server: Server,
    now: datetime.datetime,
    authority: str | None,
    shown: tuple[str, str] | None,
    *,
    http: bool,
) -> Finding:
    if not server.secure:
        return report.skipped("certificate", "Plain HTTP: there is no certificate.")
    context = ssl.create_default_context(cafile=authority)
    if shown is not None:
        context.load_cert_chain(*shown)
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return _explain_certificate(server, error, await _fetch_certificate(server))
    except (ssl.SSLError, OSError, TimeoutError):
        return report.failure(
            "certificate",
            f"{server.host}:{server.port} does not speak TLS.",
            "Check that the address is https and not http, and which port has TLS.",
        )
    tls = writer.get_extra_info("ssl_object")
    leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    refused = http and await _is_refused(reader, writer, server.host)
    writer.close()
    if refused:
        return report.failure(
            "certificate",
            "The server asks clients for a certificate"
            + (", and does not take this one." if shown else "."),
            "Give the doctor one with --cert and --key; browsers need one installed, too.",
        )
    left = leaf.not_valid_after_utc - now
    until = leaf.not_valid_after_utc.date()
    if left < EXPIRES_SOON:
        return report.warning(
            "certificate",
            f"The certificate ends in {left.days} days, on {until}.",
            "Renew it; the server loads the new file by itself. Check that renewal is automatic.",
        )
    return report.ok("certificate", f"The certificate is trusted and good until {until}.")


async def _is_refused(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
) -> bool:
    """True where the server ends TLS 1.3 for want of a client's certificate. The handshake has
    succeeded for us by then; what comes is an alert, or with some servers no answer at all."""
    writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(PATIENCE):
            head = await reader.read(1024)
    except TimeoutError:
        return False
    except OSError:  # ssl.SSLError is one, too
        return True
    # nginx: 400 No required SSL certificate was sent.
    return not head or (b" 400 " in head[:16] and b"certificate" in head.lower())


async def _fetch_certificate(server: Server) -> x509.Certificate | None:
    """The certificate as it is, unchecked, to say what is wrong with it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    except (OSError, TimeoutError):
        return None
    leaf = x509.load_der_x509_certificate(
        writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    )
    writer.close()
    return leaf


def _explain_certificate(
    server: Server, error: ssl.SSLCertVerificationError, leaf: x509.Certificate | None
) -> Finding:
    # The X509_V_ERR_… numbers of OpenSSL's x509_vfy.h.
    expired, self_signed, not_yet, hostname, address = 10, (18, 19), 9, 62, 64
    if error.verify_code == expired:
        until = f" on {leaf.not_valid_after_utc.date()}" if leaf else ""
        return report.failure(
            "certificate", f"The certificate ended{until}.", "Renew it, and see why nothing did."
        )
    if error.verify_code == not_yet:
        return report.failure(
            "certificate", "The certificate does not hold yet.", "Check both machines' clocks."
        )
    if error.verify_code in (hostname, address):
        return report.failure(
            "certificate",
            f"The certificate is not for {server.host}, but for {_names(leaf)}.",
            f"Get one whose names include {server.host}, or use the name that it has.",
        )
    if error.verify_code in self_signed and leaf is not None and leaf.issuer == leaf.subject:
        return report.failure(
            "certificate",
            "The certificate is self-signed: browsers warn, and bots refuse it.",
            "Good enough to try on a LAN; otherwise get one from an authority, for example with"
            " certbot.",
        )
    return report.failure(
        "certificate",
        "The certificate's chain does not lead to an authority that this machine knows.",
        "Give the server the full chain (fullchain.pem, not cert.pem); for a private authority"
        " tell the doctor with --ca.",
    )


def _names(leaf: x509.Certificate | None) -> str:
    if leaf is None:
        return "another name"
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in san]
    except x509.ExtensionNotFound:
        names = [
            str(attribute.value)
            for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return ", ".join(names[:5]) or "no name at all"


async def check_http(
    server: Server, session: aiohttp.ClientSession, *, wall: float
) -> list[Finding]:
    """Is it ours, is it ready, do the clocks agree, may the page use the camera?"""
    try:
        async with session.get(f"{server.url}/readyz") as response:
            text, status = await response.text(), response.status
            landed = response.url
            date = response.headers.get("Date", "")
        async with session.get(f"{server.url}/") as response:
            policy = response.headers.get("Permissions-Policy", "")
            page = response.status
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError):
        return [
            report.failure(
                "server",
                f"{server.url} does not answer HTTP.",
                "See the findings above; behind a proxy, see its error log.",
            )
        ]
    if not server.secure and _speaks_tls(status, text):
        return [
            report.failure(
                "server",
                f"{server.url} is an address for HTTP, and that port speaks HTTPS.",
                f"Write https://{server.host}:{server.port}.",
            )
        ]
    if not server.secure and landed.scheme == "https":
        return [
            report.failure(
                "server",
                f"{server.url} leads to {landed.origin()}.",
                "Give that address to the doctor, and to people.",
            )
        ]
    return [
        _explain_ready(status, text),
        _compare_clocks(date, wall),
        _explain_policy(page, policy),
    ]


def _speaks_tls(status: int, text: str) -> bool:
    """Ours says so in JSON, nginx in HTML."""
    return status == 400 and ("https-needed" in text or "plain HTTP request was sent" in text)


def _explain_ready(status: int, text: str) -> Finding:
    try:
        answer = json.loads(text)
        ready = isinstance(answer, dict) and status == 200
    except ValueError:
        answer, ready = None, False
    if ready:
        return report.ok("server", "The server is ready.")
    if isinstance(answer, dict) and status == 503:
        reasons = json.dumps(answer.get("reasons", answer), ensure_ascii=False)
        return report.failure(
            "server", f"The server is not ready: {reasons}", "The server's log says more."
        )
    return report.failure(
        "server",
        f"What answers there is not this server (status {status}).",
        "Check the address; behind a proxy, that every path is passed on.",
    )


def _compare_clocks(date: str, wall: float) -> Finding:
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return report.skipped("clock", "The server does not tell its time.")
    off = theirs - wall
    if abs(off) <= CLOCK_TOLERANCE:
        return report.ok("clock", "The server's clock and this machine's agree.")
    return report.warning(
        "clock",
        f"The server's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this"
        " machine's: tokens and TURN credentials may be refused.",
        "Run a time service on both (systemctl enable --now systemd-timesyncd).",
    )


def _explain_policy(status: int, policy: str) -> Finding:
    if status != 200:
        return report.failure(
            "page", f"The page answers with status {status}.", "Check that the proxy passes on /."
        )
    if policy and ("camera=()" in policy or "microphone=()" in policy):
        return report.failure(
            "page",
            "The header Permissions-Policy forbids the page camera or microphone.",
            "A proxy replaces the server's header: remove its own.",
        )
    return report.ok("page", "The page is served, and may ask for camera and microphone.")


async def check_websocket(server: Server, session: aiohttp.ClientSession) -> Finding:
    """Does a WebSocket get through, proxies included, and do messages in both directions?"""
    refused = report.failure(
        "websocket",
        "No WebSocket gets through.",
        "A proxy has to pass on Upgrade and Connection (nginx: proxy_http_version 1.1 and"
        " proxy_set_header; see the README).",
    )
    try:
        async with asyncio.timeout(PATIENCE):
            async with session.ws_connect(
                f"{server.url}/ws?room=doctor", origin=server.origin
            ) as socket:
                await socket.send_str('{"type":"heartbeat","id":"doctor","timestamp":0}')
                reply = await socket.receive_json()
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 403:
            return report.failure(
                "websocket",
                f"The server refuses pages from {server.origin} (status 403).",
                f"Start it with --allow-origin {server.origin}, or let the proxy pass on Host.",
            )
        return refused
    except (aiohttp.ClientError, TimeoutError, OSError, TypeError, ValueError):
        return refused
    if reply.get("id") != "doctor":
        return refused
    return report.ok("websocket", "A WebSocket gets through, in both directions.")
