"""Receiver statistics, sender reports on a subscriber's timeline, round trips."""

from __future__ import annotations

import random

import pytest

from relay.rtp.reports import (
    MAX_REPORT_AGE,
    ReceiverStats,
    RoundTrip,
    SenderClock,
    build_translated,
)
from relay.rtp.rtcp import ReportBlock, middle_of_ntp

SECOND = 1 << 32  # of NTP


def feed(stats: ReceiverStats, numbers: list[int], step: float = 0.02) -> float:
    now = 0.0
    for index, number in enumerate(numbers):
        now = index * step
        stats.on_packet(number, int(number * step * 48000) & 0xFFFFFFFF, now)
    return now


def test_nothing_is_reported_before_a_packet() -> None:
    assert ReceiverStats(48000).report(1, 0.0) is None


def test_a_perfect_stream_has_neither_loss_nor_jitter() -> None:
    stats = ReceiverStats(48000)
    feed(stats, list(range(65536, 65636)))
    block = stats.report(9, 5.0)
    assert block is not None
    assert (block.ssrc, block.fraction_lost, block.lost) == (9, 0, 0)
    assert block.highest == 99
    assert block.jitter == 0


def test_loss_is_that_of_the_interval_and_that_of_all() -> None:
    stats = ReceiverStats(48000)
    feed(stats, [65536 + n for n in range(100) if n % 4 != 1])
    first = stats.report(9, 0.0)
    assert first is not None
    assert (first.fraction_lost, first.lost) == (64, 25)
    feed(stats, list(range(65636, 65736)))
    second = stats.report(9, 0.0)
    assert second is not None
    assert (second.fraction_lost, second.lost) == (0, 25)


def test_the_highest_number_counts_the_cycles() -> None:
    stats = ReceiverStats(48000)
    feed(stats, [65536 + 65530, 65536 * 2 + 3])
    block = stats.report(9, 0.0)
    assert block is not None
    assert block.highest == 0x10003


def test_duplicates_make_the_loss_negative_and_no_more() -> None:
    stats = ReceiverStats(48000)
    feed(stats, [65536, 65537, 65537, 65537])
    block = stats.report(9, 0.0)
    assert block is not None
    assert (block.fraction_lost, block.lost) == (0, -2)


def test_packets_before_the_first_are_expected_too() -> None:
    stats = ReceiverStats(48000)
    feed(stats, [65538, 65536, 65537])
    assert stats.lost == 0


def test_jitter_settles_at_the_mean_deviation() -> None:
    stats, rng = ReceiverStats(90000), random.Random(4)
    for n in range(3000):
        stats.on_packet(65536 + n, n * 900, n * 0.01 + rng.choice((0.0, 0.004)))
    # Two arrivals in four differ by 4 ms: 2 ms on average.
    assert 0.0012 < stats.jitter_seconds < 0.0028


def test_a_timestamp_that_jumps_is_not_jitter() -> None:
    stats = ReceiverStats(90000)
    stats.on_packet(65536, 0, 0.0)
    stats.on_packet(65537, 0x7FFFFFFF, 0.01)
    assert stats.jitter == 0


def test_a_report_echoes_the_last_sender_report() -> None:
    stats = ReceiverStats(48000)
    stats.on_packet(65536, 0, 0.0)
    stats.on_sender_report(0x1234_5678_9ABC_DEF0, 10.0)
    block = stats.report(9, 10.5)
    assert block is not None
    assert (block.last_sr, block.delay) == (0x5678_9ABC, 32768)


def test_a_clock_goes_on_between_reports() -> None:
    clock = SenderClock(90000)
    assert clock.at(0.0) is None
    clock.on_sender_report(5 * SECOND, 2**32 - 1, 100.0)
    assert clock.at(100.5) == (5 * SECOND + SECOND // 2, 44999)
    assert clock.at(100.0 + MAX_REPORT_AGE + 1) is None


def test_lip_sync_survives_translation() -> None:
    """Audio and video moved by different amounts still meet at the publisher's NTP time."""
    audio, video = SenderClock(48000), SenderClock(90000)
    audio.on_sender_report(5 * SECOND, 1000, 50.0)
    video.on_sender_report(6 * SECOND, 2000, 51.0)
    one = build_translated(audio, 53.0, 1, 777, 10, 1000)
    two = build_translated(video, 53.0, 2, -99, 20, 2**33)
    assert one is not None
    assert two is not None
    assert one.ntp == two.ntp == 8 * SECOND
    assert one.timestamp == 1000 + 3 * 48000 + 777
    assert two.timestamp == 2000 + 2 * 90000 - 99
    assert (one.packets, one.octets, two.octets) == (10, 1000, 0)


def test_there_is_no_report_without_the_publishers_clock() -> None:
    assert build_translated(SenderClock(48000), 0.0, 1, 0, 0, 0) is None


def echo(ntp: int, delay: float) -> ReportBlock:
    return ReportBlock(1, 0, 0, 0, 0, middle_of_ntp(ntp), int(delay * 65536))


def test_the_round_trip_is_measured_on_our_own_clock() -> None:
    trip = RoundTrip()
    trip.on_sent(5 * SECOND, 100.0)
    trip.on_report(echo(5 * SECOND, 0.5), 100.58)
    assert trip.rtt == pytest.approx(0.08, abs=0.001)
    trip.on_sent(6 * SECOND, 101.0)
    trip.on_report(echo(6 * SECOND, 0.0), 101.16)
    assert trip.rtt == pytest.approx(0.09, abs=0.001)
    assert trip.least == pytest.approx(0.08, abs=0.001)


def test_echoes_of_what_was_not_sent_or_cannot_be_are_ignored() -> None:
    trip = RoundTrip()
    trip.on_report(echo(7 * SECOND, 0.0), 1.0)
    trip.on_sent(5 * SECOND, 100.0)
    trip.on_report(echo(5 * SECOND, 3.0), 100.1)
    trip.on_report(echo(5 * SECOND, 0.0), 200.0)
    assert trip.rtt is None


def test_only_the_last_reports_are_remembered() -> None:
    trip = RoundTrip()
    for n in range(100):
        trip.on_sent(n * SECOND, float(n))
    trip.on_report(echo(5 * SECOND, 0.0), 5.1)
    assert trip.rtt is None
    trip.on_report(echo(99 * SECOND, 0.0), 99.1)
    assert trip.rtt == pytest.approx(0.1)
