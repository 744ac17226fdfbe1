"""Says where the tasks of a test that hangs are, shortly before its timeout ends it: the stack of
its thread, which pytest-timeout shows, is always that of the event loop."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import threading

import pytest

EARLIER = 15.0
"""Seconds before the timeout."""

_TIMER = pytest.StashKey[threading.Timer]()


def watch(item: pytest.Item, timeout: float | None) -> None:
    """Begin to wait; `timeout` is what the test has, in seconds."""
    if timeout is None or timeout <= EARLIER:
        return
    timer = threading.Timer(timeout - EARLIER, _print_tasks, (item.nodeid,))
    timer.daemon = True
    timer.start()
    item.stash[_TIMER] = timer


def stop_watching(item: pytest.Item) -> None:
    timer = item.stash.get(_TIMER, None)
    if timer is not None:
        timer.cancel()


def _print_tasks(name: str) -> None:
    out = io.StringIO()
    # From another thread, and of whichever loop: asyncio lists only those of a running one.
    for found in gc.get_objects():
        if isinstance(found, asyncio.Task) and not found.done():
            found.print_stack(file=out)
    print(f"{name} hangs; its tasks:\n{out.getvalue()}", file=sys.stderr, flush=True)
