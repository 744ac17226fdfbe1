"""Associations over paths that lose, delay, double and vanish, in virtual time."""

from __future__ import annotations

import pytest

from relay.transport.sctp.states import Ended, Established, ResetDone, State, StreamsReset
from tests.support.sctp import Pair

BINARY = 53


def make_messages(pair: Pair, count: int, size: int) -> list[bytes]:
    return [b"%06d" % n + pair.rng.randbytes(pair.rng.randrange(size)) for n in range(count)]


def test_both_ask_at_once_and_have_one_association() -> None:
    pair = Pair().open()
    assert [one.state for one in pair.ends] == [State.ESTABLISHED] * 2


def test_one_that_only_answers_is_enough() -> None:
    pair = Pair()
    pair.ada.connect(pair.now)
    pair.ada.send(0, BINARY, b"early")
    pair.run(1)
    pair.bob.send(1, BINARY, b"back")
    pair.run(1)
    assert (pair.payloads(1), pair.payloads(0)) == ([b"early"], [b"back"])


@pytest.mark.parametrize("seed", range(6))
def test_an_opening_survives_loss_and_doubling(seed: int) -> None:
    Pair(seed, loss=0.3, twice=0.3, jitter=0.2).open()


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_reliable_messages_arrive_once_and_in_order_both_ways(loss: float) -> None:
    pair = Pair(3, loss=loss, twice=0.05, jitter=0.02).open()
    there, back = (make_messages(pair, 300, 4000) for _ in range(2))
    for one, other in zip(there, back, strict=True):
        pair.ada.send(2, BINARY, one)
        pair.bob.send(2, BINARY, other)
    pair.run(120, lambda: len(pair.got(0)) == len(pair.got(1)) == 300)
    assert (pair.payloads(1), pair.payloads(0)) == (there, back)
    pair.run(1)
    assert pair.ada.get_waiting(2) == pair.bob.get_waiting(2) == 0


def test_streams_take_turns_so_that_large_messages_of_one_starve_no_other() -> None:
    pair = Pair().open()
    for _ in range(3):
        pair.ada.send(1, BINARY, bytes(250_000))
    for n in range(10):
        pair.ada.send(3, BINARY, b"%d" % n)
    pair.run(30, lambda: len(pair.got(1)) == 13)
    assert [message.stream for message in pair.got(1)][:6] == [1, 3, 1, 3, 1, 3]


def test_lossy_messages_do_not_wait_for_lost_ones_and_reliable_ones_all_arrive() -> None:
    pair = Pair(5, loss=0.1, jitter=0.01).open()
    for n in range(500):
        pair.ada.send(1, BINARY, b"r%d" % n)
        pair.ada.send(3, BINARY, b"l%d" % n, ordered=False, max_retransmits=0)
        pair.run(0.01)
    pair.run(10)
    assert pair.payloads(1, 1) == [b"r%d" % n for n in range(500)]
    lossy = pair.payloads(1, 3)
    assert 400 < len(lossy) < 480
    assert len(set(lossy)) == len(lossy)
    assert pair.ada.get_waiting(3) == 0


def test_ordered_lossy_messages_come_in_order_without_the_lost_ones() -> None:
    pair = Pair(6, loss=0.1).open()
    for n in range(300):
        pair.ada.send(3, BINARY, b"%03d" % n + bytes(2500), max_retransmits=0)
        pair.run(0.02)
    pair.run(10)
    got = pair.payloads(1, 3)
    assert 150 < len(got) < 290
    assert got == sorted(got)
    assert pair.bob._inbound is not None
    assert pair.bob._inbound.held == 0


def test_a_message_whose_time_is_over_is_not_sent() -> None:
    pair = Pair().open()
    pair.paths[0].down = True
    for n in range(100):
        pair.ada.send(3, BINARY, bytes(1000), expires=pair.now + 1)
        pair.ada.send(1, BINARY, b"%d" % n)
    pair.run(5)
    pair.paths[0].down = False
    pair.run(20)
    assert len(pair.payloads(1, 1)) == 100
    assert len(pair.payloads(1, 3)) <= 10


def test_a_path_that_is_gone_for_20_seconds_comes_back_with_everything() -> None:
    pair = Pair().open()
    for n in range(20):
        pair.ada.send(1, BINARY, b"%d" % n + bytes(3000))
    pair.run(0.1)
    for path in pair.paths:
        path.down = True
    pair.run(20)
    for path in pair.paths:
        path.down = False
    pair.run(8, lambda: len(pair.got(1)) == 20)
    assert len(pair.got(1)) == 20


def test_a_path_that_never_comes_back_ends_the_association() -> None:
    pair = Pair().open()
    pair.paths[0].down = True
    pair.ada.send(1, BINARY, b"x")
    pair.run(120)
    assert pair.ada.state is State.ENDED
    assert isinstance(pair.events[0][-1], Ended)
    assert pair.ada.get_timer() is None


def test_a_silent_association_stays_open() -> None:
    pair = Pair().open()
    before = pair.paths[0].sent
    pair.run(3600)
    assert [one.state for one in pair.ends] == [State.ESTABLISHED] * 2
    assert pair.paths[0].sent - before < 300


def test_a_peer_that_begins_anew_is_taken_up_again() -> None:
    pair = Pair().open()
    pair.ada.send(1, BINARY, b"before")
    pair.run(1)
    pair.ends[1] = pair.make()
    pair.bob.connect(pair.now)
    pair.run(5)
    assert Established(restarted=True) in pair.events[0]
    pair.ada.send(1, BINARY, b"after")
    pair.bob.send(1, BINARY, b"back")
    pair.run(2)
    assert pair.payloads(1)[-1] == b"after"
    assert pair.payloads(0) == [b"back"]


def test_a_channel_is_closed_when_everything_has_arrived_and_its_stream_used_again() -> None:
    pair = Pair(7, loss=0.2).open()
    for n in range(50):
        pair.ada.send(4, BINARY, b"%d" % n)
    pair.ada.reset(4)
    pair.run(30, lambda: ResetDone((4,)) in pair.events[0])
    events = pair.events[1]
    assert events.index(StreamsReset((4,))) > max(
        n for n, event in enumerate(events) if event in pair.got(1)
    )
    assert len(pair.got(1)) == 50
    pair.ada.send(4, BINARY, b"again")
    pair.run(20)
    assert pair.payloads(1)[-1] == b"again"


def test_a_shutdown_comes_after_everything_has_arrived() -> None:
    pair = Pair(8, loss=0.2).open()
    for n in range(50):
        pair.ada.send(4, BINARY, b"%d" % n)
    pair.ada.shut_down(pair.now)
    pair.run(60)
    assert len(pair.got(1)) == 50
    assert [one.state for one in pair.ends] == [State.ENDED] * 2


def test_an_abort_says_why() -> None:
    pair = Pair().open()
    pair.ada.abort("too much is waiting")
    pair.run(1)
    assert pair.events[1][-1] == Ended("too much is waiting")
    assert pair.events[0][-1] == Ended("too much is waiting", aborted=True)
