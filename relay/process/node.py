"""Spawns relay workers, watches them and restarts them.

Which one serves a room is decided by `placement`, whether one hangs by `watchdog`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from .. import control
from ..config import Config
from . import lifecycle
from .channel import Channel
from .placement import Asking, Placement
from .watchdog import INTERVAL, Verdict, Watchdog, is_running

log = logging.getLogger(__name__)

STOP_TIMEOUT = 3.0
"""Seconds a worker gets to close its transports before it is killed."""

EXIT_TIMEOUT = 0.5
"""Seconds between the end of a worker's channel and its exit before it is killed."""

MAX_ASKING = 1 << 20
"""Bytes that may wait for a worker when it is to be asked something; beyond, requests are refused,
long before the channel would count as hung (`channel.MAX_BUFFERED`)."""

MIN_BACKOFF = 0.05
MAX_BACKOFF = 5.0
STEADY_AFTER = 30.0
"""Seconds a worker must have run for its next restart to be quick again."""


@dataclass(slots=True)
class _Process:
    """One running worker."""

    process: asyncio.subprocess.Process
    channel: Channel[lifecycle.ToNode]
    ready: asyncio.Event
    closed: asyncio.Event
    watchdog: Watchdog
    faults: list[Exception]
    """Why its channel closed, if not in order."""


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
        """Return whether any worker takes rooms."""
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
        channel = None if running is None else running.channel
        if channel is not None and _may_send(channel, command) and channel.send(command):
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
            reason = "it could not be started"
            try:
                reason = await self._run(index)
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
            log.warning("relay worker %d ended: %s; restart in %.2f s", index, reason, backoff)
            await asyncio.sleep(backoff)

    async def _run(self, index: int) -> str:
        """One life of a worker, from spawning it to its end, whatever the end is; why it ended."""
        running = await self._spawn(index)
        hung = None
        try:
            hung = await self._watch(running)
        finally:
            self._lose(index)
            running.channel.close()
            if hung is not None:
                running.process.kill()
            await _end(running.process)
        if hung is not None:
            return hung
        if running.faults:
            return f"its channel failed: {running.faults[0]}"
        code = running.process.returncode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

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
        closed, faults = asyncio.Event(), list[Exception]()

        def end(fault: Exception | None) -> None:
            faults.extend([fault] if fault is not None else [])
            closed.set()

        channel: Channel[lifecycle.ToNode] = await Channel.open(
            ours, lifecycle.ToNode, partial(self._receive, index), end
        )
        now = asyncio.get_running_loop().time()
        watchdog = Watchdog(now, partial(_is_running, process.pid))
        running = self._processes[index] = _Process(
            process, channel, asyncio.Event(), closed, watchdog, faults
        )
        return running

    async def _watch(self, running: _Process) -> str | None:
        """Return when the worker has exited, closed its channel or hangs; in words if it hangs."""
        loop = asyncio.get_running_loop()
        while not running.closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await running.closed.wait()
            match running.watchdog.look(loop.time()):
                case Verdict.ASK:
                    running.channel.send(lifecycle.Ping())
                case Verdict.LOST:
                    silence = running.watchdog.get_silence(loop.time())
                    return f"it says nothing any more, for {silence:.1f} s now"
        return None

    def _receive(self, index: int, message: lifecycle.ToNode) -> None:
        running = self._processes.get(index)
        if running is None:
            return
        running.watchdog.hear(asyncio.get_running_loop().time())
        match message:
            case lifecycle.Ready():
                self._gain(index, message.port)
            case lifecycle.Pong():
                pass
            case control.WorkerMetrics():
                self.metrics[index] = message
                self._placement.set_overloaded(index, message.overloaded)
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


def _may_send(channel: Channel[lifecycle.ToNode], command: control.Command) -> bool:
    return not isinstance(command, Asking) or channel.waiting <= MAX_ASKING


def _is_running(pid: int) -> bool:
    """Return whether the process has a processor or waits for one; True where nobody can tell."""
    try:
        return is_running(Path(f"/proc/{pid}/stat").read_text())
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    except OSError:
        return True


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
