"""Redundant audio reaches those who take it whole, and the others as what is in it."""

from __future__ import annotations

import pytest

from relay.plane.fanout import FEW
from relay.plane.leg import Leg
from relay.plane.tracks import UpTrack
from relay.rtp import rtcp
from relay.rtp.packet import header_size
from relay.sdp.capabilities import OPUS, RED
from relay.sdp.negotiation import PublishedCodec
from relay.stats import DropReason
from tests.support.media import Plane, audio_media, build_rtp
from tests.unit.relay.rtp.test_red import build_red

SSRC = 0x2001
# A publisher's numbers, none of them the relay's.
THEIR_RED, THEIR_OPUS = 120, 109
WHOLE, PLAIN, OWN = {63: 63, 111: 111}, {111: 111}, {63: 96, 111: 97}


def publish(plane: Plane) -> tuple[Leg, UpTrack]:
    publisher = plane.open_leg("publisher")
    codecs = (PublishedCodec(THEIR_RED, None, RED), PublishedCodec(THEIR_OPUS, None, OPUS))
    return publisher, plane.publish(publisher, "t", audio_media(SSRC, codecs=codecs))


def build(number: int, payload: bytes, payload_type: int = THEIR_RED) -> bytes:
    return build_rtp(
        payload_type=payload_type,
        sequence=number,
        timestamp=960 * number,
        ssrc=SSRC,
        payload=payload,
        extensions={1: b"\x9f", 5: bytes(2), 9: b"1"},
    )


def say(number: int) -> bytes:
    """A packet of RED, with what was said before beside it."""
    words = (f"said {number - 1}".encode(), f"said {number}".encode())
    return build(number, build_red(*words, payload_type=THEIR_OPUS))


def read(packet: bytes) -> tuple[int, bytes]:
    """Payload type and payload."""
    return packet[1] & 0x7F, packet[header_size(packet, 0) :]


@pytest.mark.parametrize("count", [1, FEW + 1])
def test_who_takes_red_gets_it_whole_and_the_others_what_is_in_it(count: int) -> None:
    plane = Plane(rows=256)
    publisher, track = publish(plane)
    legs: dict[str, list[Leg]] = {"plain": [], "whole": [], "own": []}
    number = 0x5000
    for kind, types in (("plain", PLAIN), ("whole", WHOLE), ("own", OWN)):
        for index in range(count):
            leg = plane.open_leg(f"{kind}{index}")
            number += 1
            extensions = index % 2 == 0
            plane.subscribe(
                leg, track, number, kind="audio", payload_types=types, extensions=extensions
            )
            legs[kind].append(leg)
    plane.receive(publisher, [say(1), build(2, b"said 2", THEIR_OPUS), say(3)], 1.0)
    for leg in legs["plain"]:
        packets = plane.take_rtp(leg)
        assert [read(packet) for packet in packets] == [
            (111, b"said 1"), (111, b"said 2"), (111, b"said 3"),
        ]  # fmt: skip
        numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
        assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    for kind, red, opus in (("whole", 63, 111), ("own", 96, 97)):
        for leg in legs[kind]:
            first, second, third = (read(packet) for packet in plane.take_rtp(leg))
            assert first == (red, build_red(b"said 0", b"said 1", payload_type=opus))
            assert second == (opus, b"said 2")
            assert third == (red, build_red(b"said 2", b"said 3", payload_type=opus))


@pytest.mark.parametrize("types", [WHOLE, PLAIN, OWN])
def test_what_is_sent_again_is_what_was_sent(types: dict[int, int]) -> None:
    plane = Plane()
    publisher, track = publish(plane)
    leg = plane.open_leg("subscriber")
    plane.subscribe(leg, track, 0x5000, kind="audio", payload_types=types)
    plane.receive(publisher, [say(1), say(2)], 1.0)
    first, _ = plane.take_rtp(leg)
    number = int.from_bytes(first[2:4], "big")
    leg.receive_rtcp([rtcp.Nack(1, 0x5000, (number,))], 1.1)
    plane.forwarder.flush(1.1)
    assert plane.take_rtp(leg) == [first]


def test_red_that_makes_no_sense_is_dropped_by_name() -> None:
    plane = Plane()
    publisher, track = publish(plane)
    leg = plane.open_leg("subscriber")
    plane.subscribe(leg, track, 0x5000, kind="audio", payload_types=WHOLE)
    endless = build(1, bytes([0x80 | THEIR_OPUS, 0, 0, 200]) * 4)
    foreign = build(2, build_red(b"before", b"now", payload_type=8))
    plane.receive(publisher, [endless, foreign, build(3, b"")], 1.0)
    assert plane.take_rtp(leg) == []
    assert plane.stats.drops[DropReason.MALFORMED] == 3
