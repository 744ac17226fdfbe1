"""Decoding a track's sound and pictures, with loss."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from signaling.bot.decoding import SoundDecoder
from signaling.bot.encoders import ResilientOpus
from signaling.bot.patterns import tone
from signaling.bot.tap import EncodedFrame


def encode(codec: str, count: int = 40) -> list[EncodedFrame]:
    """Packets of 20 ms of a tone."""
    rate = 48_000 if codec == "opus" else 8000
    sound = tone(rate=rate)
    frames: list[EncodedFrame] = []
    opus = ResilientOpus()
    other = av.CodecContext.create("pcm_mulaw", "w")
    other.sample_rate, other.layout, other.format = 8000, "mono", "s16"
    for number in range(count):
        pcm = next(sound)
        if codec == "opus":
            stereo = np.repeat(pcm.reshape(-1, 1), 2, axis=1).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(stereo, format="s16", layout="stereo")
        else:
            frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, number * len(pcm), Fraction(1, rate)
        if codec == "opus":
            payloads, _ = opus.encode(frame)
        else:
            payloads = [bytes(packet) for packet in other.encode(frame)]
        stamp = number * rate // 50
        frames += [EncodedFrame(codec, data, stamp, rate, True, 0.0) for data in payloads]
    return frames


def lose(frames: list[EncodedFrame], lost: set[int]) -> list[EncodedFrame]:
    left: list[EncodedFrame] = []
    before = 0
    for number, frame in enumerate(frames):
        if number in lost:
            before += 1
            continue
        left.append(
            EncodedFrame(
                frame.codec,
                frame.data,
                number * frame.clock_rate // 50,
                frame.clock_rate,
                True,
                0.0,
                before,
            )
        )
        before = 0
    return left


def level(pcm: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(pcm.astype(float) ** 2)))


@pytest.mark.parametrize("codec", ["opus", "PCMU"])
def test_gaps_are_concealed_so_that_time_goes_on(codec: str) -> None:
    frames = lose(encode(codec), {10, 20, 21, 22})
    decoder = SoundDecoder(codec)
    real = concealed = samples = 0
    for frame in frames:
        for out, before, is_concealed in decoder.decode(frame):
            assert isinstance(out, av.AudioFrame)
            real += not is_concealed
            concealed += is_concealed
            samples += out.samples
            assert (before > 0) is is_concealed
    assert (real, concealed) == (len(frames), 4)
    assert samples / out.sample_rate == pytest.approx(0.02 * (len(frames) + 4), abs=0.001)


def test_the_packet_after_a_lost_one_says_what_was_in_it() -> None:
    """By forward error correction: nearer to the truth than what is only continued."""
    sweep = [*encode("opus", 30)]
    errors: dict[bool, float] = {}
    whole = SoundDecoder("opus")
    truth = [out.to_ndarray() for frame in sweep for out, _, _ in whole.decode(frame)]
    for corrected in (True, False):
        decoder = SoundDecoder("opus")
        if not corrected:
            decoder._opus.recover = lambda _, n, d=decoder: d._opus.conceal(n)  # type: ignore
        heard = [
            out.to_ndarray() for frame in lose(sweep, {15}) for out, _, _ in decoder.decode(frame)
        ]
        errors[corrected] = level(heard[15] - truth[15])
    assert errors[True] <= errors[False]


def test_a_pause_without_loss_and_a_gap_too_long_are_not_filled() -> None:
    frames = encode("opus", 4)
    decoder = SoundDecoder("opus")
    decoder.decode(frames[0])
    later = EncodedFrame("opus", frames[1].data, 48_000, 48_000, True, 0.0, lost=0)
    assert [concealed for _, _, concealed in decoder.decode(later)] == [False]
    long_after = EncodedFrame("opus", frames[2].data, 480_000, 48_000, True, 0.0, lost=9)
    assert [concealed for _, _, concealed in decoder.decode(long_after)] == [False]


def test_what_is_no_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="libopus"):
        SoundDecoder("opus").decode(EncodedFrame("opus", b"\xff" * 3, 0, 48_000, True, 0.0))
    with pytest.raises(ValueError, match=r"(?i)av1"):
        SoundDecoder("AV1")
