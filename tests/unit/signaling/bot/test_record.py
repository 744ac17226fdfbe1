"""Recordings of those who send nonsense, leave at once, or fill the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import av
import pytest

from signaling.bot import Bot, EncodedPacket, RemoteTrack, TargetUnwritable
from signaling.bot.compose import Composer
from signaling.bot.load import Media, encode_video
from signaling.bot.record import PacketFile, Recorder, begins_file
from signaling.bot.tap import EncodedFrame, Tap
from signaling.client import Participant
from tests.support.bots import soon, until
from tests.unit.signaling.bot.test_decoding import encode

VIDEO = encode_video(Media(width=64, height=48, fps=10))


class FakeBot:
    """Tracks without a room."""

    def __init__(self, *names: str) -> None:
        self.made = [RemoteTrack(Participant(f"p_{n}", n), "video", "camera") for n in names]
        self._taps = [FakeTap() for _ in names]
        for track, tap in zip(self.made, self._taps, strict=True):
            track.bind(cast(Tap, tap))

    async def tracks(self) -> AsyncIterator[RemoteTrack]:
        for track in self.made:
            yield track
        await asyncio.Event().wait()

    def bring(self, count: int, *, who: int = 0, data: bytes | None = None) -> None:
        frame, key = VIDEO[count] if data is None else (data, True)
        tap = self._taps[who]
        tap.listener(tap, EncodedFrame("VP8", frame, count * 9000, 90_000, key, 1000 + count / 10))


class FakeTap:
    listener: Any = None

    def request_key_frame(self) -> None:
        """Nobody to ask."""

    def forget_clock(self) -> None:
        """It has none."""


def pictures_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    "packet",
    [
        EncodedPacket("VP8", b"\0", 1.0, True),
        EncodedPacket("VP8", bytes(10), 1.0, True),
        EncodedPacket("H264", b"\0\0\1\x65nonsense", 1.0, True),
        EncodedPacket("G722", bytes(160), 1.0, True),
        EncodedPacket("VP8", VIDEO[1][0], 1.0, False),
    ],
)
def test_no_file_begins_with_nonsense(packet: EncodedPacket) -> None:
    assert not begins_file(packet)
    assert begins_file(EncodedPacket("VP8", VIDEO[0][0], 1.0, True))


async def test_a_participant_who_sends_nonsense_does_not_end_the_others_recordings(
    tmp_path: Path,
) -> None:
    bot = FakeBot("Eve", "Ada")
    recorder = Recorder(cast(Bot, bot), tmp_path)
    recording = asyncio.create_task(recorder.run())
    await until(lambda: len(bot.made[1]._packets) == 1)
    for count in range(10):
        bot.bring(count, who=0, data=b"\0" if count % 2 else bytes(10))
        bot.bring(count, who=1)
    await until(lambda: recorder.progress.packets >= 10)
    recording.cancel()
    await soon(asyncio.wait([recording]))
    assert recording.cancelled()
    assert [path.name for path in recorder.progress.files] == ["Ada.webm"]
    assert pictures_in(tmp_path / "Ada.webm") == 10


async def test_a_recording_that_is_stopped_at_once_has_what_came(tmp_path: Path) -> None:
    bot = FakeBot("Ada")
    recorder = Recorder(cast(Bot, bot), tmp_path)
    recording = asyncio.create_task(recorder.run())
    await until(lambda: bot.made[0]._packets)
    for count in range(5):
        bot.bring(count)
    await until(lambda: recorder._recordings[0]._queue.qsize() < 5)
    recording.cancel()
    await soon(asyncio.wait([recording]))
    assert pictures_in(tmp_path / "Ada.webm") == 5


async def test_two_of_the_same_name_have_a_file_each(tmp_path: Path) -> None:
    bot = FakeBot("Ada", "Ada")
    bot.made[1].participant.id = "p_other"
    recorder = Recorder(cast(Bot, bot), tmp_path)
    recording = asyncio.create_task(recorder.run())
    await until(lambda: all(track._packets for track in bot.made))
    for count in range(5):
        bot.bring(count, who=0)
        bot.bring(count, who=1)
    await until(lambda: recorder.progress.packets >= 10)
    recording.cancel()
    await soon(asyncio.wait([recording]))
    assert [pictures_in(path) for path in recorder.progress.files] == [5, 5]


async def test_a_full_disk_is_told_and_ends_the_recording(tmp_path: Path) -> None:
    full = tmp_path / "full.webm"
    full.symlink_to("/dev/full")
    first = EncodedPacket("VP8", VIDEO[0][0], 1.0, True)
    file = PacketFile(full, {"camera": first})
    with pytest.raises(TargetUnwritable, match="space"):
        file.write([("camera", first)])
    with pytest.raises(TargetUnwritable, match="space"):
        file.close()


async def test_a_composed_recording_tells_of_a_full_disk_and_plays_if_stopped_at_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    bot = cast(Bot, FakeBot())
    composer = Composer(bot, tmp_path / "full.mp4", width=64, height=48)
    with pytest.raises(TargetUnwritable, match="space"):
        await soon(composer.run())
    composer = Composer(bot, tmp_path / "short.mp4", width=64, height=48)
    composing = asyncio.create_task(composer.run())
    await asyncio.sleep(0)
    composing.cancel()
    await soon(asyncio.wait([composing]))
    assert pictures_in(tmp_path / "short.mp4") > 0


def test_a_file_gets_its_length_and_places_to_go_to_and_a_killed_recorder_s_plays(
    tmp_path: Path,
) -> None:
    path, killed = tmp_path / "whole.webm", tmp_path / "killed.webm"
    packets = [
        EncodedPacket("opus", frame.data, 100 + number / 50, True)
        for number, frame in enumerate(encode("opus", 200))
    ]
    file = PacketFile(path, {"microphone": packets[0]})
    file.write([("microphone", packet) for packet in packets])
    killed.write_bytes(path.read_bytes())
    file.close()
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(4_000_000, abs=50_000)
    cues = b"\x1c\x53\xbb\x6b"
    assert cues in path.read_bytes()
    with av.open(str(killed)) as container:
        assert sum(1 for packet in container.demux() if packet.size) >= 150
