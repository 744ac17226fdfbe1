"""What is written to a file goes on in a thread, and nobody may meddle with it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


async def finish_in_thread(
    function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run it in a thread to its end: if this is cancelled, it is cancelled only then."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
