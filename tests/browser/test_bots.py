"""Bots and browsers in one room: each sees and hears what the other sends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from signaling.bot import Bot, RemoteTrack
from signaling.bot.connections import Way
from signaling.bot.patterns import COLOURS, pictures, tone
from tests.browser.conftest import Enter
from tests.support.bots import soon, until
from tests.support.browser import Hub, Participant, running_hub
from tests.support.pictures import CHROMIUM_BEEP_HZ, chromium_green, level, loudest_hertz

T = TypeVar("T")

COLOURS_SEEN = """async (name) => {
  const { page } = await import('/static/js/main.js');
  const other = page.call.state.participants.find((one) => one.name === name);
  const track = other && page.call.tracksOf(other.id).camera?.receiver.track;
  if (!track) return [];
  const video = document.createElement('video');
  video.muted = true;
  video.srcObject = new MediaStream([track]);
  await video.play();
  await new Promise((resolve) => { video.requestVideoFrameCallback(resolve); });
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  video.srcObject = null;
  return [[1, 1], [3, 1], [1, 3], [3, 3]].map(([x, y]) => [...context.getImageData(
    Math.round(canvas.width * x / 4), Math.round(canvas.height * (y * 2 - 1) / 8), 1, 1,
  ).data.slice(0, 3)]);
}"""
LOUDEST_HERTZ = """async (name) => {
  const { page } = await import('/static/js/main.js');
  const other = page.call.state.participants.find((one) => one.name === name);
  const track = other && page.call.tracksOf(other.id).microphone?.receiver.track;
  if (!track) return 0;
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  await new Promise((resolve) => { setTimeout(resolve, 700); });
  analyser.getFloatFrequencyData(bins);
  const rate = context.sampleRate;
  await context.close();
  const loudest = bins.indexOf(Math.max(...bins));
  return bins[loudest] > -60 ? loudest * rate / analyser.fftSize : 0;
}"""


class Thread:
    """An event loop on a thread: Playwright has this one's."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._bots: list[Bot] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(120)

    def enter(self, bot: Bot) -> Bot:
        self.run(bot.__aenter__())
        self._bots.append(bot)
        return bot

    def close(self) -> None:
        for bot in self._bots:
            self.run(bot.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def thread() -> Iterator[Thread]:
    running = Thread()
    yield running
    running.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """With a relay."""
    with running_hub() as running:
        yield running


def make_bot(hub: Hub, room: str, via: Way = "auto", name: str = "Bot") -> Bot:
    return Bot.join(f"http://127.0.0.1:{hub.port}", room=room, name=name, via=via)


async def publish(bot: Bot) -> None:
    await bot.publish(pictures(320, 180), fps=15)
    await bot.publish(tone(), kind="audio")


def see_and_hear_the_bot(page: Participant) -> None:
    """The known picture and tone, in the browser."""
    page.wait_for_media({"Bot"})
    for _ in range(20):
        seen = page.page.evaluate(COLOURS_SEEN, "Bot")
        if seen and np.abs(np.array(seen) - np.array(COLOURS)).max() < 40:
            break
    else:
        raise AssertionError(f"other colours: {seen}")
    for _ in range(20):
        hertz = page.page.evaluate(LOUDEST_HERTZ, "Bot")
        if abs(hertz - 440) < 15:
            return
    raise AssertionError(f"another tone: {hertz}")


async def see_and_hear_chromium(bot: Bot, name: str) -> None:
    """The fake devices' green and beep, in the bot."""
    video, audio = await soon(bot.track("video", name=name)), await soon(bot.track("audio"))
    await asyncio.gather(soon(see_green(video)), soon(hear_beep(audio)))


async def see_green(track: RemoteTrack) -> None:
    async for picture in track.pictures():
        if chromium_green(picture) > 0.3:
            return


async def hear_beep(track: RemoteTrack) -> None:
    heard = np.zeros((0, 1), np.int16)
    async for block in track.pcm(rate=16_000):
        heard = np.concatenate([heard, block])[-3200:]
        low, high = CHROMIUM_BEEP_HZ
        if level(heard) > -40 and low < loudest_hertz(heard, 16_000) < high:
            return


@pytest.mark.parametrize("via", ["auto", "relay"])
@pytest.mark.parametrize("first", ["bot", "page"])
def test_a_bot_and_a_browser_see_and_hear_each_other(
    enter: Enter, hub: Hub, thread: Thread, room: str, via: Way, first: str
) -> None:
    bot = make_bot(hub, room, via)
    page = enter("Ada") if first == "page" else None
    thread.enter(bot)
    thread.run(publish(bot))
    page = page or enter("Ada")
    thread.run(see_and_hear_chromium(bot, "Ada"))
    see_and_hear_the_bot(page)
    assert bool(bot._connections.direct) is (via == "auto")


def test_a_screen_and_a_camera_that_is_off_are_told_apart(
    enter: Enter, hub: Hub, thread: Thread, room: str
) -> None:
    bot = thread.enter(make_bot(hub, room))
    page = enter("Ada")
    thread.run(see_and_hear_chromium(bot, "Ada"))
    page.press("Share screen")
    track = thread.run(find(bot, "screen"))
    assert track.kind == "video"
    page.press("Turn camera off")
    camera = thread.run(find(bot, "camera"))
    thread.run(until(lambda: camera.muted))
    page.press("Turn camera on")
    thread.run(until(lambda: not camera.muted))
    thread.run(soon(see_green(camera)))


async def find(bot: Bot, label: str) -> RemoteTrack:
    async def look() -> RemoteTrack:
        async for track in bot.tracks():
            if track.label == label:
                return track
        raise AssertionError(f"no {label}")

    return await soon(look())


def test_a_bot_and_a_browser_move_to_the_relay_and_back(
    enter: Enter, thread: Thread, room: str
) -> None:
    with running_hub("--mesh-limit", "3", "--mesh-return", "1") as hub:
        bot = thread.enter(make_bot(hub, room))
        thread.run(publish(bot))
        ada = enter("Ada", port=hub.port)
        thread.run(see_and_hear_chromium(bot, "Ada"))
        others = [thread.enter(make_bot(hub, room, name=name)) for name in ("Eve", "Zoe")]
        thread.run(until(lambda: bot.client.topology == "relay"))
        thread.run(until(lambda: not bot._connections.direct))
        thread.run(see_and_hear_chromium(bot, "Ada"))
        see_and_hear_the_bot(ada)
        for other in others:
            thread.run(other.close())
        thread.run(until(lambda: bot.client.topology == "mesh"))
        thread.run(until(lambda: not bot._connections.publisher.active))
        thread.run(see_and_hear_chromium(bot, "Ada"))
        see_and_hear_the_bot(ada)
        ada.page.context.close()
