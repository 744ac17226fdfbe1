"""RTCP in virtual time: lip sync, round trips, what publishers hear of their path."""

from __future__ import annotations

import pytest

from relay.rtp import rtcp
from relay.rtp.twcc import INTERVAL, parse_feedback_untrusted
from tests.support.call import Call
from tests.support.network import Conditions
from tests.support.publishing import Stream
from tests.support.subscribing import Frame, Line


def captured(line: Line, frame: Frame, clock_rate: int) -> float:
    """When the publisher captured it, on the publisher's wall clock, as a receiver reckons it
    from the nearest sender report before the frame came."""
    report = line.reports[-1]
    for candidate in line.reports:
        ahead = (frame.timestamp - candidate.timestamp + 2**31) % 2**32 - 2**31
        if ahead <= 0:
            report = candidate
            break
    ahead = (frame.timestamp - report.timestamp + 2**31) % 2**32 - 2**31
    return report.ntp / 2**32 - rtcp.NTP_EPOCH + ahead / clock_rate


def sent_at(stream: Stream, frame: Frame) -> float:
    """When it really was captured, in the simulation's time."""
    return stream.started + frame.number * stream.shape.interval


@pytest.mark.parametrize("offset", [0.0, -12345.678])
def test_sound_and_picture_meet_at_the_publishers_time(offset: float) -> None:
    call = Call(seed=51)
    ada = call.publisher("ada", up=Conditions(jitter=0.01))
    ada.offset = offset
    track, stream = call.camera(ada)
    voice, spoken = call.microphone(ada)
    bob = call.subscriber("bob")
    _, picture = call.subscribe(bob, track)
    _, sound = call.subscribe(bob, voice)
    call.run_for(6.0)
    for line, source, clock_rate in ((picture, stream, 90000), (sound, spoken, 48000)):
        assert len(line.reports) >= 4
        for frame in line.frames:
            true = 1.7e9 + sent_at(source, frame) + offset
            # A report that waited at the relay carries the path's jitter, no more.
            assert captured(line, frame, clock_rate) == pytest.approx(true, abs=0.015)


def test_lip_sync_survives_a_switch_of_both_sources() -> None:
    call = Call(seed=52)
    ada, eve = call.publisher("ada"), call.publisher("eve")
    ada.offset, eve.offset = 1000.0, -500.0
    one, _ = call.camera(ada)
    two, stream = call.camera(eve)
    one_voice, _ = call.microphone(ada)
    two_voice, spoken = call.microphone(eve)
    bob = call.subscriber("bob")
    down, picture = call.subscribe(bob, one)
    down_voice, sound = call.subscribe(bob, one_voice)
    call.run_for(3.0)
    call.relay.attach(down, two)
    call.relay.attach(down_voice, two_voice)
    call.run_for(1.5)
    picture.reports.clear()
    sound.reports.clear()
    call.run_for(3.0)
    for line, source, clock_rate in ((picture, stream, 90000), (sound, spoken, 48000)):
        frames = [frame for frame in line.frames if frame.name == source.name]
        assert frames
        for frame in frames:
            true = 1.7e9 + sent_at(source, frame) + eve.offset
            assert captured(line, frame, clock_rate) == pytest.approx(true, abs=0.015)


def test_a_late_subscriber_has_reports_before_the_publishers_next_one() -> None:
    call = Call(seed=53)
    ada = call.publisher("ada")
    track, _ = call.camera(ada)
    call.run_for(5.4)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(0.6)
    assert line.frames
    assert line.reports


def test_sender_reports_count_what_was_sent_to_this_subscriber() -> None:
    call = Call(seed=54)
    ada = call.publisher("ada")
    track, _ = call.camera(ada)
    call.subscribe(call.subscriber("eve"), track)
    call.run_for(2.0)
    down, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(2.0)
    down.set_paused(True, call.now)
    call.run_for(1.0)
    down.set_paused(False, call.now)
    call.run_for(3.0)
    report = line.reports[-1]
    assert 0 < report.packets <= len(line.sequences)
    assert report.packets >= len(line.sequences) - 120
    assert down.packets >= len(line.sequences)


def test_the_round_trip_to_a_subscriber_is_measured() -> None:
    call = Call(seed=55)
    track, _ = call.camera(call.publisher("ada"))
    far = Conditions(delay=0.075)
    down, _ = call.subscribe(call.subscriber("bob", up=far, down=far), track)
    call.run_for(5.0)
    assert down.round_trip.rtt == pytest.approx(0.15, abs=0.005)


def test_a_publisher_hears_of_the_loss_and_jitter_of_its_path() -> None:
    call = Call(seed=56)
    ada = call.publisher("ada", up=Conditions(loss=0.1, jitter=0.03))
    track, stream = call.camera(ada)
    call.subscribe(call.subscriber("bob"), track)
    call.run_for(10.0)
    blocks = [block for block in ada.reports if block.ssrc == stream.ssrc]
    assert len(blocks) >= 8
    mean = sum(block.fraction_lost for block in blocks[1:]) / len(blocks[1:]) / 256
    assert 0.05 < mean < 0.16
    assert blocks[-1].lost > 30
    assert 0.0005 < blocks[-1].jitter / 90000 < 0.03
    assert blocks[-1].last_sr
    assert track.loss > 0


def test_a_publisher_hears_of_every_packets_arrival() -> None:
    call = Call(seed=57)
    ada = call.publisher("ada", up=Conditions(loss=0.1))
    track, stream = call.camera(ada)
    call.subscribe(call.subscriber("bob"), track)
    call.run_for(5.0)
    statuses: dict[int, bool] = {}
    for body in ada.feedback:
        read = parse_feedback_untrusted(body)
        for index, arrival in enumerate(read.arrivals):
            statuses[read.base + index & 0xFFFF] = arrival is not None
    arrived = sum(statuses.values())
    assert len(statuses) >= 0.95 * (stream.packets + stream.nacked)
    assert 0.85 < arrived / len(statuses) < 0.95
    assert len(ada.feedback) >= 5.0 / INTERVAL * 0.8
    assert len(ada.feedback) <= 5.0 / INTERVAL + 2


def test_a_publisher_is_told_that_it_may_send_at_full_quality() -> None:
    call = Call(seed=58)
    ada = call.publisher("ada")
    track, _ = call.camera(ada)
    call.subscribe(call.subscriber("bob"), track)
    call.run_for(3.0)
    assert len(ada.rembs) >= 2
    assert min(ada.rembs) >= 2_500_000


def test_a_publisher_on_a_bad_path_is_told_to_send_less_until_it_is_good_again() -> None:
    call = Call(seed=60)
    ada = call.publisher("ada", up=Conditions(loss=0.3))
    track, _ = call.camera(ada)
    call.subscribe(call.subscriber("bob"), track)
    call.run_for(10.0)
    low = ada.rembs[-1]
    assert low < 1_500_000
    ada.wire.up.conditions.loss = 0.0
    call.run_for(30.0)
    assert ada.rembs[-1] > 2 * low


def test_transport_wide_numbers_toward_a_subscriber_have_no_gap() -> None:
    call = Call(seed=59)
    ada = call.publisher("ada")
    track, _ = call.camera(ada)
    voice, _ = call.microphone(ada)
    bob = call.subscriber("bob")
    call.subscribe(bob, track)
    call.subscribe(bob, voice)
    call.run_for(5.0)
    numbers = list(bob.transport)
    assert len(numbers) > 400
    assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
