"""What must not be left half done: files that a thread writes to, connections that close."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


CODECS: Final = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="bot codecs")
"""Encodes and decodes, for all bots of the process: a program's own slow calls in asyncio's
threads take no place here. One more than there are processors, for those that wait for a lock."""
FILES: Final = ThreadPoolExecutor(8, thread_name_prefix="bot files")
"""Writes recordings: a disk that hangs holds up no picture."""


async def run_codec(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what takes milliseconds of a processor and never waits."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(CODECS, lambda: function(*args, **kwargs))


async def finish_in_thread(
    function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run it in a thread to its end: if this is cancelled, it is cancelled only then."""
    loop = asyncio.get_running_loop()
    await finish(loop.run_in_executor(FILES, lambda: function(*args, **kwargs)))


async def run_apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread of its own what may block for ever, such as reading from a pipe: it takes
    no place of those that encode and decode, and neither the loop nor the process waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if T has it.

    def work() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="bot reads", daemon=True).start()
    return await future


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
