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

from signaling.bot import Bot, Source, Utterance
from signaling.protocol import messages
from tests.examples import agent, bridge, echo, meter, recorder, transcribe
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
    run = {module.__name__.rpartition(".")[2] for module in (agent, bridge, echo, meter, recorder)}
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
    heard: list[float] = []

    def recognise(said: Utterance) -> str:
        heard.append(said.seconds)
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
    assert 0.5 < heard[0] < 2.5


async def test_transcribe_writes_down_what_is_said_right_before_a_mute(server: str) -> None:
    async def speak() -> AsyncIterator[Any]:
        for _ in range(50):
            yield (8000 * np.sin(np.arange(960) / 10)).astype(np.int16)

    async with Bot.join(server, room="muted", name="Ada") as ada:
        said: list[str] = []
        captions = ada.client.messages("caption")
        ada.client.on(messages.ChatFrom, lambda chat: said.append(chat.content))
        async with running(transcribe.main(server, "muted", lambda _: "good bye")):
            source = Source("audio")
            await ada.publish(source)
            await soon(source.listening.wait())
            await asyncio.sleep(1)  # Until the transcript's decoder reads.
            async for pcm in speak():
                await source.push_sound(pcm)
            # Nothing follows, not even silence.
            await until(lambda: "Ada: good bye" in said)
            caption = await soon(anext(captions))
            assert caption.payload == {
                "participant": ada.client.id,
                "text": "good bye",
                "final": True,
            }
        await captions.aclose()


@pytest.mark.needs("espeak-ng")
async def test_agent_answers_falls_silent_when_interrupted_and_shows_captions(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = (8000 * np.sin(np.arange(960) / 10)).astype(np.int16)
    async with Bot.join(server, room="agent", name="Ada") as ada:
        source = Source("audio")
        await ada.publish(source)
        captions = ada.client.messages("caption")
        async with running(agent.main(server, "agent")):
            await soon(source.listening.wait())
            await asyncio.sleep(1)
            for _ in range(30):
                await source.push_sound(loud)
            caption = await soon(anext(captions))
            assert "seconds of speech" in caption.payload["text"]
            heard = (await soon(ada.track("audio", name="Agent"))).utterances(silence=0.3)
            answer = await soon(anext(heard))
            assert 0.8 < answer.seconds < 6
            print(capsys.readouterr().out)
            for _ in range(30):
                await source.push_sound(loud)
            await soon(anext(captions))
            await asyncio.sleep(0.6)
            for _ in range(30):  # In the midst of the second answer.
                await source.push_sound(loud)
            cut_off = await soon(anext(heard))
            assert cut_off.seconds < answer.seconds
        await heard.aclose()
        await captions.aclose()


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
