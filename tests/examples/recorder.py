"""Records everybody in a room for a while.

python -m tests.examples.recorder URL ROOM DIR SECONDS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from signaling.bot import Bot
from signaling.bot.record import Recorder


async def main(server: str, room: str, folder: str, seconds: str) -> list[Path]:
    async with Bot.join(server, room=room, name="Recorder") as bot:
        recorder = Recorder(bot, folder)
        recording = bot.start(recorder.run())
        await asyncio.sleep(float(seconds))
        recording.cancel()
        await asyncio.wait([recording])  # the files are whole now
        return recorder.progress.files


if __name__ == "__main__":
    for path in asyncio.run(main(*sys.argv[1:])):
        print(path)
