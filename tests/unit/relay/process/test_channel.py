"""Messages cross the stream whole, in order, and without bound on neither side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import control
from relay.process import lifecycle
from relay.process.channel import (
    LOSSY_ABOVE,
    MAX_BUFFERED,
    MAX_MESSAGE,
    Channel,
    ChannelError,
    FrameReader,
    build_frame,
)

MESSAGES: list[control.Message] = [
    control.Join("demo", "p_1"),
    control.Publish("demo", "p_1", 7, "v=0\r\n", [control.PublishTrack("0", "camera")]),
    control.Route("demo", "p_1", None),
    control.Route("demo", "p_1", ["p_2"]),
    lifecycle.Stop(),
]


@given(st.lists(st.integers(1, 40)))
def test_messages_survive_any_cutting_of_the_stream(cuts: list[int]) -> None:
    stream = b"".join(map(build_frame, MESSAGES))
    reader: FrameReader[control.Message] = FrameReader(lifecycle.ToWorker)
    got: list[control.Message] = []
    start = 0
    for cut in [*cuts, len(stream)]:
        got += reader.receive_data(stream[start : start + cut])
        start += cut
    assert got == MESSAGES


@pytest.mark.parametrize(
    "data",
    [
        (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"\0\0\0\1\xc1",
        b"\0\0\0\1\x80",
        b"\0\0\0\7\x81\xa4type\xc0",
        build_frame(lifecycle.Ready(1)),
    ],
)
def test_what_is_no_message_is_one_kind_of_error(data: bytes) -> None:
    reader: FrameReader[control.Message] = FrameReader(lifecycle.ToWorker)
    with pytest.raises(ChannelError):
        reader.receive_data(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    reader: FrameReader[control.Message] = FrameReader(lifecycle.ToWorker)
    try:
        reader.receive_data(len(data).to_bytes(4, "big") + data)
    except ChannelError:
        return


class End:
    """One end of a channel and what it saw."""

    def __init__(self) -> None:
        self.got: list[control.Message] = []
        self.closed = asyncio.Event()
        self.fault: Exception | None = None
        self.channel: Channel[control.Message]

    async def open(
        self, sock: socket.socket, *, backpressure: bool = False, turn: float = inf
    ) -> End:
        union = lifecycle.ToWorker | lifecycle.ToNode
        self.channel = await Channel.open(
            sock, union, self.got.append, self._close, backpressure=backpressure, turn=turn
        )
        return self

    def _close(self, fault: Exception | None) -> None:
        self.fault = fault
        self.closed.set()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_both_ends_talk_and_a_close_is_seen() -> None:
    left, right = socket.socketpair()
    a, b = await End().open(left), await End().open(right)
    for message in MESSAGES:
        assert a.channel.send(message)
        assert b.channel.send(message)
    await _until(lambda: a.got == MESSAGES and b.got == MESSAGES)
    a.channel.close()
    async with asyncio.timeout(30):
        await b.closed.wait()
    async with asyncio.timeout(30):
        await a.closed.wait()
    assert a.fault is None
    assert b.fault is None
    assert not b.channel.send(lifecycle.Stop())
    assert b.channel.dropped == {"stop": 1}


async def test_a_reader_that_hangs_costs_bounded_memory_and_lossy_messages_first() -> None:
    left, right = socket.socketpair()
    a = await End().open(left)
    big = control.Publish("demo", "p_1", 1, "x" * 100_000)
    while a.channel.send(control.WorkerMetrics(drops={"x" * 1000: 1}), lossy=True):
        pass
    assert a.channel.dropped == {"workermetrics": 1}
    sent = 0
    while a.channel.send(big):
        sent += 1
    assert LOSSY_ABOVE < sent * 100_000 < MAX_BUFFERED + 100_000
    async with asyncio.timeout(30):
        await a.closed.wait()
    assert isinstance(a.fault, ChannelError)
    right.close()


async def test_a_worker_stops_reading_while_its_answers_are_not_taken() -> None:
    left, right = socket.socketpair()
    worker = await End().open(left, backpressure=True)
    right.setblocking(False)
    answer = control.Answer(1, "x" * 100_000)
    for _ in range(20):
        worker.channel.send(answer)
    right.send(build_frame(lifecycle.Stop()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert worker.got == []
    node = await End().open(right)
    await _until(lambda: len(node.got) == 20 and worker.got == [lifecycle.Stop()])
    worker.channel.close()
    node.channel.close()
    async with asyncio.timeout(30):
        await worker.closed.wait()
    async with asyncio.timeout(30):
        await node.closed.wait()


async def test_many_messages_leave_the_loop_to_others_in_between() -> None:
    left, right = socket.socketpair()
    worker = await End().open(left, turn=0)
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def look() -> None:
        if len(worker.got) < 50:
            turns.append(len(worker.got))
            loop.call_soon(look)

    right.send(b"".join([build_frame(lifecycle.Ready(number)) for number in range(50)]))
    look()
    await _until(lambda: len(worker.got) == 50)
    assert [message.port for message in worker.got] == list(range(50))  # type: ignore[attr-defined]
    assert set(range(1, 50)) <= set(turns), "one message in each turn"
    right.send(build_frame(lifecycle.Stop()))
    await _until(lambda: worker.got[-1] == lifecycle.Stop())
    right.close()
    async with asyncio.timeout(30):
        await worker.closed.wait()


async def test_garbage_closes_the_channel_with_its_reason() -> None:
    left, right = socket.socketpair()
    a = await End().open(left)
    right.send(b"\xff" * 100)
    async with asyncio.timeout(30):
        await a.closed.wait()
    assert isinstance(a.fault, ChannelError)
    right.close()
