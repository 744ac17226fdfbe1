"""One relay process: a UDP socket, the rooms that live on it, and the channel to its node.

Started by `relay.process.node` as `python -m relay.process.worker <fd> <index> <config as JSON>`;
it ends when the node says so or when the channel closes, however the node ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import secrets
import signal
import socket
import string
import sys
import time
from collections.abc import Callable
from functools import partial

import ifaddr
import msgspec
import uvloop

from .. import control, logs
from ..config import Config
from ..plane.addresses import unpack_address
from ..plane.forwarder import Forwarder
from ..plane.policing import Bitrates
from ..plane.udp import Udp, count_kernel_drops, open_socket
from ..rooms import figures
from ..rooms.router import Router
from ..rooms.site import Site
from ..stats import DropReason, Stats
from ..timers import Timers
from ..transport.dtls import Certificate
from . import lifecycle, memory
from .channel import Channel

# By its own name, also where it is the program.
log = logging.getLogger("relay.process.worker")

TICK = 0.2
"""Seconds between two looks at the rooms' timers; packets have a timer of their own, in `udp`."""

COMMANDS_TURN = 0.002
"""Seconds of one turn of the event loop that commands may take, the one that goes beyond it
included only once: then packets have theirs. The dearest takes some 3 ms."""

_ALPHABET = string.ascii_letters + string.digits
_LOSSY = (control.Speakers, control.Quality, control.WorkerMetrics)
"""Messages that the next one of their kind makes superfluous."""

EXIT_NO_SOCKET = 3


def make_token(length: int) -> str:
    """Random letters and digits: 5.95 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def make_number() -> int:
    """A random 32-bit integer."""
    return secrets.randbits(32)


def get_bind_host(hosts: tuple[str, ...]) -> str:
    """The one address to bind for these: "" (all) unless there is only one."""
    host = hosts[0] if len(hosts) == 1 else ""
    if host == "localhost":
        return "127.0.0.1"
    return "" if host in ("0.0.0.0", "::") else host


def list_candidates(config: Config, host: str, port: int, *, ipv6: bool) -> list[tuple[str, int]]:
    """The addresses that clients are told, IPv4 before IPv6."""
    if config.public_ips:
        return [(address, port) for address in config.public_ips]
    if host:
        return [(host, port)]
    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    addresses = [ipaddress.ip_address(ip if isinstance(ip, str) else ip[0]) for ip in found]
    usable = [a for a in addresses if not a.is_link_local and (ipv6 or a.version == 4)]
    loopback = [a for a in usable if a.is_loopback and a.version == 4]
    outside = sorted((a for a in usable if not a.is_loopback), key=lambda a: a.version)
    # A machine without a network can still talk to itself, and where the hub is for this machine
    # alone, some of its clients (bots, load generators) look nowhere else.
    local = not outside or all(map(_is_loopback, config.hosts))
    return [(str(a), port) for a in (*outside, *(loopback if local else ()))]


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (
        host not in ("", "0.0.0.0", "::") and ipaddress.ip_address(host).is_loopback
    )


class Worker:
    """The rooms of one process, given its socket; `emit` sends a message to the node."""

    def __init__(
        self,
        config: Config,
        sock: socket.socket,
        emit: Callable[[lifecycle.ToNode], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._emit = emit
        self._clock = clock
        self._routers: dict[str, Router] = {}
        self._timers: Timers[str] = Timers()
        """When each room's `handle_timer` is due."""
        self._flush_due: set[str] = set()
        self._stats = Stats()
        bitrates = Bitrates(
            config.max_video_bitrate, config.max_audio_bitrate, config.max_participant_bitrate
        )
        forwarder = Forwarder(stats=self._stats, bitrates=bitrates)
        self._udp = Udp(sock, forwarder, stats=self._stats, clock=clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._metrics_at = 0.0
        self._peaks = memory.Peaks()
        self._lag = 0.0
        self._cpu = 0.0
        self._cpu_used = time.process_time()
        self._cpu_at = clock()
        self.port: int = sock.getsockname()[1]
        host = get_bind_host(config.hosts)
        ipv6 = sock.family == socket.AF_INET6
        self._site = Site(
            config=config,
            forwarder=forwarder,
            network=self._udp,
            certificate=Certificate(),
            addresses=tuple(list_candidates(config, host, self.port, ipv6=ipv6)),
            stats=self._stats,
            token=make_token,
            number=make_number,
            unpack_address=unpack_address,
            timing=self,
            random=secrets.token_bytes,
        )

    @property
    def udp(self) -> Udp:
        return self._udp

    @property
    def routers(self) -> dict[str, Router]:
        return self._routers

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to read the socket and to run timers; tells the node that it is ready."""
        self._loop = loop
        self._udp.open(loop)
        self._emit(lifecycle.Ready(self.port))
        self._tick_at = loop.time()
        self._arm()

    def now(self) -> float:
        return self._clock()

    def call_at(self, at: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at `at` on the worker's clock; returns what cancels it."""
        loop = self._loop or asyncio.get_running_loop()
        return loop.call_later(max(0.0, at - self._clock()), callback).cancel

    async def close(self) -> None:
        """End every room and the socket, and wait for what belongs to them."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock()
        transports = [t for router in self._routers.values() for t in router.transports]
        for router in self._routers.values():
            router.close(now)
        self._routers.clear()
        await asyncio.gather(*(transport.wait_closed() for transport in transports))
        self._udp.close()

    def receive(self, message: lifecycle.ToWorker) -> None:
        """One command for a room. (`Stop` and `Ping` are the process's business.)"""
        if isinstance(message, lifecycle.Stop | lifecycle.Ping):
            return
        router = self._routers.get(message.room)
        if router is None:
            if not isinstance(message, control.Join):
                reason = "Nobody of that name is here."
                self._refuse(message, "unknown-participant", reason)
                return
            router = self._open_room(message.room)
        now = self._clock()
        try:
            router.receive(message, now)
        except Exception:
            self._give_up(message.room, now)
            self._refuse(message, "internal", "The relay made a mistake.")
            return
        if router.is_empty:
            del self._routers[message.room]
            self._timers.discard(message.room)
        else:
            # Later in this turn of the loop: commands that came together make one offer.
            self._flush_soon(message.room)

    def _open_room(self, room: str) -> Router:
        router = Router(room, self._site, self._emit, partial(self._wake_room, room))
        self._routers[room] = router
        return router

    def _wake_room(self, room: str) -> None:
        """Call the room's timer when it is due."""
        router = self._routers.get(room)
        timer = None if router is None else router.get_timer()
        if timer is None:
            self._timers.discard(room)
        else:
            self._timers.set(room, timer)

    def collect_metrics(self) -> control.WorkerMetrics:
        """The worker's counts and state now."""
        stats = self._stats
        stats.drops[DropReason.RECEIVE_FULL] = count_kernel_drops(self._udp.socket)
        transports: dict[control.TransportState, int] = {}
        tracks = [track for router in self._routers.values() for track in router.tracks]
        rtts = []
        receivers = [one for router in self._routers.values() for one in router.receivers]
        reception: dict[control.ReceptionState, int] = {}
        for router in self._routers.values():
            for state, count in figures.count_transports(router.transports).items():
                transports[state] = transports.get(state, 0) + count
            rtts += figures.list_rtts(router.receivers)
            for told, count in router.count_states().items():
                reception[told] = reception.get(told, 0) + count
        audio = sum(track.kind == "audio" for track in tracks)
        return control.WorkerMetrics(
            packets_in=stats.packets_in,
            bytes_in=stats.bytes_in,
            packets_out=stats.packets_out,
            bytes_out=stats.bytes_out,
            drops={reason.value: count for reason, count in stats.drops.items() if count},
            nacks_in=stats.nacks_in,
            nacks_out=stats.nacks_out,
            plis_in=stats.plis_in,
            plis_out=stats.plis_out,
            failed_handshakes=stats.failed_handshakes,
            retransmissions=stats.resent,
            probes=stats.probed,
            lines=figures.count_lines(receivers),
            reception=reception,
            parameter_sets=stats.inserted,
            rtt_ms=sum(rtts) / len(rtts) if rtts else None,
            rooms=len(self._routers),
            participants=sum(router.participant_count for router in self._routers.values()),
            tracks=control.TrackCount(audio, len(tracks) - audio),
            transports=transports,
            loop_lag=self._lag,
            cpu=self._cpu,
            overloaded=self._site.load.overloaded,
        )

    def _refuse(self, command: control.Command, code: control.RefusalCode, reason: str) -> None:
        """Answer a command that asks for something; the others want no answer."""
        match command:
            case control.GetStats():
                self._emit(control.RoomStats(command.request, []))
            case control.Publish() | control.Pull() | control.AnswerOffer():
                self._emit(control.Refused(command.request, code, reason))

    def _flush_soon(self, room: str) -> None:
        if not self._flush_due and self._loop is not None:
            self._loop.call_soon(self._flush)
        self._flush_due.add(room)

    def _flush(self) -> None:
        due, self._flush_due = self._flush_due, set()
        now = self._clock()
        for room in due:
            router = self._routers.get(room)
            try:
                if router is not None and router.flush(now):
                    self._flush_soon(room)
                self._wake_room(room)
            except Exception:
                self._give_up(room, now)

    def _give_up(self, room: str, now: float) -> None:
        """A fault of ours costs its room a new start, and no other room anything."""
        log.exception("a room failed and begins anew")
        with contextlib.suppress(Exception):
            self._routers.pop(room).close(now)
        self._timers.discard(room)
        self._emit(control.WorkerLost([room]))

    def _arm(self) -> None:
        assert self._loop is not None
        self._tick_at = max(self._tick_at + TICK, self._loop.time())
        self._timer = self._loop.call_at(self._tick_at, self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        self._lag = max(self._lag, self._loop.time() - self._tick_at)
        now = self._clock()
        for room in self._timers.take_due(now):
            try:
                if self._routers[room].handle_timer(now):
                    self._flush_soon(room)
                self._wake_room(room)
            except Exception:
                self._give_up(room, now)
        if now >= self._metrics_at:
            self._measure_load(now)
            if self._peaks.look(len(self._site.forwarder.legs), now):
                memory.give_back()
            self._metrics_at = now + self._config.metrics_interval
            self._emit(self.collect_metrics())
            self._lag = 0.0
        self._arm()

    def _measure_load(self, now: float) -> None:
        cpu = time.process_time()
        self._cpu = (cpu - self._cpu_used) / max(now - self._cpu_at, 0.001)
        self._cpu_used, self._cpu_at = cpu, now
        load = self._site.load
        if load.measure(self._lag, self._cpu):
            fields = {"loop_lag": round(self._lag, 3), "cpu": round(self._cpu, 2)}
            if load.overloaded:
                log.warning("overloaded: nobody new is taken", extra=fields)
            else:
                log.info("no longer overloaded", extra=fields)


async def run(fd: int, config: Config, index: int) -> int:
    """Serve until the node says stop or is gone; the process's exit code."""
    loop = asyncio.get_running_loop()
    host = get_bind_host(config.hosts)
    port = config.port + index if config.port else 0
    try:
        sock = open_socket(host, port)
    except OSError as error:
        log.error("UDP %s port %d can't be bound: %s", host or "*", port, error.strerror)
        socket.socket(fileno=fd).close()
        return EXIT_NO_SOCKET
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    def receive(message: lifecycle.ToWorker) -> None:
        match message:
            case lifecycle.Stop():
                ended.set()
            case lifecycle.Ping():
                emit(lifecycle.Pong())
            case _:
                worker.receive(message)

    def emit(message: lifecycle.ToNode) -> None:
        if isinstance(message, control.WorkerMetrics):
            message = msgspec.structs.replace(message, control_drops=dict(channel.dropped))
        channel.send(message, lossy=isinstance(message, _LOSSY))

    channel: Channel[lifecycle.ToWorker] = await Channel.open(
        socket.socket(fileno=fd),
        lifecycle.ToWorker,
        receive,
        lambda _fault: ended.set(),
        backpressure=True,
        turn=COMMANDS_TURN,
    )
    worker = Worker(config, sock, emit)
    worker.open(loop)
    # What was made until now stays for good; looking through it again would only delay packets.
    gc.collect()
    gc.freeze()
    await ended.wait()
    await worker.close()
    channel.close()
    return 0


def main(arguments: list[str]) -> int:
    """The process: `fd index config`."""
    fd, index = int(arguments[0]), int(arguments[1])
    config = msgspec.json.decode(arguments[2], type=Config)
    # Ctrl-C reaches the whole process group; the node decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    form, level = config.log_format, config.log_level
    logs.configure(sys.stderr, form=form, level=level, environ=os.environ, worker=index)
    try:
        return uvloop.run(run(fd, config, index))
    except BrokenPipeError:
        return 0
    except Exception:
        log.exception("a fault of the worker's own ended it")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
