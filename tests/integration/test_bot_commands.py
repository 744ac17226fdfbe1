"""`python -m signaling bot …`: each ready-made bot, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from signaling.bot import Bot
from signaling.bot.commands import BOTS, main
from signaling.bot.load import Load, Media
from tests.support.bots import hear, make_film, publish_known, running_server, see, soon, until
from tests.support.browser import free_port


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


async def start(server: str, bot: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", "bot", bot, *arguments),
        *("--server", server, "--room", bot),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


async def end(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """A bot that is told to stop does so in good order."""
    process.send_signal(number)
    _, err = await soon(process.communicate())
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err


async def test_tone_and_picture_send_what_they_say(server: str) -> None:
    async with (
        Bot.join(server, room="tone", name="Ada") as listener,
        Bot.join(server, room="picture", name="Ada") as viewer,
    ):
        bots = [
            await start(server, "tone", "--hertz", "660"),
            await start(server, "picture", "--width", "160", "--height", "90", "--fps", "10"),
        ]
        await hear(await soon(listener.track("audio", name="Tone")), hertz=660)
        await see(await soon(viewer.track("video", name="Picture")))
        await end(bots[0], signal.SIGTERM)
        await end(bots[1], signal.SIGINT)


async def test_echo_answers_people_and_no_other_echo(server: str) -> None:
    async with Bot.join(server, room="echo", name="Ada") as ada:
        await publish_known(ada, sound=False)
        bots = [await start(server, "echo", "--name", name) for name in ("One", "Two")]
        for name in ("One", "Two"):
            await see(await soon(ada.track("video", name=name)))
        await asyncio.gather(*(end(bot, signal.SIGTERM) for bot in bots))


async def test_play_ends_with_its_file(server: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.webm", seconds=2)
    async with Bot.join(server, room="play", name="Ada") as ada:
        bot = await start(server, "play", str(film))
        await see(await soon(ada.track("video", name="Play")))
        assert await soon(bot.wait()) == 0
        await until(lambda: not ada.client.participants)
        await bot.communicate()


async def test_record_shows_progress_and_finishes_its_files(server: str, tmp_path: Path) -> None:
    async with Bot.join(server, room="record", name="Ada") as ada:
        await publish_known(ada, sound=False)
        bot = await start(server, "record", str(tmp_path / "out"))
        assert bot.stderr is not None
        async with asyncio.timeout(45):
            while b"1 files  2 s" not in (line := await bot.stderr.readline()):
                assert line
        await end(bot, signal.SIGINT)
    # A finished file knows its length.
    assert b"\x44\x89" in (tmp_path / "out" / "Ada.webm").read_bytes()[:4096]


async def test_load_measures_a_room(server: str) -> None:
    media = Media(width=128, height=72, fps=10, bitrate=80_000)
    load = Load(server, room="load", publishers=2, subscribers=4, media=media, ramp=0.02)
    said: list[str] = []
    report = await soon(load.run(3, on_progress=said.append))
    assert (report.joined, report.failures) == (6, [])
    assert report.tracks_received == report.tracks_expected == 16
    assert report.frames > 100
    assert report.packets > report.frames
    assert report.loss_percent < 5
    assert 0 < report.latency_ms["p50"] < 5000
    assert 0 < report.join_ms["p50"] <= report.join_ms["p99"]
    assert json.loads(report.to_json())["frames"] == report.frames
    assert "latency ms" in report.to_table()
    assert said


async def test_load_prints_json(server: str) -> None:
    bot = await start(
        server, "load", "--publishers", "1", "--subscribers", "1", "--seconds", "1",
        *("--width", "64", "--height", "48", "--fps", "10", "--json", "-"),
    )  # fmt: skip
    out, err = await soon(bot.communicate())
    assert bot.returncode == 0, err.decode()
    assert json.loads(out)["joined"] == 2


@pytest.mark.parametrize("bot", BOTS)
def test_every_bot_tells_its_options(bot: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([bot, "--help"], {}, sys.stderr) == 0
    assert "--room" in capsys.readouterr().out


def test_what_goes_wrong_is_said_in_a_line(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--server", server, "--room"]
    gone = ["--server", f"http://127.0.0.1:{free_port()}", "--room", "demo"]
    cases = [
        (["tone", *gone], "ServerUnreachable"),
        (["tone", *here, "no room"], "RoomUnknown"),
        (["play", str(tmp_path / "missing"), *here, "demo"], "SourceUnreadable"),
        (["record", "/dev/null/x", *here, "demo"], "TargetUnwritable"),
    ]
    for arguments, name in cases:
        assert main(arguments, {}, sys.stderr) == 1
        err = capsys.readouterr().err
        assert f"bot: {name}: " in err
        assert "Traceback" not in err
    assert main(["sing"], {}, sys.stderr) == 2
