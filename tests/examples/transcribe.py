"""Writes down what is said, with a recogniser of your own, and shows the room captions.

python -m tests.examples.transcribe URL ROOM
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from signaling.bot import Bot, RemoteTrack, Utterance

Recogniser = Callable[[Utterance], str]
"""Takes 16-bit mono samples at 16 kHz and returns the text; it may take its time."""


def describe(said: Utterance) -> str:
    """Put a real recogniser here."""
    return f"({said.seconds:.1f} seconds of speech)"


async def transcribe(bot: Bot, track: RemoteTrack, recognise: Recogniser) -> None:
    """Say in the chat, and as captions, what each utterance was."""
    async for said in track.utterances():
        if text := await asyncio.to_thread(recognise, said):
            speaker = track.participant
            caption = {"participant": speaker.id, "text": text, "final": True}
            await bot.client.send(caption, topic="caption")
            await bot.chat(f"{speaker.name}: {text}")


async def main(server: str, room: str, recognise: Recogniser = describe) -> None:
    async with Bot.join(server, room=room, name="Transcript") as bot:
        async for track in bot.tracks():
            if track.kind == "audio":
                bot.start(transcribe(bot, track, recognise))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
