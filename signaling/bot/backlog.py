"""A queue for one reader that never makes its writer wait: full, it drops its oldest item.

Live media is worth less the later it comes, so every place where a bot waits for
somebody holds its frames in one of these, bounded and with its drops counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """Nothing more will come, and everything that came has been read."""


class Backlog(Generic[T]):
    """At most `limit` items between one writer and one reader of the same event loop.

    `on_drop` is called once for each item dropped, after it has been counted.
    """

    def __init__(self, limit: int, *, on_drop: Callable[[T], None] | None = None) -> None:
        self._items: deque[T] = deque()
        self.limit = limit
        self._on_drop = on_drop
        self._waiter: asyncio.Future[None] | None = None
        self.closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add `item`; without effect once closed."""
        if self.closed:
            return
        if len(self._items) >= self.limit:
            dropped = self._items.popleft()
            self.dropped += 1
            if self._on_drop is not None:
                self._on_drop(dropped)
        self._items.append(item)
        self._wake()

    def clear(self) -> None:
        """Drop everything that waits, and count it."""
        self.dropped += len(self._items)
        self._items.clear()

    def close(self) -> None:
        """No more items; what waits can still be read."""
        self.closed = True
        self._wake()

    async def get(self) -> T:
        """The oldest item. Raises `Ended` when closed and empty."""
        while not self._items:
            if self.closed:
                raise Ended
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
