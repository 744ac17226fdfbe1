"""A key frame of H.264 that comes without its parameter sets goes out with them."""

from __future__ import annotations

import pytest

from relay.plane.leg import Leg
from relay.plane.tracks import UpTrack
from relay.rtp import rtcp
from relay.rtp.packet import header_size
from relay.sdp.capabilities import H264_BASELINE, VP8
from relay.sdp.negotiation import PublishedCodec
from tests.support.media import Plane, build_rtp, video_media
from tests.unit.relay.rtp.test_sets import ANNOUNCED, PPS, SPS, aggregate

SSRC = 0x1001
TYPES = {108: 108, 109: 109, 96: 96, 97: 97}
IDR = b"\x65\x88\x84 picture"  # first_mb_in_slice is 0
DELTA = b"\x41\x9a\x24 picture"
SPROP = "packetization-mode=1;sprop-parameter-sets=" + ANNOUNCED["sprop-parameter-sets"]


class Call:
    """A publisher of H.264, and who joins."""

    def __init__(self, parameters: str = "") -> None:
        self.plane = Plane()
        self.publisher = self.plane.open_leg("publisher")
        codecs = (
            PublishedCodec(120, 121, H264_BASELINE, parameters=parameters),
            PublishedCodec(122, 123, VP8),
        )
        self.track: UpTrack = self.plane.publish(
            self.publisher, "t", video_media(SSRC, codecs=codecs)
        )
        self.sequence = 65530
        self.now = 1.0

    def join(self, name: str, types: dict[int, int] | None = None) -> Leg:
        leg = self.plane.open_leg(name)
        ssrc = 0x5000 + 2 * len(self.track.downs)
        self.plane.subscribe(leg, self.track, ssrc, payload_types=types or TYPES, rtx_ssrc=ssrc + 1)
        return leg

    def build(self, payload: bytes, timestamp: int, number: int | None = None) -> bytes:
        if number is None:
            self.sequence += 1
            number = self.sequence
        return build_rtp(
            payload_type=120, sequence=number, timestamp=timestamp, ssrc=SSRC, payload=payload,
            extensions={5: bytes(2), 6: bytes(3), 9: b"0"}, marker=payload[0] & 0x1F in (1, 5),
        )  # fmt: skip

    def send(self, *payloads: bytes) -> None:
        """One picture, a second after the last one."""
        self.now += 1.0
        timestamp = round(self.now * 90000)
        packets = [self.build(payload, timestamp) for payload in payloads]
        self.plane.receive(self.publisher, packets, self.now)

    def take(self, leg: Leg) -> list[bytes]:
        """Payloads that arrived since the last time, in sequence, each with its number's order."""
        packets = self.plane.take_rtp(leg)
        numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
        assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
        return [packet[header_size(packet, 0) :] for packet in packets]


def test_who_comes_late_gets_the_sets_that_came_at_the_start() -> None:
    call = Call()
    call.send(SPS, PPS, IDR)  # nobody is there yet
    early = call.join("early")
    call.send(DELTA)
    call.send(IDR)
    assert call.take(early) == [SPS, PPS, IDR]
    late = call.join("late")
    call.send(IDR)
    call.send(DELTA)
    assert call.take(late) == [SPS, PPS, IDR, DELTA]
    assert call.take(early) == [SPS, PPS, IDR, DELTA]
    assert call.plane.stats.inserted == 4


def test_sets_of_the_sdp_alone_are_sent() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.send(IDR)
    assert call.take(leg) == [SPS, PPS, IDR]


@pytest.mark.parametrize("picture", [(SPS, PPS, IDR), (aggregate(SPS, PPS), IDR)])
def test_a_key_frame_with_its_sets_goes_out_as_it_came(picture: tuple[bytes, ...]) -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.send(*picture)
    call.send(*picture)
    assert call.take(leg) == [*picture, *picture]
    assert call.plane.stats.inserted == 0


def test_a_set_that_was_lost_before_its_key_frame_is_made_good() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.sequence += 1  # the SPS is lost
    call.send(PPS, IDR)
    assert call.take(leg) == [SPS, PPS, IDR]


def test_what_was_put_in_is_sent_again_when_it_is_asked_for() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.send(IDR)
    sps = call.plane.take_rtp(leg)[0]
    leg.receive_rtcp([rtcp.Nack(1, 0x5000, (int.from_bytes(sps[2:4], "big"),))], call.now + 0.1)
    call.plane.forwarder.flush(call.now + 0.1)
    (again,) = call.plane.take_rtp(leg)
    assert again[1] & 0x7F == 109
    assert again[header_size(again, 0) + 2 :] == SPS


def test_numbers_go_on_and_what_comes_late_keeps_its_place() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.send(IDR)
    call.take(leg)
    call.now += 1.0
    timestamp = round(call.now * 90000)
    late = call.build(DELTA, timestamp - 3000)
    idr = call.build(IDR, timestamp)
    after = call.build(DELTA, timestamp + 3000)
    for packet in (idr, late, after):
        call.plane.receive(call.publisher, [packet], call.now)
    packets = call.plane.take_rtp(leg)
    numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
    payloads = [packet[header_size(packet, 0) :] for packet in packets]
    assert payloads == [SPS, PPS, IDR, DELTA, DELTA]
    first = numbers[3]
    assert [n - first for n in numbers] == [1, 2, 3, 0, 4]
    # A retransmission of what came already is no news under any number.
    call.plane.receive(call.publisher, [idr, late, after], call.now)
    assert call.plane.take_rtp(leg) == []


def test_a_key_frame_that_comes_after_what_follows_it_gets_nothing_put_before() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    call.send(IDR)
    call.take(leg)
    call.now += 1.0
    timestamp = round(call.now * 90000)
    idr, after = call.build(IDR, timestamp), call.build(DELTA, timestamp + 3000)
    for packet in (after, idr):
        call.plane.receive(call.publisher, [packet], call.now)
    packets = call.plane.take_rtp(leg)
    assert [packet[header_size(packet, 0) :] for packet in packets] == [DELTA, IDR]


def test_who_does_not_take_the_codec_gets_none_and_no_gap() -> None:
    call = Call(SPROP)
    leg = call.join("vp8 alone", {96: 96, 97: 97})
    other = call.join("bob")
    call.send(IDR)
    assert call.plane.take_rtp(leg) == []
    assert call.take(other) == [SPS, PPS, IDR]


def test_key_frames_without_end_are_not_all_filled_up() -> None:
    call = Call(SPROP)
    leg = call.join("bob")
    for number in range(8):
        packet = call.build(IDR, 3000 * number)
        call.plane.receive(call.publisher, [packet], 1.0 + number / 100)
    assert len(call.take(leg)) == 8 + 2
