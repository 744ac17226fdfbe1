"""The bitrate announced to publishers."""

from __future__ import annotations

from relay.rtp.loss import MIN_BITRATE, LossRate

MAX_BITRATE = 4_000_000


def test_a_publisher_starts_at_full_quality_and_stays_there() -> None:
    rate = LossRate(MAX_BITRATE)
    assert rate.bitrate == MAX_BITRATE
    assert rate.on_loss(0.0) == MAX_BITRATE
    assert rate.on_loss(0.05) == MAX_BITRATE


def test_heavy_loss_backs_off_and_its_end_recovers() -> None:
    rate = LossRate(MAX_BITRATE)
    for _ in range(100):
        rate.on_loss(0.5)
    assert rate.bitrate == MIN_BITRATE
    for _ in range(100):
        rate.on_loss(0.0)
    assert rate.bitrate == MAX_BITRATE
