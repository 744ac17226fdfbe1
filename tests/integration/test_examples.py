"""Every example, run as it stands, in a room with somebody to notice it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from signaling.bot import Bot
from signaling.protocol import messages
from tests.examples import bridge, echo, meter, recorder, transcribe
from tests.support.bots import hear, make_film, publish_known, running_server, see, soon, until
from tests.support.processes import ROOT

EXAMPLES = sorted(path.stem for path in (ROOT / "tests/examples").glob("[a-z]*.py"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_every_example_is_run_here() -> None:
    run = {module.__name__.rpartition(".")[2] for module in (bridge, echo, meter, recorder)}
    # events is run with the cluster that it is for.
    assert set(EXAMPLES) == run | {"transcribe", "events"}


async def test_echo_sends_everything_back(server: str) -> None:
    async with Bot.join(server, room="echo", name="Ada") as ada:
        await publish_known(ada)
        async with running(echo.main(server, "echo")):
            await see(await soon(ada.track("video", name="Echo")))
            await hear(await soon(ada.track("audio", name="Echo")))


async def test_the_readme_s_program_is_an_echo(server: str) -> None:
    block = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    program = block.replace("http://localhost:8443", server).replace('"demo"', '"readme"')
    names: dict[str, Any] = {}
    exec(program.replace("asyncio.run(main())", ""), names)
    async with Bot.join(server, room="readme", name="Ada") as ada:
        await publish_known(ada)
        async with running(names["main"]()):
            await see(await soon(ada.track("video", name="Echo")))


async def test_recorder_leaves_a_file_for_each(server: str, tmp_path: Path) -> None:
    async with Bot.join(server, room="recorder", name="Ada") as ada:
        await publish_known(ada)
        (path,) = await soon(recorder.main(server, "recorder", str(tmp_path), "3"))
    with av.open(str(path)) as container:
        assert {stream.type for stream in container.streams} == {"audio", "video"}


async def test_meter_draws_how_loud_it_is(server: str) -> None:
    async with Bot.join(server, room="meter", name="Ada") as ada:
        await publish_known(ada)
        async with running(meter.main(server, "meter")):
            track = await soon(ada.track("video", name="Meter"))

            async def find_bar() -> None:
                async for picture in track.pictures():
                    row = picture[picture.shape[0] // 2].astype(int)
                    bar = np.mean(row[:, 1] > row[:, 0] + 60)
                    if 0.2 < bar < 0.9:
                        return

            await soon(find_bar())


async def test_transcribe_hands_utterances_to_a_recogniser(server: str) -> None:
    heard: list[int] = []

    def recognise(speech: np.ndarray[Any, np.dtype[np.int16]]) -> str:
        heard.append(len(speech))
        return "hello world"

    async def speak() -> AsyncIterator[Any]:
        for n in range(1_000_000):
            level = 8000 if n % 100 < 50 else 0
            yield (level * np.sin(np.arange(960) / 10)).astype(np.int16)

    async with Bot.join(server, room="transcribe", name="Ada") as ada:
        said: list[str] = []
        ada.client.on(messages.ChatFrom, lambda chat: said.append(chat.content))
        await ada.publish(speak(), kind="audio")
        async with running(transcribe.main(server, "transcribe", recognise)):
            await until(lambda: "Ada: hello world" in said)
    assert 8000 < heard[0] < 40_000


async def test_bridge_brings_a_file_into_the_room(server: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.webm", seconds=3)
    async with Bot.join(server, room="bridge", name="Ada") as ada:
        async with running(bridge.main(server, "bridge", str(film))):
            await see(await soon(ada.track("video", name="Camera")))
        foreign = make_film(tmp_path / "film.mkv", seconds=3, video="mpeg4")
        await until(lambda: not ada.client.participants)
        async with running(bridge.main(server, "bridge", str(foreign))):
            await until(lambda: ada.client.participants)
            await see(await soon(ada.track("video", name="Camera")))


def test_examples_are_typed_as_a_users_code_would_be() -> None:
    paths = [str(ROOT / "tests/examples" / f"{name}.py") for name in EXAMPLES]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
