"""What a client tells its program, and how it reaches readers and handlers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..protocol.messages import ServerMessage
from .errors import ClientError, FellBehind
from .room import Participant

log = logging.getLogger(__name__)

EVENTS_WAITING: Final = 2048
"""Events that may wait for one reader; a reader that falls further behind ends with an error."""


@dataclass(frozen=True)
class Disconnected:
    """The connection is lost and the client tries to come back; `code` as in WebSocket closes."""

    code: int


@dataclass(frozen=True)
class Reconnected:
    """The session goes on; nothing was lost."""


@dataclass(frozen=True)
class Rejoined:
    """The session was lost and a new one begun: this client and maybe others have new ids.
    `gone` are those who are not there any more under their old ids."""

    gone: list[Participant]


Event = ServerMessage | Disconnected | Reconnected | Rejoined
E = TypeVar("E", bound=Event)
Handler = Callable[[Any], object]


class _Reader:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.fell_behind = False

    def put(self, event: Event | None) -> None:
        if event is not None and self.queue.qsize() >= EVENTS_WAITING:
            self.fell_behind = True
            return
        self.queue.put_nowait(event)


class Events:
    """Hands each event to every reader and handler. `end` is the last of it, and calls `on_end`."""

    def __init__(self, *, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._ended = False
        self._error: ClientError | None = None
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._handlers: list[tuple[type, Handler]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def read(self) -> AsyncGenerator[Event, None]:
        """Everything from now on; raises why it ended, FellBehind for a reader too slow."""
        reader = _Reader()
        if self._ended:
            reader.put(None)
        self._readers.add(reader)  # Now, and not only when the first event is asked for.
        return self._read(reader)

    async def _read(self, reader: _Reader) -> AsyncGenerator[Event, None]:
        try:
            while (event := await reader.queue.get()) is not None:
                yield event
                if reader.fell_behind:
                    raise FellBehind(f"More than {EVENTS_WAITING} events were waiting.")
            if self._error is not None:
                raise self._error
        finally:
            self._readers.discard(reader)

    def add_handler(self, kind: type, handler: Handler) -> Callable[[], None]:
        """Call `handler` with each event of `kind` until the returned function is called."""
        entry = (kind, handler)
        self._handlers.append(entry)

        def remove() -> None:
            if entry in self._handlers:
                self._handlers.remove(entry)

        return remove

    def emit(self, event: Event) -> None:
        for kind, handler in list(self._handlers):
            if isinstance(event, kind):
                try:
                    result = handler(event)
                except Exception:
                    log.exception("a handler of %s failed", kind.__name__)
                    continue
                if inspect.isawaitable(result):
                    self._start(result, kind)
        for reader in self._readers:
            reader.put(event)

    def end(self, error: ClientError | None) -> None:
        """Nothing more comes; readers raise `error` if there is one."""
        self._ended, self._error = True, error
        for reader in self._readers:
            reader.put(None)
        self._on_end()

    async def close(self) -> None:
        """End the handlers that are coroutines and still run, but not one that closes."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, work: Awaitable[object], kind: type) -> None:
        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("a handler of %s failed", kind.__name__)

        task = asyncio.create_task(run(), name=f"handler of {kind.__name__}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
