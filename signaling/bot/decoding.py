"""Decodes a track's pictures, and its sound, of which it conceals what was lost."""

from __future__ import annotations

from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from .opus import LONGEST, RATE, OpusDecoder, load_library
from .sources import Kind
from .tap import EncodedFrame, FrameDecoder, decode, make_decoder

CONCEAL_AT_MOST: Final = 1.0
"""Seconds; what is lost beyond is a gap in time, and nobody would take it for speech."""
FADE: Final = 0.6
"""What is left of the last packet's loudness each time it is played again in place of another."""
FRAME: Final = 960
"""Samples of 20 ms, that sound is sent in."""

Decoded = av.VideoFrame | av.AudioFrame
Placed = tuple[Decoded, float, bool]
"""A frame, its place in seconds before (or at) the packet that it came with, and whether it
stands for one that was lost."""


class PictureDecoder:
    """One codec's. Raises ValueError for a codec that there is no decoder for."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._decoder = make_decoder(codec)

    def decode(self, frame: EncodedFrame) -> list[Placed]:
        """May take milliseconds. Raises av.FFmpegError for what cannot be decoded."""
        decoded = decode(self._decoder, frame)
        return [(one, 0.0, False) for one in decoded if isinstance(one, av.VideoFrame)]


class SoundDecoder:
    """One codec's. Raises ValueError for a codec that there is no decoder for."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._opus = OpusDecoder() if codec == "opus" and load_library() is not None else None
        self._other: FrameDecoder | None = None if self._opus else make_decoder(codec)
        self._due: int | None = None
        self._samples = FRAME
        self._last: av.AudioFrame | None = None

    def decode(self, frame: EncodedFrame) -> list[Placed]:
        """Raises av.FFmpegError or ValueError for what cannot be decoded."""
        gap = 0
        if frame.lost and self._due is not None:
            gap = frame.timestamp - self._due
            if not 0 < gap <= CONCEAL_AT_MOST * frame.clock_rate:
                gap = 0
        concealed = self._conceal(frame, gap) if gap else []
        if self._opus is not None:
            pcm = self._opus.decode(frame.data)
            decoded = [_frame(pcm)]
            self._samples = len(pcm)
            length = len(pcm)
        else:
            assert self._other is not None
            decoded = [f for f in decode(self._other, frame) if isinstance(f, av.AudioFrame)]
            length = sum(f.samples * frame.clock_rate // f.sample_rate for f in decoded)
            self._last = decoded[-1] if decoded else self._last
        self._due = frame.timestamp + length
        return [*concealed, *((one, 0.0, False) for one in decoded)]

    def _conceal(self, frame: EncodedFrame, gap: int) -> list[Placed]:
        if self._opus is not None:
            return self._conceal_opus(self._opus, frame, gap)
        if self._last is None:
            return []
        length = self._last.samples * frame.clock_rate // self._last.sample_rate
        count = gap // max(length, 1)
        placed: list[Placed] = []
        pcm = self._last.to_ndarray()
        for index in range(count):
            faded = (pcm * FADE ** (index + 1)).astype(np.int16)
            again = av.AudioFrame.from_ndarray(faded, format="s16", layout=self._last.layout.name)
            again.sample_rate = self._last.sample_rate
            placed.append((again, (count - index) * length / frame.clock_rate, True))
        return placed

    def _conceal_opus(self, opus: OpusDecoder, frame: EncodedFrame, gap: int) -> list[Placed]:
        """All from what came before, but the last from what the packet after it says of it."""
        placed: list[Placed] = []
        while gap >= 120:  # 2.5 ms, the shortest that there is.
            samples = min(self._samples, gap, LONGEST) // 120 * 120
            last = gap - samples < 120
            pcm = opus.recover(frame.data, samples) if last else opus.conceal(samples)
            if not len(pcm):
                break
            placed.append((_frame(pcm), gap / RATE, True))
            gap -= len(pcm)
        return placed


def make_track_decoder(kind: Kind, codec: str) -> PictureDecoder | SoundDecoder:
    return PictureDecoder(codec) if kind == "video" else SoundDecoder(codec)


def _frame(pcm: NDArray[np.int16]) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
    frame.sample_rate = RATE
    return frame
