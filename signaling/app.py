"""One server: its parts wired, started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

import relay.config
from relay.process.memory import Peaks, give_back
from relay.process.node import Node

from . import clustering
from .about import VERSION
from .access.credentials import Credentials
from .access.tokens import Access
from .http.elsewhere import Elsewhere, Inside
from .http.listener import Listener
from .http.middleware import RequestLog
from .http.proxy import parse_networks
from .http.routes import Routes
from .http.sockets import bind
from .http.tls import Tls, list_addresses
from .http.whip.admission import Admission
from .http.whip.routes import Whip
from .hub.delivery import Notify, notify_nobody
from .hub.hub import Hub
from .logs import Log
from .metrics import Metrics
from .relaynode import Receive, Relays
from .settings.config import Config, is_local
from .webhooks.notifier import Notifier
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
# Seconds that webhooks get to go out at the end, whatever the drain has left.
WEBHOOK_PATIENCE = 2.0
# Seconds between two looks at how late the event loop is.
LAG_CHECK = 0.25
# Seconds between two looks at whether the relay still carries media, while draining.
MEDIA_CHECK = 0.2

if TYPE_CHECKING:
    from .cluster.relays import RelayPool

_log = Log(__name__)


class Server:
    """A hub with all that is around it. `start`, then `drain`, then `stop`."""

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
        self._tls = Tls(config)
        self.credentials = Credentials(config, time.time)
        self.relays = Relays()
        self.notifier = self._make_notifier()
        self._stack = contextlib.AsyncExitStack()
        self._inside = Inside()
        self.cluster = None
        if config.redis_url is not None:
            self.cluster = clustering.join(config, self._inside.carry_out)
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
            whip=self._make_whip() if self._may_relay else None,
            static=static,
            elsewhere=self._make_elsewhere(),
            inside=None if self.cluster is None else self._inside,
        )
        self._runners: list[web.AppRunner] = []
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.sockets: list[socket.socket] = []
        self.metrics_sockets: list[socket.socket] = []

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
            notify=self._make_notify(),
            journal=None if self.cluster is None else self.cluster.journal,
        )

    def _make_elsewhere(self) -> Elsewhere | None:
        if self.cluster is None:
            return None
        return Elsewhere(self.cluster.inquiries, keyless=not self.credentials.needs_tokens)

    def _make_notify(self) -> Notify:
        events = None if self.cluster is None else self.cluster.events
        sinks = [sink.notify for sink in (self.notifier, events) if sink is not None]
        if len(sinks) < 2:
            return sinks[0] if sinks else notify_nobody

        def notify(event: str, room: str, **fields: object) -> None:
            for sink in sinks:
                sink(event, room, **fields)

        return notify

    def _make_notifier(self) -> Notifier | None:
        if not self.config.webhook_url:
            return None
        notifier = Notifier(
            self.config.webhook_url,
            lambda: self.credentials.webhook_key,
            clock=time.monotonic,
            wall=time.time,
            jitter=random.random,
            token=lambda: secrets.token_urlsafe(16),
        )
        self.metrics.add_collector(notifier.collect)
        return notifier

    def _sample_guard(self) -> None:
        guard, metrics = self.hub.addresses, self.metrics
        metrics.limited, metrics.bans = dict(guard.refused), guard.bans
        metrics.banned = guard.banned(time.monotonic())
        metrics.knocking = len(self.hub.lobby)
        limits = self.config.limits
        sockets = metrics.connections + sum(map(len, self._listeners))
        metrics.limits = {
            "connections": (metrics.connections, limits.max_connections),
            "rooms": (metrics.rooms, limits.max_rooms),
            "sockets": (sockets, limits.max_sockets),
        }
        metrics.certificate_end = self._tls.end
        metrics.waiting = len(self.hub.turns)
        metrics.descriptions = self.hub.relay_requests.descriptions.size

    @property
    def _authorize_join(self) -> Callable[[str | None, str], Access] | None:
        return self.credentials.authorize_join if self.credentials.needs_tokens else None

    def _make_whip(self) -> Whip:
        return Whip(
            lambda forget: Admission(
                self.hub, self.relays, forget=forget, authorize=self._authorize_join
            ),
            token=lambda: secrets.token_urlsafe(16),
            ice_servers=self.credentials.ice_servers,
        )

    def _make_node(self, on_event: Receive) -> Node | RelayPool:
        """The workers of this machine, in a cluster together with the nodes on others."""
        if self.cluster is None:
            return self._make_own_node(on_event)
        return clustering.make_pool(self.cluster, self.config, self._make_own_node, on_event)

    def _make_own_node(self, on_event: Receive) -> Node:
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

    @property
    def _may_relay(self) -> bool:
        """True where there are workers, or may be nodes that have some."""
        return self.config.relay_workers > 0 or self.cluster is not None

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
        if self.cluster is not None:
            await clustering.start(self.cluster, self.config, self.list_urls()[0])
        if self._may_relay:
            # Before the first client is let in: the connections that come wait meanwhile.
            await self.relays.start(self._make_node)
        listener = await self._serve(self.routes.app)
        self.routes.bind(listener)
        if self.cluster is not None:
            await self._stack.enter_async_context(self._inside.serve(self._runners[0]))
        for sock in self.sockets:
            listener.listen(sock, self._tls)
        if self.config.metrics_port is not None:
            self.metrics_sockets = bind([self.config.metrics_host], self.config.metrics_port)
            metrics_listener = await self._serve(self.routes.metrics_app)
            for sock in self.metrics_sockets:
                metrics_listener.listen(sock)
                host, port = sock.getsockname()[:2]
                _log.info("metrics served", extra={"address": host, "port": port})
        self._tasks += [
            asyncio.create_task(self.connections.run_sweeps()),
            asyncio.create_task(self.routes.foreign.run()),
            asyncio.create_task(self._keep_time()),
            asyncio.create_task(self._watch_loop()),
            asyncio.create_task(self._watch_files()),
        ]
        if self.notifier is not None:
            self.notifier.notify_server("server-started", version=VERSION)

    async def _serve(self, application: web.Application) -> Listener:
        """A listener whose sockets `application` answers."""
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=RequestLog("signaling.http"),
            handle_signals=False,
            keepalive_timeout=self.config.limits.handshake_timeout,
            lingering_time=LINGERING,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None
        listener = Listener(
            runner.server,
            self.config.limits,
            self.metrics,
            trusted=parse_networks(self.config.trusted_proxy),
            loop=asyncio.get_running_loop(),
        )
        self._listeners.append(listener)
        self._tasks.append(asyncio.create_task(listener.run_sweeps()))
        return listener

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

    async def _watch_loop(self) -> None:
        """Measure how late the event loop is, and give memory back after peaks."""
        loop = asyncio.get_running_loop()
        peaks = Peaks()
        while True:
            due = loop.time() + LAG_CHECK
            await asyncio.sleep(LAG_CHECK)
            self.metrics.observe_lag(max(0.0, loop.time() - due))
            if peaks.look(len(self.connections), loop.time()):
                give_back()

    async def _watch_files(self) -> None:
        """Load a renewed certificate without being told."""
        known = self._tls.stamp_files()
        while known:
            await asyncio.sleep(self._certificate_check)
            found = self._tls.stamp_files()
            if found != known and self._tls.reload():
                known = found

    def reload(self) -> None:
        """Read keys, secrets and certificates again; nobody's connection notices."""
        self.credentials.reload()
        self._tls.reload()

    async def drain(self) -> None:
        """Take nobody in, send all clients elsewhere, and go on relaying while they move.

        What is relayed goes on until nothing is any more, or the time is up: a client that has
        joined elsewhere ends its old transports, and one that cannot yet goes on hearing.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.drain_timeout
        self.routes.drain()
        for listener in self._listeners:
            listener.close()
        _log.info("draining", extra={"connections": len(self.connections)})
        self.hub.drain()
        if self.cluster is not None:
            await self.cluster.hand_over()
        if not await self.connections.wait_closed(self.config.drain_timeout):
            _log.warning("cut off", extra={"connections": len(self.connections)})
        # The workers tell once a second, to nobody in particular.
        while self.relays.carries_media() and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(MEDIA_CHECK)
        # Sessions end with their server; whoever is told of rooms hears that these have ended.
        for room in self.hub.list_rooms():
            self.hub.close_room(room.name)
        if self.notifier is not None:
            await self.notifier.drain(max(WEBHOOK_PATIENCE, until - loop.time()))

    async def stop(self) -> None:
        """End everything at once; idempotent."""
        for listener in self._listeners:
            await listener.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self.cluster is not None:
            await self.cluster.stop()
        await self.connections.abort_all()
        await self.routes.foreign.abort_all()
        await self._stack.aclose()
        for runner in self._runners:
            await runner.cleanup()
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
        return "https" if self._tls.context else "http"

    @property
    def fingerprint(self) -> str | None:
        """The SHA-256 of a certificate made for this run."""
        return self._tls.fingerprint

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


def _version(address: str) -> int:
    return 6 if ":" in address else 4


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
