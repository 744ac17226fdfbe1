"""What an association does with what it should not get."""

from __future__ import annotations

import pytest

from relay.stats import DropReason
from relay.transport.sctp import packet
from relay.transport.sctp.association import Association
from relay.transport.sctp.inbound import DATA_HEADER
from relay.transport.sctp.packet import build_chunk, build_packet
from relay.transport.sctp.states import TRANSITIONS, Ended, Established, State
from tests.support.sctp import Pair


def test_the_ended_state_is_for_good_and_every_other_can_end() -> None:
    assert not TRANSITIONS[State.ENDED]
    assert all(State.ENDED in after for state, after in TRANSITIONS.items() if after)


def test_a_wrong_tag_or_port_is_dropped_and_nothing_is_answered() -> None:
    pair = Pair().open()
    tag = pair.ada._opening.tag
    abort = build_chunk(packet.ABORT)
    for source, destination, wrong in ((5000, 5000, tag ^ 1), (5001, 5000, tag), (5000, 9, tag)):
        data = build_packet(source, destination, wrong, [abort])
        assert pair.ada.receive(data, pair.now) is DropReason.SCTP_TAG
    assert pair.ada.datagrams_to_send(pair.now) == []
    assert pair.ada.state is State.ESTABLISHED


def test_an_abort_may_carry_either_tag_as_its_flag_says() -> None:
    for flags in (0, packet.TAG_REFLECTED):
        pair = Pair().open()
        opening = pair.ada._opening
        tag = opening.peer_tag if flags else opening.tag
        data = build_packet(5000, 5000, tag, [build_chunk(packet.ABORT, flags=flags)])
        assert pair.ada.receive(data, pair.now) is None
        assert pair.ada.state is State.ENDED


def test_an_init_keeps_no_state_and_an_old_cookie_opens_nothing() -> None:
    pair = Pair()
    asker = pair.make()
    asker.connect(0.0)
    (init,) = asker.datagrams_to_send(0.0)
    for _ in range(1000):
        pair.ada.receive(init, 0.0)
    assert pair.ada.state is State.CLOSED
    answers = pair.ada.datagrams_to_send(0.0)
    assert len(answers) == 64
    asker.receive(answers[0], 0.0)
    (echo,) = asker.datagrams_to_send(0.0)
    assert pair.ada.receive(echo, 61.0) is DropReason.MALFORMED
    assert pair.ada.receive(echo, 1.0) is None
    assert pair.ada.state is State.ESTABLISHED
    # The same again is answered, and begins nothing anew.
    assert pair.ada.receive(echo, 1.0) is None
    assert pair.ada.next_event() == Established()
    assert pair.ada.next_event() is None


def test_a_restart_needs_the_cookie_that_was_made_for_it() -> None:
    pair, other = Pair(1).open(), Pair(1)
    stranger = other.make()
    stranger.connect(0.0)
    (init,) = stranger.datagrams_to_send(0.0)
    pair.ada.receive(init, pair.now)
    (answer,) = pair.ada.datagrams_to_send(pair.now)
    assert pair.ada.state is State.ESTABLISHED
    stranger.receive(answer, pair.now)
    (echo,) = stranger.datagrams_to_send(pair.now)
    fresh = Pair(7).open()
    assert fresh.ada.receive(echo, pair.now) is DropReason.MALFORMED


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (packet.DATA, DATA_HEADER.pack(1, 2000, 0, 53) + b"x"),
        (packet.SACK, (1 << 31).to_bytes(4, "big") + bytes(8)),
    ],
)
def test_what_no_honest_peer_sends_ends_it_and_says_so(type: int, value: bytes) -> None:
    pair = Pair().open()
    us = pair.ada
    if type == packet.DATA:
        value = (us._inbound.cumulative + 1 & 0xFFFFFFFF).to_bytes(4, "big") + value[4:]  # type: ignore[union-attr]
    else:
        value = (us._outbound.last_sent + 9 & 0xFFFFFFFF).to_bytes(4, "big") + value[4:]  # type: ignore[union-attr]
    data = build_packet(5000, 5000, us._opening.tag, [build_chunk(type, value)])
    assert us.receive(data, pair.now) is DropReason.MALFORMED
    assert us.state is State.ENDED
    pair.run(1)
    (ended,) = [event for event in pair.events[1] if isinstance(event, Ended)]
    assert ended.reason in ("stream out of range", "acknowledged what was not sent")


def test_unknown_chunks_are_skipped_or_end_the_packet_as_their_first_bits_say() -> None:
    pair = Pair().open()
    beat = build_chunk(packet.HEARTBEAT, b"\0\1\0\4")
    for type, answered in ((0x80, True), (0xC0 | 5, True), (0x40, False), (0x21, False)):
        data = build_packet(5000, 5000, pair.ada._opening.tag, [build_chunk(type), beat])
        assert pair.ada.receive(data, pair.now) in (DropReason.SCTP_UNEXPECTED, None)
        assert bool(pair.ada.datagrams_to_send(pair.now)) == answered


def test_answers_are_bounded() -> None:
    pair = Pair().open()
    beats = [build_chunk(packet.HEARTBEAT, b"\0\1\0\4")] * 300
    for _ in range(10):
        data = build_packet(5000, 5000, pair.ada._opening.tag, beats)
        assert pair.ada.receive(data, pair.now) is DropReason.FLOOD
    assert sum(map(len, pair.ada.datagrams_to_send(pair.now))) < 1000


def test_it_gives_up_when_nobody_answers() -> None:
    pair = Pair()
    pair.paths[0].down = True
    pair.ada.connect(pair.now)
    pair.run(120)
    assert pair.events[0] == [Ended("the peer does not answer", aborted=True)]


def test_aiortc_opens_an_association_with_ours() -> None:
    """The whole of aiortc's is in the integration tests; here its INIT and cookie alone."""
    from aiortc.rtcsctptransport import InitChunk, parse_packet, serialize_packet

    ours = Association(random=lambda n: bytes(range(1, n + 1)))
    init = InitChunk()
    init.initiate_tag, init.initial_tsn = 5, 9
    init.advertised_rwnd, init.inbound_streams, init.outbound_streams = 100_000, 65535, 65535
    assert ours.receive(serialize_packet(5000, 5000, 0, init), 0.0) is None
    (answer,) = ours.datagrams_to_send(0.0)
    _, _, tag, (chunk,) = parse_packet(answer)
    assert tag == 5
    assert any(key == 7 for key, _ in chunk.params)
