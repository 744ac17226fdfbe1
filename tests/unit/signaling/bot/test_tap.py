"""What a receiver receives, taken before its decoder: also aiortc's private names for it."""

from __future__ import annotations

import inspect
from typing import Any, cast

import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc import rtcrtpreceiver as receivers
from aiortc.codecs import CODECS
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtcpByePacket, RtcpSenderInfo, RtcpSrPacket, RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.bot.sources import SenderTrack
from signaling.bot.tap import EncodedFrame, ImpatientBuffer, Tap, make_decoder
from tests.support.bots import until


async def negotiate() -> tuple[RTCPeerConnection, RTCPeerConnection]:
    one, other = RTCPeerConnection(), RTCPeerConnection()
    one.addTransceiver(SenderTrack("video"))
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    return one, other


@pytest.mark.parametrize(
    "name",
    [
        "decoder_queue",
        "decoder_thread",
        "decoder_error",
        "timestamp_mapper",
        "jitter_buffer",
    ],
)
def test_a_receiver_has_the_names_that_a_tap_replaces(name: str) -> None:
    assert f"self.__{name}" in inspect.getsource(RTCRtpReceiver)


def test_a_receiver_hands_each_frame_to_its_queue_and_each_packet_to_a_method_of_its_own() -> None:
    source = inspect.getsource(RTCRtpReceiver)
    assert "self.__decoder_queue.put((codec, encoded_frame))" in source
    assert "self.__jitter_buffer.add(packet)" in source
    assert "self._track._queue," in source
    assert inspect.iscoroutinefunction(RTCRtpReceiver._handle_rtp_packet)
    assert inspect.iscoroutinefunction(RTCRtpReceiver._handle_rtcp_packet)
    worker = inspect.getsource(receivers.decoder_worker)
    assert "task = input_q.get()" in worker
    assert "output_q.put(None)" in worker


async def test_a_tap_gets_frames_before_the_decoder_and_ignores_goodbyes() -> None:
    one, other = await negotiate()
    receiver = other.getTransceivers()[0].receiver
    tap = Tap(receiver)
    frames: list[EncodedFrame] = []
    tap.listener = lambda _, frame: frames.append(frame)
    hidden = cast(Any, receiver)
    vp8 = CODECS["video"][0]
    hidden._RTCRtpReceiver__codecs[vp8.payloadType] = vp8
    hidden._RTCRtpReceiver__decoder_thread = object()
    for sequence in range(3):
        packet = RtpPacket(
            payload_type=vp8.payloadType or 97, sequence_number=sequence, timestamp=sequence * 3000
        )
        # A payload descriptor, then the first byte of a key frame or another.
        packet.payload = b"\x10" + bytes((1 if sequence else 0, 2, 3))
        await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
    assert [(f.codec, f.timestamp, f.key, f.clock_rate) for f in frames] == [
        ("VP8", 0, True, 90_000),
        ("VP8", 3000, False, 90_000),
    ]
    assert frames[0].arrival <= frames[1].arrival
    assert (tap.packets, tap.frames) == (3, 2)
    await receiver._handle_rtcp_packet(RtcpByePacket(sources=[1]))
    assert hidden._RTCRtpReceiver__decoder_thread is not None
    tap.request_key_frame()
    assert hidden._RTCRtpReceiver__decoder_error.is_set()
    hidden._RTCRtpReceiver__decoder_thread = None
    await one.close()
    await other.close()


class Stream:
    """A receiver that gets packets of two to a frame, some of them never."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.now = 0.0
        self.frames: list[EncodedFrame] = []
        self.asked = 0
        self.receiver = receiver
        self.tap = Tap(receiver)
        cast(ImpatientBuffer, self.tap._buffer)._clock = lambda: self.now
        self.tap.listener = lambda _, frame: self.frames.append(frame)
        hidden = cast(Any, receiver)
        self.codec = CODECS["video"][0]
        hidden._RTCRtpReceiver__codecs[self.codec.payloadType] = self.codec
        hidden._RTCRtpReceiver__decoder_thread = object()

    async def bring(
        self, number: int, *, key: bool = False, frame: int | None = None, marked: bool = False
    ) -> None:
        packet = RtpPacket(
            payload_type=self.codec.payloadType or 97,
            sequence_number=number & 0xFFFF,
            marker=int(marked and number % 2),
            timestamp=(number // 2 if frame is None else frame) * 3000,
        )
        start = number % 2 == 0
        packet.payload = (b"\x10" if start else b"\x00") + bytes((0 if key and start else 1, 9))
        self.now += 0.02
        await self.receiver._handle_rtp_packet(packet, arrival_time_ms=0)

    def close(self) -> None:
        cast(Any, self.receiver)._RTCRtpReceiver__decoder_thread = None


async def test_a_packet_that_never_comes_is_given_up_and_a_key_frame_follows() -> None:
    one, other = await negotiate()
    stream = Stream(other.getTransceivers()[0].receiver)
    for number in range(65_530, 65_530 + 60):
        if number != 65_540:
            await stream.bring(number, key=number in (65_530, 65_580))
    times = [frame.timestamp // 3000 for frame in stream.frames]
    assert times == [0, 1, 2, 3, 25, 26, 27, 28]
    assert stream.frames[4].key
    stream.close()
    await one.close()
    await other.close()


async def test_a_frame_is_there_with_its_last_packet() -> None:
    one, other = await negotiate()
    stream = Stream(other.getTransceivers()[0].receiver)
    for number in (0, 1, 2, 3):
        await stream.bring(number, key=number == 0, marked=True)
    assert len(stream.frames) == 2
    for number in (5, 6, 7):
        await stream.bring(number, marked=True)
    assert len(stream.frames) == 2
    await stream.bring(4, marked=True)
    assert [frame.timestamp // 3000 for frame in stream.frames] == [0, 1, 2, 3]
    stream.close()
    await one.close()
    await other.close()


async def test_a_hole_in_the_newest_frame_takes_that_frame_alone() -> None:
    one, other = await negotiate()
    stream = Stream(other.getTransceivers()[0].receiver)
    for number in range(4):
        await stream.bring(number, key=number == 0)
    for number in range(5, 50):
        await stream.bring(number, frame=2)
    for number in range(50, 54):
        await stream.bring(number, key=number == 50)
    assert [frame.timestamp // 3000 for frame in stream.frames] == [0, 25]
    stream.close()
    await one.close()
    await other.close()


@given(
    st.lists(st.tuples(st.integers(-300, 700), st.integers(0, 3), st.floats(0, 0.5)), max_size=150)
)
@settings(deadline=None, max_examples=150)
def test_no_order_of_packets_stops_the_buffer(steps: list[tuple[int, int, float]]) -> None:
    now = 0.0
    buffer = ImpatientBuffer(lambda: now)
    number, moment = 65_000, 0
    for step, ahead, seconds in steps:
        number, moment, now = number + step, moment + ahead, now + seconds
        packet = RtpPacket(sequence_number=number & 0xFFFF, timestamp=moment)
        cast(Any, packet)._data = b"x"
        buffer.add(packet)
    for _ in range(600):
        number, moment, now = number + 1, moment + 1, now + 0.1
        packet = RtpPacket(sequence_number=number & 0xFFFF, timestamp=moment)
        cast(Any, packet)._data = b"x"
        _, frame = buffer.add(packet)
    assert frame is not None


async def test_a_packet_that_comes_late_delays_nothing_that_follows() -> None:
    one, other = await negotiate()
    stream = Stream(other.getTransceivers()[0].receiver)
    for number in [*range(4), *range(5, 20), 4, 20]:
        await stream.bring(number, key=number == 0)
    assert [frame.timestamp // 3000 for frame in stream.frames] == list(range(10))
    stream.close()
    await one.close()
    await other.close()


def test_every_codec_that_is_received_has_a_decoder() -> None:
    for codec in ("VP8", "H264", "opus", "PCMU", "PCMA", "G722"):
        assert callable(make_decoder(codec).decode)
    with pytest.raises(ValueError, match=r"(?i)av1"):
        make_decoder("AV1")
    assert JitterFrame(data=b"", timestamp=1).timestamp == 1


async def test_sound_is_put_in_order_asked_for_again_and_has_its_sender_s_time() -> None:
    one, other = RTCPeerConnection(), RTCPeerConnection()
    one.addTransceiver(SenderTrack("audio"))
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    receiver = other.getTransceivers()[0].receiver
    tap = Tap(receiver, (0.02, 0.4))
    frames: list[EncodedFrame] = []
    tap.listener = lambda _, frame: frames.append(frame)
    hidden = cast(Any, receiver)
    opus = CODECS["audio"][0]
    hidden._RTCRtpReceiver__codecs[opus.payloadType] = opus
    asked: list[list[int]] = []

    async def send_nack(_: int, lost: list[int]) -> None:
        asked.append(lost)

    hidden._send_rtcp_nack = send_nack
    told = RtcpSenderInfo(
        ntp_timestamp=(1000 << 32) + (1 << 31), rtp_timestamp=960, packet_count=1, octet_count=1
    )
    await receiver._handle_rtcp_packet(RtcpSrPacket(ssrc=0, sender_info=told))
    for sequence in (65_534, 65_535, 1, 0, 3):
        packet = RtpPacket(
            payload_type=opus.payloadType or 96,
            sequence_number=sequence,
            timestamp=(sequence + 2 & 0xFFFF) * 960,
        )
        packet.payload = b"%d" % sequence
        await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
    assert [frame.data for frame in frames] == [b"65534", b"65535", b"0", b"1"]
    assert [frame.timestamp for frame in frames] == [0, 960, 1920, 2880]
    assert frames[1].captured == pytest.approx(1000.5)
    await until(lambda: len(frames) == 5)
    assert frames[4].lost == 1
    assert asked[0] == [2]
    tap.close()
    await one.close()
    await other.close()
