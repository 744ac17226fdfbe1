"""What tests of bots share: a server process, known media, and what was seen and heard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from signaling.bot import Bot, RemoteTrack
from signaling.bot.patterns import pictures, tone
from tests.support.browser import running_hub
from tests.support.pictures import is_known_picture, level, loudest_hertz
from tests.support.processes import ServerProcess, run_server

PATIENCE = 45.0
"""Seconds for whatever should take one, on a machine that does many things at once."""

T = TypeVar("T")


@contextlib.asynccontextmanager
async def serve(*arguments: str, relay: bool = True) -> AsyncIterator[ServerProcess]:
    async with run_server("--drain-timeout", "1", *arguments, relay=relay) as server:
        yield server


@contextlib.contextmanager
def running_server(*arguments: str) -> Iterator[str]:
    """The address of a server that is ready, relay and all, in a process of its own."""
    with running_hub(*arguments) as hub:
        url = f"http://127.0.0.1:{hub.port}"
        for _ in range(900):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz"):
                break
            time.sleep(0.05)
        yield url


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def http_url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


async def publish_known(bot: Bot, *, fps: int = 12, sound: bool = True) -> None:
    """The known picture, small, and the known tone."""
    await bot.publish(pictures(160, 90), fps=fps)
    if sound:
        await bot.publish(tone(), kind="audio")


async def soon(work: Awaitable[T], within: float = PATIENCE) -> T:
    async with asyncio.timeout(within):
        return await work


async def until(condition: Callable[[], object], within: float = PATIENCE) -> None:
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def see(track: RemoteTrack, count: int = 5) -> None:
    """Until the known picture has been seen `count` times."""

    async def look() -> None:
        seen = 0
        async for picture in track.pictures():
            seen += is_known_picture(picture)
            if seen >= count:
                return
        raise AssertionError(f"{track} ended after {seen} known pictures")

    await soon(look())


async def hear(track: RemoteTrack, *, hertz: float = 440.0) -> NDArray[np.int16]:
    """Until half a second of the tone has been heard."""

    async def listen() -> NDArray[np.int16]:
        heard = np.zeros((0, 1), np.int16)
        async for block in track.pcm(rate=16_000):
            heard = np.concatenate([heard, block])[-8000:]
            full = len(heard) == 8000 and level(heard) > -30
            if full and abs(loudest_hertz(heard, 16_000) - hertz) < 8:
                return heard
        raise AssertionError(f"{track} ended without the tone")

    return await soon(listen())


def watch_gaps(track: RemoteTrack) -> list[float]:
    """Local times at which the track's frames come, growing."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    track.observe(lambda _: times.append(loop.time()))
    return times


def child_processes(pid: int) -> list[int]:
    """Processes that `pid` started and that still run."""
    children: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    children.append(int(entry.name))
    return children


def kill_worker(server: ServerProcess) -> None:
    """Kill the server's relay worker, as a crash would."""
    (worker,) = child_processes(server.process.pid)
    os.kill(worker, signal.SIGKILL)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Proxy:
    """A TCP proxy in the test's own loop; `cut` ends its connections, and new ones are let
    through again only after `mend`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._whole = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._whole:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers |= {writer, far_writer}
                await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.transport.abort()


def make_film(path: Path, *, seconds: float = 2.0, fps: int = 10, video: str = "libvpx") -> Path:
    """A file of the known picture and tone."""
    with av.open(str(path), "w") as container:
        picture_stream: Any = container.add_stream(video, rate=fps)
        picture_stream.width, picture_stream.height = 160, 90
        picture_stream.pix_fmt = "yuv420p"
        picture_stream.codec_context.gop_size = fps
        sound_stream: Any = container.add_stream("libopus", rate=48_000)
        sound_stream.layout = "stereo"
        blocks = tone()
        for number, picture in zip(range(round(seconds * fps)), pictures(160, 90), strict=False):
            container.mux(
                picture_stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            )
            for part in range(50 // fps):
                pcm = np.repeat(next(blocks).reshape(-1, 1), 2, axis=1).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
                frame.sample_rate = 48_000
                frame.pts = (number * (50 // fps) + part) * 960
                container.mux(sound_stream.encode(frame))
        container.mux(picture_stream.encode(None))
        container.mux(sound_stream.encode(None))
    return path
