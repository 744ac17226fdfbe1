"""The bots' own encoders."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from signaling.bot.encoders import LEAST_BITRATE, MOST_BITRATE, FastVp8
from signaling.bot.patterns import picture
from signaling.bot.tap import EncodedFrame, decode, make_decoder


class Scene:
    def __init__(self, width: int = 320, height: int = 180) -> None:
        self.now = 100.0
        self.size = (width, height)
        self.encoder = FastVp8(lambda: self.now)
        self.count = 0

    def encode(self, *, force: bool = False) -> tuple[bytes, int]:
        """The first bytes of the frame behind its descriptor, and its timestamp."""
        frame = av.VideoFrame.from_ndarray(picture(*self.size, self.count), format="rgb24")
        frame.pts, frame.time_base = self.count * 3000, Fraction(1, 90_000)
        self.count += 1
        self.now += 1 / 30
        payloads, timestamp = self.encoder.encode(frame, force)
        return payloads[0][4:], timestamp

    def is_key(self, *, force: bool = False) -> bool:
        return not self.encode(force=force)[0][0] & 1


def test_the_first_picture_is_a_key_frame_and_others_when_asked_for() -> None:
    scene = Scene()
    assert [scene.is_key(), scene.is_key(), scene.is_key(force=True), scene.is_key()] == [
        True,
        False,
        True,
        False,
    ]
    assert scene.encode()[1] == 4 * 3000


def test_a_small_wish_changes_nothing_and_a_large_one_the_bit_rate_but_not_too_often() -> None:
    scene = Scene()
    scene.is_key()
    scene.now += 10
    before = scene.encoder._bitrate
    scene.encoder.target_bitrate = round(before * 1.1)
    assert not scene.is_key()
    scene.encoder.target_bitrate = before * 2
    assert scene.is_key()
    scene.encoder.target_bitrate = before * 4
    assert not scene.is_key()
    scene.now += 2
    assert scene.is_key()
    scene.encoder.target_bitrate = before
    assert scene.is_key(), "a line that has become so much worse is not made to wait"


@pytest.mark.parametrize(("wish", "kept"), [(1, LEAST_BITRATE), (10**9, MOST_BITRATE)])
def test_wishes_are_bounded(wish: int, kept: int) -> None:
    encoder = FastVp8()
    encoder.target_bitrate = wish
    assert encoder.target_bitrate == kept


def test_a_larger_picture_gets_an_encoder_of_its_size() -> None:
    scene = Scene()
    scene.encode()
    small = scene.encoder._bitrate
    scene.size = (1280, 720)
    assert scene.is_key()
    assert scene.encoder._bitrate > 5 * small


def test_what_is_encoded_can_be_decoded() -> None:
    scene, decoder = Scene(), make_decoder("VP8")
    frame = av.VideoFrame.from_ndarray(picture(320, 180, 0), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    payloads, _ = scene.encoder.encode(frame)
    data = b"".join(payload[4:] for payload in payloads)
    (shown,) = decode(decoder, EncodedFrame("VP8", data, 0, 90_000, True, 0.0))
    assert isinstance(shown, av.VideoFrame)
    assert (shown.width, shown.height) == (320, 180)
