"""The life of the process around a server: signals, files, the service manager, the collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Final

from . import systemd
from .app import Server
from .logs import Log
from .settings.config import Config

SPARE_FILES: Final = 256
"""Files that the process needs beside its sockets: workers, static files, logs."""

_log = Log(__name__)


async def run(config: Config, announce: Callable[[Server], None]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Raises ConfigError before it serves."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    servers: list[Server] = []

    def stop() -> None:
        if stopping.is_set():
            # Asked twice: at once, and without tidying up.
            os._exit(1)
        stopping.set()

    def reload() -> None:
        # Before there is a server there is nothing that it would not read anyway.
        for server in servers:
            systemd.notify(os.environ, systemd.describe_reload(time.monotonic()))
            server.reload()
            systemd.notify(os.environ, systemd.READY)

    # First of all: a signal that nobody takes ends the process.
    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    files = raise_file_limit()
    server = Server(config)
    servers.append(server)
    try:
        await server.start()
        warn_of_files(files, config.limits.max_sockets + SPARE_FILES)
        tune_collector()
        announce(server)
        systemd.notify(os.environ, systemd.READY)
        await stopping.wait()
        systemd.notify(
            os.environ, systemd.STOPPING, systemd.extend_timeout(config.drain_timeout + 10)
        )
        await server.drain()
    finally:
        await server.stop()
    return 0


def raise_file_limit() -> int:
    """Take the files that this process may have, for each connection is one; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return soft


def warn_of_files(limit: int, needed: int) -> None:
    """Say so where sockets will run out before --max-sockets does."""
    if limit < needed:
        _log.warning(
            "the limit of open files is low: raise it (LimitNOFILE=, ulimit -n), or lower"
            " --max-sockets",
            extra={"limit": limit, "needed": needed},
        )


def tune_collector() -> None:
    """Have the garbage collector leave alone what lives as long as the process, and run seldom.

    Connections hold no cycles once they are closed; a full collection with 10,000 of them open
    takes tens of milliseconds, in which nothing is relayed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
