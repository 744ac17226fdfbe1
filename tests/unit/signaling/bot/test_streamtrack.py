"""A received track in aiortc's shape."""

from __future__ import annotations

import asyncio
import gc

import av
import pytest
from aiortc.mediastreams import MediaStreamError

from signaling.bot.backlog import Backlog
from signaling.bot.decoding import Decoded
from signaling.bot.sources import Kind
from signaling.bot.streamtrack import StreamTrack


class Frames:
    kind: Kind = "video"

    def __init__(self) -> None:
        self.open: list[Backlog[Decoded]] = []

    def open_frames(self) -> Backlog[Decoded]:
        self.open.append(Backlog(4))
        return self.open[-1]

    def close_frames(self, backlog: Backlog[Decoded]) -> None:
        if backlog in self.open:
            self.open.remove(backlog)


async def test_nothing_is_decoded_before_somebody_reads_and_after_it_was_stopped() -> None:
    frames = Frames()
    track = StreamTrack(frames)
    assert frames.open == []
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    shown = av.VideoFrame(16, 16, "yuv420p")
    frames.open[0].put(shown)
    assert await reading is shown
    track.stop()
    assert frames.open == []
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_nothing_is_decoded_for_a_track_that_was_forgotten() -> None:
    frames = Frames()
    track = StreamTrack(frames)
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    del track, reading
    gc.collect()
    await asyncio.sleep(0.01)
    assert frames.open == []


async def test_it_ends_with_the_track_it_is_of() -> None:
    frames = Frames()
    track = StreamTrack(frames)
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    frames.open[0].close()
    with pytest.raises(MediaStreamError):
        await reading
    assert track.readyState == "ended"
