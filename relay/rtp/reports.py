"""Sender and receiver reports: what came, what time it is over there, how far away it is."""

from __future__ import annotations

from .rtcp import ReportBlock, SenderReport, middle_of_ntp
from .seq import SEQUENCE_MOD, timestamp_delta

MAX_RTT = 10.0  # seconds: more is a forged or mangled report, not a path
MAX_SENT = 8  # sender reports remembered for the round trip; one a second is sent
MAX_REPORT_AGE = 60.0  # seconds: a publisher silent for longer has an unknown clock


class ReceiverStats:
    """The content of one stream's receiver reports (RFC 3550, 6.4.1, A.3, A.8).

    Packets recovered by retransmission are not told here: the sender wants to know the
    loss of its path.
    """

    __slots__ = (
        "_clock_rate",
        "_expected_before",
        "_first",
        "_received_before",
        "_sr_at",
        "_sr_middle",
        "_timestamp",
        "_timestamp_at",
        "fraction",
        "highest",
        "jitter",
        "received",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._first = -1
        self.highest = -1  # extended
        self.received = 0
        self.jitter = 0.0  # timestamp units
        self.fraction = 0.0  # lost between the last two reports, 0 to 1
        self._timestamp = 0
        self._timestamp_at = -1.0
        self._expected_before = 0
        self._received_before = 0
        self._sr_middle = 0
        self._sr_at = 0.0

    def on_packet(self, number: int, timestamp: int, now: float) -> None:
        """A packet with extended `number` came at `now` (seconds, monotonic); duplicates too."""
        self.received += 1
        if number > self.highest:
            self.highest = number
            if self._first < 0:
                self._first = number
        elif number < self._first:
            self._first = number
        if self._timestamp_at >= 0:
            # RFC 3550, 6.4.1: "D(i,j) = (Rj - Ri) - (Sj - Si)", "J(i) = J(i-1) +
            # (|D(i-1,i)| - J(i-1))/16".
            arrived = (now - self._timestamp_at) * self._clock_rate
            difference = abs(arrived - timestamp_delta(timestamp, self._timestamp))
            # A switch of source or a restart is not jitter.
            if difference < 10 * self._clock_rate:
                self.jitter += (difference - self.jitter) / 16
        self._timestamp = timestamp
        self._timestamp_at = now

    def on_sender_report(self, ntp: int, now: float) -> None:
        self._sr_middle = middle_of_ntp(ntp)
        self._sr_at = now

    @property
    def lost(self) -> int:
        """Packets lost since the beginning; negative with duplicates."""
        if self._first < 0:
            return 0
        return self.highest - self._first + 1 - self.received

    @property
    def jitter_seconds(self) -> float:
        return self.jitter / self._clock_rate

    def report(self, ssrc: int, now: float) -> ReportBlock | None:
        """The block for this stream, and the start of the next interval; None before a packet."""
        if self._first < 0:
            return None
        expected = self.highest - self._first + 1
        interval = expected - self._expected_before
        lost = interval - (self.received - self._received_before)
        self._expected_before = expected
        self._received_before = self.received
        # A.3: "if (expected_interval == 0 || lost_interval <= 0) fraction = 0".
        self.fraction = lost / interval if interval > 0 and lost > 0 else 0.0
        delay = 0
        if self._sr_middle:
            delay = min(int((now - self._sr_at) * 65536), 0xFFFFFFFF)
        return ReportBlock(
            ssrc,
            min(255, int(self.fraction * 256)),
            # A.3: "this signed number should be clamped at 0x7fffff for positive loss or
            # 0x800000 for negative loss".
            max(-0x800000, min(0x7FFFFF, self.lost)),
            self.highest - SEQUENCE_MOD & 0xFFFFFFFF,
            min(int(self.jitter), 0xFFFFFFFF),
            self._sr_middle,
            delay,
        )


class SenderClock:
    """A publisher's own clock for one stream: its NTP time beside its RTP timestamp.

    Passing both on, with the timestamp moved as the packets' are, keeps lip sync: all
    streams of a publisher share its NTP clock, whatever that clock says.
    """

    __slots__ = ("_at", "_clock_rate", "_ntp", "_timestamp")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._ntp = 0
        self._timestamp = 0
        self._at = -1.0

    def on_sender_report(self, ntp: int, timestamp: int, now: float) -> None:
        self._ntp = ntp
        self._timestamp = timestamp
        self._at = now

    def at(self, now: float) -> tuple[int, int] | None:
        """(NTP, timestamp) at `now` on the publisher's clocks; None: not known."""
        elapsed = now - self._at
        if self._at < 0 or not 0 <= elapsed <= MAX_REPORT_AGE:
            return None
        return (
            self._ntp + int(elapsed * (1 << 32)) & 0xFFFFFFFFFFFFFFFF,
            self._timestamp + round(elapsed * self._clock_rate) & 0xFFFFFFFF,
        )


def build_translated(
    clock: SenderClock, now: float, ssrc: int, timestamp_delta: int, packets: int, octets: int
) -> SenderReport | None:
    """The sender report of a subscriber's stream `ssrc`; None until the publisher's clock is known.

    `timestamp_delta` is what its packets' timestamps are moved by; `packets` and `octets`
    (payloads alone) are what it was sent.
    """
    times = clock.at(now)
    if times is None:
        return None
    return SenderReport(
        ssrc,
        times[0],
        times[1] + timestamp_delta & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )


class RoundTrip:
    """The round trip to a receiver, from the sender reports that it echoes.

    When each was sent is remembered, since its NTP time is the publisher's and not ours.
    """

    __slots__ = ("_sent", "least", "rtt")

    def __init__(self) -> None:
        self._sent: dict[int, float] = {}
        self.rtt: float | None = None  # seconds, smoothed
        self.least: float | None = None  # the shortest so far

    def on_sent(self, ntp: int, now: float) -> None:
        """A sender report with this NTP time goes out."""
        self._sent[middle_of_ntp(ntp)] = now
        if len(self._sent) > MAX_SENT:
            del self._sent[next(iter(self._sent))]

    def on_report(self, block: ReportBlock, now: float) -> None:
        """RFC 3550, 6.4.1: the round trip is "A - LSR - DLSR"."""
        sent = self._sent.get(block.last_sr)
        if sent is None:
            return
        rtt = now - sent - block.delay / 65536
        if not -0.001 <= rtt <= MAX_RTT:
            return
        rtt = max(0.0, rtt)
        self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 8
        self.least = rtt if self.least is None else min(rtt, self.least)
