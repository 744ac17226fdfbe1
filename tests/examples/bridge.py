"""Brings a camera (rtsp://…) or a file into a room: python -m tests.examples.bridge URL ROOM SOURCE

Where all of it is H.264, VP8, Opus or G.711 it is passed on as it is; else all is encoded anew.
"""

from __future__ import annotations

import asyncio
import sys

from signaling.bot import Bot, CodecMissing


async def main(server: str, room: str, source: str) -> None:
    async with Bot.join(server, room=room, name="Camera", receive=False) as bot:
        try:
            publication = await bot.publish(source, copy=True)
        except CodecMissing:
            publication = await bot.publish(source)
        await publication.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
