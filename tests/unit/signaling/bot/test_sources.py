"""Sources: one clock, one shape of sound, bounded queues."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from signaling.bot.clock import media_time
from signaling.bot.errors import CodecMissing, SourceFull
from signaling.bot.patterns import picture, tone
from signaling.bot.sources import PACKETS_WAITING, SenderTrack, Source, audio_frame


def frame(pts: int | None = None) -> av.VideoFrame:
    made = av.VideoFrame.from_ndarray(picture(64, 48, 0), format="rgb24")
    if pts is not None:
        made.pts, made.time_base = pts, Fraction(1, 1000)
    return made


def packet(key: bool, pts: int) -> av.Packet[av.stream.Stream]:
    made = av.Packet(b"\x00\x01")
    made.pts, made.time_base, made.is_keyframe = pts, Fraction(1, 1000), key
    return made


async def listen(source: Source) -> SenderTrack:
    """A sender that has begun to read."""
    track = SenderTrack(source.kind)
    track.attach(source)
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    return track


async def test_nothing_waits_for_a_sender_that_does_not_read_yet() -> None:
    source = Source("video")
    track = SenderTrack("video")
    track.attach(source)
    source.push(frame())
    assert not source.listening.is_set()
    assert track.dropped == 0
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    assert source.listening.is_set()
    source.push(frame())
    assert isinstance(await reading, av.VideoFrame)


async def test_frames_are_stamped_with_the_common_clock_and_keep_their_distances() -> None:
    source = Source("video")
    track = await listen(source)
    for pts in (5000, 5040, 5080):
        source.push(frame(pts))
    times = [float((await track.recv()).pts or 0) / 90_000 for _ in range(3)]
    assert abs(times[0] - media_time()) < 5
    assert times[1] - times[0] == pytest.approx(0.04, abs=1e-4)
    assert times[2] - times[1] == pytest.approx(0.04, abs=1e-4)


async def test_what_is_on_the_common_clock_already_stays_as_it_is() -> None:
    source = Source("video")
    track = await listen(source)
    made = frame()
    made.pts, made.time_base = round(media_time() * 90_000) - 9000, Fraction(1, 90_000)
    stamp = made.pts
    source.push(made)
    assert (await track.recv()).pts == stamp


async def test_timestamps_never_go_back_when_a_source_takes_another_s_place() -> None:
    track = SenderTrack("video")
    stamps: list[int] = []
    for pts in (900_000, 0):
        source = Source("video")
        track.attach(source)
        reading = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        source.push(frame(pts))
        stamps.append((await reading).pts or 0)
    assert stamps[1] > stamps[0]


async def test_a_slow_encoder_gets_the_newest_pictures() -> None:
    source = Source("video")
    track = await listen(source)
    for pts in range(0, 1000, 100):
        ready = frame(pts).reformat(format="yuv420p")
        ready.pts, ready.time_base = pts, Fraction(1, 1000)
        source.push(ready)
    assert track.dropped == 7
    assert len([await track.recv() for _ in range(3)]) == 3


async def test_pictures_are_brought_into_shape_in_order_and_beside_the_loop() -> None:
    source = Source("video")
    track = await listen(source)
    for pts in range(0, 1000, 100):
        source.push(frame(pts))
    shown = [await track.recv() for _ in range(3)]
    assert all(isinstance(one, av.VideoFrame) and one.format.name == "yuv420p" for one in shown)
    stamps = [one.pts or 0 for one in shown]
    assert stamps == sorted(stamps)
    assert source.dropped == 7


async def test_nothing_is_brought_into_shape_that_nobody_takes() -> None:
    source = Source("video")
    source.push(frame())
    assert source._converting is None


async def test_sound_given_in_one_piece_is_sent_whole_and_in_its_time() -> None:
    source = Source("audio")
    track = await listen(source)
    room = source.push_sound(np.ones(48_000 // 2, np.int16))
    assert not asyncio.ensure_future(room).done()
    begun = media_time()
    stamps = [(await track.recv()).pts or 0 for _ in range(25)]
    assert media_time() - begun > 0.4
    assert np.diff(stamps).tolist() == 24 * [960]
    assert track.dropped == 0
    await room


async def test_more_sound_than_may_wait_is_refused_and_nothing_of_it_taken() -> None:
    source = Source("audio")
    source.push_sound(np.zeros(11 * 48_000, np.int16))
    with pytest.raises(SourceFull):
        source.push_sound(np.zeros(960, np.int16))
    source.clear()
    source.push_sound(np.zeros(960, np.int16))
    await source.wait_played()


async def test_packets_begin_with_a_key_frame_for_each_sender() -> None:
    asked: list[int] = []
    source = Source("video", codec="VP8", on_key_frame=lambda: asked.append(1))
    track = await listen(source)
    assert asked
    source.push(packet(False, 0))
    source.push(packet(True, 40))
    source.push(packet(False, 80))
    first, second = await track.recv(), await track.recv()
    assert isinstance(first, av.Packet)
    assert first.is_keyframe
    assert (second.pts or 0) - (first.pts or 0) == 3600


async def test_packets_that_are_too_many_are_dropped_up_to_a_key_frame() -> None:
    source = Source("video", codec="VP8")
    track = await listen(source)
    source.push(packet(True, 0))
    for n in range(PACKETS_WAITING + 5):
        source.push(packet(False, 1 + n))
    source.push(packet(True, 1000))
    assert track.dropped == PACKETS_WAITING
    left = await track.recv()
    assert isinstance(left, av.Packet)
    assert left.is_keyframe


@pytest.mark.parametrize(("kind", "codec"), [("video", "AV1"), ("audio", "aac"), ("audio", "VP8")])
def test_a_codec_that_cannot_be_sent_is_refused(kind: str, codec: str) -> None:
    with pytest.raises(CodecMissing, match=codec):
        Source("video" if kind == "video" else "audio", codec=codec)


async def test_sound_of_any_shape_becomes_blocks_of_20_ms_without_a_gap() -> None:
    source = Source("audio")
    track = await listen(source)
    for block, _ in zip(tone(rate=16_000), range(10), strict=False):
        given = audio_frame(block, 16_000)
        given.pts = 77
        source.push(given)
        assert given.pts == 77
    got = [await track.recv() for _ in range(8)]
    assert all(isinstance(f, av.AudioFrame) for f in got)
    assert {(f.samples, f.sample_rate) for f in got if isinstance(f, av.AudioFrame)} == {
        (960, 48_000)
    }
    stamps = [f.pts or 0 for f in got]
    assert set(np.diff(stamps)) == {960}


async def test_sound_that_says_when_it_is_due_is_not_moved_by_a_late_process() -> None:
    source = Source("audio")
    track = await listen(source)
    for number, at in ((0, 0), (1, 960), (2, 96_000), (3, 96_960)):
        block = audio_frame(np.zeros(960, np.int16), 48_000)
        block.pts, block.time_base = at, Fraction(1, 48_000)
        source.push(block)
        assert source.pushed == number + 1
    stamps = [(await track.recv()).pts or 0 for _ in range(4)]
    assert list(np.diff(stamps)) == [960, 95_040, 960]


async def test_a_stopped_sender_ends_its_reader() -> None:
    track = await listen(Source("video"))
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_arrays_can_be_pushed() -> None:
    source = Source("audio")
    track = await listen(source)
    source.push_sound(np.zeros((4800, 2), np.int16))
    assert isinstance(await track.recv(), av.AudioFrame)
    video = Source("video")
    track = await listen(video)
    video.push_picture(picture(64, 48, 1))
    assert isinstance(await track.recv(), av.VideoFrame)


async def test_a_callback_that_fails_does_not_reach_the_connection_that_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise LookupError("on purpose")

    source = Source("video", codec="VP8", on_key_frame=fail)
    track = await listen(source)
    source.push(packet(True, 0))
    assert isinstance(await track.recv(), av.Packet)
    assert "`on_key_frame` failed" in caplog.text


@pytest.mark.parametrize(
    "pcm", [np.zeros((2, 960), np.int16), np.zeros((960, 6), np.int16), np.zeros(960, np.float32)]
)
async def test_sound_of_another_shape_or_type_is_refused(pcm: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="16-bit samples of shape"):
        Source("audio").push_sound(pcm)
