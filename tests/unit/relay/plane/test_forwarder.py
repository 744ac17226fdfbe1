"""The hot path without sockets: what is forwarded, what is dropped and under which name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from relay.plane.arena import HEADROOM, ROW
from relay.plane.fanout import FEW, build_fan_outs
from relay.plane.forwarder import Crypto, Forwarder
from relay.plane.intake import MAX_CONTROL, MAX_FORGED, MAX_NACKED, MAX_PACKETS
from relay.plane.leg import MAX_MISSING, MAX_SSRCS, Leg
from relay.plane.policing import Bitrates
from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp import rtcp
from relay.rtp.packet import header_size
from relay.sdp.capabilities import MID, REPAIRED_RID, RID, VP8
from relay.sdp.negotiation import PublishedCodec
from relay.stats import DropReason
from tests.support.media import PLAIN, Plane, audio_media, build_rtp, build_vp8, video_media

SSRC, RTX_SSRC = 0x1001, 0x1002
BOTH = {96: 96, 97: 97}
SIMULCAST = video_media(
    ssrcs=(), rids=("h", "l"), extensions={9: MID.id, 10: RID.id, 11: REPAIRED_RID.id}
)


def build(
    sequence: int,
    *,
    key_frame: bool = False,
    ssrc: int = SSRC,
    payload_type: int = 120,
    payload: bytes | None = None,
    extensions: Mapping[int, bytes] | None = None,
    picture: int = 1,
) -> bytes:
    return build_rtp(
        payload_type=payload_type,
        sequence=sequence,
        timestamp=sequence * 3000,
        ssrc=ssrc,
        payload=build_vp8(picture, key_frame=key_frame, data=b"data")
        if payload is None
        else payload,
        extensions=extensions,
    )


class Call:
    """A publisher with a camera and one subscriber, who has its first key frame."""

    def __init__(self, *, crypto: Crypto = PLAIN, subscribers: int = 1, **changes: Any) -> None:
        self.plane = Plane(crypto=crypto)
        self.publisher = self.plane.open_leg("publisher")
        media = video_media(SSRC, rtx_ssrc=RTX_SSRC)
        self.track: UpTrack = self.plane.publish(self.publisher, "t", media)
        self.legs = [self.plane.open_leg(f"s{number}") for number in range(subscribers)]
        self.downs: list[DownTrack] = [
            self.plane.subscribe(leg, self.track, 0x5000 + number, **changes)
            for number, leg in enumerate(self.legs)
        ]
        self.leg, self.down = self.legs[0], self.downs[0]
        self.receive(build(1, key_frame=True))
        assert len(self.take()) == 1

    def receive(self, *packets: bytes, now: float = 1.0) -> None:
        self.plane.receive(self.publisher, packets, now)

    def publish_two_codecs(self) -> None:
        """From now on VP8 is 122 and H264 is 123."""
        vp8 = PublishedCodec(122, None, VP8)
        h264 = PublishedCodec(123, None, VP8.__class__("video", "H264", 90000, 1, 108))
        self.publisher.update_up(self.track, video_media(SSRC, codecs=(vp8, h264)))

    def feed_back(self, *packets: bytes, now: float = 1.0) -> None:
        self.plane.receive(self.leg, [b"".join(packets)], now)

    def take(self, leg: Leg | None = None) -> list[bytes]:
        return self.plane.take_rtp(leg or self.leg)

    def dropped(self, reason: DropReason) -> int:
        return self.plane.stats.drops[reason]

    def requested(self, now: float = 1.0) -> list[rtcp.Rtcp]:
        """What the publisher is asked for."""
        self.plane.forwarder.handle_timer(now)
        return self.plane.take_rtcp(self.publisher)


def get_sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


# -- In ----------------------------------------------------------------------------------------


def test_without_keys_nothing_is_read() -> None:
    plane = Plane()
    leg = plane.forwarder.open_leg("new")
    plane.receive(leg, [build(1), b"\x80\xc9" + bytes(20)], 1.0)
    assert plane.stats.drops[DropReason.NO_KEYS] == 2


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 12,
        b"\x9f\x78" + bytes(6) + SSRC.to_bytes(4, "big"),
        b"\xa0\x78" + bytes(6) + SSRC.to_bytes(4, "big") + b"\xff",
    ],
)
def test_a_malformed_packet_is_dropped(data: bytes) -> None:
    call = Call()
    call.receive(data, build(2))
    assert sum(call.plane.stats.drops.values()) == 1
    assert len(call.take()) == 1


def test_malformed_rtcp_is_dropped() -> None:
    call = Call()
    call.receive(b"\x80\xc9" + bytes((0, 99)) + bytes(20))
    assert call.dropped(DropReason.MALFORMED) == 1


def test_what_cannot_be_decrypted_is_counted_by_its_reason() -> None:
    crypto = Crypto(
        protect=PLAIN.protect,
        unprotect=lambda *_: 9,
        unprotect_rtcp=lambda *_: 7,
    )
    plane = Plane(crypto=crypto)
    leg = plane.open_leg("publisher")
    plane.publish(leg, "t", video_media(SSRC))
    plane.receive(leg, [build(1), b"\x80\xc9" + bytes(20)], 1.0)
    assert plane.stats.drops[DropReason.REPLAYED] == 1
    assert plane.stats.drops[DropReason.AUTHENTICATION] == 1


def test_an_unknown_payload_type_is_dropped() -> None:
    call = Call()
    call.receive(build(2, payload_type=77 + 33))
    assert call.dropped(DropReason.UNKNOWN_PAYLOAD_TYPE) == 1
    assert call.take() == []


def test_a_second_copy_is_dropped() -> None:
    call = Call()
    call.receive(build(2), build(2))
    call.receive(build(2))
    assert len(call.take()) == 1
    assert call.dropped(DropReason.DUPLICATE) == 2


def test_a_packet_that_is_too_large_is_dropped() -> None:
    call = Call()
    call.receive(build(2, payload=bytes(ROW - HEADROOM - 12)))
    assert call.dropped(DropReason.TOO_LARGE) == 1
    assert call.take() == []


def test_a_flood_is_limited_and_ends() -> None:
    call = Call()
    for _ in range(MAX_PACKETS - 2):
        call.publisher.intake.take_packet(1.0)
    for _ in range(MAX_CONTROL):
        call.publisher.intake.take_control(1, 1.0)
    call.receive(build(2), build(3), build(4))
    call.receive(b"\x80\xc9" + bytes(20))
    assert call.dropped(DropReason.FLOOD) == 3
    assert len(call.take()) == 1
    call.receive(build(5), now=2.5)
    assert len(call.take()) == 1


class Forger:
    """Ciphers under which what starts with 0x81 is not authentic."""

    def __init__(self, call: Call) -> None:
        self.crypto = Crypto(PLAIN.protect, self._open, self._open)
        self.tried = 0
        call.plane.forwarder._crypto = self.crypto

    def _open(self, context: Any, packet: Any, length: Any) -> int:
        self.tried += 1
        return 7 if packet[0] == b"\x81" else 0  # srtp_err_status_auth_fail


def forge(ssrc: int, number: int = 0) -> bytes:
    return b"\x81" + build(number, ssrc=ssrc)[1:]


def test_forged_packets_use_up_nothing_of_what_a_peer_may_send() -> None:
    call = Call()
    Forger(call)
    for number in range(MAX_PACKETS + 10):
        call.receive(forge(SSRC, number & 0xFFFF))
        call.receive(b"\x81\xc9" + bytes(20))
    call.receive(build(2))
    assert len(call.take()) == 1
    assert call.dropped(DropReason.FLOOD) == 0


def test_forged_ssrcs_use_up_nothing_of_what_a_peer_may_learn() -> None:
    call = Call()
    forger = Forger(call)
    for number in range(MAX_SSRCS + 10):
        call.receive(forge(1000 + number), now=1.0 + number)
    assert not call.publisher._unknown
    assert forger.tried == MAX_SSRCS + 10
    # One that the peer does send is learned, by its payload type.
    call.track.layers[0].heard_at = 0.0
    call.receive(build(2, ssrc=77, key_frame=True), now=400.0)
    assert len(call.take()) == 1


def test_after_many_forgeries_only_known_streams_are_tried_until_the_second_is_over() -> None:
    call = Call()
    forger = Forger(call)
    call.receive(rtcp.build_receiver_report(5, ()) + bytes(8))
    for _ in range(MAX_FORGED + 1):
        call.receive(forge(9))
    tried = forger.tried
    call.receive(forge(9), forge(10), b"\x81\xc9\0\1" + bytes(16))
    assert forger.tried == tried
    assert call.dropped(DropReason.FORGED) == 3
    call.receive(build(2), rtcp.build_receiver_report(5, ()) + bytes(8))
    assert len(call.take()) == 1
    assert forger.tried == tried + 2
    call.receive(forge(9), now=2.5)
    assert forger.tried == tried + 3


def test_a_packet_that_is_not_authentic_is_no_sign_of_life() -> None:
    call = Call()
    Forger(call)
    call.receive(build(2), now=3.0)
    call.receive(forge(SSRC, 3), now=9.0)
    assert call.publisher.heard_at == 3.0
    call.receive(rtcp.build_receiver_report(5, ()) + bytes(8), now=10.0)
    assert call.publisher.heard_at == 10.0


def test_a_track_that_sends_too_much_is_cut_at_a_frame_and_goes_on_at_a_key_frame() -> None:
    call = Call()
    call.track.join(call.publisher, call.publisher._allowance, Bitrates(video=80_000))
    # 10 kB/s: ten packets of 1 kB, and the frame that they used it up in.
    for sequence in range(2, 32):
        payload = build_vp8(1, key_frame=False, data=bytes(990))
        call.receive(build(sequence, payload=payload), now=1.0 + sequence / 1000)
    sent = call.take()
    assert 8 <= len(sent) <= 11
    assert call.dropped(DropReason.BITRATE) == 30 - len(sent)
    call.receive(build(32), now=1.3)
    assert call.take() == []
    call.requested(now=1.3)
    call.receive(build(33), now=2.5)
    assert call.take() == [], "not before a key frame"
    asked = call.requested(now=2.5)
    assert [packet for packet in asked if isinstance(packet, rtcp.Pli)]
    assert not [packet for packet in asked if isinstance(packet, rtcp.Nack)]
    call.receive(build(34, key_frame=True), now=2.6)
    (packet,) = call.take()
    assert get_sequence(packet) == get_sequence(sent[-1]) + 1, "no gap is left"


def test_what_may_be_sent_is_told_before_it_is_enforced() -> None:
    call = Call()
    assert call.plane.forwarder.publish_bitrate <= Bitrates().video
    small = Forwarder(stats=call.plane.stats, bitrates=Bitrates(video=500_000))
    assert small.publish_bitrate == 500_000


def test_muted_tracks_are_not_forwarded() -> None:
    call = Call()
    call.track.set_muted(True, 1.0)
    call.receive(build(2), build(3))
    assert call.take() == []
    assert call.dropped(DropReason.MUTED) == 2
    call.track.set_muted(False, 1.1)
    call.receive(build(4), now=1.2)
    assert call.take() == []
    call.receive(build(5, key_frame=True), now=1.3)
    (packet,) = call.take()
    assert get_sequence(packet) == 1001, "no gap is left"


def test_audio_levels_are_told_as_the_loudest_since_the_last_look() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    track = plane.publish(leg, "a", audio_media(0x2001))
    assert track.take_level() is None
    for sequence, level in enumerate((50, 30, 0x80 | 40)):
        packet = build_rtp(
            payload_type=109,
            sequence=sequence,
            timestamp=0,
            ssrc=0x2001,
            payload=b"x",
            extensions={1: bytes((level,))},
        )
        plane.receive(leg, [packet], 1.0)
    assert track.take_level() == -30
    assert track.take_level() is None


# -- SSRCs that nobody announced --------------------------------------------------------------


def test_a_stream_is_found_by_its_mid() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    ids = {9: MID.id}
    plane.publish(leg, "one", video_media(mid="0", ssrcs=(), extensions=ids))
    two = plane.publish(leg, "two", video_media(mid="1", ssrcs=(), extensions=ids))
    plane.receive(leg, [build(1, ssrc=7, extensions={9: b"1"})], 1.0)
    assert leg.streams[7].track is two
    plane.receive(leg, [build(2, ssrc=8)], 1.0)
    assert 8 not in leg.streams, "both have its payload type"
    assert plane.stats.drops[DropReason.UNKNOWN_SSRC] == 1


def test_a_stream_without_a_mid_is_found_by_its_payload_type() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    plane.publish(leg, "audio", audio_media(ssrcs=()))
    video = plane.publish(leg, "video", video_media(ssrcs=()))
    plane.receive(leg, [build(1, ssrc=7)], 1.0)
    assert leg.streams[7].track is video


def test_the_layers_of_a_simulcast_are_found_by_rid() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    track = plane.publish(leg, "t", SIMULCAST)
    plane.receive(
        leg,
        [
            build(1, ssrc=7, extensions={9: b"0", 10: b"l"}),
            build(1, ssrc=8, extensions={9: b"0", 10: b"h"}),
            build(1, ssrc=9, extensions={9: b"0", 11: b"h"}, payload_type=121),
            build(1, ssrc=10, extensions={9: b"0", 10: b"other"}),
            build(1, ssrc=11, extensions={9: b"0"}),
        ],
        1.0,
    )
    assert {layer.rid: layer.ssrc for layer in track.layers.values()} == {"l": 7, "h": 8}
    assert leg.streams[9] is leg.streams[8]
    assert leg.streams[8].rtx_ssrc == 9
    assert not {10, 11} & set(leg.streams)


def test_the_rid_is_read_where_only_the_pictures_line_has_that_extension() -> None:
    """As browsers offer it: sound first, and rids for video alone."""
    plane = Plane()
    leg = plane.open_leg("publisher")
    plane.publish(leg, "audio", audio_media(ssrcs=()))
    track = plane.publish(leg, "video", SIMULCAST)
    plane.receive(leg, [build(1, ssrc=7, extensions={9: b"0", 10: b"l"})], 1.0)
    assert {layer.rid: layer.ssrc for layer in track.layers.values()} == {"l": 7}


def test_a_layer_that_comes_back_without_its_rid_is_known_by_its_ssrc() -> None:
    """Browsers send mid and rid until a report tells that they were read, and never again."""
    plane = Plane()
    leg = plane.open_leg("publisher")
    off = plane.publish(leg, "off", SIMULCAST)
    for ssrc, rid in ((7, b"l"), (8, b"h")):
        plane.receive(leg, [build(1, ssrc=ssrc, extensions={9: b"0", 10: rid})], 1.0)
    leg.remove_up(off, 2.0)
    on = plane.publish(leg, "on", SIMULCAST)
    plane.receive(leg, [build(2, ssrc=7), build(2, ssrc=8)], 3.0)
    assert {layer.rid: layer.ssrc for layer in on.layers.values()} == {"l": 7, "h": 8}


@pytest.mark.parametrize("payload_type", [120, 121])
def test_what_is_under_way_of_a_track_that_ended_is_not_taken_for_another(
    payload_type: int,
) -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    camera = plane.publish(leg, "camera", video_media(7, rtx_ssrc=8, mid="0"))
    screen = plane.publish(leg, "screen", video_media(17, rtx_ssrc=18, mid="1"))
    plane.receive(leg, [build(1, ssrc=7), build(1, ssrc=17)], 1.0)
    leg.remove_up(camera, 2.0)
    # A screen on which nothing moves is silent for longer than that.
    late = 7 if payload_type == 120 else 8
    plane.receive(leg, [build(2, ssrc=late, payload_type=payload_type)], 2.1)
    assert late not in leg.streams
    assert leg.streams[17].track is leg.streams[18].track is screen


def test_unknown_ssrcs_are_limited() -> None:
    call = Call()
    for number in range(MAX_SSRCS + 10):
        call.receive(build(1, ssrc=100 + number, payload_type=20), now=1 + number)
    assert call.dropped(DropReason.UNKNOWN_SSRC) == MAX_SSRCS + 10
    assert len(call.publisher._unknown) == MAX_SSRCS


# -- Out ---------------------------------------------------------------------------------------


def test_a_subscriber_starts_with_a_key_frame_that_was_asked_for() -> None:
    call = Call()
    leg = call.plane.open_leg("late")
    call.plane.subscribe(leg, call.track, 0x6000)
    call.receive(build(2), build(3))
    assert call.take(leg) == []
    assert [type(packet) for packet in call.requested()].count(rtcp.Pli) == 1
    call.receive(build(4, key_frame=True), build(5))
    assert [get_sequence(packet) for packet in call.take(leg)] == [1000, 1001]
    assert [get_sequence(packet) for packet in call.take()] == [1001, 1002, 1003, 1004]


def test_packets_from_before_the_start_do_not_reach_a_late_subscriber() -> None:
    call = Call()
    leg = call.plane.open_leg("late")
    call.plane.subscribe(leg, call.track, 0x6000)
    call.receive(build(4, key_frame=True))
    call.receive(build(3))
    assert len(call.take(leg)) == 1
    assert len(call.take()) == 2
    assert call.dropped(DropReason.BEFORE_SWITCH) == 1
    assert [down.packets for down in call.track.downs] == [3, 1]


def test_a_leg_without_an_address_gets_nothing_until_it_has_one() -> None:
    call = Call()
    leg = call.plane.forwarder.open_leg("new")
    call.plane.subscribe(leg, call.track, 0x6000)
    call.receive(build(2, key_frame=True))
    connected = call.plane.open_leg("address")
    leg.connect(*connected._keys)  # type: ignore[misc]  # it has keys
    assert connected.destination.address is not None
    leg.set_address(connected.destination.address)
    call.receive(build(3, key_frame=True))
    assert [get_sequence(packet) for packet in call.take(leg)] == [1000]


@pytest.mark.parametrize("count", [2, FEW + 2])
def test_a_payload_type_that_one_refused_reaches_the_others_without_a_gap_for_any(
    count: int,
) -> None:
    call = Call(subscribers=count)
    call.publish_two_codecs()
    call.downs[0].attach(call.track, {96: 96, 108: 108}, 1.0)
    for leg in call.legs:
        call.take(leg)
    for sequence, payload_type in enumerate((122, 123, 122), 2):
        call.receive(build(sequence, payload_type=payload_type))
    assert [get_sequence(packet) for packet in call.take(call.legs[0])] == [1001, 1002, 1003]
    assert [get_sequence(packet) for packet in call.take(call.legs[1])] == [1001, 1002]
    assert call.downs[0].packets == 4
    assert call.downs[1].packets == 3


def test_a_payload_type_that_is_refused_in_the_midst_of_a_batch_leaves_no_gap() -> None:
    call = Call(subscribers=2)
    call.publish_two_codecs()
    call.downs[0].attach(call.track, {96: 96, 108: 108}, 1.0)
    for leg in call.legs:
        call.take(leg)
    types = (122, 123, 122, 123, 122)
    call.receive(*[build(number, payload_type=kind) for number, kind in enumerate(types, 2)])
    call.receive(build(7, payload_type=122))
    assert [get_sequence(packet) for packet in call.take(call.legs[0])] == [*range(1001, 1007)]
    assert [get_sequence(packet) for packet in call.take(call.legs[1])] == [*range(1001, 1005)]


def test_what_some_refused_goes_together_to_the_others() -> None:
    call = Call(subscribers=6)
    call.publish_two_codecs()
    for down in call.downs[:5]:
        down.attach(call.track, {96: 96, 108: 108}, 1.0)
    (fans,) = build_fan_outs(call.track).values()
    assert sorted(len(fan.downs) for fan in fans) == [1, 5]


def test_time_goes_on_after_a_stop_that_follows_packets_in_a_refused_type() -> None:
    call = Call()
    call.publish_two_codecs()
    call.receive(build(2, payload_type=122), build(3, payload_type=123))
    call.track.set_muted(True, 1.0)
    call.track.set_muted(False, 1.0)
    call.receive(build(4, payload_type=122, key_frame=True), now=1.1)
    before, after = (int.from_bytes(packet[4:8], "big") for packet in call.take())
    assert before < after


@pytest.mark.parametrize("count", [3, FEW + 3])
def test_what_cannot_be_encrypted_for_one_reaches_the_others(count: int) -> None:
    bad: list[Any] = []
    crypto = Crypto(
        protect=lambda context, *_: int(context in bad),
        unprotect=PLAIN.unprotect,
        unprotect_rtcp=PLAIN.unprotect_rtcp,
    )
    call = Call(crypto=crypto, subscribers=count)
    for leg in call.legs:
        call.take(leg)
    call.legs[1].context = "bad"
    bad.append("bad")
    call.track.dirty = True
    call.receive(build(2), build(3))
    assert [len(call.take(leg)) for leg in call.legs] == [2, 0] + [2] * (count - 2)
    assert call.dropped(DropReason.SRTP) == 2


def test_a_track_that_nobody_receives_is_asked_for_nothing() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    plane.publish(leg, "t", video_media(SSRC))
    plane.receive(leg, [build(1), build(5)], 1.0)
    for now in (1.0, 1.05, 1.1, 2.0):
        plane.forwarder.handle_timer(now)
    kinds = {type(packet) for packet in plane.take_rtcp(leg)}
    assert not kinds & {rtcp.Nack, rtcp.Pli}
    assert rtcp.ReceiverReport in kinds


# -- Retransmission ------------------------------------------------------------------------


def test_what_is_missing_is_asked_for_and_its_retransmission_forwarded_in_place() -> None:
    call = Call()
    call.receive(build(2), build(4))
    call.take()
    (nack,) = [p for p in call.requested(1.02) if isinstance(p, rtcp.Nack)]
    assert (nack.ssrc, nack.sequences) == (SSRC, (3,))
    osn = (3).to_bytes(2, "big")
    lost = build_vp8(1, key_frame=False, data=b"lost")
    call.receive(build(77, ssrc=RTX_SSRC, payload_type=121, payload=osn + lost), now=1.05)
    (packet,) = call.take()
    assert get_sequence(packet) == 1002
    assert packet[header_size(packet, 0) :] == lost
    call.receive(build(78, ssrc=RTX_SSRC, payload_type=121, payload=b""), now=1.06)
    assert call.take() == [], "padding alone is no packet"


def test_a_subscriber_gets_again_what_it_misses_as_rtx() -> None:
    call = Call(payload_types=BOTH, rtx_ssrc=0x6001)
    call.receive(build(2), build(3))
    sent = call.take()
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=1.1)
    (packet,) = call.take()
    assert packet[8:12] == (0x6001).to_bytes(4, "big")
    assert packet[1] & 0x7F == 97
    at = header_size(packet, 0)
    assert packet[at : at + 2] == (1001).to_bytes(2, "big")
    assert packet[at + 2 :] == sent[0][at:]
    assert call.down.resent == call.plane.stats.resent == 1
    assert call.plane.stats.nacks_in == 1


def test_what_is_asked_for_in_less_than_the_shortest_round_trip_is_on_its_way() -> None:
    call = Call(payload_types={96: 96})
    for ntp, took in ((1 << 32, 0.04), (2 << 32, 0.4), (3 << 32, 0.4)):
        call.down.round_trip.on_sent(ntp, 0.5)
        block = rtcp.ReportBlock(call.down.ssrc, 0, 0, 0, 0, rtcp.middle_of_ntp(ntp), 0)
        call.down.receive_report(block, 0.5 + took)
    call.receive(build(2), now=1.0)
    (sent,) = call.take()
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=1.02)
    assert call.take() == []
    assert call.dropped(DropReason.NACK_EARLY) == 1
    # A busy machine's round trips are long at times: that is no reason to refuse it now.
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=1.05)
    assert call.take() == [sent]


def test_without_rtx_the_same_packet_is_sent_again_to_the_last_bit() -> None:
    call = Call(payload_types={96: 96})
    call.receive(build(2))
    (sent,) = call.take()
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=1.1)
    assert call.take() == [sent]
    call.down.attach(call.track, {96: 100}, 1.2)
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=1.3)
    assert call.take() == []
    assert call.dropped(DropReason.NACK_NO_RTX) == 1


def test_sound_is_sent_again_as_the_same_packet() -> None:
    """One number, one packet: GCM falls with the first nonce that is used for two."""
    plane = Plane()
    publisher, subscriber = plane.open_leg("publisher"), plane.open_leg("subscriber")
    track = plane.publish(publisher, "a", audio_media(0x2001))
    down = plane.subscribe(subscriber, track, 0x5000, kind="audio")
    packet = build_rtp(payload_type=109, sequence=1, timestamp=1, ssrc=0x2001, payload=b"x")
    plane.receive(publisher, [packet], 1.0)
    (sent,) = plane.take_rtp(subscriber)
    plane.receive(subscriber, [rtcp.build_nack(1, down.ssrc, [1000])], 1.1)
    assert plane.take_rtp(subscriber) == [sent]


def test_no_number_is_used_for_two_packets_however_late_the_second_one_comes() -> None:
    call = Call()
    call.receive(*[build(sequence) for sequence in range(2, 60)])
    call.take()
    for sequence, now in ((30, 1.5), (30, 3.5), (2, 40.0)):
        osn = sequence.to_bytes(2, "big")
        call.receive(build(60), now=now)
        call.take()
        forged = build(5 + int(now), ssrc=RTX_SSRC, payload_type=121, payload=osn + b"forged")
        call.receive(forged, now=now)
        assert call.take() == []


def test_what_is_repeated_from_before_a_mute_is_not_taken_for_news() -> None:
    """Chromium probes with packets that it has sent before, as far back as a second."""
    call = Call()
    call.receive(build(2), build(3))
    call.track.set_muted(True, 1.0)
    call.receive(build(4))
    call.track.set_muted(False, 1.1)
    call.take()
    old = [
        build(number, ssrc=RTX_SSRC, payload_type=121, payload=number.to_bytes(2, "big") + b"old")
        for number in (2, 3)
    ]
    call.receive(old[0], now=1.2)
    call.receive(build(40, key_frame=True), now=1.3)
    assert len(call.take()) == 1
    call.receive(old[1], now=1.3)
    assert call.take() == []
    nacks = [p for p in call.requested(1.4) if isinstance(p, rtcp.Nack)]
    assert nacks == []


def test_what_is_not_cached_or_was_never_sent_is_not_sent_again() -> None:
    call = Call()
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [900, 2000]))
    call.feed_back(rtcp.build_nack(1, 0x7777, [1000]))
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1000]), now=10.0)
    assert call.take() == []
    assert call.dropped(DropReason.NACK_NOT_CACHED) == 3


def test_who_asks_for_everything_again_and_again_is_limited() -> None:
    call = Call()
    call.receive(*[build(2 + n, payload=bytes(1200)) for n in range(60)])
    call.take()
    for round in range(20):
        numbers = range(1001, 1061)
        call.feed_back(rtcp.build_nack(1, call.down.ssrc, numbers), now=1.1 + 0.09 * round)
    assert call.dropped(DropReason.NACK_RATE) > 0
    assert len(call.take()) * 1200 < 1_000_000


def test_a_storm_of_requests_is_not_looked_at_one_by_one() -> None:
    call = Call()
    call.receive(build(2))
    call.take()
    asked = rtcp.build_nack(1, call.down.ssrc, range(1001, 1001 + 4000))
    for _ in range(50):
        call.feed_back(asked, now=1.2)
    assert call.plane.stats.nacks_in <= MAX_NACKED
    assert call.dropped(DropReason.NACK_RATE) >= 1
    # It is over with the second in which it came.
    call.take()
    call.feed_back(rtcp.build_nack(1, call.down.ssrc, [1001]), now=2.3)
    assert len(call.take()) == 1


# -- RTCP ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [rtcp.build_pli(1, 0x5000), rtcp.build_fir(1, 0x5000, 3)], ids=["pli", "fir"]
)
def test_a_subscribers_request_for_a_key_frame_is_passed_on(request_: bytes) -> None:
    call = Call()
    call.requested()
    call.feed_back(request_, now=3.0)
    assert [type(packet) for packet in call.requested(3.0)].count(rtcp.Pli) == 1
    assert call.plane.stats.plis_in == 1


def test_reports_reach_both_sides_on_their_own_timelines() -> None:
    call = Call()
    report = rtcp.SenderReport(SSRC, 5 << 32, 90000, 10, 1000)
    call.receive(rtcp.build_sender_report(report), now=1.0)
    call.plane.forwarder.handle_timer(1.2)
    (sent,) = [p for p in call.plane.take_rtcp(call.leg) if isinstance(p, rtcp.SenderReport)]
    assert sent.ssrc == call.down.ssrc
    # The first packet (timestamp 3000) went out as 5000; 0.2 s are 18000 ticks.
    assert sent.timestamp == 90000 + 2000 + 18000
    assert sent.packets == 1
    blocks = [p.reports for p in call.requested(1.2) if isinstance(p, rtcp.ReceiverReport)]
    assert [block.ssrc for reports in blocks for block in reports] == [SSRC]


def test_a_subscribers_report_tells_its_loss_and_the_round_trip() -> None:
    call = Call()
    call.receive(
        rtcp.build_sender_report(rtcp.SenderReport(SSRC, 5 << 32, 90000, 10, 1000)), now=1.0
    )
    call.plane.forwarder.handle_timer(1.2)
    (sent,) = [p for p in call.plane.take_rtcp(call.leg) if isinstance(p, rtcp.SenderReport)]
    block = rtcp.ReportBlock(
        call.down.ssrc, 64, 5, 1000, 0, rtcp.middle_of_ntp(sent.ntp), 65536 // 10
    )
    call.feed_back(rtcp.build_receiver_report(1, [block]), now=1.4)
    assert call.down.loss == 0.25
    assert call.down.round_trip.rtt == pytest.approx(0.1, abs=0.001)


def test_a_publisher_is_told_when_its_packets_came_and_what_it_may_send() -> None:
    call = Call()
    call.receive(build(2, extensions={5: b"\0\1"}), build(3, extensions={5: b"\0\2"}))
    kinds = [type(packet) for packet in call.requested(1.1)]
    assert rtcp.TransportFeedback in kinds
    assert rtcp.Remb in kinds


# -- Coming and going --------------------------------------------------------------------------


def test_nothing_is_left_when_everyone_has_gone() -> None:
    call = Call(subscribers=3)
    call.legs[0].close(2.0)
    call.receive(build(2))
    assert call.take(call.legs[0]) == []
    assert len(call.track.downs) == 2
    call.publisher.close(2.0)
    call.publisher.close(2.0)
    for leg in call.legs:
        leg.close(2.0)
    forwarder = call.plane.forwarder
    assert (forwarder.legs, forwarder.layers, forwarder._fans) == ({}, {}, {})
    assert call.track.downs == []
    assert call.publisher.streams == {}
    forwarder.handle_timer(3.0)
    assert forwarder.get_timer() is None


def test_the_timer_is_due_when_something_is_to_be_asked_for() -> None:
    call = Call()
    call.requested(1.0)
    call.receive(build(2), build(4), now=1.5)
    timer = call.plane.forwarder.get_timer()
    assert timer is not None
    assert 1.5 < timer < 1.6
    assert any(isinstance(packet, rtcp.Nack) for packet in call.requested(timer))


def test_a_publisher_that_begins_anew_is_followed() -> None:
    call = Call()
    call.publisher.update_up(call.track, video_media(0x9001))
    call.receive(build(500, ssrc=0x9001, key_frame=True), now=2.0)
    (packet,) = call.take()
    assert get_sequence(packet) == 1001
    assert SSRC not in call.publisher.streams


# -- Timers ------------------------------------------------------------------------------------


def test_reports_of_one_turn_leave_in_one_send() -> None:
    call = Call(subscribers=20)
    report = rtcp.SenderReport(SSRC, 5 << 32, 90000, 10, 1000)
    call.receive(rtcp.build_sender_report(report), now=1.0)
    call.plane.outbox.sends = 0
    call.plane.forwarder.handle_timer(3.0)
    assert all(call.plane.take_rtcp(leg) for leg in call.legs)
    assert call.plane.outbox.sends == 1


def test_a_transport_without_media_has_no_timer_until_some_come() -> None:
    plane = Plane()
    leg, other = plane.open_leg("publisher"), plane.open_leg("subscriber")
    track = plane.publish(leg, "t", video_media(SSRC))
    plane.subscribe(other, track, 0x5000)
    for now in (1.0, 2.0, 3.0, 4.0):
        plane.forwarder.handle_timer(now)
    assert plane.forwarder.get_timer() is None
    assert (leg.dormant, other.dormant) == (True, True)
    plane.receive(leg, [build(1, key_frame=True)], 60.0)
    assert (leg.dormant, other.dormant) == (False, False)
    plane.sent.clear()
    while (due := plane.forwarder.get_timer()) is not None and due <= 60.2:
        plane.forwarder.handle_timer(due)
    assert any(isinstance(packet, rtcp.ReceiverReport) for packet in plane.take_rtcp(leg))


def test_a_great_loss_is_asked_for_in_packets_that_fit_a_datagram() -> None:
    call = Call()
    for sequence in range(2, 1000, 2):
        call.receive(build(sequence), now=1.0)
    call.plane.forwarder.handle_timer(1.05)
    asked = [p for p in call.plane.take_rtcp(call.publisher) if isinstance(p, rtcp.Nack)]
    assert len(asked) > 1
    assert max(len(nack.sequences) for nack in asked) <= MAX_MISSING
