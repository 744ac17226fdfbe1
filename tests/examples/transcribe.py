"""Writes down what is said, with a recogniser of your own, and tells the room.

python -m tests.examples.transcribe URL ROOM
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from signaling.bot import Bot, RemoteTrack

RATE = 16_000
SILENCE = 500
"""Samples below this are silence, of 32767."""
PAUSE = RATE // 2
LONGEST = 15 * RATE

Recogniser = Callable[[NDArray[np.int16]], str]
"""Takes 16-bit mono samples at 16 kHz and returns the text; it may take its time."""


def describe(speech: NDArray[np.int16]) -> str:
    """Put a real recogniser here."""
    return f"({len(speech) / RATE:.1f} seconds of speech)"


async def transcribe(bot: Bot, track: RemoteTrack, recognise: Recogniser) -> None:
    """Cut a track into utterances at its pauses, and say in the chat what each was."""
    speech = np.zeros(0, np.int16)
    quiet = 0
    async for block in track.pcm(rate=RATE):
        samples = block[:, 0]
        loud = int(np.abs(samples.astype(np.int32)).max(initial=0)) > SILENCE
        quiet = 0 if loud else quiet + len(samples)
        if loud or len(speech):
            speech = np.concatenate([speech, samples])
        if len(speech) and (quiet > PAUSE or len(speech) > LONGEST):
            text = await asyncio.to_thread(recognise, speech)
            if text:
                await bot.chat(f"{track.participant.name}: {text}")
            speech = speech[:0]


async def main(server: str, room: str, recognise: Recogniser = describe) -> None:
    async with Bot.join(server, room=room, name="Transcript") as bot:
        async for track in bot.tracks():
            if track.kind == "audio":
                bot.start(transcribe(bot, track, recognise))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
