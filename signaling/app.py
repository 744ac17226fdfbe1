"""One server: its parts wired, started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aiohttp import web

import relay.config
from relay.process.node import Node

from . import clustering
from .access.credentials import Credentials
from .access.tokens import Access
from .http.door import Door, RequestLog
from .http.guests import Guests
from .http.listener import bind
from .http.proxy import parse_networks
from .http.routes import Routes
from .http.tls import list_addresses, make_context, reload_context, stamp_files
from .http.whip import Denial, Whip
from .hub.hub import Hub, notify_nobody
from .logs import Log
from .metrics import Metrics
from .protocol.errors import ProtocolError
from .relaynode import Receive, Relays
from .settings.config import Config, is_local
from .webhooks.notifier import Notifier
from .webhooks.outbox import parse_secret
from .websocket.connection import Connections
from .websocket.connection import Hub as HubOrFront

# How exactly the hub's timers are kept, and how soon one is seen that is set meanwhile.
# All of them are of seconds.
TICK = 0.1
LOOK = 0.5
# How often the certificate's files are looked at. Seconds; they change every two months.
CERTIFICATE_CHECK = 30.0
# What is still open this long after everything was told to end, is cut. Seconds.
SHUTDOWN_TIMEOUT = 2.0
# How long what is left of a refused request's body is read, so that the refusal arrives. Seconds.
LINGERING = 2.0
# The largest body of an HTTP request: an SDP for WHIP. Bytes.
MAX_BODY = 256 * 1024

_log = Log(__name__)


class Server:
    """A hub with its door. `start`, then `drain`, then `stop`."""

    def __init__(
        self,
        config: Config,
        *,
        static: Path | None = None,
        certificate_check: float = CERTIFICATE_CHECK,
    ) -> None:
        self.config = config
        self._certificate_check = certificate_check
        self.metrics = Metrics()
        self._tls, self.fingerprint = make_context(config)
        self.credentials = Credentials(config, time.time)
        self.relays = Relays()
        self.notifier = self._make_notifier()
        self.cluster = None if config.redis_url is None else clustering.join(config)
        self.hub = self._make_hub()
        self.relays.bind(self.hub.receive_relay)
        self.metrics.add_sampler(self._sample_guard)
        self.metrics.add_collector(self.relays.collect)
        loop = asyncio.get_running_loop()
        front: HubOrFront = self.hub
        if self.cluster is not None:
            self.cluster.bind(self.hub)
            self.metrics.add_collector(self.cluster.collect)
            front = self.cluster.front
        self.connections = Connections(front, config.limits, self.metrics, loop)
        self.routes = Routes(
            config=config,
            hub=self.hub,
            connections=self.connections,
            metrics=self.metrics,
            readiness=self.find_faults,
            credentials=self.credentials,
            static=static,
        )
        self._runner = self._make_runner()
        self._listeners: list[asyncio.AbstractServer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.sockets: list[socket.socket] = []

    # -- Wiring -------------------------------------------------------------------------

    def _make_hub(self) -> Hub:
        return Hub(
            self.config,
            self.metrics,
            relays=self.relays,
            clock=time.monotonic,
            wall=time.time,
            token=lambda: secrets.token_urlsafe(16),
            ice_servers=self.credentials.ice_servers,
            authorize=self._authorize_join,
            invite=self.credentials.mint_invitation,
            soon=asyncio.get_running_loop().call_soon,
            notify=notify_nobody if self.notifier is None else self.notifier.notify,
            journal=None if self.cluster is None else self.cluster.journal,
        )

    def _make_notifier(self) -> Notifier | None:
        if not self.config.webhook_url:
            return None
        notifier = Notifier(
            self.config.webhook_url,
            parse_secret(self.config.webhook_secret or ""),
            clock=time.monotonic,
            wall=time.time,
            jitter=random.random,
            token=lambda: secrets.token_urlsafe(16),
        )
        self.metrics.add_collector(notifier.collect)
        return notifier

    def _sample_guard(self) -> None:
        guard, metrics = self.hub.guard, self.metrics
        metrics.limited, metrics.bans = dict(guard.refused), guard.bans
        metrics.banned = guard.banned(time.monotonic())
        metrics.knocking = len(self.hub.entrance)
        metrics.waiting = len(self.hub.turns)

    @property
    def _authorize_join(self) -> Callable[[str | None, str], Access] | None:
        return self.credentials.authorize_join if self.credentials.needs_tokens else None

    def _make_runner(self) -> web.AppRunner:
        app = web.Application(client_max_size=MAX_BODY)
        self.routes.add_to(app)
        if self.config.relay_workers:
            self._make_whip().add_to(app)
        return web.AppRunner(
            app,
            access_log=None,
            logger=RequestLog("signaling.http.door"),
            handle_signals=False,
            keepalive_timeout=self.config.limits.handshake_timeout,
            lingering_time=LINGERING,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )

    def _make_whip(self) -> Whip:
        whip: Whip
        guests = Guests(
            self.hub,
            self.relays,
            forget=lambda guest: whip.forget(guest),
            authorize=self._authorize_join,
            ice_servers=self.credentials.ice_servers,
            find_address=self.routes.address.get,
        )
        whip = Whip(guests, token=lambda: secrets.token_urlsafe(16), explain=_explain_refusal)
        return whip

    def _make_node(self, on_event: Receive) -> Node:
        config = relay.config.Config(
            port=self.port if self.config.relay_port is None else self.config.relay_port,
            workers=self.config.relay_workers,
            hosts=self.config.host,
            public_ips=self.config.public_ip,
            max_video_bitrate=self.config.max_bitrate,
            max_audio_bitrate=self.config.max_sound_bitrate,
            max_participant_bitrate=self.config.max_participant_bitrate,
            log_format=self.config.log_format,
            log_level=self.config.log_level,
        )
        return Node(config, on_event=on_event)

    def find_faults(self) -> Iterator[str]:
        """What keeps the server from being ready, beside draining."""
        if self.config.relay_workers and not self.relays.available:
            yield "relay"

    # -- Life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises ConfigError where an address cannot be had."""
        self.sockets = bind(self.config.host, self.config.port)
        if self.notifier is not None:
            await self.notifier.start()
        if self.config.relay_workers:
            # Before the first client is let in: the connections that come wait meanwhile.
            await self.relays.start(self._make_node)
        if self.cluster is not None:
            await clustering.start(self.cluster, self.config, self.list_urls()[0])
        await self._runner.setup()
        assert self._runner.server is not None
        door = self.routes.door = Door(
            self._runner.server,
            self.config.limits,
            self.metrics,
            trusted=parse_networks(self.config.trusted_proxy),
            loop=asyncio.get_running_loop(),
        )
        for sock in self.sockets:
            self._listeners.append(await door.listen(sock, self._tls))
        self._tasks = [
            asyncio.create_task(self.connections.run_sweeps()),
            asyncio.create_task(door.run_sweeps()),
            asyncio.create_task(self._keep_time()),
            asyncio.create_task(self._watch_certificate()),
        ]

    async def _keep_time(self) -> None:
        """Run the hub's timers. A look now and then costs less than to re-arm at each message."""
        due: float | None = None
        while True:
            wait = LOOK if due is None else due - time.monotonic()
            await asyncio.sleep(min(LOOK, max(TICK, wait)))
            if self.cluster is not None and not self.cluster.may_speak():
                continue
            due = self.hub.get_timer()
            now = time.monotonic()
            if due is not None and due <= now:
                try:
                    self.hub.handle_timer(now)
                except Exception:
                    # A fault of ours must not end all the others' timers with this one.
                    _log.exception("a timer failed")

    async def _watch_certificate(self) -> None:
        """Load a renewed certificate without being told."""
        known = stamp_files(self.config)
        while self._tls is not None and known:
            await asyncio.sleep(self._certificate_check)
            found = stamp_files(self.config)
            if found != known and reload_context(self._tls, self.config):
                known = found

    def reload(self) -> None:
        """Read keys, secrets and certificates again; nobody's connection notices."""
        self.credentials.reload()
        if self._tls is not None:
            reload_context(self._tls, self.config)

    async def drain(self) -> None:
        """Take nobody in, tell all clients to go elsewhere, and wait for them to be gone."""
        self.routes.draining = True
        self._stop_listening()
        _log.info("draining", extra={"connections": len(self.connections)})
        self.hub.drain()
        if not await self.connections.wait_closed(self.config.drain_timeout):
            _log.warning("cut off", extra={"connections": len(self.connections)})
        # Sessions end with their server; whoever is told of rooms hears that these have ended.
        for room in self.hub.list_rooms():
            self.hub.end_room(room)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    async def stop(self) -> None:
        """End everything at once; idempotent."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self.cluster is not None:
            await self.cluster.stop()
        await self.connections.abort_all()
        await self._runner.cleanup()
        await self.relays.stop()
        if self.notifier is not None:
            await self.notifier.stop()

    # -- Addresses ----------------------------------------------------------------------

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    def list_urls(self) -> list[str]:
        """Where a browser finds the page, this machine's own name for itself first."""
        hosts: list[str] = []
        for sock in self.sockets:
            host = sock.getsockname()[0]
            if host in ("0.0.0.0", "::"):
                version = 6 if ":" in host else 4
                hosts += ["localhost", *(a for a in list_addresses() if _version(a) == version)]
            else:
                hosts.append("localhost" if is_local(host) else host)
        named = [f"[{host}]" if ":" in host else host for host in dict.fromkeys(hosts)]
        return [f"{self.scheme}://{host}:{self.port}/" for host in named]


def _explain_refusal(error: Exception) -> Denial | None:
    if isinstance(error, ProtocolError):
        return Denial(error.kind.status, error.code, error.message)
    return None


def _version(address: str) -> int:
    return 6 if ":" in address else 4


async def run(config: Config, announce: Callable[[Server], None]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Raises ConfigError before it serves."""
    raise_file_limit()
    server = Server(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            # Asked twice: at once, and without tidying up.
            os._exit(1)
        stopping.set()

    try:
        await server.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        tune_collector()
        announce(server)
        await stopping.wait()
        await server.drain()
    finally:
        await server.stop()
    return 0


def raise_file_limit() -> None:
    """Each connection is a file; what this process may have, it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tune_collector() -> None:
    """Have the garbage collector leave alone what lives as long as the process, and run seldom.

    Connections hold no cycles once they are closed; a full collection with 10,000 of them open
    takes tens of milliseconds, in which nothing is relayed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def check_secure(server: Server) -> str | None:
    """A hint where browsers will not give out a camera at one of the addresses."""
    if server.scheme == "http":
        far = [url for url in server.list_urls() if "//localhost" not in url]
        if far:
            return (
                f"Browsers allow camera and microphone only over HTTPS: at {far[0]} they will not"
                " work. Start with --tls self-signed, or with --tls-cert and --tls-key."
            )
    return None
