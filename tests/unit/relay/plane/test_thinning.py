"""Streams of several layers through the hot path: each subscriber gets a stream without gaps,
whether few take it or many, and what it asks for again is what it got."""

from __future__ import annotations

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor

from relay.plane.fanout import FEW
from relay.plane.layer import Rung
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack
from relay.rtp import rtcp
from relay.rtp.descriptor import TOP
from relay.rtp.packet import header_size
from relay.sdp.capabilities import CODEC_BY_PAYLOAD_TYPE, DEPENDENCY_DESCRIPTOR
from relay.sdp.negotiation import PublishedCodec
from tests.support.descriptors import build_descriptor
from tests.support.media import Plane, build_rtp, video_media

PATTERN = (0, 2, 1, 2)
SSRC = 0x1001


class Call:
    """A camera in VP8 with three temporal layers, and subscribers who take some or all of it."""

    def __init__(self, count: int) -> None:
        self.plane = Plane(rows=512)
        self.publisher = self.plane.open_leg("publisher")
        self.track = self.plane.publish(self.publisher, "t", video_media(SSRC, rtx_ssrc=SSRC + 1))
        self.legs: list[Leg] = [self.plane.open_leg(f"s{number}") for number in range(count)]
        self.downs: list[DownTrack] = [
            self.plane.subscribe(leg, self.track, 0x5000 + 2 * n, rtx_ssrc=0x5001 + 2 * n)
            for n, leg in enumerate(self.legs)
        ]
        self.now, self.sequence, self.picture = 1.0, 100, 500
        self.sent: list[list[bytes]] = [[] for _ in self.legs]

    def run(self, pictures: int) -> None:
        for _ in range(pictures):
            temporal = PATTERN[(self.picture - 500) % 4]
            key = self.picture == 500
            packets = []
            for place in range(2):
                descriptor = VpxPayloadDescriptor(
                    partition_start=int(place == 0),
                    partition_id=0,
                    picture_id=self.picture,
                    tl0picidx=self.picture // 4 & 0xFF,
                    tid=(temporal, int(temporal == 1)),
                    keyidx=1,
                )
                packets.append(
                    build_rtp(
                        payload_type=120,
                        sequence=self.sequence,
                        timestamp=3000 * self.picture,
                        ssrc=SSRC,
                        marker=place == 1,
                        payload=bytes(descriptor) + bytes((not key, self.picture & 0xFF, place)),
                        extensions={5: bytes(2)},
                    )
                )
                self.sequence += 1
            self.picture += 1
            self.now += 1 / 30
            self.plane.receive(self.publisher, packets, self.now)
            for leg, sent in zip(self.legs, self.sent, strict=True):
                sent += self.plane.take_rtp(leg)


def read(data: bytes) -> tuple[int, int, int, bytes]:
    """Sequence number, picture id, temporal layer and what follows the descriptor."""
    found, rest = VpxPayloadDescriptor.parse(data[header_size(data, 0) :])
    assert found.picture_id is not None
    assert found.tid is not None
    return int.from_bytes(data[2:4], "big"), found.picture_id, found.tid[0], rest


@pytest.mark.parametrize("count", [2, FEW + 20])
def test_each_gets_a_stream_without_gaps(count: int) -> None:
    call = Call(count)
    call.run(40)
    for number, down in enumerate(call.downs):
        down.set_target(Rung(0, TOP, number % 3 if number % 3 < 2 else TOP), call.now)
    call.run(80)
    for down in call.downs:
        down.set_target(Rung(0), call.now)
    call.run(40)
    for number, sent in enumerate(call.sent):
        packets = [read(data) for data in sent]
        numbers = [packet[0] for packet in packets]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        pictures = [packet[1] for packet in packets]
        assert pictures == sorted(pictures)
        assert set(pictures) == set(range(pictures[0], pictures[-1] + 1))
        middle = packets[len(packets) // 2]
        assert middle[2] <= (number % 3 if number % 3 < 2 else 2)
        share = (1 / 4, 1 / 2, 1)[number % 3]
        assert len(packets) == pytest.approx(2 * (80 + 80 * share), abs=10)
        # All of it again at the end.
        assert {packet[2] for packet in packets[-16:]} == {0, 1, 2}


def test_what_is_asked_for_again_is_what_was_sent() -> None:
    call = Call(2)
    call.run(8)
    call.downs[0].set_target(Rung(0, TOP, 0), call.now)
    call.run(60)
    for data in call.sent[0][-5:]:
        sequence, picture, _, rest = read(data)
        nack = rtcp.build_nack(1, call.downs[0].ssrc, [sequence])
        call.plane.receive(call.legs[0], [nack], call.now + 0.2)
        (again,) = call.plane.take_rtp(call.legs[0])
        start = header_size(again, 0)
        assert int.from_bytes(again[start : start + 2], "big") == sequence
        found, found_rest = VpxPayloadDescriptor.parse(again[start + 2 :])
        assert (found.picture_id, found_rest) == (picture, rest)
        assert again[1] & 0x80 == data[1] & 0x80


def test_of_av1_in_two_sizes_the_larger_is_left_out_from_any_picture_on() -> None:
    plane = Plane(rows=512)
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    av1 = PublishedCodec(120, 121, CODEC_BY_PAYLOAD_TYPE[45])
    media = video_media(SSRC, codecs=(av1,), extensions={7: DEPENDENCY_DESCRIPTOR.id})
    track = plane.publish(publisher, "t", media)
    types = {45: 45, 46: 46}
    down = plane.subscribe(subscriber, track, 0x5000, rtx_ssrc=0x5001, payload_types=types)
    # Templates: a picture of each size, alone or with the smaller one; two decode targets.
    layers = [(0, 0, "SS"), (1, 0, "-S")]
    sizes: list[int] = []
    markers: list[int] = []
    numbers: list[int] = []
    for picture in range(40):
        if picture == 20:
            down.set_target(Rung(0, 0, TOP), 2.0)
        packets = []
        for spatial in range(2):
            key = picture == 0 and spatial == 0
            descriptor = build_descriptor(
                spatial, 2 * picture + spatial, layers if key else (), offset=5
            )
            packets.append(
                build_rtp(
                    payload_type=120,
                    sequence=2 * picture + spatial,
                    timestamp=3000 * picture,
                    ssrc=SSRC,
                    marker=spatial == 1,
                    payload=bytes((0x18 if key else 0x10, spatial)),
                    extensions={7: descriptor},
                )
            )
        plane.receive(publisher, packets, 1.0 + picture / 30)
        for data in plane.take_rtp(subscriber):
            numbers.append(int.from_bytes(data[2:4], "big"))
            markers.append(data[1] >> 7)
            sizes.append(data[header_size(data, 0) + 1])
    assert numbers == list(range(numbers[0], numbers[0] + 60))
    assert sizes == [0, 1] * 20 + [0] * 20
    # The last packet of each picture is marked, whichever that is.
    assert markers == [0, 1] * 20 + [1] * 20
