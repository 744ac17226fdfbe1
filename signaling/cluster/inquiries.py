"""HTTP requests about rooms of other hubs: asked of their owners, and answered for other hubs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from relay.process.links import Link, LinkDown

from ..protocol.errors import ProtocolError
from . import wire

ASK_WITHIN: Final = 20.0
"""Seconds for another hub to answer a request; its relay has ten for an offer."""


class Inquiries:
    """`find_way` is `Finder.find_way`, `is_here` says whether this hub owns a room, `carry_out`
    answers a request as this hub's HTTP server does."""

    def __init__(
        self,
        find_way: Callable[[str], Awaitable[Link | None]],
        is_here: Callable[[str], bool],
        carry_out: Callable[[wire.Ask], Awaitable[wire.Told]],
    ) -> None:
        self._find_way = find_way
        self._is_here = is_here
        self._carry_out = carry_out
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Link, asyncio.Future[wire.Told]]] = {}

    async def ask_about(self, room: str, ask: Callable[[int], wire.Ask]) -> wire.Told | None:
        """What the owner of a room answers to a request; None where that is this hub. Raises
        ProtocolError where it cannot be asked."""
        try:
            way = await self._find_way(room)
        except LinkDown:
            raise _unreachable() from None
        if way is None:
            return None
        number = next(self._numbers)
        waiting: asyncio.Future[wire.Told] = asyncio.get_running_loop().create_future()
        self._asked[number] = (way, waiting)
        try:
            way.send(ask(number))
            async with asyncio.timeout(ASK_WITHIN):
                return await waiting
        except TimeoutError:
            raise _unreachable() from None
        finally:
            del self._asked[number]

    def receive_told(self, told: wire.Told) -> None:
        """The answer to a request that this hub passed on."""
        asked = self._asked.get(told.request)
        if asked is not None and not asked[1].done():
            asked[1].set_result(told)

    async def answer(self, link: Link, ask: wire.Ask) -> None:
        """Answer another hub that asks about a room of this one."""
        if self._is_here(ask.room):
            link.send(await self._carry_out(ask))
        else:
            link.send(wire.Told(ask.request, 503, [("Retry-After", "1")], b""))

    def lose(self, link: Link) -> None:
        """The owner that was asked is gone."""
        for way, waiting in self._asked.values():
            if way is link and not waiting.done():
                waiting.set_exception(_unreachable())


def _unreachable() -> ProtocolError:
    return ProtocolError("relay-unavailable", "The room's server cannot be reached.", retry_after=2)
