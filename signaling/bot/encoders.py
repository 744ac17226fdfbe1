"""Encoders of a bot's own: sound that survives loss, pictures of full size in real time.

aiortc's spend half of their time on noise that drawn pictures do not have, begin at 500 kbit/s
whatever the size, begin anew with a key frame at each wish for a tenth more or less, and send
no forward error correction.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import av
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

EXPECTED_LOSS: Final = 10
"""Percent, for which Opus repeats what matters of each packet in the next."""
LEAST_BITRATE: Final = 150_000
MOST_BITRATE: Final = 2_500_000
"""Bits a second of a camera at 1280×720, as browsers send it."""
BITS_PER_PIXEL: Final = 0.055
"""For a picture at 30 a second: 1.5 Mbit/s at 1280×720."""
CHANGE: Final = 0.25
"""A wish for so much more or less is followed: it takes a new encoder, and a key frame."""
CHANGE_AFTER: Final = 2.0
"""Seconds between two such changes, but for a wish for less than half."""
THREADS_FROM: Final = 640 * 480
"""Pixels beyond which a second thread is worth its while."""


class ResilientOpus(OpusEncoder):
    """Opus for speech, with forward error correction."""

    def __init__(self) -> None:
        super().__init__()
        self.codec.options = {
            "application": "voip",
            "fec": "1",
            "packet_loss": str(EXPECTED_LOSS),
        }


class FastVp8(Vp8Encoder):
    """VP8 in real time. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._wanted: int | None = None
        self._changed_at = float("-inf")
        self._bitrate = 0

    @property
    def target_bitrate(self) -> int:
        """Bits a second; of no use before there is a wish, or a size."""
        return self._wanted or self._bitrate or LEAST_BITRATE

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._wanted = min(max(bitrate, LEAST_BITRATE), MOST_BITRATE)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        assert isinstance(frame, av.VideoFrame)
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p", threads=1)
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        codec = self._fit(frame)
        data = b"".join(bytes(packet) for packet in codec.encode(frame))
        payloads = self._packetize(data, self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        assert frame.pts is not None
        assert frame.time_base is not None
        return payloads, convert_timebase(frame.pts, frame.time_base, VIDEO_TIME_BASE)

    def _fit(self, frame: av.VideoFrame) -> VideoCodecContext:
        """An encoder of the frame's size and the bit rate that is wished for."""
        now = self._clock()
        codec = self.codec
        same = codec is not None and (frame.width, frame.height) == (codec.width, codec.height)
        if codec is not None and same and not self._must_change(now):
            return codec
        pixels = frame.width * frame.height
        usual = round(pixels * 30 * BITS_PER_PIXEL)
        self._bitrate = self._wanted or min(max(usual, LEAST_BITRATE), MOST_BITRATE)
        self._changed_at = now
        self.codec = _open_vp8(frame.width, frame.height, self._bitrate)
        return self.codec

    def _must_change(self, now: float) -> bool:
        if self._wanted is None:
            return False
        change = self._wanted / self._bitrate - 1
        if change < -0.5:
            return True
        return abs(change) > CHANGE and now - self._changed_at > CHANGE_AFTER


def _open_vp8(width: int, height: int, bitrate: int) -> VideoCodecContext:
    codec = av.CodecContext.create("libvpx", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height = width, height
    codec.pix_fmt = "yuv420p"
    codec.time_base = VIDEO_TIME_BASE
    codec.bit_rate = bitrate
    codec.gop_size = 3000  # Key frames come when somebody asks.
    codec.qmin, codec.qmax = 2, 56
    codec.options = {
        "deadline": "realtime",
        "cpu-used": "-8",
        "lag-in-frames": "0",
        "static-thresh": "1",
        "bufsize": str(bitrate),
        "minrate": str(bitrate),
        "maxrate": str(bitrate),
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    }
    codec.thread_count = 2 if width * height > THREADS_FROM and (os.cpu_count() or 1) >= 3 else 1
    return codec
