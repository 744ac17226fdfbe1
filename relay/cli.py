"""`python -m relay`: relay workers alone, for hubs on other machines that find them by Redis."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import secrets
import signal
import ssl
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import logs
from .config import Config
from .process.serving import Serving

USAGE_ERROR: Final = 2
VALIDITY: Final = datetime.timedelta(days=3650)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m relay",
        description="Media relay workers for hubs on other machines.",
        epilog="The secret may also come from the environment, RELAY_SECRET.",
    )
    add = parser.add_argument
    add("--redis-url", required=True, metavar="URL", help="Redis, by which hubs find this node.")
    add("--region", default="", help="Hubs prefer nodes of a client's region.")
    add("--listen", default="127.0.0.1", metavar="ADDRESS", help="Where hubs connect to.")
    add("--listen-port", type=int, default=0, metavar="N", help="TCP port for hubs; 0: a free one.")
    add(
        "--advertise",
        metavar="ADDRESS",
        help="The address that hubs are told; by default --listen.",
    )
    add("--host", action="append", metavar="ADDRESS", help="Where media come in. Default: 0.0.0.0")
    add("--port", type=int, default=8443, metavar="N", help="UDP port of the first worker.")
    add("--workers", type=int, default=1, metavar="N", help="Worker processes.")
    add("--public-ip", action="append", metavar="ADDRESS", help="Address that clients are told.")
    add("--secret-file", metavar="FILE", help="The cluster's secret; else the one in Redis.")
    add(
        "--drain-timeout",
        type=float,
        default=600.0,
        metavar="S",
        help="After SIGTERM. Default: 600",
    )
    add("--log-format", choices=("auto", "text", "json"), default="auto")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Serve hubs until told to stop; the exit status."""
    options = make_parser().parse_args(arguments)
    logs.configure(sys.stderr, form=options.log_format, level=options.log_level, environ=os.environ)
    secret = os.environ.get("RELAY_SECRET", "")
    try:
        from .process import registry  # noqa: F401  # only this command needs Redis

        if options.secret_file is not None:
            secret = Path(options.secret_file).read_text().strip()
    except ImportError:
        return _fail("the package redis is missing: pip install 'tandem-rtc[cluster]'")
    except OSError as error:
        return _fail(f"--secret-file: cannot read {options.secret_file}: {error.strerror}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(options, secret))


async def _run(options: argparse.Namespace, secret: str) -> int:
    from .process.registry import Registry, RelayRecord

    name = "r_" + secrets.token_urlsafe(9)
    serving: Serving | None = None
    address = ""

    def describe() -> RelayRecord | None:
        if serving is None or serving.draining or not serving.node.available:
            return None
        return RelayRecord(name, address, options.region, serving.load)

    try:
        registry = Registry(options.redis_url, describe)
        secret = secret or await registry.agree_on_secret(secrets.token_urlsafe(32))
    except ValueError as error:
        return _fail(f"--redis-url: {error}")
    except OSError as error:
        return _fail(f"no secret is given, and Redis does not tell one: {error}")
    config = Config(
        port=options.port,
        workers=options.workers,
        hosts=tuple(options.host or ("0.0.0.0",)),
        public_ips=tuple(options.public_ip or ()),
        log_format=options.log_format,
        log_level=options.log_level,
    )
    serving = Serving(config, name=name, secret=secret)
    context, certificate = make_identity()
    try:
        port = await serving.start(options.listen, options.listen_port, context, certificate)
    except OSError as error:
        await serving.stop()
        return _fail(f"--listen: {options.listen} cannot be listened on: {error.strerror}")
    host = options.advertise or options.listen
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    keeping = asyncio.create_task(registry.keep())
    print(f"Relay {name} takes rooms from hubs at {address}", flush=True)
    try:
        await _wait_for_signal()
        serving.draining = True
        await registry.renew()
        await serving.wait_empty(options.drain_timeout)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await serving.stop()
    return 0


async def _wait_for_signal() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


def make_identity() -> tuple[ssl.SSLContext, bytes]:
    """A context with a certificate made for this run, and the certificate, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tandem relay")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + VALIDITY)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        encoding = serialization.Encoding.PEM
        file.write(made.public_bytes(encoding))
        private = serialization.PrivateFormat.PKCS8
        file.write(key.private_bytes(encoding, private, serialization.NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    return context, made.public_bytes(serialization.Encoding.DER)


def _fail(text: str) -> int:
    print(f"relay: {text}", file=sys.stderr)
    return USAGE_ERROR
