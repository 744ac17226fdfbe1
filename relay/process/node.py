"""Spawns relay workers, watches them, restarts them, and decides which one serves a room.

`Placement` is the rule and touches no process; `Node` owns the processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from .. import control
from ..config import Config
from . import lifecycle
from .channel import Channel

log = logging.getLogger(__name__)

READY_TIMEOUT = 30.0
"""Seconds a worker may take to start, imports included, on a machine that is busy."""

SILENCE_TIMEOUT = 15.0
"""Seconds without metrics, which come every second, after which a worker counts as hung."""

STOP_TIMEOUT = 3.0
"""Seconds a worker gets to close its transports before it is killed."""

EXIT_TIMEOUT = 0.5
"""Seconds between the end of a worker's channel and its exit before it is killed."""

MIN_BACKOFF = 0.05
MAX_BACKOFF = 5.0
NOBODY = -1
"""The worker of a room that was opened while there was none."""

STEADY_AFTER = 30.0
"""Seconds a worker must have run for its next restart to be quick again."""

Asking = control.Publish | control.Pull | control.AnswerOffer | control.GetStats


@dataclass(slots=True)
class _Member:
    join: control.Join
    route: control.Route | None = None


@dataclass(slots=True)
class _Room:
    worker: int
    members: dict[str, _Member] = field(default_factory=dict)


class Placement:
    """Which worker has which room, what must be told to a new one, what is still unanswered."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._up: set[int] = set()
        self._asked: dict[int, int] = {}

    @property
    def available(self) -> bool:
        return bool(self._up)

    def place(self, command: control.Command) -> int | None:
        """The worker that the command goes to; None: nobody is to get it."""
        room = self._rooms.get(command.room)
        if room is None and isinstance(command, control.Join):
            room = self._open(command.room)
        if room is None:
            return None
        match command:
            case control.Join():
                known = room.members.get(command.participant)
                route = known.route if known is not None else None
                room.members[command.participant] = _Member(command, route)
            case control.Route() if command.participant in room.members:
                room.members[command.participant].route = command
            case control.Leave():
                room.members.pop(command.participant, None)
            case control.CloseRoom():
                room.members.clear()
        if not room.members:
            self._rooms.pop(command.room, None)
        if room.worker == NOBODY:
            return None
        if isinstance(command, Asking):
            self._asked[command.request] = room.worker
        return room.worker

    def receive_reply(self, request: int) -> bool:
        """Whether this request was still open; it no longer is."""
        return self._asked.pop(request, None) is not None

    def add_worker(self, worker: int) -> None:
        self._up.add(worker)

    def remove_worker(self, worker: int) -> tuple[list[int], list[str]]:
        """The worker is gone, and so are the requests and the rooms that it had."""
        self._up.discard(worker)
        requests = [request for request, asked in self._asked.items() if asked == worker]
        for request in requests:
            del self._asked[request]
        rooms = sorted(name for name, room in self._rooms.items() if room.worker == worker)
        for name in rooms:
            del self._rooms[name]
        return requests, rooms

    def house(self) -> list[tuple[int, control.Command]]:
        """Who came while there was no worker: what is to be told to which worker now."""
        told: list[tuple[int, control.Command]] = []
        if not self._up:
            return told
        for room in self._rooms.values():
            if room.worker == NOBODY:
                room.worker = self._least_loaded()
                for member in room.members.values():
                    told.append((room.worker, member.join))
                    if member.route is not None:
                        told.append((room.worker, member.route))
        return told

    def _open(self, name: str) -> _Room:
        room = self._rooms[name] = _Room(self._least_loaded())
        return room

    def _least_loaded(self) -> int:
        load = dict.fromkeys(sorted(self._up), 0)
        for room in self._rooms.values():
            if room.worker in load:
                load[room.worker] += len(room.members) + 1
        return min(load, key=load.__getitem__, default=NOBODY)


@dataclass(slots=True)
class _Process:
    """One running worker."""

    process: asyncio.subprocess.Process
    channel: Channel[lifecycle.ToNode]
    ready: asyncio.Event
    closed: asyncio.Event
    heard: float


class Node:
    """The workers of one machine, as one relay.

    `on_event` gets what the workers tell the hub, and `WorkerLost` and `Availability`, each
    from the event loop and never from inside `send`.
    """

    def __init__(self, config: Config, *, on_event: Callable[[control.Event], None]) -> None:
        self._config = config
        self._on_event = on_event
        self._placement = Placement()
        self._processes: dict[int, _Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._told_available = False
        self._first_try: list[asyncio.Future[None]] = []
        self.metrics: dict[int, control.WorkerMetrics] = {}
        """Each running worker's latest."""
        self.ports: dict[int, int] = {}
        """UDP port of each running worker."""
        self.restarts = 0
        self.dropped: dict[str, int] = {}
        """Commands that reached no worker, by type."""

    @property
    def available(self) -> bool:
        """Whether any worker takes rooms."""
        return self._placement.available

    @property
    def pids(self) -> dict[int, int]:
        return {index: running.process.pid for index, running in self._processes.items()}

    async def start(self) -> None:
        """Start every worker; returns once each is ready or has failed for the first time."""
        loop = asyncio.get_running_loop()
        self._first_try = [loop.create_future() for _ in range(self._config.workers)]
        self._tasks = [
            loop.create_task(self._keep(index), name=f"relay-worker-{index}")
            for index in range(self._config.workers)
        ]
        if self._first_try:
            await asyncio.wait(self._first_try)

    async def stop(self) -> None:
        """Stop every worker: gracefully, then by force. Idempotent."""
        self._stopping = True
        for running in self._processes.values():
            running.channel.send(lifecycle.Stop())
        waits = [running.process.wait() for running in self._processes.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await asyncio.gather(*waits)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def send(self, command: control.Command) -> None:
        """Pass a command to the room's worker. Never blocks or raises."""
        index = self._placement.place(command)
        running = None if index is None else self._processes.get(index)
        if running is not None and running.channel.send(command):
            return
        name = type(command).__name__.lower()
        self.dropped[name] = self.dropped.get(name, 0) + 1
        match command:
            case control.GetStats():
                self._placement.receive_reply(command.request)
                self._tell(control.RoomStats(command.request, []))
            case control.Publish() | control.Pull() | control.AnswerOffer():
                self._placement.receive_reply(command.request)
                self._tell(_refuse(command.request))

    def _tell(self, event: control.Event) -> None:
        asyncio.get_running_loop().call_soon(self._on_event, event)

    # -- One worker ---------------------------------------------------------------------

    async def _keep(self, index: int) -> None:
        """Keep worker `index` running until the node stops."""
        loop = asyncio.get_running_loop()
        backoff = MIN_BACKOFF
        while not self._stopping:
            started = loop.time()
            try:
                await self._run(index)
            except OSError as error:
                log.error("relay worker %d can't be started: %s", index, error)
            finally:
                if not self._first_try[index].done():
                    self._first_try[index].set_result(None)
            if self._stopping:
                return
            steady = loop.time() - started > STEADY_AFTER
            backoff = MIN_BACKOFF if steady else min(2 * backoff, MAX_BACKOFF)
            self.restarts += 1
            log.warning("relay worker %d ended; restart in %.2f s", index, backoff)
            await asyncio.sleep(backoff)

    async def _run(self, index: int) -> None:
        """One life of a worker, from spawning it to its end, whatever the end is."""
        running = await self._spawn(index)
        try:
            await self._watch(index, running)
        finally:
            self._lose(index)
            running.channel.close()
            await _end(running.process)

    async def _spawn(self, index: int) -> _Process:
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "relay.process.worker",
                str(theirs.fileno()),
                str(index),
                msgspec.json.encode(self._config).decode(),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                env=_environment(),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ready, closed = asyncio.Event(), asyncio.Event()

        channel: Channel[lifecycle.ToNode] = await Channel.open(
            ours, lifecycle.ToNode, partial(self._receive, index), lambda _fault: closed.set()
        )
        heard = asyncio.get_running_loop().time()
        running = self._processes[index] = _Process(process, channel, ready, closed, heard)
        return running

    async def _watch(self, index: int, running: _Process) -> None:
        """Return when the worker has exited, closed its channel or hangs."""
        loop = asyncio.get_running_loop()
        limit = READY_TIMEOUT
        while not running.closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await running.closed.wait()
            if running.ready.is_set():
                limit = SILENCE_TIMEOUT
            if loop.time() - running.heard > limit:
                log.error("relay worker %d says nothing any more", index)
                return

    def _receive(self, index: int, message: lifecycle.ToNode) -> None:
        running = self._processes.get(index)
        if running is None:
            return
        running.heard = asyncio.get_running_loop().time()
        match message:
            case lifecycle.Ready():
                self._gain(index, message.port)
            case control.WorkerMetrics():
                self.metrics[index] = message
            case control.Answer() | control.Refused() | control.RoomStats():
                if self._placement.receive_reply(message.request):
                    self._on_event(message)
            case _:
                self._on_event(message)

    def _gain(self, index: int, port: int) -> None:
        log.info("relay worker %d takes rooms on UDP port %d", index, port)
        self._processes[index].ready.set()
        self.ports[index] = port
        self._placement.add_worker(index)
        for worker, command in self._placement.house():
            self._processes[worker].channel.send(command)
        self._tell_available()
        if not self._first_try[index].done():
            self._first_try[index].set_result(None)

    def _lose(self, index: int) -> None:
        self._processes.pop(index, None)
        self.metrics.pop(index, None)
        self.ports.pop(index, None)
        requests, rooms = self._placement.remove_worker(index)
        if self._stopping:
            return
        for request in requests:
            self._tell(_refuse(request))
        self._tell_available()
        if rooms:
            self._tell(control.WorkerLost(rooms))

    def _tell_available(self) -> None:
        if self.available != self._told_available:
            self._told_available = self.available
            self._tell(control.Availability(self.available))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a worker that has lost its channel, which is its reason to live, to exit."""
    try:
        async with asyncio.timeout(EXIT_TIMEOUT):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _refuse(request: int) -> control.Refused:
    return control.Refused(request, "relay-unavailable", "The relay is restarting.")


def _environment() -> dict[str, str]:
    """The worker's environment: it must find the same `relay` as this process did."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}
