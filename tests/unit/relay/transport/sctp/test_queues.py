"""What waits to be sent: turns, fragments, bounds."""

from __future__ import annotations

from relay.transport.sctp.queues import MAX_FRAGMENT, MESSAGE_OVERHEAD, Message, Queues


def make(stream: int, payload: bytes, expires: float | None = None) -> Message:
    return Message(stream, 53, payload, True, None, expires)


def drain(queues: Queues, now: float = 0.0) -> list[tuple[int, int]]:
    taken = []
    while (size := queues.next_size(now)) is not None:
        chunk = queues.take(len(taken), size, now)
        taken.append((chunk.message.stream, chunk.size))
    return taken


def test_streams_take_turns_message_by_message() -> None:
    queues = Queues()
    for stream in (1, 1, 1, 3, 3):
        queues.add(make(stream, b"x"))
    assert [stream for stream, _ in drain(queues)] == [1, 3, 1, 3, 1]
    assert not queues


def test_a_message_is_cut_and_nothing_comes_between_its_parts() -> None:
    queues = Queues()
    queues.add(make(1, bytes(2 * MAX_FRAGMENT + 5)))
    queues.add(make(3, b"x"))
    assert drain(queues) == [(1, MAX_FRAGMENT), (1, MAX_FRAGMENT), (1, 5), (3, 1)]


def test_what_waits_counts_until_it_is_released() -> None:
    queues = Queues()
    queues.add(make(1, bytes(100)))
    assert queues.waiting == {1: 100 + MESSAGE_OVERHEAD}
    chunk = queues.take(5, queues.next_size(0.0) or 0, 0.0)
    assert queues.waiting == {1: 100 + MESSAGE_OVERHEAD}
    queues.release(1, chunk.counts)
    assert queues.waiting == {}


def test_the_oldest_of_which_nothing_is_sent_is_dropped_first() -> None:
    queues = Queues()
    for n in range(3):
        queues.add(make(1, bytes(10 + n)))
    queues.next_size(0.0)
    assert queues.drop_oldest(1)
    assert [size for _, size in drain(queues)] == [10, 12]
    assert not queues.drop_oldest(1)
    assert not queues.drop_oldest(7)


def test_what_is_too_late_uses_no_number() -> None:
    queues = Queues()
    queues.add(make(1, b"late", expires=1.0))
    queues.add(make(1, b"reliable"))
    assert queues.next_size(2.0) == 8
    assert queues.take(0, 8, 2.0).message.ssn == 0
    assert queues.expired == 1


def test_a_reset_stream_numbers_from_0() -> None:
    queues = Queues()
    for _ in range(2):
        queues.add(make(1, b"x"))
    drain(queues)
    queues.reset(1)
    queues.add(make(1, b"x"))
    assert queues.take(9, queues.next_size(0.0) or 0, 0.0).message.ssn == 0
