"""One logical track over changing connections, decoded only when somebody reads."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from signaling.bot.load import Media, encode_audio, encode_video
from signaling.bot.tap import EncodedFrame, Tap
from signaling.bot.tracks import ENCODED_WAITING, EncodedPacket, RemoteTrack
from signaling.client import Participant
from tests.support.pictures import is_known_picture, loudest_hertz


class FakeTap:
    """Frames without a connection."""

    def __init__(self) -> None:
        self.listener: Any = None
        self.asked = 0

    def request_key_frame(self) -> None:
        self.asked += 1

    def forget_clock(self) -> None:
        """It has none."""

    def bring(self, frame: EncodedFrame) -> None:
        if self.listener is not None:
            self.listener(self, frame)


VIDEO = encode_video(Media(width=64, height=48, fps=10))
AUDIO = encode_audio()


def video(n: int, *, key: bool | None = None, timestamp: int | None = None) -> EncodedFrame:
    data, is_key = VIDEO[n % len(VIDEO)]
    return EncodedFrame(
        codec="VP8",
        data=data,
        timestamp=n * 9000 if timestamp is None else timestamp,
        clock_rate=90_000,
        key=is_key if key is None else key,
        arrival=1000 + n / 10,
    )


def audio(n: int) -> EncodedFrame:
    return EncodedFrame("opus", AUDIO[n % len(AUDIO)], n * 960, 48_000, True, 1000 + n / 50)


def make(kind: str = "video") -> tuple[RemoteTrack, FakeTap]:
    owner = Participant("p_1", "Ada")
    track = (
        RemoteTrack(owner, "video", "camera")
        if kind == "video"
        else RemoteTrack(owner, "audio", "microphone")
    )
    tap = FakeTap()
    track.bind(cast(Tap, tap))
    return track, tap


def watch(track: RemoteTrack) -> list[EncodedPacket]:
    packets: list[EncodedPacket] = []
    track.observe(packets.append)
    return packets


async def test_it_begins_with_a_key_frame_and_asks_for_one() -> None:
    track, tap = make()
    packets = watch(track)
    asked = tap.asked
    tap.bring(video(1))
    assert packets == []
    assert asked == 1
    tap.bring(video(0))
    tap.bring(video(1))
    assert [packet.key for packet in packets] == [True, False]


async def test_times_follow_the_sender_s_timestamps_not_the_arrivals() -> None:
    track, tap = make()
    packets = watch(track)
    for n in range(3):
        frame = video(n)
        late = EncodedFrame(
            frame.codec, frame.data, frame.timestamp, 90_000, frame.key, frame.arrival + n * 0.05
        )
        tap.bring(late)
    gaps = np.diff([packet.time for packet in packets])
    assert gaps == pytest.approx([0.1, 0.1])


async def test_a_jump_of_the_timestamps_is_put_right_by_the_arrivals() -> None:
    track, tap = make()
    packets = watch(track)
    tap.bring(video(0))
    tap.bring(video(1, timestamp=-(2**31)))
    tap.bring(video(2, timestamp=-(2**31) + 9000))
    gaps = np.diff([packet.time for packet in packets])
    assert gaps == pytest.approx([0.1, 0.1])


async def test_the_old_connection_goes_on_until_the_new_one_has_a_key_frame() -> None:
    track, old = make()
    packets = watch(track)
    old.bring(video(0))
    new = FakeTap()
    track.bind(cast(Tap, new))
    old.bring(video(1))
    new.bring(video(2, timestamp=5))
    assert len(packets) == 2
    new.bring(video(3, key=True, timestamp=9005))
    old.bring(video(3))
    new.bring(video(4, timestamp=18_005))
    assert len(packets) == 4
    times = [packet.time for packet in packets]
    assert times == sorted(times)
    assert np.diff(times) == pytest.approx([0.1, 0.2, 0.1])
    assert track.tap is cast(Tap, new)


async def test_a_lost_connection_leaves_the_track_waiting() -> None:
    track, tap = make()
    tap.bring(video(0))
    track.unbind(cast(Tap, tap))
    assert not track.bound
    assert not track.ended
    again = FakeTap()
    track.bind(cast(Tap, again))
    packets = watch(track)
    again.bring(video(0))
    assert len(packets) == 1


async def test_frames_are_decoded_for_each_reader() -> None:
    track, tap = make()

    async def read() -> int:
        async for array in track.pictures():
            assert is_known_picture(array, tolerance=60)
            return int(array.shape[1])
        return 0

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(0)
    for n in range(4):
        tap.bring(video(n))
    assert await asyncio.gather(*readers) == [64, 64]
    track.end()
    await track.wait_closed()


async def test_nothing_is_decoded_that_nobody_reads() -> None:
    track, tap = make()
    tap.bring(video(0))
    assert not track._decoders
    reader = track.frames()
    reading = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert len(track._decoders) == 1
    tap.bring(video(0))
    await reading
    await reader.aclose()
    await track.wait_closed()
    assert not track._decoders


async def test_a_decoder_that_cannot_keep_up_skips_to_a_key_frame() -> None:
    track, tap = make()
    tap.bring(video(0))
    reader = track.frames()
    reading = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    tap.bring(video(0))
    for n in range(1, ENCODED_WAITING["video"] + 3):
        tap.bring(video(1, timestamp=n * 9000))
    assert track.late >= ENCODED_WAITING["video"]
    reading.cancel()
    await asyncio.wait([reading])
    track.end()
    await track.wait_closed()


async def test_pcm_has_the_rate_and_layout_that_was_asked_for() -> None:
    track, tap = make("audio")
    blocks: list[Any] = []

    async def read() -> None:
        async for block in track.pcm(rate=16_000, layout="stereo"):
            blocks.append(block)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    for n in range(50):
        tap.bring(audio(n))
        await asyncio.sleep(0)
    track.end()
    await reading
    sound = np.concatenate(blocks)
    assert sound.shape[1] == 2
    assert abs(len(sound) - 16_000) < 1000
    assert loudest_hertz(sound[4000:], 16_000) == pytest.approx(440, abs=5)
    await track.wait_closed()


async def test_every_reader_ends_with_the_track() -> None:
    track, tap = make()
    tap.bring(video(0))

    async def drain(items: Any) -> int:
        return len([item async for item in items])

    readers = [asyncio.create_task(drain(r)) for r in (track.frames(), track.packets())]
    await asyncio.sleep(0)
    track.end()
    assert await asyncio.gather(*readers) == [0, 0]
    assert await drain(track.frames()) == 0
    await track.wait_closed()


async def test_broken_frames_are_passed_over() -> None:
    track, tap = make()
    reader = track.frames()
    reading = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    tap.bring(EncodedFrame("VP8", b"\x00garbage", 0, 90_000, True, 1000.0))
    tap.bring(EncodedFrame("AV9", b"??", 1, 90_000, True, 1000.0))
    tap.bring(video(0, timestamp=9000))
    await reading
    track.end()
    await track.wait_closed()


async def test_an_observer_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    track, tap = make()

    def fail(_: EncodedPacket) -> None:
        raise LookupError("on purpose")

    track.observe(fail)
    packets = watch(track)
    tap.bring(video(0))
    assert len(packets) == 1
    assert "an observer" in caplog.text


async def test_times_never_go_back_even_where_the_sender_s_do() -> None:
    track, tap = make()
    packets = watch(track)
    for n, timestamp in enumerate((0, 18_000, 9000, 36_000, 27_000)):
        tap.bring(video(n, key=True, timestamp=timestamp))
    times = [packet.time for packet in packets]
    assert times == sorted(times)


async def test_sound_may_change_its_shape() -> None:
    track, tap = make("audio")
    heard = asyncio.create_task(take_pcm(track, 16_000))
    await asyncio.sleep(0)
    for n in range(25):
        tap.bring(audio(n))
        await asyncio.sleep(0)
    for n in range(25, 50):
        arrival = 1000 + n / 50
        tap.bring(EncodedFrame("PCMU", bytes(160), n * 160, 8000, True, arrival))
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await heard


async def take_pcm(track: RemoteTrack, samples: int) -> None:
    async for block in track.pcm(rate=16_000):
        samples -= len(block)
        if samples < 400:  # A resampler keeps a few back.
            return


async def test_as_an_aiortc_track_it_can_be_waited_for_in_vain_and_stopped() -> None:
    track, tap = make("audio")
    media = track.media_stream_track()
    for _ in range(2):
        waiting = asyncio.create_task(media.recv())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    tap.bring(audio(0))
    async with asyncio.timeout(30):
        assert (await media.recv()).pts is not None
        waiting = asyncio.create_task(media.recv())
        await asyncio.sleep(0)
        media.stop()
        with pytest.raises(MediaStreamError):
            await waiting
    assert track._decoding is None
    forgotten = track.media_stream_track()
    waiting = asyncio.create_task(forgotten.recv())
    await asyncio.sleep(0)
    assert track._decoding is not None
    waiting.cancel()
    await asyncio.wait([waiting])
    del forgotten, waiting
    await asyncio.sleep(0)
    assert track._decoding is None
