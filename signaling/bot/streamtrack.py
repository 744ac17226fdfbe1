"""A received track in the shape that aiortc's classes take."""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.frame import Frame

from .backlog import Backlog, Ended
from .decoding import Decoded
from .sources import Kind


class Frames(Protocol):
    """What is needed of a `RemoteTrack`."""

    kind: Kind

    def open_frames(self) -> Backlog[Decoded]: ...
    def close_frames(self, backlog: Backlog[Decoded]) -> None: ...


class StreamTrack(MediaStreamTrack):
    """A `RemoteTrack` in the shape that aiortc expects."""

    def __init__(self, track: Frames) -> None:
        super().__init__()
        self.kind = track.kind
        self._track = track
        self._backlog: Backlog[Decoded] | None = None

    async def recv(self) -> Frame:
        """The next frame; may be cancelled and called again."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._backlog is None:
            self._backlog = self._track.open_frames()
            # Nothing is decoded for a track that is just forgotten, either.
            loop = asyncio.get_running_loop()
            weakref.finalize(self, _forget, loop, self._track, self._backlog).atexit = False
        try:
            return await self._backlog.get()
        except Ended:
            self.stop()
            raise MediaStreamError from None

    def stop(self) -> None:
        super().stop()
        if self._backlog is not None:
            self._backlog.close()
            self._track.close_frames(self._backlog)


def _forget(loop: asyncio.AbstractEventLoop, track: Frames, backlog: Backlog[Decoded]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(track.close_frames, backlog)
