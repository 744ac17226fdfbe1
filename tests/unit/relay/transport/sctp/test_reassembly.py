"""From chunks to messages, in every order."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from relay.transport.sctp.reassembly import (
    FIRST,
    LAST,
    OVERHEAD,
    UNORDERED,
    BadPeer,
    Fragment,
    Reassembly,
    Received,
)


def cut(
    tsn: int, ssn: int, parts: list[bytes], *, stream: int = 1, flags: int = 0
) -> list[Fragment]:
    last = len(parts) - 1
    return [
        Fragment(
            tsn + n,
            flags | FIRST * (n == 0) | LAST * (n == last),
            stream,
            ssn,
            53,
            part,
        )
        for n, part in enumerate(parts)
    ]


def add(one: Reassembly, fragments: Iterable[Fragment]) -> list[bytes]:
    return [message.payload for fragment in fragments for message in one.add(fragment)]


@pytest.mark.parametrize("seed", range(20))
def test_fragments_in_any_order_make_the_messages_in_order(seed: int) -> None:
    rng = random.Random(seed)
    fragments, expected, tsn = [], [], 10
    for ssn in range(30):
        parts = [rng.randbytes(5) for _ in range(rng.randrange(1, 6))]
        fragments += cut(tsn, ssn, parts)
        expected.append(b"".join(parts))
        tsn += len(parts)
    rng.shuffle(fragments)
    one = Reassembly(1000)
    assert add(one, fragments) == expected
    assert one.held == 0


def test_unordered_ones_wait_for_nobody() -> None:
    one = Reassembly(1000)
    later = cut(5, 0, [b"c", b"d"], flags=UNORDERED)
    assert add(one, later) == [b"cd"]


def test_neighbours_of_other_messages_are_not_joined() -> None:
    one = Reassembly(1000)
    first, second = cut(1, 0, [b"a", b"b"]), cut(3, 1, [b"c", b"d"])
    assert add(one, [first[1], second[0], second[1], first[0]]) == [b"ab", b"cd"]


def test_ssns_wrap_around() -> None:
    one = Reassembly(1000)
    one._streams.clear()
    got = [payload for n in range(65_540) for payload in add(one, cut(n, n & 0xFFFF, [b"%d" % n]))]
    assert got[-1] == b"65539"


@pytest.mark.parametrize("field", ["stream", "ssn", "ppid"])
def test_fragments_of_one_message_that_differ_end_it(field: str) -> None:
    one, two = cut(1, 0, [b"a", b"b"])
    reassembly = Reassembly(1000)
    reassembly.add(one)
    with pytest.raises(BadPeer):
        reassembly.add(two._replace(**{field: 9}))


def test_a_message_larger_than_agreed_ends_it() -> None:
    one = Reassembly(10)
    with pytest.raises(BadPeer, match="too large"):
        add(one, cut(1, 0, [b"x" * 6] * 2))


def test_a_number_used_twice_ends_it() -> None:
    one = Reassembly(10)
    add(one, cut(1, 0, [b"a"]))
    with pytest.raises(BadPeer):
        add(one, cut(2, 0, [b"a"]))
    add(one, cut(3, 5, [b"b"]))
    with pytest.raises(BadPeer):
        add(one, cut(4, 5, [b"b"]))


def test_small_fragments_count_for_more_than_their_bytes() -> None:
    one = Reassembly(1000)
    add(one, cut(1, 0, [b"a"] * 10)[:-1])
    assert one.held == 9 * (1 + OVERHEAD)


def test_what_is_skipped_lets_the_next_ones_through() -> None:
    one = Reassembly(1000)
    assert add(one, cut(1, 0, [b"a", b"b"])[:1]) == []
    assert add(one, cut(3, 1, [b"c"])) == []
    assert add(one, cut(4, 3, [b"e"])) == []
    assert one.skip(2, [(1, 0)]) == [Received(1, 53, b"c")]
    assert one.skip(9, [(1, 2)]) == [Received(1, 53, b"e")]
    assert one.skip(9, [(1, 2)]) == []
    assert one.held == 0


def test_a_reset_stream_begins_with_0() -> None:
    one = Reassembly(1000)
    add(one, cut(1, 0, [b"a"]))
    add(one, cut(2, 5, [b"never"]))
    one.reset([1])
    assert one.held == 0
    assert add(one, cut(3, 0, [b"b"])) == [b"b"]
