"""Listens, and answers with espeak-ng's voice: python -m tests.examples.agent URL ROOM

A recogniser and a model go into `think`. It falls silent when somebody talks, shows captions of
what it heard, and prints how long it took from the end of a question to the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from signaling.bot import Bot, RemoteTrack, Utterance, media_time

RATE = 22_050
HEADER = 44  # octets of espeak-ng's WAV before its samples
SILENCE = 0.15  # seconds after which it is its turn: people leave 0.2


async def think(said: Utterance) -> tuple[str, str]:
    """What was heard, and the answer."""
    return f"({said.seconds:.1f} seconds of speech)", f"You spoke for {said.seconds:.1f} seconds."


async def synthesize(text: str, asked_at: float) -> AsyncIterator[bytes]:
    command = ("espeak-ng", "--stdout", text)
    speaker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert speaker.stdout is not None
    try:
        await speaker.stdout.readexactly(HEADER)
        print(f"answered after {1000 * (media_time() - asked_at):.0f} ms", flush=True)
        while chunk := await speaker.stdout.read(RATE // 5):
            yield chunk
    finally:
        with contextlib.suppress(ProcessLookupError):  # It is through.
            speaker.kill()
        await speaker.wait()


async def main(server: str, room: str) -> None:
    async with Bot.join(server, room=room, name="Agent") as bot:
        voice = bot.voice(rate=RATE)

        async def listen(track: RemoteTrack) -> None:
            async for said in track.utterances(silence=SILENCE, on_speech=voice.clear):
                heard, reply = await think(said)
                caption = {"participant": track.participant.id, "text": heard, "final": True}
                bot.start(bot.client.send(caption, topic="caption"))
                bot.start(voice.say(synthesize(reply, said.until)))

        async for track in bot.tracks():
            if track.kind == "audio":
                bot.start(listen(track))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
