"""The jitter buffer of sound, in virtual time on a seeded network."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.bot.jitter import MAX_HELD, JitterBuffer

PACKET = 0.02


@dataclass
class Line:
    """A line to a sender of 50 packets a second that sends again what is asked for."""

    loss: float
    round_trip: float = 0.04
    jitter: float = 0.0
    resends: bool = True
    seed: int = 1
    heard: list[tuple[float, int, int]] = field(default_factory=list)
    """When, which and how many lost before it."""
    asked: int = 0

    def run(self, buffer: JitterBuffer[int], count: int = 3000) -> Line:
        chance = random.Random(self.seed)
        events: list[tuple[float, int, int]] = []  # arrival, tie, number

        def send(number: int, at: float) -> None:
            if chance.random() >= self.loss:
                way = self.round_trip / 2 + self.jitter * chance.random()
                heapq.heappush(events, (at + way, len(events) + number, number))

        for number in range(count):
            send(number, number * PACKET)
        now = 0.0
        while events or buffer.timer is not None:
            due = events[0][0] if events else float("inf")
            timer = float("inf") if buffer.timer is None else max(buffer.timer, now)
            now = min(due, timer)
            if due <= timer:
                number = heapq.heappop(events)[2]
                buffer.add(number & 0xFFFF, number, now)
            self.heard += [(now, ready.item, ready.lost) for ready in buffer.take(now)]
            asked = buffer.to_ask(now)
            self.asked += len(asked)
            for number in asked if self.resends and chance.random() >= self.loss else []:
                send(number, now + self.round_trip / 2)
        return self

    @property
    def numbers(self) -> list[int]:
        return [number for _, number, _ in self.heard]

    def delays(self) -> list[float]:
        return [at - number * PACKET - self.round_trip / 2 for at, number, _ in self.heard]


def test_without_loss_nothing_is_delayed() -> None:
    line = Line(loss=0.0).run(JitterBuffer())
    assert line.numbers == list(range(3000))
    assert max(line.delays()) == pytest.approx(0, abs=1e-9)
    assert line.asked == 0


@pytest.mark.parametrize("loss", [0.05, 0.1, 0.2, 0.36])
def test_what_arrives_is_heard_in_order_and_all_else_is_counted(loss: float) -> None:
    buffer = JitterBuffer[int]()
    line = Line(loss=loss, resends=False).run(buffer)
    assert line.numbers == sorted(set(line.numbers))
    assert len(line.numbers) == buffer.received
    assert len(line.numbers) > 3000 * (1 - loss) * 0.97
    told = sum(lost for _, _, lost in line.heard)
    assert told == line.numbers[-1] + 1 - line.numbers[0] - len(line.numbers)


@pytest.mark.parametrize(("loss", "heard"), [(0.05, 0.997), (0.2, 0.97)])
def test_what_is_lost_is_asked_for_again(loss: float, heard: float) -> None:
    line = Line(loss=loss, round_trip=0.06).run(JitterBuffer())
    assert len(line.numbers) > 3000 * heard


def test_the_depth_follows_what_sending_again_takes_and_shrinks_where_it_is_of_no_use() -> None:
    slow, fast, vain = JitterBuffer[int](), JitterBuffer[int](), JitterBuffer[int]()
    Line(loss=0.1, round_trip=0.15).run(slow)
    Line(loss=0.1, round_trip=0.02).run(fast)
    Line(loss=0.1, resends=False).run(vain)
    assert 0.15 < slow.depth <= 0.4
    assert fast.depth < slow.depth
    assert vain.depth == pytest.approx(0.02, abs=0.01)


def test_nothing_is_asked_for_that_could_not_come_in_time() -> None:
    buffer = JitterBuffer[int](most=0.2)
    line = Line(loss=0.1, round_trip=0.6).run(buffer)
    assert buffer.depth <= 0.2
    late = [number for at, number, _ in line.heard if at > 10]
    asked_late = line.asked
    assert asked_late < len(late) / 10


def test_packets_that_overtake_each_other_are_put_in_order() -> None:
    buffer = JitterBuffer[int]()
    line = Line(loss=0.0, jitter=0.05, resends=False).run(buffer)
    assert line.numbers == sorted(line.numbers)
    assert len(line.numbers) > 3000 * 0.995


def test_a_depth_that_was_chosen_is_kept() -> None:
    buffer = JitterBuffer[int](least=0.1, most=0.1)
    line = Line(loss=0.1, resends=False).run(buffer)
    assert buffer.depth == 0.1
    assert max(line.delays()) == pytest.approx(0.1, abs=0.041)


def test_a_number_that_comes_twice_is_heard_once_and_one_too_late_never() -> None:
    buffer = JitterBuffer[int]()
    heard: list[int] = []
    for now, number in [(0.0, 1), (0.0, 1), (0.02, 3), (0.03, 3), (1.0, 4), (1.01, 2), (1.02, 5)]:
        buffer.add(number, number, now)
        heard += [ready.item for ready in buffer.take(now)]
    assert heard == [1, 3, 4, 5]
    assert (buffer.lost, buffer.late) == (1, 1)


def test_a_stream_that_begins_anew_loses_nothing_that_was_held() -> None:
    buffer = JitterBuffer[int]()
    for number in (1, 3, 40_000, 40_001):
        buffer.add(number, number, 0.0)
    assert [(ready.item, ready.lost) for ready in buffer.take(0.0)] == [
        (1, 0),
        (3, 0),
        (40_000, 0),
        (40_001, 0),
    ]
    assert buffer.to_ask(1.0) == []


def test_a_gap_does_not_hold_more_than_four_seconds_of_sound() -> None:
    buffer = JitterBuffer[int](least=60.0, most=60.0)
    buffer.add(0, 0, 0.0)
    for number in range(2, MAX_HELD + 4):
        buffer.add(number, number, 0.0)
    assert len(buffer.take(0.0)) == MAX_HELD + 3


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.floats(0, 0.5)) | st.none(), min_size=1, max_size=200
    )
)
def test_whatever_comes_leaves_at_most_once_and_in_bounds(
    steps: list[tuple[int, float] | None],
) -> None:
    buffer = JitterBuffer[int]()
    now, put, got = 0.0, 0, 0
    for index, step in enumerate(steps):
        if step is None:
            buffer.begin_anew()
        else:
            now += step[1]
            buffer.add(step[0], index, now)
            put += 1
        got += len(buffer.take(now))
        assert len(buffer.to_ask(now)) <= 48
        assert buffer.timer is None or buffer.timer > now - 1
    got += len(buffer.take(now + 10))
    assert got <= put
    assert got == buffer.received
