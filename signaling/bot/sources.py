"""What a bot publishes: sources that push frames or packets, and the tracks that carry
them to each peer connection.

One source serves many connections. Its frames are on one clock for the whole process
(`media_time`), so sources stay in step with each other and one can take another's place
on a connection without a jump backwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.frame import Frame
from numpy.typing import NDArray

from .backlog import Backlog, Ended
from .clock import media_time
from .errors import CodecMissing, SourceFull
from .playout import Converting, Playout

if TYPE_CHECKING:
    Packet = av.Packet[Any]
else:
    Packet = av.Packet  # A Cython class cannot be subscripted when the program runs.

log = logging.getLogger(__name__)

Kind = Literal["audio", "video"]
Label = Literal["camera", "microphone", "screen", "screen-audio", "other"]
Item = av.VideoFrame | av.AudioFrame | Packet
Frame_ = TypeVar("Frame_", bound=av.VideoFrame | av.AudioFrame)

VIDEO_CLOCK = 90_000
AUDIO_CLOCK = 48_000
AUDIO_SAMPLES = 960
"""20 ms: what one Opus packet holds."""
VIDEO_WAITING = 3
"""Frames that may wait for an encoder: a tenth of a second, then the oldest is dropped."""
AUDIO_WAITING = 12
PACKETS_WAITING = 90
"""Encoded frames that may wait for a sender; beyond them, all up to a key frame are dropped."""
SENDABLE = {"audio": ("opus", "PCMU", "PCMA"), "video": ("VP8", "H264")}
"""Codecs that aiortc can put into RTP, by kind."""

NEAR = Fraction(2)
"""Seconds: a timestamp this close to now is on our clock already, as a remote track's are."""


class Resampler:
    """Sound of any shape, which may change, as 16-bit samples of one rate and layout."""

    def __init__(self, rate: int, layout: str, frame_size: int | None = None) -> None:
        self._wanted = ("s16", layout, rate, frame_size)
        self._size = frame_size
        self._given: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler

    def resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """What the frame gives, without regard to its pts; it may have other readers."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._given:
            self._resampler = av.AudioResampler(*self._wanted)
            self._given = shape
        pts, frame.pts = frame.pts, None
        parts = self._resampler.resample(frame)
        frame.pts = pts
        return parts

    def flush(self) -> list[av.AudioFrame]:
        """What is kept for a whole frame, filled up with silence; what comes next begins anew."""
        if self._given is None:
            return []
        self._given = None
        parts = self._resampler.resample(None)
        return [part if self._size is None else _fill(part, self._size) for part in parts]


def _fill(part: av.AudioFrame, size: int) -> av.AudioFrame:
    """With silence up to `size` samples."""
    pcm = part.to_ndarray()
    channels = part.layout.nb_channels
    room = np.zeros((1, size * channels), np.int16)
    room[:, : pcm.shape[1]] = pcm[:, : size * channels]
    filled = av.AudioFrame.from_ndarray(room, format="s16", layout=part.layout.name)
    filled.sample_rate = part.sample_rate
    return filled


class SenderTrack(MediaStreamTrack):
    """Feeds one RTP sender from whatever source is attached, or from none for a while.

    It never ends by itself: aiortc cannot start a sender again whose track has ended.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.reading = False
        self.sent = 0
        self._needs_key = False
        self._source: Source | None = None
        self._backlog: Backlog[Item] = Backlog(1)

    @property
    def source(self) -> Source | None:
        return self._source

    def attach(self, source: Source | None) -> None:
        """Send `source` from now on; None sends nothing."""
        if self._source is not None:
            self._source.senders.discard(self)
        self._source = source
        if source is None:
            return
        self._needs_key = source.codec is not None and source.kind == "video"
        limit = VIDEO_WAITING if source.kind == "video" else AUDIO_WAITING
        self._backlog.limit = PACKETS_WAITING if source.codec is not None else limit
        self._backlog.clear()
        source.senders.add(self)
        if self.reading:
            source.listening.set()
        source.request_key_frame()

    @property
    def dropped(self) -> int:
        """Frames and packets that came faster than this sender took them."""
        return self._backlog.dropped

    def takes(self, key: bool) -> bool:
        """Whether an item would be of use here."""
        return self.reading and (key or not self._needs_key)

    def put(self, item: Item, key: bool) -> None:
        """Queue an item that this sender may keep."""
        if not self.takes(key):
            return
        self._needs_key = False
        if isinstance(item, av.Packet) and len(self._backlog) >= PACKETS_WAITING:
            # Part of a group of pictures is of no use: wait for the next one.
            self._backlog.clear()
            if self.kind == "video" and not key:
                self._needs_key = True
                if self._source is not None:
                    self._source.request_key_frame()
                return
        self._backlog.put(item)

    async def recv(self) -> Frame | Packet:
        """The next frame or packet. Raises MediaStreamError once stopped."""
        if not self.reading:
            self.reading = True
            if self._source is not None:
                self._source.listening.set()
                self._source.request_key_frame()
        try:
            item = await self._backlog.get()
        except Ended:
            raise MediaStreamError from None
        self.sent += 1
        return item

    def clear(self) -> None:
        """Drop what waits."""
        self._backlog.clear()

    def stop(self) -> None:
        self.attach(None)
        self._backlog.close()
        super().stop()


class Source:
    """One thing to publish: push frames into it, and every attached sender sends them.

    codec: None for frames, which each connection encodes; for `av.Packet`s their codec:
        `VP8`, `H264` (Annex B), `opus`, `PCMU` or `PCMA`. Raises CodecMissing for another.
    on_key_frame: called when a receiver asks for a key frame.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        label: Label | None = None,
        codec: str | None = None,
        on_key_frame: Callable[[], None] | None = None,
    ) -> None:
        if codec is not None and codec not in SENDABLE[kind]:
            raise CodecMissing(
                f"{codec} packets cannot be sent; {kind} is {' or '.join(SENDABLE[kind])}."
            )
        self.kind: Kind = kind
        self.label: Label = label or ("camera" if kind == "video" else "microphone")
        self.codec = codec
        self.on_key_frame = on_key_frame
        self.senders: set[SenderTrack] = set()
        self.listening = asyncio.Event()
        """Set once any connection takes what is pushed."""
        self.pushed = 0
        self._offset: Fraction | None = None
        self._last = Fraction(-1)
        # aiortc's encoder takes one shape of audio for its whole life.
        self._resampler = Resampler(AUDIO_CLOCK, "stereo", AUDIO_SAMPLES)
        self._playout = Playout(self._send_sound)
        self._converting: Converting | None = None

    def request_key_frame(self) -> None:
        if self.on_key_frame is not None:
            try:
                self.on_key_frame()
            except Exception:  # It would end the connection that asks.
                log.exception("`on_key_frame` failed")

    @property
    def dropped(self) -> int:
        """Pictures that came faster than they could be made ready."""
        return 0 if self._converting is None else self._converting.dropped

    def push(self, item: Item) -> None:
        """Send a frame or packet to everyone connected; without a pts, as of now.

        Timestamps are moved as a whole so that the first is now; they must not go back. Sound
        leaves when its time has come. The item itself stays the caller's. Raises SourceFull
        where ten seconds of sound wait already.
        """
        self.pushed += 1
        if isinstance(item, av.AudioFrame):
            self._push_audio(item)
            return
        base = Fraction(1, VIDEO_CLOCK if self.kind == "video" else AUDIO_CLOCK)
        stamp = round(self._stamp(item, base) / base)
        if isinstance(item, av.VideoFrame) and item.format.name != "yuv420p":
            if any(sender.takes(True) for sender in self.senders):
                # Once, and not again for each connection.
                self._converting = self._converting or Converting(self._send)
                self._converting.put(item, stamp, base)
            return
        self._send(item, stamp, base)

    def push_picture(self, picture: NDArray[np.uint8], *, format: str = "rgb24") -> None:
        """Send an array of shape (height, width, 3), or (height * 3 / 2, width) of `yuv420p`,
        which costs no conversion; both sizes even."""
        self.push(av.VideoFrame.from_ndarray(picture, format=format))

    def push_sound(self, pcm: NDArray[np.int16], *, rate: int = AUDIO_CLOCK) -> Awaitable[None]:
        """Send samples of shape (samples,) or (samples, channels), one or two channels: after
        those that wait, all of them. To be awaited by whoever has more at hand than its time
        has come for: returns when there is room again. Raises SourceFull as `push` does."""
        self.push(audio_frame(pcm, rate))
        return self._playout.wait_for_room()

    def wait_for_room(self) -> Awaitable[None]:
        """Done when so little sound waits that more may be pushed."""
        return self._playout.wait_for_room()

    async def wait_played(self) -> None:
        """Return when all sound that was pushed has been sent."""
        self._flush()
        await self._playout.wait_played()

    def clear(self) -> None:
        """Drop the sound that waits: silence follows at once."""
        self._resampler = Resampler(AUDIO_CLOCK, "stereo", AUDIO_SAMPLES)
        self._playout.clear()
        for sender in self.senders:
            if self.kind == "audio":
                sender.clear()

    def _push_audio(self, frame: av.AudioFrame) -> None:
        if self._playout.full:
            raise SourceFull("Ten seconds of sound wait to be sent: await `push_sound`.")
        due = float(self._find_time(frame))
        self._playout.put(self._resampler.resample(frame), due, on_dry=self._flush)

    def _flush(self) -> None:
        """Send the last milliseconds, too, which the resampler keeps."""
        if rest := self._resampler.flush():
            self._playout.put(rest, media_time())

    def _send_sound(self, part: av.AudioFrame, stamp: int) -> None:
        self._send(part, stamp, Fraction(1, AUDIO_CLOCK))

    def _stamp(self, item: av.VideoFrame | Packet, base: Fraction) -> Fraction:
        self._last = max(self._find_time(item), self._last + base)
        return self._last

    def _find_time(self, item: Item) -> Fraction:
        """When the item is to be shown, on `media_time`'s clock."""
        now = Fraction(round(media_time() * 1_000_000), 1_000_000)
        if item.pts is None or item.time_base is None:
            return now
        given = item.pts * Fraction(item.time_base.numerator, item.time_base.denominator)
        if self._offset is None:
            self._offset = Fraction(0) if abs(now - given) < NEAR else now - given
        return given + self._offset

    def _send(self, item: Item, stamp: int, base: Fraction, *, owned: bool = False) -> None:
        """`owned`: nobody else has the item, so that one sender may have it without a copy."""
        key = not isinstance(item, av.Packet) or item.is_keyframe
        takers = [sender for sender in self.senders if sender.takes(key)]
        for sender in takers:
            # Encoders write into the frames that they are given, each in its own thread.
            if owned and sender is takers[-1]:
                own = item
            else:
                own = copy_packet(item) if isinstance(item, av.Packet) else copy_frame(item)
            own.pts, own.time_base = stamp, base
            sender.put(own, key)


def copy_packet(packet: Packet) -> Packet:
    copy = av.Packet(bytes(packet))
    copy.is_keyframe = packet.is_keyframe
    return copy


def copy_frame(frame: Frame_) -> Frame_:
    """The same picture or sound in memory of its own, without a timestamp."""
    copy: Any
    if isinstance(frame, av.VideoFrame):
        copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    else:
        copy = av.AudioFrame(frame.format.name, frame.layout.name, frame.samples)
        copy.sample_rate = frame.sample_rate
    planes: Any = zip(frame.planes, copy.planes, strict=True)
    for source, target in planes:
        if isinstance(frame, av.AudioFrame):
            target.update(bytes(source)[: target.buffer_size])
            continue
        lines = np.asarray(memoryview(source)).reshape(-1, source.line_size)
        room = np.asarray(memoryview(target)).reshape(-1, target.line_size)
        width = min(source.line_size, target.line_size)
        room[: len(lines), :width] = lines[: len(room), :width]
    result: Frame_ = copy
    return result


def audio_frame(pcm: NDArray[np.int16], rate: int) -> av.AudioFrame:
    """An `av.AudioFrame` of samples of shape (samples,) or (samples, channels)."""
    channels = 1 if pcm.ndim == 1 else pcm.shape[1]
    if channels > 2 or not np.issubdtype(pcm.dtype, np.integer):
        # Else it would be noise, or silence.
        raise ValueError(
            "Sound is 16-bit samples of shape (samples,) or (samples, channels), one or two"
            f" channels, and not {pcm.dtype} of shape {pcm.shape}."
        )
    packed = np.ascontiguousarray(pcm, dtype=np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(
        packed, format="s16", layout="mono" if channels == 1 else "stereo"
    )
    frame.sample_rate = rate
    return frame
