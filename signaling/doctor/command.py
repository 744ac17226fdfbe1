"""The command line of the doctor: which checks, in which order, shown how."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TextIO

import aiohttp
import msgspec

from ..access.turn import make_credentials, parse_url
from ..settings.arguments import Parser, read_file
from ..settings.config import Limits
from ..settings.setting import ConfigError
from . import machine, proxy, report
from . import server as server_checks
from .relay import Visit, examine_relay
from .report import Finding
from .turn import TurnError, try_turn

CREDENTIAL_LIFE = 300  # seconds; longer than the checks take


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m signaling doctor",
        description="Says what will not work in a deployment, and what to do about it. Run it"
        " on the server for its limits, and from elsewhere for what its users meet.",
        epilog="Exit status: 0 calls will work, 1 something is to repair, 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--url", help="Address of the server, such as https://call.example.org.")
    parser.add_argument("--ca", metavar="FILE", help="PEM file of a private authority to trust.")
    parser.add_argument("--cert", metavar="FILE", help="A client's certificate to show, PEM.")
    parser.add_argument("--key", metavar="FILE", help="The key of that certificate.")
    parser.add_argument(
        "--idle",
        type=float,
        default=proxy.IDLE,
        metavar="SECONDS",
        help="How long a WebSocket is left alone to see whether it is cut. Default: %(default)g",
    )
    parser.add_argument("--token", help="A token for --room, where the server needs one.")
    parser.add_argument(
        "--room",
        default="doctor",
        help="The room in which the relay is tried, with two bots. Default: doctor",
    )
    parser.add_argument(
        "--turn-url",
        action="append",
        default=[],
        metavar="URL",
        help="A TURN server to try; repeatable. By default those that the server gives out.",
    )
    parser.add_argument(
        "--turn-secret-file", metavar="FILE", help="The secret that coturn has, for --turn-url."
    )
    parser.add_argument(
        "--max-connections",
        type=int,
        default=Limits().max_connections,
        help="What this machine has to carry. Default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="A JSON array instead of lines.")
    return parser


def run(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:  # noqa: ARG001
    """Check, print, and return the exit status. Raises ConfigError for wrong usage."""
    options = make_parser().parse_args(arguments)
    examination = Examination(options)
    return asyncio.run(_report(examination, as_json=options.json, out=sys.stdout))


async def _report(examination: Examination, *, as_json: bool, out: TextIO) -> int:
    findings: list[Finding] = []
    async for finding in examination.examine():
        findings.append(finding)
        if not as_json:
            print(report.format_line(finding, colour=out.isatty()), file=out, flush=True)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(findings)).decode(), file=out)
    else:
        print(report.format_summary(findings), file=out)
    return report.exit_code(findings)


class Examination:
    """The checks that the options ask for. Raises ConfigError where an option is wrong."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        try:
            self._server = server_checks.Server(options.url) if options.url else None
            self._turn = [parse_url(url) for url in options.turn_url]
        except ValueError as error:
            raise ConfigError(f"doctor: {error}") from None
        self._context = self._make_context()
        self._secret = self._read_secret()

    def _make_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._options.ca)
        except (OSError, ssl.SSLError):
            raise ConfigError(f"doctor: --ca: cannot read {self._options.ca}") from None
        if self._shown is not None:
            try:
                context.load_cert_chain(*self._shown)
            except (OSError, ssl.SSLError):
                text = "doctor: --cert, --key: not a certificate and its key in PEM form"
                raise ConfigError(text) from None
        return context

    @property
    def _shown(self) -> tuple[str, str] | None:
        """Files of the client's certificate and key. Raises ConfigError."""
        cert, key = self._options.cert, self._options.key
        if (cert is None) != (key is None):
            raise ConfigError("doctor: --cert and --key are given together")
        return None if cert is None else (cert, key)

    def _read_secret(self) -> str:
        path = self._options.turn_secret_file
        if path is None:
            if self._turn:
                raise ConfigError("doctor: --turn-url needs --turn-secret-file")
            return ""
        return read_file("doctor: --turn-secret-file", path).strip()

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield findings as they come, from what everything needs to what few need."""
        yield machine.check_open_files(self._options.max_connections)
        yield machine.check_udp_buffers()
        visit = Visit()
        if self._server is not None:
            async for finding in self._examine_server(self._server, visit):
                yield finding
        for url, username, credential in self._list_turn(visit):
            yield await self._check_turn(url, username, credential)

    def _list_turn(self, visit: Visit) -> Iterator[tuple[str, str, str]]:
        """URL, user name and password: as told, or as the server tells its clients."""
        if self._options.turn_url:
            username, credential = make_credentials(
                self._secret, "doctor", expires=int(time.time()) + CREDENTIAL_LIFE
            )
            for url in self._options.turn_url:
                yield url, username, credential
            return
        for server in visit.ice_servers:
            for url in server.urls:
                if parse_url(url).needs_credentials:
                    yield url, server.username, server.credential

    async def _examine_server(
        self, server: server_checks.Server, visit: Visit
    ) -> AsyncIterator[Finding]:
        reachable = await server_checks.check_port(server)
        yield reachable
        yield server_checks.check_origin(server)
        if reachable.status is report.Status.FAILURE:
            return
        certificate = await server_checks.check_certificate(
            server,
            now=datetime.datetime.now(datetime.UTC),
            authority=self._options.ca,
            shown=self._shown,
        )
        yield certificate
        if certificate.status is report.Status.FAILURE:
            if not certificate.says.startswith("The certificate"):
                return  # nothing answers, or not to us
            # What is wrong with it has been said: look for what else is.
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        connector = aiohttp.TCPConnector(ssl=self._context)
        timeout = aiohttp.ClientTimeout(total=server_checks.PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            found = await server_checks.check_http(server, session, wall=time.time())
            for finding in found:
                yield finding
            if found[0].status is report.Status.FAILURE and len(found) == 1:
                return
            async for finding in self._examine_ways(server, visit, session):
                yield finding

    async def _examine_ways(
        self, server: server_checks.Server, visit: Visit, session: aiohttp.ClientSession
    ) -> AsyncIterator[Finding]:
        """What a proxy may get in the way of, and then a call."""
        yield await proxy.check_forwarding(server, session)
        yield await proxy.check_hubs(server, session)
        yield await proxy.check_body_limit(server, session)
        through = await server_checks.check_websocket(server, session)
        yield through
        if through.status is report.Status.FAILURE:
            return
        options = self._options
        quiet = asyncio.create_task(proxy.check_idle(server, session, options.idle))
        try:
            async for finding in examine_relay(
                server, visit, room=options.room, token=options.token, context=self._context
            ):
                yield finding
            if visit.joined:
                yield proxy.check_keys(server, anyone=options.token is None)
                offered = any(
                    parse_url(url).needs_credentials for s in visit.ice_servers for url in s.urls
                )
                yield proxy.check_turn_offered(server, offered=offered)
            yield await quiet
        finally:
            quiet.cancel()

    async def _check_turn(self, text: str, username: str, credential: str) -> Finding:
        try:
            relayed = await try_turn(parse_url(text), username, credential, context=self._context)
        except TurnError as error:
            return report.failure("turn", f"{text}: {error.problem}.", f"{error.advice}.")
        url = parse_url(text)
        if url.scheme == "turns":
            found = await server_checks.check_certificate(
                server_checks.Server(f"https://{url.host}:{url.port}"),
                now=datetime.datetime.now(datetime.UTC),
                authority=self._options.ca,
                check="turn",
            )
            if found.status is not report.Status.OK:
                return msgspec.structs.replace(found, says=f"{text}: {found.says}")
        return report.ok("turn", f"{text}: a packet passed through {relayed}.")
