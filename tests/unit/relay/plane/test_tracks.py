"""What tracks know: numbers that carry on, counts, what a renegotiation changes."""

from __future__ import annotations

import struct

import pytest

from relay.plane.fanout import FEW
from relay.plane.layer import RATE_WINDOW
from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp import rtcp
from relay.rtp.packet import find_extension, header_size
from relay.sdp.capabilities import DEPENDENCY_DESCRIPTOR, MID, OPUS, TRANSPORT_CC, VP8
from relay.sdp.negotiation import PublishedCodec
from tests.support.media import Plane, audio_media, build_rtp, build_vp8, video_media


def build(sequence: int, timestamp: int, ssrc: int, picture: int, *, key_frame: bool) -> bytes:
    return build_rtp(
        payload_type=120,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=build_vp8(picture, key_frame=key_frame, data=b"data"),
    )


def fields(packet: bytes) -> tuple[int, int, int]:
    """Sequence number, timestamp, picture id."""
    at = header_size(packet, 0)
    picture = int.from_bytes(packet[at + 2 : at + 4], "big") & 0x7FFF
    return int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[4:8], "big"), picture


def test_another_source_carries_the_numbers_on() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    one = plane.publish(publisher, "one", video_media(0x1001))
    two = plane.publish(publisher, "two", video_media(0x1003, mid="2"))
    down = plane.subscribe(subscriber, one, 0x5000, sequence=0x8000 + 100, timestamp=7000)
    plane.receive(publisher, [build(50000, 900, 0x1001, 30, key_frame=True)], 1.0)
    plane.receive(publisher, [build(50001, 3900, 0x1001, 31, key_frame=False)], 1.033)
    down.attach(two, down.payload_types, 1.05)
    plane.receive(publisher, [build(50002, 6900, 0x1001, 32, key_frame=False)], 1.066)
    plane.receive(publisher, [build(7, 5, 0x1003, 9000, key_frame=False)], 1.08)
    plane.receive(publisher, [build(8, 3005, 0x1003, 9001, key_frame=True)], 1.1)
    plane.receive(publisher, [build(9, 6005, 0x1003, 9002, key_frame=False)], 1.133)
    seen = [fields(packet) for packet in plane.take_rtp(subscriber)]
    # The first number is in the lower half; 0.067 s of a 90 kHz clock lie between the sources.
    assert [s for s, _, _ in seen] == [100, 101, 102, 103]
    assert [t for _, t, _ in seen] == [7000, 10000, 16030, 19030]
    assert [p for _, _, p in seen] == [30, 31, 32, 33]
    assert (one.downs, two.downs) == ([], [down])


def frame_number(packet: bytes) -> int | None:
    at = find_extension(packet, DEPENDENCY_DESCRIPTOR.id)
    return None if at < 0 else int.from_bytes(packet[at + 1 : at + 3], "big")


@pytest.mark.parametrize("subscribers", [1, FEW + 1])
def test_both_numbers_go_on_where_a_picture_has_two(subscribers: int) -> None:
    """Chromium describes VP8 twice, and drops key frames whose frame number goes back."""
    plane = Plane()
    publisher = plane.open_leg("publisher")
    ids = {4: DEPENDENCY_DESCRIPTOR.id, 9: MID.id, 5: TRANSPORT_CC.id}
    one = plane.publish(publisher, "one", video_media(0x1001, extensions=ids))
    plain = plane.publish(publisher, "plain", video_media(0x1003, mid="2", extensions=ids))
    two = plane.publish(publisher, "two", video_media(0x1005, mid="3", extensions=ids))
    legs = [plane.open_leg(f"s{number}") for number in range(subscribers)]
    downs = [plane.subscribe(leg, one, 0x5000, rtx_ssrc=0x6000) for leg in legs]

    def send(ssrc: int, number: int, picture: int, frame: int | None) -> None:
        extensions = None if frame is None else {4: struct.pack("!BH", 0xC0, frame)}
        data = build_rtp(
            payload_type=120,
            sequence=number,
            timestamp=number,
            ssrc=ssrc,
            payload=build_vp8(picture, key_frame=True),
            extensions=extensions,
        )
        plane.receive(publisher, [data], 1.0)

    send(0x1001, 1, 30, 0xFFFF)
    for source, ssrc, picture, frame in ((plain, 0x1003, 900, None), (two, 0x1005, 7, 5)):
        for down in downs:
            down.attach(source, down.payload_types, 1.0)
        send(ssrc, 8, picture, frame)
    send(0x1005, 9, 8, 6)
    for leg in legs:
        seen = plane.take_rtp(leg)
        assert [fields(packet)[2] for packet in seen] == [30, 31, 32, 33]
        assert [frame_number(packet) for packet in seen] == [0xFFFF, None, 0, 1]
    # Sent again: the same numbers.
    sequence = fields(seen[-1])[0]
    plane.receive(legs[-1], [rtcp.build_nack(1, 0x5000, [sequence])], 1.1)
    plane.forwarder.flush(1.1)
    again = plane.take_rtp(legs[-1])
    assert [frame_number(packet) for packet in again] == [1]


def test_a_probe_without_a_payload_does_not_hide_the_last_picture() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    one = plane.publish(publisher, "one", video_media(0x1001))
    two = plane.publish(publisher, "two", video_media(0x1003, mid="2"))
    down = plane.subscribe(subscriber, one, 0x5000)
    plane.receive(publisher, [build(1, 900, 0x1001, 30, key_frame=True)], 1.0)
    probe = build_rtp(payload_type=120, sequence=2, timestamp=900, ssrc=0x1001, payload=b"")
    plane.receive(publisher, [probe], 1.01)
    plane.take_rtp(subscriber)
    down.attach(two, down.payload_types, 1.05)
    plane.receive(publisher, [build(8, 3005, 0x1003, 9001, key_frame=True)], 1.1)
    assert [fields(packet)[2] for packet in plane.take_rtp(subscriber)] == [31]


def test_packets_are_counted_over_all_sources_and_pauses() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    track = plane.publish(publisher, "t", video_media(0x1001))
    down = plane.subscribe(subscriber, track, 0x5000)
    assert (down.packets, down.octets) == (0, 0)
    packets = [build(n, 0, 0x1001, n, key_frame=n in (0, 4)) for n in range(6)]
    plane.receive(publisher, packets[:2], 1.0)
    down.set_paused(True, 1.0)
    plane.receive(publisher, packets[2:3], 1.1)
    down.set_paused(False, 1.1)
    plane.receive(publisher, packets[3:], 1.2)
    down.attach(None, {}, 1.3)
    sent = plane.take_rtp(subscriber)
    assert down.packets == len(sent) == 4
    assert down.octets == sum(len(data) - header_size(data, 0) for data in sent)


def test_attaching_the_same_source_again_only_takes_the_payload_types() -> None:
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    track = plane.publish(publisher, "t", video_media(0x1001))
    down = plane.subscribe(subscriber, track, 0x5000)
    plane.receive(publisher, [build(1, 0, 0x1001, 1, key_frame=True)], 1.0)
    down.attach(track, {96: 120}, 1.1)
    plane.receive(publisher, [build(2, 0, 0x1001, 2, key_frame=False)], 1.2)
    assert [data[1] & 0x7F for data in plane.take_rtp(subscriber)] == [96, 120]
    assert track.downs == [down]


@pytest.mark.parametrize(("rtx_ssrc", "types"), [(None, {96: 96, 97: 97}), (9, {96: 96})])
def test_without_an_ssrc_or_a_payload_type_there_is_no_rtx(
    rtx_ssrc: int | None, types: dict[int, int]
) -> None:
    plane = Plane()
    down = DownTrack(plane.open_leg("s"), "video", 1, rtx_ssrc, sequence=1, timestamp=1)
    down.payload_types = types
    assert down.take_rtx(96) is None


def test_retransmissions_are_numbered_on_their_own() -> None:
    plane = Plane()
    down = DownTrack(plane.open_leg("s"), "video", 1, 9, sequence=40000, timestamp=1)
    down.payload_types = {96: 96, 97: 121}
    assert down.take_rtx(96) == (9, 121, 7233)
    assert down.take_rtx(96) == (9, 121, 7234)
    assert down.take_rtx(20) is None


def test_a_bitrate_is_that_of_the_last_window() -> None:
    plane = Plane()
    publisher = plane.open_leg("publisher")
    track = plane.publish(publisher, "t", video_media(0x1001))
    assert track.get_bitrate(0.0) == 0.0
    for number in range(101):
        plane.receive(
            publisher,
            [
                build_rtp(
                    payload_type=120, sequence=number, timestamp=0, ssrc=0x1001, payload=bytes(988)
                )
            ],
            number * 0.04,
        )
        plane.forwarder.handle_timer(number * 0.04)
    assert track.get_bitrate(4.0) == pytest.approx(200_000, rel=0.05)
    assert track.get_bitrate(4.0 + 3 * RATE_WINDOW) == 0.0


def test_a_renegotiation_changes_payload_types_and_keeps_the_track() -> None:
    track = UpTrack("t", video_media())
    assert track.payload_types == {120: 96}
    track.update(video_media(codecs=(PublishedCodec(33, 34, VP8),)))
    assert track.payload_types == {33: 96}
    assert set(track.rtx) == {34}
    assert track.get_codec() is VP8


def test_a_track_knows_its_codec_and_clock() -> None:
    track = UpTrack("a", audio_media())
    assert track.get_codec() is OPUS
    assert track.clock_rate == 48000
    assert track.codec == "opus"
    assert (track.loss, track.jitter) == (0.0, 0.0)


def test_a_track_is_wanted_while_somebody_receives_it() -> None:
    plane = Plane()
    track = plane.publish(plane.open_leg("publisher"), "t", video_media())
    assert not track.is_wanted()
    down = plane.subscribe(plane.open_leg("subscriber"), track, 1)
    assert track.is_wanted()
    down.set_paused(True, 1.0)
    assert not track.is_wanted()
    down.set_paused(False, 1.0)
    track.set_muted(True, 1.0)
    assert not track.is_wanted()
