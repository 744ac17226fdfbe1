"""The private names of aiohttp that the quick twin leans on, each pinned."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp._websocket import models, reader
from aiohttp.http import WebSocketReader

from signaling.websocket import fast


class Recorder:
    """Stands where the connection is."""

    def __init__(self) -> None:
        self.frames = 0
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def parse(recorder: Recorder) -> WebSocketReader:
    sink = fast.FrameSink(recorder, asyncio.get_running_loop())  # type: ignore[arg-type]
    return WebSocketReader(sink, 101, compress=False, decode_text=False)


def test_this_aiohttp_has_what_the_quick_twin_needs() -> None:
    assert fast.is_available()


def test_the_queue_is_where_the_twin_looks_for_it() -> None:
    assert issubclass(fast.FrameSink, reader.WebSocketDataQueue)
    assert {"feed_data", "feed_eof", "set_exception"} <= set(dir(reader.WebSocketDataQueue))


def test_the_handler_keeps_what_came_behind_the_header() -> None:
    assert "_message_tail" in web.RequestHandler.__slots__


def test_the_handler_forgets_its_connection_when_told_that_it_is_lost() -> None:
    assert list(inspect.signature(web.RequestHandler.connection_lost).parameters) == ["self", "exc"]
    assert "transport" in inspect.getsource(web.RequestHandler.force_close)


def test_the_messages_have_kind_and_data_in_front() -> None:
    assert models.WSMessageTextBytes._fields[:2] == ("type", "data")


MASKED_HELLO = b"\x81\x85\x01\x02\x03\x04" + bytes(
    c ^ m for c, m in zip(b"hello", b"\x01\x02\x03\x04\x01", strict=True)
)


async def test_text_reaches_the_connection_as_bytes(
    parse: WebSocketReader, recorder: Recorder
) -> None:
    assert parse.feed_data(MASKED_HELLO) == (False, b"")
    assert recorder.calls == [("receive_text", b"hello")]
    assert type(recorder.calls[0][1]) is bytes


async def test_a_frame_may_come_byte_by_byte(parse: WebSocketReader, recorder: Recorder) -> None:
    for n in range(len(MASKED_HELLO)):
        parse.feed_data(MASKED_HELLO[n : n + 1])
    assert recorder.calls == [("receive_text", b"hello")]


async def test_a_message_may_come_in_fragments(parse: WebSocketReader, recorder: Recorder) -> None:
    parse.feed_data(b"\x01\x02he\x89\x00\x80\x03llo")
    assert recorder.calls == [("receive_ping", b""), ("receive_text", b"hello")]


async def test_many_messages_in_one_read_never_stall(
    parse: WebSocketReader, recorder: Recorder
) -> None:
    parse.feed_data(MASKED_HELLO * 50_000)
    assert len(recorder.calls) == 50_000


async def test_control_frames_reach_the_connection(
    parse: WebSocketReader, recorder: Recorder
) -> None:
    parse.feed_data(b"\x89\x01a\x8a\x01b\x82\x01c\x88\x02\x03\xe8")
    assert recorder.calls == [
        ("receive_ping", b"a"),
        ("receive_pong",),
        ("receive_binary",),
        ("receive_close", 1000),
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x7e\x00\x65" + b"x" * 101, "too-large"),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "too-large"),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "too-large"),
        (b"\x01\x01a" + b"\x81\x01b", "bad-request"),  # a new message within another
        (b"\x80\x01a", "bad-request"),  # goes on with nothing
        (b"\xc1\x01a", "bad-request"),  # compressed, which was not agreed on
        (b"\x83\x01a", "bad-request"),  # no such opcode
        (b"\x89\x7e\x00\x7e" + b"x" * 126, "bad-request"),  # a ping that is too long
        (b"\x88\x01\x03", "bad-request"),  # half a status
    ],
)
async def test_frames_against_the_rules_fail(
    parse: WebSocketReader, recorder: Recorder, data: bytes, code: str
) -> None:
    parse.feed_data(data)
    assert recorder.calls == [("fail_frame", code)]


async def test_the_largest_message_that_is_allowed_passes(
    parse: WebSocketReader, recorder: Recorder
) -> None:
    parse.feed_data(b"\x81\x64" + b"x" * 100)
    assert recorder.calls == [("receive_text", b"x" * 100)]


async def test_control_codes_are_told_by_identity() -> None:
    # The sink compares with `is`.
    assert WSMsgType(1) is WSMsgType.TEXT
