"""What must not be left half done: files that a thread writes to, connections that close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")


async def finish_in_thread(
    function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run it in a thread to its end: if this is cancelled, it is cancelled only then."""
    await finish(asyncio.to_thread(function, *args, **kwargs))


async def finish(work: Awaitable[object]) -> None:
    """Wait to its end for what must not be left half done: cancelled, however often, only then."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # Seen, though the cancellation goes before it.
        raise asyncio.CancelledError
    task.result()
