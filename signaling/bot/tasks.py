"""What a bot has begun: its own work and its program's, and how it comes to an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..client import NotConnected

log = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """The program's work that fails ends all: its owner, the body of the `async with`, is
    cancelled, and `failure` says why. `on_end` is called once, at the end or before it."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.failure: BaseException | None = None
        self.ended = asyncio.Event()
        self.owner: asyncio.Task[Any] | None = None
        self._on_end = on_end
        self._closing = False
        self._all: set[asyncio.Task[Any]] = set()
        self._work: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the bot's own work; what goes wrong in it is logged."""
        task = asyncio.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._on_done)
        return task

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the program's work. Raises NotConnected once all has ended."""
        if self.ended.is_set():
            work.close()
            raise NotConnected("The bot has ended.")
        task = self.spawn(work)
        self._work.add(task)
        return task

    def check_alive(self) -> None:
        if self.owner is None:
            raise NotConnected("The bot has not joined: use it as an async context manager.")
        if self.ended.is_set():
            raise NotConnected("The bot has ended.")

    def fail(self, error: BaseException) -> None:
        if self.failure is None and not self._closing:
            self.failure = error
            self.end()
            if self.owner is not None and not self.owner.done():
                self.owner.cancel()

    def end(self) -> None:
        """No more work is begun, and nobody waits for more to come."""
        if not self.ended.is_set():
            self.ended.set()
            self._on_end()

    def begin_closing(self) -> None:
        self._closing = True
        self.end()

    def is_work(self, task: asyncio.Task[Any] | None) -> bool:
        return task in self._work

    async def cancel_work(self, spare: asyncio.Task[Any] | None) -> None:
        await _cancel(self._work - {spare})

    async def cancel_all(self, spare: asyncio.Task[Any] | None) -> None:
        await _cancel(self._all - {spare})

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._all.discard(task)
        ours = task not in self._work
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if ours:
            log.error("a task of the bot failed", exc_info=error)
        else:
            self.fail(error)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
