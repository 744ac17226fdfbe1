"""What a receiver of aiortc's receives, taken before its decoder. With `internals` one of the two
files that know aiortc's private names; a test pins each of them.

aiortc decodes everything it receives into queues without a bound, waits long for what is lost,
and obeys an RTCP BYE for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from aiortc import RTCRtpReceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtcpByePacket, RtcpSrPacket, RtpPacket
from aiortc.utils import uint16_add, uint16_gt
from av.frame import Frame

from .codecs import is_key_frame
from .jitter import LEAST, MOST
from .jitter import JitterBuffer as SoundBuffer

REPORTS: Final = 8
"""Sender reports that are remembered: some ten seconds'."""
GAP_PATIENCE: Final = 0.4
"""Seconds that a lost packet of a picture is waited for: a few retransmissions' time."""


@dataclass(slots=True, frozen=True)
class EncodedFrame:
    """One frame as it was sent, put together from its packets.

    codec: `VP8`, `H264` (Annex B), `opus`, `PCMU`, `PCMA` or `G722`.
    timestamp: in units of 1/clock_rate, from an origin of the connection's own.
    arrival: monotonic seconds when its first packet came.
    """

    codec: str
    data: bytes
    timestamp: int
    clock_rate: int
    key: bool
    arrival: float
    lost: int = 0
    """Packets right before this frame that never came; of sound alone."""
    captured: float | None = None
    """Seconds on the sender's clock when it was made; None before the first sender report."""


class FrameDecoder(Protocol):
    """aiortc's decoder of one codec; may take milliseconds and may raise av.FFmpegError."""

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]: ...


def make_decoder(codec: str) -> FrameDecoder:
    """The decoder for an `EncodedFrame.codec`. Raises ValueError where aiortc has none."""
    kind = "video" if codec in ("VP8", "H264") else "audio"
    parameters = RTCRtpCodecParameters(mimeType=f"{kind}/{codec}", clockRate=0)
    return cast(FrameDecoder, get_decoder(parameters))


def decode(decoder: FrameDecoder, frame: EncodedFrame) -> list[Frame]:
    return decoder.decode(JitterFrame(data=frame.data, timestamp=frame.timestamp))


class _NoDecoder:
    """Stands where a receiver keeps its decoder's queue, and ends the decoder's thread at once."""

    def __init__(self, put: Callable[[RTCRtpCodecParameters, JitterFrame], None]) -> None:
        self._put = put

    def get(self) -> None:
        return None

    def put(self, task: tuple[RTCRtpCodecParameters, JitterFrame] | None) -> None:
        if task is not None:
            self._put(*task)


class _NoFrames:
    """Stands where a remote track keeps its decoded frames: nothing is kept there."""

    async def put(self, _: object) -> None:
        return None


class ImpatientBuffer(JitterBuffer):
    """Stands where a video receiver puts packets in order. aiortc's own waits for a lost packet
    until 512 others have come, a minute of a small picture; this one gives up after a while
    and goes on with the next frame. `skipped` is set then: what follows lacks its reference."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(capacity=512, is_video=True)
        self.skipped = False
        self._clock = clock
        self._highest: int | None = None
        self._gap_since: float | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        loss, frame = super().add(packet)
        self.skipped = self.skipped or loss
        now = self._clock()
        number = packet.sequence_number
        if self._highest is None or uint16_gt(number, self._highest):
            if self._highest is not None and number != uint16_add(self._highest, 1):
                self._gap_since = self._gap_since or now
            self._highest = number
        elif self._gap_since is not None and self._find_gap() is None:
            self._gap_since = None
        if self._gap_since is not None and now - self._gap_since > GAP_PATIENCE:
            while (gap := self._find_gap()) is not None:
                loss = self.skipped = True
                if self.smart_remove(gap + 1):
                    # Nothing was left: all that came belongs to the frame with the hole.
                    self._origin = uint16_add(self._highest, 1)
            self._gap_since = None
        return loss, frame

    def take_marked(self) -> JitterFrame | None:
        """The frame at the front if its last packet, which has the marker bit, is there. aiortc
        waits for the first packet of the next one, a whole frame's time."""
        origin = self._origin
        if origin is None:
            return None
        parts: list[bytes] = []
        timestamp: int | None = None
        for count in range(self._capacity):
            packet = self._packets[(origin + count) % self._capacity]
            if packet is None or timestamp not in (None, packet.timestamp):
                return None
            timestamp = packet.timestamp
            parts.append(cast(Any, packet)._data)
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data=b"".join(parts), timestamp=timestamp)
        return None

    def take_ready(self) -> JitterFrame | None:
        """The next frame that is whole."""
        frame = self._remove_frame(0)
        return self.take_marked() if frame is None else frame

    def _find_gap(self) -> int | None:
        """How far behind the origin the first packet is missing."""
        assert self._highest is not None
        origin = cast(int, self._origin)
        held = uint16_add(self._highest, -origin) + 1
        # More than fit: the origin is ahead, and nothing is held.
        for count in range(held if held <= self._capacity else 0):
            if self._packets[(origin + count) % self._capacity] is None:
                return count
        return None


class InOrder:
    """Stands where a sound receiver puts packets in order, and hands each on as it comes."""

    def __init__(self, put: Callable[[RtpPacket], None]) -> None:
        self._put = put

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        self._put(packet)
        return False, None


class Tap:
    """Everything that one receiver receives, still encoded, to one listener at a time.

    Install it before the description that made the receiver is answered: aiortc starts
    its decoder's thread when DTLS is up. `packets` counts RTP packets; `frames` frames.
    """

    def __init__(
        self, receiver: RTCRtpReceiver, jitter: tuple[float, float] = (LEAST, MOST)
    ) -> None:
        self.listener: Callable[[Tap, EncodedFrame], None] | None = None
        self.packets = 0
        self.frames = 0
        self.heard_at = time.monotonic()
        """When the last packet came."""
        self.sound = SoundBuffer[RtpPacket](*jitter)
        self._arrivals: dict[int, float] = {}
        self._requested = float("-inf")
        self._reports: deque[tuple[float, int]] = deque(maxlen=REPORTS)
        self._ssrc: int | None = None
        self._timestamp: int | None = None
        self._origin = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._receiver = receiver
        hidden = cast(Any, receiver)
        self._buffer: ImpatientBuffer | None = None
        if receiver.track.kind == "video":
            self._buffer = hidden._RTCRtpReceiver__jitter_buffer = ImpatientBuffer()
        else:
            hidden._RTCRtpReceiver__jitter_buffer = InOrder(self._receive_sound)
        hidden._RTCRtpReceiver__decoder_queue = _NoDecoder(self._receive_frame)
        hidden._track._queue = _NoFrames()
        self._handle_rtp = receiver._handle_rtp_packet
        self._handle_rtcp = receiver._handle_rtcp_packet
        hidden._handle_rtp_packet = self._handle_rtp_packet
        hidden._handle_rtcp_packet = self._handle_rtcp_packet

    @property
    def receiver(self) -> RTCRtpReceiver:
        return self._receiver

    def request_key_frame(self) -> None:
        """Have a picture loss indication sent with the next packet that arrives."""
        cast(Any, self._receiver)._RTCRtpReceiver__decoder_error.set()

    def forget_clock(self) -> None:
        """Somebody else's media may follow, by another clock."""
        self._reports.clear()

    def close(self) -> None:
        """Ask for nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking:
            task.cancel()

    async def _handle_rtp_packet(self, packet: Any, arrival_time_ms: int) -> None:
        self.packets += 1
        self.heard_at = now = time.monotonic()
        arrivals = self._arrivals
        if packet.timestamp not in arrivals:
            if len(arrivals) > 256:
                del arrivals[next(iter(arrivals))]
            arrivals[packet.timestamp] = now
        await self._handle_rtp(packet, arrival_time_ms=arrival_time_ms)
        if self._buffer is None:
            self._pump_sound()
        else:
            self._pump_pictures(self._buffer)

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            told = packet.sender_info
            self._reports.append((told.ntp_timestamp / (1 << 32), told.rtp_timestamp))
        # After a BYE aiortc never decodes that line again, though browsers send on it again.
        if not isinstance(packet, RtcpByePacket):
            await self._handle_rtcp(packet)

    # -- Sound ----------------------------------------------------------------------------

    def _receive_sound(self, packet: RtpPacket) -> None:
        if packet.ssrc != self._ssrc:
            if self._ssrc is not None:
                self._reports.clear()
            self._ssrc = packet.ssrc
            self.sound.begin_anew()
        self.sound.add(packet.sequence_number, packet, time.monotonic())

    def _pump_sound(self) -> None:
        now = time.monotonic()
        codecs = cast(Any, self._receiver)._RTCRtpReceiver__codecs
        for ready in self.sound.take(now):
            packet = ready.item
            codec = codecs.get(packet.payload_type)
            if codec is not None:
                frame = JitterFrame(cast(Any, packet)._data, self._unwrap(packet.timestamp))
                self._hand_on(codec, frame, packet.timestamp, ready.lost)
        if lost := self.sound.to_ask(now):
            self._ask_again(lost)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sound.timer is not None:
            wait = max(self.sound.timer - now, 0.001)
            self._timer = asyncio.get_running_loop().call_later(wait, self._pump_sound)

    def _ask_again(self, lost: list[int]) -> None:
        work = cast(Any, self._receiver)._send_rtcp_nack(self._ssrc, lost)
        task = asyncio.ensure_future(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _unwrap(self, timestamp: int) -> int:
        """Without the jump after 32 bits, from the first on."""
        if self._timestamp is None:
            self._timestamp, self._origin = timestamp, -timestamp
        step = (timestamp - self._timestamp + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
        self._origin += self._timestamp + step - timestamp
        self._timestamp = timestamp
        return timestamp + self._origin

    # -- Pictures -------------------------------------------------------------------------

    def _pump_pictures(self, buffer: ImpatientBuffer) -> None:
        # aiortc takes one frame out for each packet that comes in: what once was late would
        # stay so for ever.
        while (codec := self._find_codec(buffer)) and (frame := buffer.take_ready()) is not None:
            mapper = cast(Any, self._receiver)._RTCRtpReceiver__timestamp_mapper
            frame.timestamp = mapper.map(frame.timestamp)
            self._receive_frame(codec, frame)

    def _find_codec(self, buffer: ImpatientBuffer) -> RTCRtpCodecParameters | None:
        """The codec of the frame at the front: the relay puts others' media on a line in use."""
        front = (
            None if buffer._origin is None else buffer._packets[buffer._origin % buffer.capacity]
        )
        codecs = cast(Any, self._receiver)._RTCRtpReceiver__codecs
        return None if front is None else codecs.get(front.payload_type)

    def _receive_frame(self, codec: RTCRtpCodecParameters, frame: JitterFrame) -> None:
        buffer = self._buffer
        if buffer is not None and buffer.skipped:
            if not is_key_frame(codec.name, frame.data):
                self._request_again()
                return
            buffer.skipped = False
        mapper = cast(Any, self._receiver)._RTCRtpReceiver__timestamp_mapper
        self._hand_on(codec, frame, (frame.timestamp + mapper._origin) & 0xFFFFFFFF)

    def _request_again(self) -> None:
        now = time.monotonic()
        if now - self._requested > GAP_PATIENCE:
            self._requested = now
            self.request_key_frame()

    # -- Both -----------------------------------------------------------------------------

    def _hand_on(
        self, codec: RTCRtpCodecParameters, frame: JitterFrame, rtp_timestamp: int, lost: int = 0
    ) -> None:
        """`rtp_timestamp` is the frame's as it was sent."""
        self.frames += 1
        arrival = self._arrivals.pop(rtp_timestamp, None)
        if self.listener is None or not frame.data:
            return
        self.listener(
            self,
            EncodedFrame(
                codec=codec.name,
                data=frame.data,
                timestamp=frame.timestamp,
                clock_rate=codec.clockRate,
                key=is_key_frame(codec.name, frame.data),
                arrival=time.monotonic() if arrival is None else arrival,
                lost=lost,
                captured=self._capture_time(rtp_timestamp, codec.clockRate),
            ),
        )

    def _capture_time(self, rtp_timestamp: int, clock_rate: int) -> float | None:
        """By the report that was least behind: some senders tell when they sent a picture, and not
        when they made it."""
        times: list[float] = []
        for at, reported in self._reports:
            step = (rtp_timestamp - reported + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
            times.append(at + step / clock_rate)
        return min(times, default=None)
