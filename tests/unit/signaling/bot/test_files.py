"""Files and pipes that are played, and names for those that are written."""

from __future__ import annotations

import asyncio
import os
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from signaling.bot.errors import TargetUnwritable
from signaling.bot.files import File, free_path
from signaling.bot.patterns import pictures
from tests.support.bots import make_film, soon, until


def make_bare(path: Path, *, count: int = 10, fps: int = 25) -> Path:
    """H.264 without a container, as cameras write it into a pipe: nothing in it has a time."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.options = {"tune": "zerolatency"}
    data = b""
    for array in islice(pictures(64, 48), count):
        frame = av.VideoFrame.from_ndarray(array, format="rgb24")
        data += b"".join(bytes(packet) for packet in encoder.encode(frame))
    path.write_bytes(data + b"".join(bytes(packet) for packet in encoder.encode(None)))
    return path


@pytest.mark.parametrize("copy", [False, True])
async def test_a_bare_stream_is_played_at_its_rate_and_from_its_beginning_again(
    tmp_path: Path, copy: bool
) -> None:
    file = File(str(make_bare(tmp_path / "bare.h264")), loop=True, copy=copy)
    times = [at for _, _, at in islice(file._items(), 25)]
    file.close()
    assert len(times) == 25
    assert [after - before for before, after in pairwise(times)] == pytest.approx([0.04] * 24)


async def test_a_pipe_that_brings_nothing_more_does_not_hold_up_the_end(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.webm", seconds=1.0).read_bytes()
    pipe = tmp_path / "pipe.webm"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        os.set_blocking(writer, False)
        os.write(writer, film[: len(film) // 2])
        file = await asyncio.to_thread(File, str(pipe))
        file._listening.set()
        playing = asyncio.create_task(file.play())
        await until(lambda: all(source.pushed for source in file.sources))
        await until(file._reading.locked)
        playing.cancel()
        await soon(asyncio.wait([playing]))
        assert playing.cancelled()
        # The thread that reads closes the file, and nobody under it.
        assert file._reading.locked()
    finally:
        os.close(writer)
    await until(lambda: not file._reading.locked())


def test_a_free_name_is_given_once(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    names = [free_path(folder, "Ada", ".webm").name for _ in range(3)]
    assert names == ["Ada.webm", "Ada-2.webm", "Ada-3.webm"]
    with pytest.raises(TargetUnwritable):
        free_path(folder / "Ada.webm", "Ada", ".webm")
