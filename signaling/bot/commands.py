"""`python -m signaling bot`: ready-made bots for the command line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ..client.errors import ClientError
from .bot import Bot
from .compose import Composer
from .errors import TargetUnwritable
from .files import free_path
from .load import Load, Media
from .patterns import TONE_HZ, pictures, tone
from .record import Recorder
from .tracks import RemoteTrack

ECHO_MARK = {"bot": "echo"}
"""In an echo bot's metadata, so that two of them do not answer each other for ever."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each bot."""
    commands = parser.add_subparsers(dest="bot", metavar="BOT", required=True)
    for name, (text, extend, _) in BOTS.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--server", metavar="URL", default="http://localhost:8443")
        sub.add_argument("--room", required=True)
        sub.add_argument("--name", default=name.capitalize())
        sub.add_argument(
            "--token", help="where the server asks for one; for several bots one with no identity"
        )
        sub.add_argument("--insecure", action="store_true", help="take any certificate")
        sub.add_argument(
            "--relay", action="store_true", help="receive through the relay, never directly"
        )
        extend(sub)


def main(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:
    """`bot …` on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m signaling bot")
    add_arguments(parser)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    if options.token is None:
        options.token = environ.get("SIGNALING_TOKEN")
    return run(options, err)


def run(options: argparse.Namespace, err: TextIO = sys.stderr) -> int:
    """Run the bot that the options name until it ends or is told to stop."""
    try:
        return asyncio.run(_run_until_signal(BOTS[options.bot][2](options, err)))
    except ClientError as error:
        print(f"bot: {type(error).__name__}: {error}", file=err)
        return 1
    except KeyboardInterrupt:
        return 130


async def _run_until_signal(work: Awaitable[int]) -> int:
    """SIGTERM and SIGINT end a bot as its own end would: files are finished."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: asyncio.run ends the bot at Ctrl+C.
            loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def make_bot(options: argparse.Namespace, **more: Any) -> Bot:
    return Bot.join(
        options.server,
        room=options.room,
        name=options.name,
        token=options.token,
        ssl=not options.insecure,
        via="relay" if options.relay else "auto",
        **more,
    )


# -- The bots ---------------------------------------------------------------------------


async def echo(options: argparse.Namespace, err: TextIO) -> int:
    async with make_bot(options, metadata=ECHO_MARK) as bot:
        print(f"echoing in {options.room}", file=err)

        @bot.on_track
        async def send_back(track: RemoteTrack) -> None:
            if track.participant.metadata.get("bot") != "echo":
                await (await bot.publish(track.media_stream_track())).wait()

        await bot.run_forever()
    return 0


async def play(options: argparse.Namespace, err: TextIO) -> int:
    async with make_bot(options, receive=False) as bot:
        playing = await bot.publish(options.file, loop=options.loop, copy=options.copy)
        print(f"playing {options.file} in {options.room}", file=err)
        await playing.wait()
    return 0


async def record(options: argparse.Namespace, err: TextIO) -> int:
    async with make_bot(options) as bot:
        if options.compose:
            composer = Composer(bot, free_path(options.directory, options.room, ".mp4"))

            def report() -> str:
                return f"{composer.path}  {composer.seconds:.0f} s"

            await _with_progress(composer.run(), report, err)
            return 0
        recorder = Recorder(bot, options.directory)

        def report_files() -> str:
            progress = recorder.progress
            megabytes = progress.bytes / 1_000_000
            return f"{len(progress.files)} files  {progress.seconds:.0f} s  {megabytes:.1f} MB"

        await _with_progress(recorder.run(), report_files, err)
    return 0


async def send_tone(options: argparse.Namespace, err: TextIO) -> int:
    async with make_bot(options, receive=False) as bot:
        print(f"{options.hertz:.0f} Hz in {options.room}", file=err)
        await (await bot.publish(tone(options.hertz), kind="audio")).wait()
    return 0


async def send_picture(options: argparse.Namespace, err: TextIO) -> int:
    async with make_bot(options, receive=False) as bot:
        print(f"{options.width}x{options.height} in {options.room}", file=err)
        frames = pictures(options.width, options.height)
        await (await bot.publish(frames, fps=options.fps)).wait()
    return 0


async def load(options: argparse.Namespace, err: TextIO) -> int:
    media = Media(options.width, options.height, options.fps, options.bitrate, not options.mute)
    work = Load(
        options.server,
        room=options.room,
        publishers=options.publishers,
        subscribers=options.subscribers,
        media=media,
        token=options.token,
        ramp=options.ramp,
        ssl=not options.insecure,
        via="relay" if options.relay else "auto",
    )
    report = await work.run(options.seconds, on_progress=lambda text: _show(text, err))
    _show("", err)
    if options.json is not None:
        if str(options.json) == "-":
            print(report.to_json())
            return 0
        try:
            options.json.write_text(report.to_json() + "\n")
        except OSError as error:
            raise TargetUnwritable(f"{options.json}: {error.strerror}") from error
    print(report.to_table())
    return 0 if report.joined == report.publishers + report.subscribers else 1


async def _with_progress(work: Any, report: Callable[[], str], err: TextIO) -> None:
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=1)
            _show(report(), err)
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        _show(report(), err)
        print(file=err)


def _show(text: str, err: TextIO) -> None:
    if err.isatty():
        print(f"\r\x1b[K{text}", end="", file=err, flush=True)
    elif text:
        print(text, file=err, flush=True)


# -- Their options ----------------------------------------------------------------------


def _nothing(parser: argparse.ArgumentParser) -> None:
    """A bot without options of its own."""


def _play_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a file, a device, or a URL that FFmpeg reads")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--copy", action="store_true", help="send the packets as they are")


def _record_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--compose", action="store_true", help="one MP4 of everybody instead of a file for each"
    )


def _tone_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hertz", type=float, default=TONE_HZ)


def _picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=30)


def _load_options(parser: argparse.ArgumentParser) -> None:
    _picture_options(parser)
    parser.add_argument("--publishers", type=int, default=1, metavar="N")
    parser.add_argument("--subscribers", type=int, default=1, metavar="M")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--bitrate", type=int, default=500_000, help="of the video, in bit/s")
    parser.add_argument("--mute", action="store_true", help="video alone")
    parser.add_argument("--ramp", type=float, default=0.05, help="seconds between two joins")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the report; - for here")


Work = Callable[[argparse.Namespace, TextIO], Awaitable[int]]
BOTS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Work]] = {
    "echo": ("Send everybody's sound and picture back.", _nothing, echo),
    "play": ("Play a file into a room.", _play_options, play),
    "record": ("Record everybody into a folder.", _record_options, record),
    "tone": ("Send a tone.", _tone_options, send_tone),
    "picture": ("Send a picture that moves.", _picture_options, send_picture),
    "load": ("Load a server, and measure what it does.", _load_options, load),
}
