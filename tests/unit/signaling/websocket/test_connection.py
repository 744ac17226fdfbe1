"""One connection over a transport that a test holds: frames, the outbox, silence, closing."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.hub.session import Session
from signaling.metrics import Metrics
from signaling.settings.config import Limits
from signaling.websocket.connection import (
    CLOSE_TIMEOUT,
    SOON,
    WRITE_BUFFER,
    Connection,
    Connections,
    State,
    frame,
)


class FakeTransport:
    """Takes frames; `full` makes it ask for a pause at each write, as a slow client does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = False
        self.full = False
        self.connection: Connection | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self.full and self.connection is not None:
            self.connection.pause_writing()

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class FakeTimer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> FakeTimer:
        return self.call_later(0, call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when <= self.now]
        self.timers = [timer for timer in self.timers if timer.when > self.now]
        for timer in due:
            if not timer.cancelled:
                timer.call()


class EchoHub:
    """Keeps what it is told and closes on a rejection, as the real one does on those below."""

    CODES = {"overloaded": 4503, "too-large": 4413, "heartbeat-timeout": 4408}  # noqa: RUF012

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.rejected: list[str] = []
        self.lost = 0

    def connect(self, outlet: Connection, *, address: str) -> Any:
        del address
        return outlet

    def receive(self, link: Connection, data: bytes) -> None:
        self.received.append(data)
        link.send(b"echo " + data)

    def reject(self, link: Connection, code: str) -> None:
        self.rejected.append(code)
        link.send(code.encode())
        if code in self.CODES:
            link.close(self.CODES[code], code)

    def disconnect(self, link: Connection) -> None:
        del link
        self.lost += 1


class Bench:
    """A connection and all around it. The heartbeat is 10 s."""

    def __init__(self, **limits: Any) -> None:
        self.loop = FakeLoop()
        self.hub = EchoHub()
        self.metrics = Metrics()
        bounds = Limits(**{"heartbeat": 10.0, "outbox_messages": 8, **limits})
        self.connections = Connections(self.hub, bounds, self.metrics, self.loop)  # type: ignore[arg-type]
        self.transport = FakeTransport()
        self.connection = Connection(self.connections, self.transport, "192.0.2.1")
        self.transport.connection = self.connection

    @property
    def written(self) -> list[bytes]:
        return self.transport.written

    def sweep_for(self, seconds: float) -> None:
        ticks = round(seconds / (10.0 / 2 / 20))
        for _ in range(ticks):
            self.connections.sweep()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def close_code(data: bytes) -> int:
    assert data[0] == 0x88
    return int(struct.unpack("!H", data[2:4])[0])


# -- Frames -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_says_its_length_in_the_shortest_form(size: int, header: bytes) -> None:
    assert frame(0x81, b"x" * size) == header + b"x" * size


def test_what_the_hub_sends_is_written_at_once(bench: Bench) -> None:
    bench.connection.receive_text(b"hello")
    assert bench.hub.received == [b"hello"]
    assert bench.written == [frame(0x81, b"echo hello")]


def test_a_ping_is_answered_with_its_payload(bench: Bench) -> None:
    bench.connection.receive_ping(b"abc")
    assert bench.written == [frame(0x8A, b"abc")]


def test_a_binary_frame_is_refused_and_the_connection_stays(bench: Bench) -> None:
    bench.connection.receive_binary()
    assert bench.hub.rejected == ["bad-request"]
    assert bench.connection.state is State.OPEN


def test_what_may_wait_goes_out_with_the_next_message_in_order(bench: Bench) -> None:
    bench.connection.send_soon(b"ok 1")
    bench.connection.send_soon(b"ok 2")
    assert bench.written == []
    bench.connection.send(b"offer")
    frames = [frame(0x81, text) for text in (b"ok 1", b"ok 2", b"offer")]
    assert bench.written == [b"".join(frames)]


def test_what_may_wait_goes_out_alone_soon_after(bench: Bench) -> None:
    bench.connection.send_soon(b"ok")
    bench.loop.advance(SOON)
    assert bench.written == [frame(0x81, b"ok")]
    bench.loop.advance(SOON)
    assert len(bench.written) == 1


def test_what_waits_goes_out_before_a_close(bench: Bench) -> None:
    bench.connection.send_soon(b"ok")
    bench.connection.close(1000, "")
    assert bench.written[0].startswith(frame(0x81, b"ok"))
    bench.loop.advance(SOON)
    assert len(bench.written) == 1


def test_what_waits_for_a_socket_that_is_gone_is_forgotten(bench: Bench) -> None:
    bench.connection.send_soon(b"ok")
    bench.connection.lost()
    bench.loop.advance(SOON)
    assert bench.written == []


# -- The outbox -------------------------------------------------------------------------


def test_a_paused_transport_gets_nothing_until_it_resumes(bench: Bench) -> None:
    bench.connection.pause_writing()
    for n in range(3):
        bench.connection.send(b"%d" % n)
    assert bench.written == []
    assert bench.connection.waiting == (3, 9)
    bench.connection.resume_writing()
    assert bench.written == [frame(0x81, b"%d" % n) for n in range(3)]
    assert bench.connection.waiting == (0, 0)


def test_order_is_kept_when_the_transport_pauses_again_while_it_is_filled(bench: Bench) -> None:
    bench.connection.pause_writing()
    for n in range(4):
        bench.connection.send(b"%d" % n)
    bench.transport.full = True
    bench.connection.resume_writing()
    assert len(bench.written) == 1
    bench.connection.send(b"4")
    bench.transport.full = False
    bench.connection.resume_writing()
    assert bench.written == [frame(0x81, b"%d" % n) for n in range(5)]


def test_order_is_kept_when_the_client_reads_again_before_what_may_wait_is_sent(
    bench: Bench,
) -> None:
    bench.connection.pause_writing()
    bench.connection.send(b"1")
    bench.connection.send_soon(b"2")
    bench.connection.resume_writing()
    bench.connection.send(b"3")
    assert b"".join(bench.written) == b"".join(frame(0x81, b"%d" % n) for n in (1, 2, 3))


def test_what_may_wait_stays_behind_when_the_transport_pauses_again(bench: Bench) -> None:
    bench.connection.pause_writing()
    bench.connection.send(b"1")
    bench.connection.send(b"2")
    bench.connection.send_soon(b"3")
    bench.transport.full = True
    bench.connection.resume_writing()
    bench.transport.full = False
    bench.loop.advance(SOON)
    bench.connection.resume_writing()
    assert b"".join(bench.written) == b"".join(frame(0x81, b"%d" % n) for n in (1, 2, 3))


def test_a_client_that_reads_again_before_the_overload_is_told_gets_nothing_after_the_gap(
    bench: Bench,
) -> None:
    bench.connection.pause_writing()
    for n in range(9):
        bench.connection.send(b"%d" % n)
    bench.connection.resume_writing()  # in the same round of the loop
    bench.connection.send(b"9")
    bench.loop.advance(0)
    assert bench.written[:8] == [frame(0x81, b"%d" % n) for n in range(8)]
    assert bench.written[8] == frame(0x81, b"overloaded")
    assert close_code(bench.written[9]) == 4503
    assert len(bench.written) == 10
    assert bench.hub.rejected == ["overloaded"]


def test_what_may_wait_does_not_follow_the_gap_of_an_overload(bench: Bench) -> None:
    bench.connection.pause_writing()
    for n in range(9):
        bench.connection.send(b"%d" % n)
    bench.connection.send_soon(b"9")
    bench.loop.advance(0)
    bench.connection.resume_writing()
    assert bench.written[0] == frame(0x81, b"overloaded")


def test_a_full_outbox_in_messages_is_overload(bench: Bench) -> None:
    bench.connection.pause_writing()
    for _ in range(9):
        bench.connection.send(b"x")
    assert bench.hub.rejected == []  # the hub may be in the middle of a delivery
    bench.loop.advance(0)
    assert bench.hub.rejected == ["overloaded"]
    assert bench.metrics.dropped["outbox"] == 9
    assert bench.connection.state is State.CLOSING


def test_a_full_outbox_in_bytes_is_overload() -> None:
    bench = Bench(outbox_bytes=65536, outbox_messages=1000)
    bench.connection.pause_writing()
    for _ in range(8):
        bench.connection.send(b"x" * 10_000)
    bench.loop.advance(0)
    assert bench.hub.rejected == ["overloaded"]


@pytest.mark.parametrize("size", [200, 1000])
def test_all_that_is_kept_for_a_resume_fits_into_the_outbox(size: int) -> None:
    limits = Limits()
    bench = Bench(outbox_messages=limits.outbox_messages)
    session = Session("s_1", limits, now=0.0)
    for _ in range(2 * limits.replay_messages):
        session.number(b"x" * size)
    taken = 0
    for sent in session.replay_after(limits.replay_messages):
        if taken > WRITE_BUFFER:
            bench.connection.pause_writing()
        taken += len(sent)
        bench.connection.send(sent)
    bench.loop.advance(0)
    assert bench.hub.rejected == []
    bench.connection.resume_writing()
    assert len(bench.written) == limits.replay_messages


def test_an_overloaded_client_that_reads_again_is_told_why(bench: Bench) -> None:
    bench.connection.pause_writing()
    for _ in range(20):
        bench.connection.send(b"x")
    bench.loop.advance(0)
    bench.connection.resume_writing()
    assert bench.written[0] == frame(0x81, b"overloaded")
    assert close_code(bench.written[1]) == 4503


def test_an_overloaded_client_that_does_not_is_cut(bench: Bench) -> None:
    bench.connection.pause_writing()
    for _ in range(20):
        bench.connection.send(b"x")
    bench.loop.advance(0)
    assert not bench.transport.aborted
    bench.loop.advance(CLOSE_TIMEOUT)
    assert bench.transport.aborted


def test_the_depth_of_outboxes_is_measured(bench: Bench) -> None:
    bench.connection.pause_writing()
    bench.connection.send(b"abc")
    bench.metrics.sample()
    assert (bench.metrics.outbox_messages, bench.metrics.outbox_bytes) == (1, 5)
    assert bench.metrics.outbox_deepest == 5


STEPS = st.lists(
    st.sampled_from(["send", "soon", "fill", "read", "turn", "wait"]), min_size=30, max_size=60
)


@given(STEPS)
def test_what_a_client_reads_has_no_gap_and_keeps_its_order(steps: list[str]) -> None:
    bench = Bench()
    sent = 0
    for step in steps:
        if step in ("send", "soon"):
            send = bench.connection.send if step == "send" else bench.connection.send_soon
            send(b"%05d" % sent)
            sent += 1
        elif step == "fill":
            bench.connection.pause_writing()
        elif step == "read":
            bench.connection.resume_writing()
        else:
            bench.loop.advance(0 if step == "turn" else SOON)
    read = [int(text) for text in re.findall(rb"\x81\x05(\d{5})", b"".join(bench.written))]
    assert read == list(range(len(read)))


# -- Silence ----------------------------------------------------------------------------


def test_a_silent_client_is_pinged_within_a_heartbeat(bench: Bench) -> None:
    bench.sweep_for(10)
    assert bench.written == [frame(0x89, b"")]


def test_a_client_that_only_answers_pings_stays(bench: Bench) -> None:
    for _ in range(20):
        bench.sweep_for(5)
        bench.connection.receive_pong()
    assert bench.hub.rejected == []
    assert bench.connection.state is State.OPEN


def test_a_client_that_says_something_is_not_pinged(bench: Bench) -> None:
    for _ in range(20):
        bench.sweep_for(4.75)
        bench.connection.receive_text(b"x")
    assert frame(0x89, b"") not in bench.written


def test_two_silent_heartbeats_end_a_connection_and_no_less(bench: Bench) -> None:
    bench.sweep_for(20)
    assert bench.hub.rejected == []
    bench.sweep_for(10)
    assert bench.hub.rejected == ["heartbeat-timeout"]
    assert close_code(bench.written[-1]) == 4408


# -- Closing ----------------------------------------------------------------------------


def test_the_hub_s_close_waits_for_the_client_s_answer(bench: Bench) -> None:
    bench.connection.close(4403, "kicked")
    assert close_code(bench.written[-1]) == 4403
    assert not bench.transport.closed
    bench.connection.receive_close(4403)
    assert bench.transport.closed
    assert len(bench.written) == 1


def test_a_client_that_does_not_answer_a_close_is_cut(bench: Bench) -> None:
    bench.connection.close(1001, "draining")
    bench.loop.advance(CLOSE_TIMEOUT)
    assert bench.transport.aborted


def test_nothing_is_sent_or_taken_after_a_close(bench: Bench) -> None:
    bench.connection.close(1001, "draining")
    bench.connection.send(b"late")
    bench.connection.receive_text(b"late")
    bench.connection.receive_binary()
    bench.connection.receive_ping(b"late")
    bench.connection.close(1000, "again")
    assert len(bench.written) == 1
    assert bench.hub.received == []


def test_the_client_s_close_is_echoed_and_the_socket_closed(bench: Bench) -> None:
    bench.connection.receive_close(1001)
    assert bench.written == [frame(0x88, b"\x03\xe9")]
    assert bench.transport.closed


def test_a_close_without_a_status_gets_one_without(bench: Bench) -> None:
    bench.connection.receive_close(0)
    assert bench.written == [frame(0x88, b"")]


def test_a_long_reason_is_cut_between_characters(bench: Bench) -> None:
    bench.connection.close(4400, "я" * 100)
    payload = bench.written[0][2:]
    assert len(payload) <= 125
    assert payload[2:].decode() == "я" * 61


def test_a_lost_socket_is_told_once(bench: Bench) -> None:
    bench.connection.close(1001, "draining")
    bench.connection.lost()
    bench.connection.lost()
    assert bench.hub.lost == 1
    assert len(bench.connections) == 0
    assert bench.metrics.closes == {1001: 1}
    bench.loop.advance(CLOSE_TIMEOUT)
    assert not bench.transport.aborted


def test_codes_that_clients_choose_make_no_new_series(bench: Bench) -> None:
    others = [
        Connection(bench.connections, FakeTransport(), "192.0.2.1")  # type: ignore[abstract]
        for _ in range(3)
    ]
    for code, connection in zip((1000, 3999, 4999), others, strict=True):
        connection.receive_close(code)
        connection.lost()
    assert bench.metrics.closes == {1000: 1, 3000: 2}


def test_frames_that_cannot_be_read_end_the_connection(bench: Bench) -> None:
    bench.connection.fail_frame("bad-request")
    assert bench.hub.rejected == ["bad-request"]
    assert close_code(bench.written[-1]) == 1002
    bench.loop.advance(1)
    assert bench.transport.aborted
