"""`Voice`: what a bot says, in pieces as they are made, and stops saying at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from .publishing import Publication
from .sources import Source

Chunk = bytes | bytearray | memoryview | NDArray[np.int16]
"""16-bit samples: of one channel as bytes, little-endian; as an array of one or two."""


class Voice:
    """Made by `Bot.voice`. One `say` at a time."""

    def __init__(self, source: Source, publication: Publication, rate: int) -> None:
        self.rate = rate
        self._source = source
        self._publication = publication
        self._cleared = 0

    async def say(self, chunks: Chunk | Iterable[Chunk] | AsyncIterable[Chunk]) -> bool:
        """Say all of it after what is being said; return, a moment before its end, when there
        is room for more. False: `clear` has cut it off."""
        cleared = self._cleared
        odd = b""
        async with aclosing(_each(chunks)) as each:
            async for chunk in each:
                if self._cleared != cleared:
                    return False
                if not isinstance(chunk, np.ndarray):
                    data = odd + bytes(chunk)
                    data, odd = data[: len(data) & ~1], data[len(data) & ~1 :]
                    chunk = np.frombuffer(data, "<i2").astype(np.int16)
                if len(chunk):
                    await self._source.push_sound(chunk, rate=self.rate)
        return self._cleared == cleared

    def clear(self) -> None:
        """Say no more of what has been given: silence within 40 ms. For barge-in."""
        self._cleared += 1
        self._source.clear()

    async def wait(self) -> None:
        """Return when everything has been said, or was cleared."""
        await self._source.wait_played()

    async def stop(self) -> None:
        """Publish no voice any more."""
        self.clear()
        await self._publication.stop()


async def _each(
    chunks: Chunk | Iterable[Chunk] | AsyncIterable[Chunk],
) -> AsyncGenerator[Chunk, None]:
    if isinstance(chunks, bytes | bytearray | memoryview | np.ndarray):
        yield chunks
    elif isinstance(chunks, AsyncIterable):
        try:
            async for chunk in chunks:
                yield chunk
        finally:  # What makes them need not be made to the end.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
    else:
        for chunk in chunks:
            yield chunk
