"""What a bot receives: one `RemoteTrack` for a participant's camera or microphone, the same
object for as long as it is published, however its media comes.

Below it connections come and go (peer to peer, relay, a new relay): each brings a
`Tap`, and `bind` moves the track over to it at its first usable frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from aiortc import MediaStreamTrack
from numpy.typing import NDArray

from .backlog import Backlog, Ended
from .clock import SharedClock, media_time
from .decoding import Decoded, PictureDecoder, SoundDecoder, make_track_decoder
from .listening import Samples, read_samples, read_utterances
from .sources import AUDIO_CLOCK, Kind, Label, copy_frame
from .speech import SpeechCutter, Utterance
from .streamtrack import StreamTrack
from .tap import EncodedFrame, Tap
from .threads import run_codec

if TYPE_CHECKING:
    from ..client import Participant

FRAMES_WAITING = {"video": 4, "audio": 50}
"""Decoded frames that may wait for a reader: a second of sound, an eighth of pictures."""
ENCODED_WAITING = {"video": 60, "audio": 100}
DRIFT_SECONDS = 1.0
"""Timestamps that stray this far from the arrival times are put right."""
KEY_FRAME_INTERVAL = 0.5
"""Seconds between two requests for a key frame."""

log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class EncodedPacket:
    """A frame as it was sent; `time` in seconds on `media_time`'s clock, never going back."""

    codec: str
    data: bytes
    time: float
    key: bool


class RemoteTrack:
    """A participant's published track. Read it as frames, arrays, PCM or encoded packets,
    by as many readers as wanted, each with a short queue that drops its oldest.

    Nothing is decoded that nobody reads. Every reader ends when the track does.
    """

    def __init__(
        self,
        participant: Participant,
        kind: Kind,
        label: Label,
        *,
        clock: SharedClock | None = None,
        monotonic_to_media: Callable[[float], float] | None = None,
        prefer: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self.participant = participant
        self.kind: Kind = kind
        self.label: Label = label
        self.muted = False
        self.ended = False
        self.codec: str | None = None
        self.received = 0
        self.concealed = 0
        """Frames of sound made up, or taken from the packet after, in the place of lost ones."""
        self.late = 0
        """Frames that were dropped because a reader, or the decoder, was too slow."""
        self._to_media = monotonic_to_media or (lambda t: t + 100_000)
        self._prefer = prefer
        self._clock = clock or SharedClock()
        self._tap: Tap | None = None
        self._next: Tap | None = None
        self._base: float | None = None
        self._base_timestamp = 0
        self._last_time = 0.0
        self._requested = float("-inf")
        self._wants_key = False
        self._needs_key = kind == "video"
        self._frames: set[Backlog[Decoded]] = set()
        self._packets: set[Backlog[EncodedPacket]] = set()
        self._observers: list[Callable[[EncodedPacket], None]] = []
        self._encoded: Backlog[tuple[EncodedFrame, float]] | None = None
        self._decoding: asyncio.Task[None] | None = None
        self._decoders: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<RemoteTrack {self.participant.name!r} {self.label}>"

    def prefer(self, width: int, height: int, *, priority: int = 2) -> None:
        """Say how large the picture is of use, in pixels: through the relay it then comes in no
        larger a layer, and with 0 × 0 not at all. `priority` is 0, the highest, to 3. Where media
        come directly it has no effect."""
        if self._prefer is not None:
            self._prefer(width, height, priority)

    # -- Reading ----------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[av.VideoFrame | av.AudioFrame]:
        return self.frames()

    async def frames(self) -> AsyncGenerator[av.VideoFrame | av.AudioFrame, None]:
        """Decoded frames with `pts` on `media_time`'s clock: `av.VideoFrame`, or
        `av.AudioFrame` of 16-bit samples."""
        backlog = self.open_frames()
        try:
            while True:
                yield await backlog.get()
        except Ended:
            return
        finally:
            self.close_frames(backlog)

    async def pictures(self, *, format: str = "rgb24") -> AsyncGenerator[NDArray[np.uint8], None]:
        """Video as arrays: shape (height, width, 3) for `rgb24` and `bgr24`, (height, width)
        for `gray`."""
        async for frame in self.frames():
            if isinstance(frame, av.VideoFrame):
                yield frame.to_ndarray(format=format).astype(np.uint8, copy=False)

    def pcm(
        self, *, rate: int = AUDIO_CLOCK, layout: str = "mono", fill: bool = False
    ) -> AsyncGenerator[Samples, None]:
        """Sound as 16-bit samples at `rate` Hz, of shape (samples, channels), 20 ms or so each,
        with `time`, when they sound on the media clock. `layout` is `mono` or `stereo`.

        fill: where time passes without sound, zeros come in its place, at most a second of them
        at a time; they come when sound does again.
        """
        return read_samples(self.frames(), rate=rate, layout=layout, fill=fill)

    def utterances(
        self,
        *,
        silence: float = 0.4,
        longest: float = 15.0,
        rate: int = 16_000,
        on_speech: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Utterance, None]:
        """What somebody says, each time `silence` seconds pass after it, also where the
        microphone is turned off; cut after `longest` seconds, and at the end of the track.
        `on_speech` is called as soon as somebody begins."""
        cutter = SpeechCutter(rate, silence=silence, longest=longest)
        return read_utterances(self.pcm(rate=rate), cutter, silence, on_speech)

    async def packets(self) -> AsyncGenerator[EncodedPacket, None]:
        """The frames as they were sent, not decoded; video begins with a key frame."""
        backlog: Backlog[EncodedPacket] = Backlog(
            ENCODED_WAITING[self.kind] * 4, on_drop=self._count_late
        )
        self._packets.add(backlog)
        self.request_key_frame()
        started = self.kind == "audio"
        try:
            while True:
                packet = await backlog.get()
                started = started or packet.key
                if started:
                    yield packet
        except Ended:
            return
        finally:
            self._packets.discard(backlog)

    def observe(self, observer: Callable[[EncodedPacket], None]) -> None:
        """Call `observer` with each frame as it was sent, at once: cheaper than `packets`, and
        nothing is ever dropped; it must not block."""
        self._observers.append(observer)

    def media_stream_track(self) -> MediaStreamTrack:
        """This track as an aiortc track of its own, to publish or to hand to aiortc's classes."""
        return StreamTrack(self)

    def request_key_frame(self) -> None:
        """Ask the sender for a picture that decoding can start at: now, or half a second after
        the last time."""
        self._wants_key = self.kind == "video"
        now = media_time()
        tap = self._next or self._tap
        if self._wants_key and tap is not None and now - self._requested > KEY_FRAME_INTERVAL:
            self._requested = now
            tap.request_key_frame()

    # -- What the bot does with it ----------------------------------------------------

    def bind(self, tap: Tap) -> None:
        """Take media from `tap` as soon as it brings a frame that can be shown."""
        if self.ended or tap is self._tap or tap is self._next:
            return
        if self._next is not None:
            self._next.listener = None
        self._next = tap
        tap.listener = self._receive
        tap.forget_clock()
        self._requested = float("-inf")
        self.request_key_frame()

    def unbind(self, tap: Tap) -> None:
        """`tap` is gone or carries something else now; the track waits for another."""
        if tap.listener == self._receive:
            tap.listener = None
        if self._next is tap:
            self._next = None
        if self._tap is tap:
            self._tap = None

    @property
    def tap(self) -> Tap | None:
        """Where its media come from now."""
        return self._tap

    @property
    def bound(self) -> bool:
        return self._tap is not None or self._next is not None

    def end(self) -> None:
        """The track is no longer published: every reader ends."""
        if self.ended:
            return
        self.ended = True
        for tap in (self._tap, self._next):
            if tap is not None:
                self.unbind(tap)
        for frames in self._frames:
            frames.close()
        for packets in self._packets:
            packets.close()
        self._stop_decoding()

    async def wait_closed(self) -> None:
        """Return when the decoder has ended, after `end`."""
        if self._decoders:
            await asyncio.wait(self._decoders)

    # -- Encoded frames in ------------------------------------------------------------

    def _receive(self, tap: Tap, frame: EncodedFrame) -> None:
        if tap is self._next:
            if not frame.key:
                self.request_key_frame()
                return
            self._promote(tap)
        elif tap is not self._tap:
            return
        self.received += 1
        self.codec = frame.codec
        if frame.key:
            self._wants_key = False
        elif self._wants_key:
            self.request_key_frame()
        moment = self._time(frame)
        packet = EncodedPacket(frame.codec, frame.data, moment, frame.key)
        for observer in self._observers:
            try:
                observer(packet)
            except Exception:  # It would end the connection below.
                log.exception("an observer of %r failed", self)
        for backlog in self._packets:
            backlog.put(packet)
        if self._encoded is not None:
            self._queue_for_decoder(self._encoded, frame, moment)

    def _promote(self, tap: Tap) -> None:
        if self._tap is not None:
            self._tap.listener = None
        self._tap, self._next = tap, None
        self._base = None

    def _time(self, frame: EncodedFrame) -> float:
        arrived = self._to_media(frame.arrival)
        moment = arrived
        if self._base is not None:
            elapsed = (frame.timestamp - self._base_timestamp) / frame.clock_rate
            moment = self._base + elapsed
        if frame.captured is not None:
            moment = self._clock.place(frame.captured, arrived, moment)
            self._base, self._base_timestamp = moment, frame.timestamp
        elif self._base is None or abs(moment - arrived) > DRIFT_SECONDS:
            moment = max(arrived, self._last_time + 0.001)
            self._base, self._base_timestamp = moment, frame.timestamp
        self._last_time = max(moment, self._last_time)
        return self._last_time

    def _queue_for_decoder(
        self, encoded: Backlog[tuple[EncodedFrame, float]], frame: EncodedFrame, moment: float
    ) -> None:
        if self.kind == "video" and len(encoded) >= ENCODED_WAITING["video"]:
            # The decoder is a second or two behind: catch up at the next key frame.
            self.late += len(encoded)
            encoded.clear()
            self._needs_key = True
        if self._needs_key:
            if not frame.key:
                self.request_key_frame()
                return
            self._needs_key = False
        encoded.put((frame, moment))

    def _count_late(self, _: object) -> None:
        self.late += 1

    # -- Decoding ---------------------------------------------------------------------

    def open_frames(self) -> Backlog[Decoded]:
        """A reader's queue of decoded frames; it is filled until `close_frames`."""
        backlog: Backlog[Decoded] = Backlog(FRAMES_WAITING[self.kind], on_drop=self._count_late)
        if self.ended:
            backlog.close()
            return backlog
        self._frames.add(backlog)
        if self._decoding is None:
            self._encoded = Backlog(ENCODED_WAITING[self.kind], on_drop=self._count_late)
            self._needs_key = self.kind == "video"
            self.request_key_frame()
            self._decoding = asyncio.create_task(
                self._decode(self._encoded), name=f"decode {self.label}"
            )
            self._decoders.add(self._decoding)
            self._decoding.add_done_callback(self._decoders.discard)
        return backlog

    def close_frames(self, backlog: Backlog[Decoded]) -> None:
        self._frames.discard(backlog)
        if not self._frames:
            self._stop_decoding()

    def _stop_decoding(self) -> None:
        if self._encoded is not None:
            self._encoded.close()
            self._encoded.clear()
            self._encoded = None
        self._decoding = None

    async def _decode(self, encoded: Backlog[tuple[EncodedFrame, float]]) -> None:
        decoder: SoundDecoder | PictureDecoder | None = None
        while True:
            try:
                frame, moment = await encoded.get()
            except Ended:
                return
            try:
                if decoder is None or frame.codec != decoder.codec:
                    decoder = make_track_decoder(self.kind, frame.codec)
                if isinstance(decoder, SoundDecoder):
                    # Fifty microseconds: cheaper here than a hop to a thread.
                    decoded = decoder.decode(frame)
                else:
                    decoded = await run_codec(decoder.decode, frame)
            except (av.FFmpegError, ValueError) as error:
                log.debug("%r: a frame cannot be decoded: %s", self, error)
                self._needs_key = self.kind == "video"
                self.request_key_frame()
                continue
            for out, before, concealed in decoded:
                self.concealed += concealed
                self._deliver(out, moment - before)

    def _deliver(self, frame: Decoded, moment: float) -> None:
        clock = frame.sample_rate if isinstance(frame, av.AudioFrame) else 90_000
        last = len(self._frames) - 1
        for index, backlog in enumerate(self._frames):
            # PyAV's frames are not made for two threads at once.
            one = frame if index == last else copy_frame(frame)
            one.pts, one.time_base = round(moment * clock), Fraction(1, clock)
            backlog.put(one)
