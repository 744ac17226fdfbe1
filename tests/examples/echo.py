"""Sends everybody's sound and picture back: python -m tests.examples.echo URL ROOM"""

from __future__ import annotations

import asyncio
import sys

from signaling.bot import Bot, RemoteTrack


async def echo(bot: Bot, track: RemoteTrack) -> None:
    publication = await bot.publish(track.media_stream_track())
    await publication.wait()


async def main(server: str, room: str) -> None:
    async with Bot.join(server, room=room, name="Echo") as bot:
        async for track in bot.tracks():  # whoever publishes, now or later
            bot.start(echo(bot, track))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
