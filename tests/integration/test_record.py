"""Recordings, probed frame by frame: length, sync, gaps, and what a crash leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from signaling.bot import Bot, TargetUnwritable
from signaling.bot.compose import Composer, Mixer, compose, grid
from signaling.bot.patterns import picture, tone
from signaling.bot.record import Recorder
from signaling.bot.sources import Source
from tests.support.bots import Proxy, make_film, port_of, publish_known, running_server, soon, until
from tests.support.pictures import block_position, is_known_picture, level, loudest_hertz

# Codecs fill a core, and what a starved one did not encode in time is not in the file.
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def read(path: Path) -> tuple[list[tuple[float, np.ndarray[Any, Any]]], np.ndarray[Any, Any]]:
    """Times and pictures, and the sound as mono at 16 kHz from the first picture's time zero."""
    pictures: list[tuple[float, np.ndarray[Any, Any]]] = []
    sound = np.zeros(0, np.int16)
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append((float(frame.time or 0), frame.to_ndarray(format="rgb24")))
            elif isinstance(frame, av.AudioFrame):
                place = round(float(frame.time or 0) * 16_000)
                for part in resampler.resample(frame):
                    pcm = part.to_ndarray().reshape(-1)
                    if place > len(sound):
                        sound = np.concatenate([sound, np.zeros(place - len(sound), np.int16)])
                    sound = np.concatenate([sound, pcm])
                    place += len(pcm)
    return pictures, sound


async def flash(video: Source, audio: Source) -> None:
    """White for a fifth of each second, with a beep at the same time."""
    blocks = tone(1000.0)
    begun = asyncio.get_running_loop().time()
    count = 0
    while True:
        on = count % 50 < 10
        block = next(blocks)
        audio.push_sound(block if on else np.zeros_like(block))
        if count % 4 == 0:
            video.push_picture(np.full((48, 64, 3), 230 if on else 20, np.uint8))
        count += 1
        await asyncio.sleep(max(begun + count * 0.02 - asyncio.get_running_loop().time(), 0))


async def publish_flashes(bot: Bot) -> asyncio.Task[None]:
    video, audio = Source("video"), Source("audio")
    await bot.publish(video)
    await bot.publish(audio)
    return bot.start(flash(video, audio))


def onsets(times: np.ndarray[Any, Any], loud: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """When something begins that had not been for a while."""
    rises: np.ndarray[Any, Any] = times[1:][loud[1:] & ~loud[:-1]]
    return rises[np.diff(rises, prepend=-1) > 0.5]


async def test_each_participant_gets_a_file_that_plays_from_end_to_end(
    server: str, tmp_path: Path
) -> None:
    async with (
        Bot.join(server, room="rec", name="Ada") as ada,
        Bot.join(server, room="rec", name="Bob: 2/3") as bob,
        Bot.join(server, room="rec", name="Recorder") as bot,
    ):
        await publish_known(ada)
        await publish_known(bob, sound=False)
        recorder = Recorder(bot, tmp_path)
        async with running(recorder.run()):
            await until(lambda: recorder.progress.seconds > 4)
    names = sorted(path.name for path in recorder.progress.files)
    assert names == ["Ada.webm", "Bob_2_3.webm"]
    pictures, sound = read(tmp_path / "Ada.webm")
    assert len(pictures) > 20
    assert all(is_known_picture(array, tolerance=40) for _, array in pictures)
    assert len({round(block_position(array), 1) for _, array in pictures}) > 3
    times = [time for time, _ in pictures]
    assert times == sorted(times)
    assert loudest_hertz(sound[8000:], 16_000) == pytest.approx(440, abs=5)
    assert level(sound[8000:]) > -30
    assert abs(len(sound) / 16_000 - times[-1]) < 1.5
    pictures, sound = read(tmp_path / "Bob_2_3.webm")
    assert len(pictures) > 20
    assert len(sound) == 0


async def test_picture_and_sound_are_recorded_in_step(server: str, tmp_path: Path) -> None:
    async with (
        Bot.join(server, room="sync", name="Ada") as ada,
        Bot.join(server, room="sync", name="Recorder") as bot,
    ):
        await publish_flashes(ada)
        recorder = Recorder(bot, tmp_path)
        async with running(recorder.run()):
            await until(lambda: recorder.progress.seconds > 6)
    assert skew(tmp_path / "Ada.webm") < 0.15


def skew(path: Path) -> float:
    """By how much beeps and flashes are apart: the median, in seconds."""
    pictures, sound = read(path)
    seen = onsets(
        np.array([time for time, _ in pictures]),
        np.array([array.mean() > 120 for _, array in pictures]),
    )
    blocks = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    heard = onsets(np.arange(len(blocks)) / 100, np.abs(blocks).max(axis=1) > 2000)
    assert len(seen) >= 2
    assert len(heard) >= 2
    return float(np.median([np.abs(heard - moment).min() for moment in seen]))


async def test_a_resumed_recorder_leaves_no_gap(server: str, tmp_path: Path) -> None:
    async with (
        Proxy(port_of(server)) as proxy,
        Bot.join(server, room="cut", name="Ada") as ada,
        Bot.join(proxy.url, room="cut", name="Recorder") as bot,
    ):
        await publish_known(ada)
        recorder = Recorder(bot, tmp_path)
        async with running(recorder.run()):
            await until(lambda: recorder.progress.seconds > 2)
            proxy.cut()
            await until(lambda: not bot.client.connected)
            cut_at = recorder.progress.seconds
            await until(lambda: recorder.progress.seconds > cut_at + 1)
            proxy.mend()
            await until(lambda: bot.client.connected)
            back_at = recorder.progress.seconds
            await until(lambda: recorder.progress.seconds > back_at + 1)
    (path,) = recorder.progress.files
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        times = [float(p.pts * p.time_base) for p in packets if p.pts is not None]
    # 20 ms to a packet: a busy machine may lose two on its own.
    holes = [after - before for before, after in pairwise(times) if cut_at <= after <= back_at]
    assert len(holes) > 10
    assert max(holes) <= 0.0601


async def test_a_track_that_comes_later_begins_a_second_file(server: str, tmp_path: Path) -> None:
    async with (
        Bot.join(server, room="later", name="Ada") as ada,
        Bot.join(server, room="later", name="Recorder") as bot,
    ):
        await ada.publish(tone(), kind="audio")
        recorder = Recorder(bot, tmp_path)
        async with running(recorder.run()):
            await until(lambda: recorder.progress.seconds > 1)
            await publish_known(ada, sound=False)
            await until(lambda: len(recorder.progress.files) == 2)
            packets = recorder.progress.packets
            await until(lambda: recorder.progress.packets > packets + 100)
    first, second = recorder.progress.files
    pictures, sound = read(first)
    assert len(pictures) == 0
    assert len(sound) > 8000
    pictures, sound = read(second)
    assert len(pictures) > 5
    assert len(sound) > 8000


async def test_h264_is_recorded_as_it_is(server: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", video="libx264")
    async with Bot.join(server, room="h264", name="Ada") as ada:
        await ada.publish(film, copy=True, loop=True)
        async with Bot.join(server, room="h264", name="Recorder") as bot:
            recorder = Recorder(bot, tmp_path / "out")
            async with running(recorder.run()):
                await until(lambda: recorder.progress.seconds > 3)
    (path,) = recorder.progress.files
    assert path.suffix == ".mkv"
    with av.open(str(path)) as container:
        assert {s.codec_context.name for s in container.streams.video} == {"h264"}
    pictures, sound = read(path)
    assert len(pictures) > 10
    assert all(is_known_picture(array, tolerance=40) for _, array in pictures)
    assert loudest_hertz(sound[8000:], 16_000) == pytest.approx(440, abs=5)


async def test_a_killed_recorder_leaves_files_that_play(server: str, tmp_path: Path) -> None:
    async with Bot.join(server, room="crash", name="Ada") as ada:
        await publish_known(ada)
        both = [
            await start_command(server, "record", str(tmp_path / "each")),
            await start_command(server, "record", str(tmp_path / "one"), "--compose"),
        ]
        try:
            for process in both:
                assert process.stderr is not None
                await soon(read_until_seconds(process.stderr, 5))
        finally:
            for process in both:
                process.send_signal(signal.SIGKILL)
                await process.communicate()
    pictures, sound = read(tmp_path / "each" / "Ada.webm")
    assert len(pictures) > 15
    assert len(sound) > 16_000
    pictures, sound = read(tmp_path / "one" / "crash.mp4")
    assert len(pictures) > 25
    assert len(sound) > 16_000


async def start_command(server: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", "bot", *arguments),
        *("--server", server, "--room", "crash"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


async def read_until_seconds(stream: asyncio.StreamReader, seconds: int) -> None:
    """A busy recorder does not tell of each second."""
    while line := await stream.readline():
        told = re.search(rb"  (\d+) s", line)
        if told and int(told[1]) >= seconds:
            return
    raise AssertionError("the recorder ended")


async def test_a_composed_file_shows_everybody_and_mixes_their_sound(
    server: str, tmp_path: Path
) -> None:
    path = tmp_path / "all.mp4"
    async with (
        Bot.join(server, room="grid", name="Ada") as ada,
        Bot.join(server, room="grid", name="Bob") as bob,
        Bot.join(server, room="grid", name="Recorder") as bot,
    ):
        await publish_known(ada)
        await publish_flashes(bob)
        composer = Composer(bot, path, width=320, height=180, fps=12)
        async with running(composer.run()):
            await until(lambda: composer.seconds > 5 and composer.pictures > 40)
    pictures, sound = read(path)
    # Where encoding cannot keep up, pictures are left out, but never the first of a second; all
    # others are there, each in its place, and no sound is missing.
    slots = [round(time * 12) for time, _ in pictures]
    assert len(slots) == composer.pictures
    assert slots == sorted(set(slots))
    assert set(range(0, round(composer.seconds * 12), 12)) <= set(slots)
    assert len(sound) / 16_000 == pytest.approx(composer.seconds, abs=0.1)
    halves = [p[45:135, side] for _, p in pictures for side in (slice(160), slice(160, None))]
    assert any(is_known_picture(half, tolerance=60) for half in halves)
    spectrum = np.abs(np.fft.rfft(sound[16_000:].astype(float)))
    hertz = np.fft.rfftfreq(len(sound[16_000:]), 1 / 16_000)
    quiet = np.median(spectrum)
    for wanted in (440.0, 1000.0):
        assert spectrum[np.abs(hertz - wanted) < 5].max() > 50 * quiet


async def test_a_folder_that_cannot_be_written_is_told_at_once(server: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with Bot.join(server, room="bad", name="Recorder") as bot:
        with pytest.raises(TargetUnwritable):
            Recorder(bot, blocked)
        with pytest.raises(TargetUnwritable):
            Composer(bot, blocked / "all.mp4")


# -- Parts of the composer --------------------------------------------------------------


def test_a_grid_has_even_cells_without_overlap() -> None:
    for count in range(1, 20):
        cells = grid(count, 1280, 720)
        assert len(set(cells)) == count
        assert all(value % 2 == 0 for cell in cells for value in cell)
        assert all(x + w <= 1280 and y + h <= 720 for x, y, w, h in cells)


def test_pictures_keep_their_shape_and_colours_in_the_grid() -> None:
    frames = [
        av.VideoFrame.from_ndarray(picture(160, 90, 0), format="rgb24"),
        av.VideoFrame.from_ndarray(picture(90, 160, 0), format="rgb24"),
    ]
    shown = compose(frames, 640, 360).to_ndarray(format="rgb24")
    assert is_known_picture(shown[90:270, :320])
    wide = 360 * 90 // 160 // 2 * 2
    assert is_known_picture(shown[:, 320 + (320 - wide) // 2 :][:, :wide], tolerance=40)
    assert shown[10, 100].max() < 30


def test_sound_is_mixed_in_its_place_and_joined_without_a_gap() -> None:
    mixer = Mixer(10.0)
    ones = np.ones((480, 2), np.int16)
    mixer.add("Ada", 10.0, ones * 100)
    mixer.add("Ada", 10.013, ones * 100)
    mixer.add("Bob", 10.005, ones * 30_000)
    mixer.add("Bob", 9.0, ones)
    mixed = mixer.take(960)[:, 0]
    assert mixed[0] == 100
    assert mixed[300] == 30_100
    assert mixed[900] == 100
    mixer.add("Ada", 9.9, ones)
    assert not mixer.take(480).any()


def test_loud_sound_is_clipped_and_not_wrapped() -> None:
    mixer = Mixer(0.0)
    for who in range(3):
        mixer.add(who, 0.0, np.full((10, 2), 30_000, np.int16))
    assert mixer.take(10).min() == 32_767
