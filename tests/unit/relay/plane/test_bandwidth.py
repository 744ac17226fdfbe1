"""One leg's feedback, read with what was sent; lies are counted."""

from __future__ import annotations

import struct

import pytest

from relay.bwe.control import FIRST
from relay.plane.bandwidth import MAX_FEEDBACK, Bandwidth
from relay.plane.history import SendHistory
from relay.rtp.rtcp import RtcpError
from relay.rtp.twcc import ArrivalRecord, build_chunks
from relay.stats import DropReason, Stats


class Line:
    def __init__(self) -> None:
        self.stats = Stats()
        self.history = SendHistory()
        self.bandwidth = Bandwidth(self.history, self.history.open(), self.stats)
        self.record = ArrivalRecord()
        self.now = 100.0

    def run(self, seconds: float) -> None:
        """Packets of 1,000 bytes each 10 ms, and feedback."""
        for _ in range(round(100 * seconds)):
            self.now += 0.01
            self.history.now = self.now
            self.record.on_packet(self.history.take(0, 1000), self.now + 0.02)
            for body in self.record.feedback_to_send(self.now + 0.02):
                self.bandwidth.receive_feedback_untrusted(body, self.now + 0.05)


def test_feedback_makes_an_estimate() -> None:
    line = Line()
    assert not line.bandwidth.has_feedback
    line.run(3)
    assert line.bandwidth.has_feedback
    assert line.bandwidth.rate > FIRST
    assert line.bandwidth.loss == 0


def test_feedback_on_numbers_never_sent_is_counted_and_moves_nothing() -> None:
    line = Line()
    line.run(1)
    before = line.bandwidth.rate
    body = struct.pack("!HHI", 30_000, 100, 5 << 8) + build_chunks([1] * 100) + bytes(100)
    line.bandwidth.receive_feedback_untrusted(body, line.now)
    assert line.stats.drops[DropReason.FEEDBACK_UNSENT] == 100
    assert line.bandwidth.rate == before


def test_feedback_on_more_than_is_remembered_is_refused() -> None:
    line = Line()
    body = struct.pack("!HHI", 0, 0xFFFF, 0) + b"\x1f\xff" * 10
    with pytest.raises(RtcpError):
        line.bandwidth.receive_feedback_untrusted(body, line.now)


def test_a_flood_of_feedback_is_not_read() -> None:
    line = Line()
    body = struct.pack("!HHI", 0, 1, 0) + build_chunks([1]) + bytes(1)
    for _ in range(MAX_FEEDBACK + 50):
        line.bandwidth.receive_feedback_untrusted(body, line.now)
    assert line.stats.drops[DropReason.FEEDBACK_RATE] == 50


def test_absurd_arrivals_end_in_no_absurd_estimate() -> None:
    line = Line()
    line.run(1)
    for reference in (0, (1 << 24) - 1, 7, 1 << 23):
        base = int(line.history.values[0]) - 8 & 0xFFFF
        body = struct.pack("!HHI", base, 8, reference << 8)
        body += build_chunks([2] * 8) + b"\x7f\xff\x80\x00" * 4
        line.bandwidth.receive_feedback_untrusted(body, line.now)
        line.run(0.2)
    assert 30_000 <= line.bandwidth.rate <= 100_000_000


def test_what_is_sent_is_measured() -> None:
    line = Line()
    line.bandwidth.measure(0, 100.0)
    line.bandwidth.measure(125_000, 101.0)
    assert line.bandwidth.sent == pytest.approx(1_000_000)
    line.bandwidth.receive_remb(900_000, (1,), 125_000, 101.0)
    assert line.bandwidth.rate == 900_000


def test_who_tells_nothing_gets_everything_after_a_while() -> None:
    line = Line()
    line.bandwidth.begin(100.0)
    assert line.bandwidth.get_budget(100.5) == FIRST
    assert line.bandwidth.is_new(100.5)
    assert line.bandwidth.get_budget(110.0) == float("inf")
    line.bandwidth.receive_loss(0.3, 110.0)
    assert line.bandwidth.get_budget(110.0) < FIRST


def test_a_probe_that_nobody_reports_on_is_waited_for_and_not_asked_about_all_the_time() -> None:
    line = Line()
    line.run(2)
    bandwidth = line.bandwidth
    bandwidth.probing.want(5_000_000)
    now, turns = line.now, 0
    while now < line.now + 5:
        timer = bandwidth.get_timer()
        assert timer is not None
        now = max(now, timer)
        asked = bandwidth.take_probe(0, now)
        bandwidth.end_step(asked, asked, now)
        turns += 1
    assert turns < 150
