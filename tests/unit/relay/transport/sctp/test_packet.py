"""Packets as bytes."""

from __future__ import annotations

import pytest

from relay.transport.sctp.packet import (
    DATA,
    MAX_CHUNKS,
    SACK,
    Chunk,
    MalformedSctp,
    build_chunk,
    build_packet,
    parse_packet_untrusted,
)


def test_what_is_built_is_parsed_with_and_without_padding() -> None:
    for size in range(9):
        value = bytes(range(size))
        data = build_packet(1, 2, 3, [build_chunk(DATA, value, 7), build_chunk(SACK)])
        assert len(data) % 4 == 0
        parsed = parse_packet_untrusted(data)
        assert parsed == (1, 2, 3, [Chunk(DATA, 7, value), Chunk(SACK, 0, b"")])


def test_aiortc_reads_what_we_write_and_the_other_way_round() -> None:
    from aiortc.rtcsctptransport import DataChunk, parse_packet, serialize_packet

    theirs = DataChunk(flags=3)
    theirs.tsn, theirs.stream_id, theirs.stream_seq, theirs.protocol = 9, 1, 2, 53
    theirs.user_data = b"hello"
    data = serialize_packet(5000, 5001, 77, theirs)
    parsed = parse_packet_untrusted(data)
    again = build_packet(
        5000, 5001, 77, [build_chunk(c.type, c.value, c.flags) for c in parsed.chunks]
    )
    assert again == data
    assert parse_packet(again)[2] == 77


def test_one_wrong_bit_anywhere_is_noticed() -> None:
    data = build_packet(1, 2, 3, [build_chunk(DATA, b"hello")])
    for at in range(len(data) * 8):
        wrong = bytearray(data)
        wrong[at // 8] ^= 1 << at % 8
        with pytest.raises(MalformedSctp):
            parse_packet_untrusted(bytes(wrong))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\3",
        b"\0\0\0\5",
        b"\0\0\xff\xff" + bytes(20),
        build_chunk(DATA) * (MAX_CHUNKS + 1),
        build_chunk(DATA) + b"\0",
    ],
)
def test_lengths_that_are_wrong_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedSctp):
        parse_packet_untrusted(build_packet(1, 2, 3, [body]))
