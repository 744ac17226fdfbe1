"""Records a room into one MP4: everybody in a grid, and all their sound mixed.

Fragmented, a second to a fragment, so that what a crash leaves plays to within a second.
What is written is half a second behind the room, the time that slow frames have to come.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from .bot import Bot
from .clock import media_time
from .files import telling_target
from .sources import Resampler
from .threads import finish, finish_in_thread
from .tracks import RemoteTrack

BEHIND = 0.5
RATE = 48_000
OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
STALE = 5.0
"""Seconds after which a picture that has not changed is taken off the grid."""
JOIN_WITHIN = 0.06
"""Seconds: sound that follows its predecessor this closely is joined on without a gap."""


class Mixer:
    """Adds up 16-bit stereo sound by its place in time; `take` gives what is complete."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._taken = 0
        self._sum = np.zeros((RATE * 2, 2), np.int32)
        self._next: dict[object, int] = {}

    def add(self, who: object, time: float, pcm: NDArray[np.int16]) -> None:
        """`pcm` of shape (samples, 2) that sounds at `time`. What comes too late is left out."""
        place = round((time - self._start) * RATE)
        follow = self._next.get(who)
        if follow is not None and abs(place - follow) < JOIN_WITHIN * RATE:
            place = follow
        self._next[who] = place + len(pcm)
        offset = place - self._taken
        if offset < 0:
            pcm, offset = pcm[-offset:], 0
        room = self._sum[offset : offset + len(pcm)]
        room += pcm[: len(room)]

    def take(self, samples: int) -> NDArray[np.int16]:
        """The next samples, of shape (samples, 2)."""
        mixed = np.clip(self._sum[:samples], -32768, 32767).astype(np.int16)
        self._sum = np.roll(self._sum, -samples, axis=0)
        self._sum[-samples:] = 0
        self._taken += samples
        return mixed


class Tile:
    """The pictures of one track that wait for their time."""

    def __init__(self, track: RemoteTrack) -> None:
        self.track = track
        self._frames: deque[tuple[float, av.VideoFrame]] = deque(maxlen=60)

    def add(self, frame: av.VideoFrame) -> None:
        self._frames.append((float(frame.time or 0), frame))

    def at(self, time: float) -> av.VideoFrame | None:
        """What is to be seen at `time`."""
        while len(self._frames) > 1 and self._frames[1][0] <= time:
            self._frames.popleft()
        if not self._frames or not self._frames[0][0] <= time < self._frames[0][0] + STALE:
            return None
        return self._frames[0][1]


def grid(count: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of `count` cells, all even."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell_w, cell_h = width // columns & ~1, height // rows & ~1
    return [
        (index % columns * cell_w, index // columns * cell_h, cell_w, cell_h)
        for index in range(count)
    ]


def compose(frames: list[av.VideoFrame], width: int, height: int) -> av.VideoFrame:
    """A grid of frames, each as large as its cell allows, on black."""
    canvas = np.empty((height * 3 // 2, width), np.uint8)
    luma, chroma = canvas[:height], canvas[height:].reshape(2, height // 2, width // 2)
    luma[:] = 16
    chroma[:] = 128
    for frame, (left, top, cell_w, cell_h) in zip(
        frames, grid(len(frames) or 1, width, height), strict=False
    ):
        scale = min(cell_w / frame.width, cell_h / frame.height)
        w = max(int(frame.width * scale) & ~1, 2)
        h = max(int(frame.height * scale) & ~1, 2)
        small = frame.reformat(width=w, height=h, format="yuv420p").to_ndarray()
        x, y = left + ((cell_w - w) // 2 & ~1), top + ((cell_h - h) // 2 & ~1)
        luma[y : y + h, x : x + w] = small[:h]
        planes = small[h:].reshape(2, h // 2, w // 2)
        chroma[:, y // 2 : (y + h) // 2, x // 2 : (x + w) // 2] = planes
    return av.VideoFrame.from_ndarray(canvas, format="yuv420p")


class Composer:
    """Records everybody in the bot's room into the MP4 at `path`. Raises TargetUnwritable."""

    def __init__(
        self, bot: Bot, path: str | Path, *, width: int = 1280, height: int = 720, fps: int = 25
    ) -> None:
        self.path = Path(path)
        self.seconds = 0.0
        self.pictures = 0
        """Written so far; fewer than `seconds` times `fps` where encoding cannot keep up."""
        self._bot = bot
        self._size = (width, height)
        self._fps = fps
        self._tiles: list[Tile] = []
        self._start = media_time()
        self._mixer = Mixer(self._start)
        self._written = 0
        self._broken = False
        with telling_target(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container: Any = av.open(str(path), "w", options=OPTIONS)
        self._video, self._audio = self._make_streams()

    def _make_streams(self) -> tuple[Any, Any]:
        video = self._container.add_stream("libx264", rate=self._fps)
        video.width, video.height = self._size
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = self._fps
        video.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}
        audio = self._container.add_stream("aac", rate=RATE)
        audio.layout = "stereo"
        return video, audio

    async def run(self) -> None:
        """Record until the bot ends or this is cancelled; the file is whole then."""
        follower = asyncio.create_task(self._follow())
        try:
            while not follower.done():
                due = self._start + BEHIND + (self._written + 1) / self._fps
                await asyncio.sleep(max(due - media_time(), 0))
                now = self._start + self._written / self._fps
                frames = [frame for tile in self._tiles if (frame := tile.at(now))]
                # Where encoding cannot keep up, pictures are left out, and sound never.
                late = media_time() - BEHIND - now > 1.0
                shown = None if late and self._written % self._fps else frames
                pcm = self._mixer.take(self._samples())
                # To the end: the file must not be closed under a thread that writes to it.
                with telling_target(self.path):
                    await finish_in_thread(self._write, shown, pcm)
        finally:
            follower.cancel()
            await finish(asyncio.wait([follower]))
            with telling_target(self.path):
                self._finish()
        follower.result()

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            async for track in self._bot.tracks():
                read = self._watch if track.kind == "video" else self._listen
                group.create_task(read(track))

    async def _watch(self, track: RemoteTrack) -> None:
        tile = Tile(track)
        self._tiles.append(tile)
        try:
            async for frame in track.frames():
                if isinstance(frame, av.VideoFrame):
                    tile.add(frame)
        finally:
            self._tiles.remove(tile)

    async def _listen(self, track: RemoteTrack) -> None:
        resampler = Resampler(RATE, "stereo")
        async for frame in track.frames():
            if isinstance(frame, av.AudioFrame):
                time = float(frame.time or 0)
                for part in resampler.resample(frame):
                    pcm = part.to_ndarray().reshape(-1, 2).astype(np.int16, copy=False)
                    self._mixer.add(track, time, pcm)
                    time += len(pcm) / RATE

    def _samples(self) -> int:
        return (self._written + 1) * RATE // self._fps - self._written * RATE // self._fps

    def _write(self, frames: list[av.VideoFrame] | None, pcm: NDArray[np.int16]) -> None:
        """One picture, unless None, and the sound beside it. Runs in a thread."""
        try:
            self._write_both(frames, pcm)
        except Exception:
            self._broken = True  # FFmpeg may crash where it is asked again.
            raise

    def _write_both(self, frames: list[av.VideoFrame] | None, pcm: NDArray[np.int16]) -> None:
        if frames is not None:
            picture = compose(frames, *self._size)
            picture.pts, picture.time_base = self._written, Fraction(1, self._fps)
            self._container.mux(self._video.encode(picture))
            self.pictures += 1
        sound = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        sound.sample_rate = RATE
        sound.pts, sound.time_base = self._written * RATE // self._fps, Fraction(1, RATE)
        self._container.mux(self._audio.encode(sound))
        self._written += 1
        self.seconds = self._written / self._fps

    def _finish(self) -> None:
        if self._broken:
            with suppress(av.FFmpegError, OSError):
                self._container.close()
            return
        try:
            if not self._written:  # Stopped at once: still a file that plays.
                self._write([], self._mixer.take(self._samples()))
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
        finally:
            self._container.close()
