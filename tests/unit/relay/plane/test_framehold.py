"""How long a frame's packets wait for each other."""

from __future__ import annotations

import pytest

from relay.plane.framehold import MAX_HELD, PATIENCE, FrameHold
from relay.plane.leg import HOLD, Leg
from relay.plane.tracks import Layer
from tests.support.media import Plane, audio_media, video_media

SSRC = 0x1001


@pytest.fixture
def published() -> tuple[Leg, Layer]:
    plane = Plane()
    leg = plane.open_leg("publisher")
    track = plane.publish(leg, "t", video_media(SSRC, rtx_ssrc=0x1002))
    plane.subscribe(plane.open_leg("subscriber"), track, 0x5000)
    return leg, leg.streams[SSRC]


def test_packets_wait_until_the_last_one_of_their_frame(published: tuple[Leg, Layer]) -> None:
    leg, layer = published
    hold = FrameHold()
    for row in range(3):
        assert hold.wants(layer, False, 1.0)
        hold.hold(leg, layer, row, 100 + row, 1.0)
    assert not hold.wants(layer, True, 1.0)
    assert leg.held == 1
    assert hold.take(layer) == [(0, 100, 1.0), (1, 101, 1.0), (2, 102, 1.0)]
    assert hold.take(layer) == []
    assert leg.held == 0
    assert hold.get_timer() is None


def test_a_packet_that_comes_after_a_while_ends_the_wait(published: tuple[Leg, Layer]) -> None:
    leg, layer = published
    hold = FrameHold()
    hold.hold(leg, layer, 0, 100, 1.0)
    assert hold.wants(layer, False, 1.0 + 0.9 * PATIENCE)
    assert not hold.wants(layer, False, 1.0 + 1.01 * PATIENCE)


def test_nothing_waits_for_longer_than_the_limit(published: tuple[Leg, Layer]) -> None:
    leg, layer = published
    hold = FrameHold()
    hold.hold(leg, layer, 0, 100, 1.0)
    assert hold.get_timer() == 1.0 + HOLD
    assert hold.take_due(1.0) == []
    (held,) = hold.take_due(1.0 + 1.01 * HOLD)
    assert leg.held == 0
    assert held.leg is leg
    assert held.rows == [(0, 100, 1.0)]
    assert hold.get_timer() is None


def test_a_large_frame_goes_out_in_parts(published: tuple[Leg, Layer]) -> None:
    leg, layer = published
    hold = FrameHold()
    for row in range(MAX_HELD):
        assert hold.wants(layer, False, 1.0)
        hold.hold(leg, layer, row, 100, 1.0)
    assert not hold.wants(layer, False, 1.0)


def test_sound_does_not_wait() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    track = plane.publish(leg, "a", audio_media(0x2001))
    plane.subscribe(plane.open_leg("subscriber"), track, 0x5000, kind="audio")
    assert not FrameHold().wants(leg.streams[0x2001], False, 1.0)


def test_what_nobody_receives_does_not_wait() -> None:
    plane = Plane()
    leg = plane.open_leg("publisher")
    plane.publish(leg, "t", video_media(SSRC))
    assert not FrameHold().wants(leg.streams[SSRC], False, 1.0)
