"""Draws how loud the loudest is on a picture: python -m tests.examples.meter URL ROOM"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from signaling.bot import Bot, RemoteTrack

WIDTH, HEIGHT = 320, 180


class Meter:
    """The level of everybody in the room, from 0 to 1."""

    def __init__(self) -> None:
        self.levels: dict[str, float] = {}

    async def listen(self, track: RemoteTrack) -> None:
        if track.kind != "audio":
            return
        name = track.participant.name
        async for block in track.pcm(rate=16_000):
            power = float(np.sqrt(np.mean(block.astype(float) ** 2))) / 32_768
            self.levels[name] = max(power, 0.9 * self.levels.get(name, 0.0))
        self.levels.pop(name, None)

    async def pictures(self) -> AsyncIterator[NDArray[np.uint8]]:
        """A bar as long as the loudest is loud."""
        while True:
            picture = np.full((HEIGHT, WIDTH, 3), 24, np.uint8)
            loudest = max(self.levels.values(), default=0.0)
            bar = int(WIDTH * min(2 * loudest, 1.0))
            picture[HEIGHT // 3 : 2 * HEIGHT // 3, :bar] = (40, 200, 80)
            yield picture
            await asyncio.sleep(0)


async def main(server: str, room: str) -> None:
    async with Bot.join(server, room=room, name="Meter") as bot:
        meter = Meter()
        bot.on_track(meter.listen)
        await bot.publish(meter.pictures(), fps=15)
        await bot.run_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
