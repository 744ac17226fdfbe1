"""What a fan-out writes for many is what its plain twin writes for each."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from relay.plane.fanout import FEW, build_fan_outs, render
from relay.plane.history import SendHistory
from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp.codecs import Picture, inspect_vp8
from relay.rtp.packet import header_size
from tests.support.media import Plane, audio_media, build_rtp, build_vp8, video_media

SSRC = 0x1001
SIZES = [1, 3, FEW, FEW + 1, 40]


def make_packets(chance: random.Random, count: int, sequence: int, picture: int) -> list[bytes]:
    """A frame's packets with the extensions that a browser sends."""
    return [
        build_rtp(
            payload_type=120,
            sequence=sequence + index,
            timestamp=0xFFFFFF00,
            ssrc=SSRC,
            marker=index == count - 1,
            payload=build_vp8(
                picture, key_frame=True, first=index == 0, data=chance.randbytes(100 - index % 2)
            ),
            extensions={5: bytes(2), 6: bytes(3), 7: b"\3", 9: b"0"},
        )
        for index in range(count)
    ]


def make_downs(plane: Plane, track: UpTrack, count: int) -> list[DownTrack]:
    """Subscribers of all kinds: with header extensions or without, with other payload types."""
    return [
        plane.subscribe(
            plane.open_leg(f"s{number}"),
            track,
            0x5000 + number,
            sequence=4000 * number,
            timestamp=0x10000000 * number,
            extensions=number % 3 != 2,
            payload_types={96: 96 if number % 2 else 100, 97: 97, 111: 111},
            rtx_ssrc=0x6000 + number,
        )
        for number in range(count)
    ]


def render_cached(down: DownTrack, track: UpTrack, number: int, numbers: SendHistory) -> bytes:
    layer = track.layers[0]
    cached = layer.cache.get(number, 1.0)
    segment = down.map.current
    assert cached is not None
    assert segment is not None
    picture = Picture()
    inspect_vp8(cached.data, header_size(cached.data, 0), len(cached.data), picture)
    out = render(down, segment, cached.data, number, picture, 0, numbers)
    assert out is not None
    return bytes(out)


@pytest.mark.parametrize("packets", [1, 4])
@pytest.mark.parametrize("count", SIZES)
def test_every_subscriber_gets_what_the_plain_twin_makes(count: int, packets: int) -> None:
    chance = random.Random(count)
    plane = Plane(rows=256)
    publisher = plane.open_leg("publisher")
    other = plane.publish(publisher, "other", video_media(0x3001, mid="2"))
    track = plane.publish(publisher, "t", video_media(SSRC))
    downs = make_downs(plane, other, count)
    # Another source first, so that picture ids have to be carried on.
    first = build_rtp(
        payload_type=120,
        sequence=7,
        timestamp=1,
        ssrc=0x3001,
        payload=build_vp8(0x7FF0, key_frame=True),
    )
    plane.receive(publisher, [first], 1.0)
    for down in downs:
        down.attach(track, down.payload_types, 1.0, extensions=down.extensions)
        plane.sent.clear()
    numbers = SendHistory()
    numbers.values[:] = plane.forwarder.history.values
    plane.receive(publisher, make_packets(chance, packets, 65534, 5), 1.0)
    layer = track.layers[0]
    base = layer.newest - packets + 1
    for down in downs:
        expected = [render_cached(down, track, base + p, numbers) for p in range(packets)]
        assert plane.take(down.leg) == expected  # type: ignore[arg-type]  # a Leg, in fact
    assert np.array_equal(numbers.values, plane.forwarder.history.values)


def test_the_payload_is_forwarded_bit_for_bit() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    track = plane.publish(publisher, "a", audio_media(0x2001))
    plane.subscribe(subscriber, track, 0x5000, kind="audio")
    payload = random.Random(1).randbytes(700)
    packet = build_rtp(
        payload_type=109,
        sequence=1,
        timestamp=1,
        ssrc=0x2001,
        payload=payload,
        extensions={1: b"\x9f"},
    )
    plane.receive(publisher, [packet], 1.0)
    (sent,) = plane.take_rtp(subscriber)
    assert sent[header_size(sent, 0) :] == payload


def test_a_batch_larger_than_the_outbox_is_sent_in_parts() -> None:
    plane = Plane(rows=8)
    publisher = plane.open_leg("publisher")
    track = plane.publish(publisher, "t", video_media(SSRC))
    downs = make_downs(plane, track, 20)
    plane.receive(publisher, make_packets(random.Random(2), 7, 10, 5), 1.0)
    for down in downs:
        assert len(plane.take(down.leg)) == 7  # type: ignore[arg-type]  # a Leg, in fact


def test_each_subscriber_gets_a_frame_in_one_go_however_many_there_are() -> None:
    plane = Plane(rows=64)
    publisher = plane.open_leg("publisher")
    track = plane.publish(publisher, "t", video_media(SSRC))
    make_downs(plane, track, 40)
    plane.receive(publisher, make_packets(random.Random(3), 10, 10, 5), 1.0)
    assert [len(list(run)) for _, run in itertools.groupby(plane.order)] == [10] * 40


def test_groups_are_of_nearly_the_same_size_and_leave_nobody_out() -> None:
    plane = Plane()
    publisher = plane.open_leg("publisher")
    track = plane.publish(publisher, "t", video_media(SSRC))
    downs = [
        plane.subscribe(plane.open_leg(f"s{n}"), track, 0x5000 + n, rtx_ssrc=0x6000 + n)
        for n in range(101)
    ]
    plane.receive(publisher, make_packets(random.Random(4), 1, 10, 5), 1.0)
    ((fan,),) = build_fan_outs(track).values()
    for limit in (1, 7, 50, 101, 512):
        groups = fan.get_groups(limit)
        sizes = [len(group.destinations.items) for group in groups]
        assert max(sizes) <= limit
        assert max(sizes) - min(sizes) <= 1
        covered = [down for group in groups for down in fan.downs[group.place]]
        assert covered == downs


def test_each_leg_numbers_its_packets_across_its_tracks() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    for number, ssrc in enumerate((SSRC, SSRC + 2)):
        track = plane.publish(publisher, f"v{number}", video_media(ssrc, mid=str(number)))
        plane.subscribe(subscriber, track, 0x5000 + number, rtx_ssrc=0x6000 + number)
    for sequence in (10, 11):
        packets = [
            build_rtp(
                payload_type=120,
                sequence=sequence,
                timestamp=1,
                ssrc=ssrc,
                payload=build_vp8(5, key_frame=True),
            )
            for ssrc in (SSRC, SSRC + 2)
        ]
        plane.receive(publisher, packets, 1.0)
    # 0xBEDE, the length, then the transport-wide number with its one-byte head.
    seen = [int.from_bytes(data[17:19], "big") for data in plane.take_rtp(subscriber)]
    assert seen == [0, 1, 2, 3]


def test_indices_of_legs_are_used_again() -> None:
    numbers = SendHistory()
    indices = [numbers.open() for _ in range(100)]
    assert indices == list(range(100))
    assert [numbers.take(99, 10), numbers.take(99, 10)] == [0, 1]
    numbers.close(99)
    assert numbers.open() == 99
    assert numbers.take(99, 10) == 0
