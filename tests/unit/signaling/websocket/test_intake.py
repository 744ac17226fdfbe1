"""What is read of one connection, in turns that a test takes one by one."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.settings.config import Limits
from signaling.websocket.connection import State
from signaling.websocket.intake import (
    FIRST,
    FRAMES,
    LEAST,
    MOST,
    PATIENCE,
    UNIT,
    Allowance,
    Intake,
    choose_window,
)
from tests.unit.signaling.websocket.test_connection import Bench, FakeTransport

PING = b"\x89\x80\x00\x00\x00\x00"


class Flooded(FakeTransport):
    """A transport with as much to read as is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.read = 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Turns(Bench):
    """A connection that is fed with pings, in turns of the event loop."""

    def __init__(self, frame: bytes = PING, **limits: Any) -> None:
        super().__init__(**limits)
        self.socket = Flooded()
        self.frame = frame
        self.tail = b""
        self.intake = Intake(
            self.connection,
            self.socket,  # type: ignore[arg-type]  # as far as it is used
            feed=self.feed,
            lost=lambda _: None,
            pause_writing=lambda: None,
            resume_writing=lambda: None,
        )
        self.intake.begin(b"")

    def feed(self, data: bytes) -> None:
        count, rest = divmod(len(self.tail) + len(data), len(self.frame))
        self.tail = bytes(rest)
        for _ in range(count):
            self.connection.frames += 1
            self.connection.receive_ping(b"")

    def turn(self) -> int:
        """One turn; return the frames that were handled in it."""
        before = self.connection.frames
        if self.socket.reading:
            view = self.intake.get_buffer(-1)
            self.intake.buffer_updated(len(view))
        self.loop.advance(0)
        return self.connection.frames - before


def test_one_turn_brings_few_frames_once_it_is_known_how_small_they_are() -> None:
    turns = Turns()
    assert turns.turn() <= FIRST // len(PING) + 1
    assert {turns.turn() <= LEAST // len(PING) + FRAMES for _ in range(20)} == {True}


def test_who_sends_unpaced_is_read_no_faster_than_it_may_send() -> None:
    turns = Turns(message_rate=10, message_burst=100)
    handled = 0
    for _ in range(300):
        handled += turns.turn()
        turns.loop.advance(0.01)
    least = 2 * (100 + 10 * 3)
    assert least / 2 < handled < least + FIRST // len(PING)


def test_who_goes_on_is_closed() -> None:
    turns = Turns(message_rate=10, message_burst=100)
    for _ in range(3000):
        turns.turn()
        turns.loop.advance(0.01)
    assert turns.hub.rejected[:1] == ["rate-limited"]
    assert turns.connection.state is not State.OPEN
    assert turns.metrics.dropped["intake"] == 1
    # Nothing more was read of it, and it was cut soon after.
    assert not turns.socket.reading
    assert turns.transport.aborted


def test_what_follows_a_close_is_read_no_more_once_it_is_too_much() -> None:
    turns = Turns(message_rate=10, message_burst=100)
    turns.connection.close(4400, "bad-request")
    for _ in range(100):
        turns.turn()
    turns.loop.advance(1.0)
    assert not turns.socket.reading
    assert turns.connection.frames < 200 + FIRST // len(PING)
    assert turns.transport.aborted


def test_an_ordinary_client_is_never_held() -> None:
    turns = Turns(b"\x81\x80" + bytes(300))
    for _ in range(1000):
        turns.intake.receive(turns.frame)
        assert turns.socket.reading
        turns.loop.advance(0.02)


def test_a_large_message_is_read_in_ever_larger_parts() -> None:
    turns = Turns(bytes(256 * 1024))
    count = 0
    while not turns.connection.frames:
        turns.turn()
        count += 1
    assert count < 12
    assert turns.hub.rejected == []


def test_what_came_behind_the_handshake_waits_for_its_turn() -> None:
    turns = Turns()
    turns.intake.begin(PING * 10_000)
    assert turns.connection.frames == 0
    turns.loop.advance(0)
    assert 0 < turns.connection.frames <= FIRST


@pytest.mark.parametrize(
    ("window", "size", "frames", "chosen"),
    [
        (4096, 300, 1, 4096),
        (4096, 4096, 1, 8192),
        (4096, 4096, FRAMES, 8192),
        (4096, 4096, 4 * FRAMES, 1024),
        (4096, 4096, 4096, LEAST),
        (MOST, MOST, 0, MOST),
    ],
)
def test_the_window_follows_the_size_of_frames(
    window: int, size: int, frames: int, chosen: int
) -> None:
    assert choose_window(window, size, frames) == chosen


def test_bytes_count_as_frames_do() -> None:
    limits = Limits(message_rate=10, message_burst=100)
    allowance = Allowance(limits, 0.0)
    assert allowance.spend(0, 200 * UNIT, 0.0, limits) == 0.0
    assert allowance.spend(0, 20 * UNIT, 0.0, limits) == pytest.approx(1.0)
    assert not allowance.exhausted
    assert allowance.spend(0, int(20 * PATIENCE) * UNIT, 0.0, limits) > PATIENCE
    assert allowance.exhausted
