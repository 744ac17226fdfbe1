"""Says where the tasks of a test that hangs are, shortly before its timeout ends it: the stack of
its thread, which pytest-timeout shows, is always that of the event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path
from typing import Any

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
    # From another thread, and of whichever loop: asyncio lists only those of a running one.
    tasks = [o for o in gc.get_objects() if isinstance(o, asyncio.Task) and not o.done()]
    lines = [f"{task.get_name()}: {' > '.join(_list_places(task))}" for task in tasks]
    print(f"{name} hangs; its tasks:", *lines, sep="\n  ", file=sys.stderr, flush=True)


def _list_places(task: asyncio.Task[Any]) -> list[str]:
    """From the task's own function down to what it waits for."""
    places: list[str] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        path = Path(frame.f_code.co_filename)
        places.append(f"{path.parent.name}/{path.name}:{frame.f_lineno}")
        awaited = awaited.cr_await
    return [*places, repr(awaited)[:200]]
