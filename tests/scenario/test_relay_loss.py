"""A bad network: what it loses is asked for again, what it mixes up is put right."""

from __future__ import annotations

import pytest

from relay.rtp import rtcp
from relay.stats import DropReason
from tests.support.call import Call, check_contiguous, check_glitchless, check_payloads
from tests.support.network import Conditions
from tests.support.publishing import Shape, Stream

SECONDS = 12.0


def finish(call: Call, conditions: Conditions, *streams: Stream) -> None:
    """End on a good network: what is lost last of all, nobody can miss."""
    conditions.loss = 0.0
    call.run_for(1.0)
    for stream in streams:
        stream.running = False
    call.run_for(1.0)


@pytest.mark.parametrize("loss", [0.05, 0.2])
@pytest.mark.parametrize("rtx", [True, False])
def test_loss_between_publisher_and_relay_is_recovered(loss: float, rtx: bool) -> None:
    call = Call(seed=int(loss * 100))
    lossy = Conditions(loss=loss)
    ada = call.publisher("ada", up=lossy)
    track, stream = call.camera(ada, rtx=rtx)
    bob = call.subscriber("bob")
    down, line = call.subscribe(bob, track)
    call.run_for(SECONDS)
    finish(call, lossy, stream)
    assert stream.nacked > 0
    check_contiguous(line)
    check_glitchless(line.frames)
    check_payloads(line.frames, stream)
    assert line.frames[-1].number == stream.frames - 1
    # Bob misses these, too, and asks; most of his requests come before there is an answer.
    assert down.resent < 0.5 * ada.wire.up.lost


@pytest.mark.parametrize("loss", [0.05, 0.2])
@pytest.mark.parametrize("rtx", [True, False])
def test_loss_between_relay_and_subscriber_is_recovered(loss: float, rtx: bool) -> None:
    call = Call(seed=int(loss * 100) + 1)
    ada = call.publisher("ada")
    track, stream = call.camera(ada)
    lossy = Conditions(loss=loss)
    bob = call.subscriber("bob", down=lossy)
    eve = call.subscriber("eve")
    _, line = call.subscribe(bob, track, rtx=rtx)
    _, clean = call.subscribe(eve, track)
    call.run_for(SECONDS)
    finish(call, lossy, stream)
    check_contiguous(line)
    check_glitchless(line.frames)
    check_payloads(line.frames, stream)
    assert line.frames[-1].number == stream.frames - 1
    assert (line.resent > 0) is rtx
    # Bob's loss is between him and the relay: neither ada nor eve hears of it.
    assert stream.nacked == 0
    assert clean.resent == 0
    assert len(clean.sequences) == stream.packets


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_loss_everywhere_both_ways_is_recovered(loss: float) -> None:
    call = Call(seed=int(loss * 100) + 2)
    lossy = Conditions(loss=loss, jitter=0.01)
    ada = call.publisher("ada", up=lossy, down=lossy)
    track, stream = call.camera(ada)
    voice, spoken = call.microphone(ada)
    lines = []
    for name in ("bob", "eve", "dan"):
        peer = call.subscriber(name, up=lossy, down=lossy)
        lines.append((call.subscribe(peer, track)[1], call.subscribe(peer, voice)[1]))
    call.run_for(SECONDS)
    finish(call, lossy, stream, spoken)
    for picture, sound in lines:
        check_payloads(picture.frames, stream)
        check_payloads(sound.frames, spoken)
        # At 20 % on four links a packet may be given up after all; never many, never for long.
        allowed = 0 if loss < 0.1 else 3
        assert picture.skipped <= allowed
        assert sound.skipped <= allowed
        # It begins with the first key frame that came whole.
        assert len(picture.frames) >= stream.frames - 40 * allowed - 20
        assert picture.frames[-1].number == stream.frames - 1
        check_glitchless(picture.frames, gap=2.0, gapless=allowed == 0)


def test_a_long_way_is_not_flooded_with_requests() -> None:
    call = Call(seed=9)
    far = Conditions(delay=0.12, loss=0.05)
    ada = call.publisher("ada", up=far, down=Conditions(delay=0.12))
    track, stream = call.camera(ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(8.0)
    lost, nacked = ada.wire.up.lost, stream.nacked
    call.run_for(20.0)
    # A request that is repeated before its answer can be here is sent again for nothing.
    assert stream.nacked - nacked < 1.35 * (ada.wire.up.lost - lost)
    assert line.skipped == 0
    check_glitchless(line.frames)


def test_packets_out_of_order_are_forwarded_once_and_not_asked_for() -> None:
    call = Call(seed=3)
    mixed = Conditions(reorder=0.2, held_back=0.004)
    ada = call.publisher("ada", up=mixed)
    track, stream = call.camera(ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(SECONDS)
    stream.running = False
    call.run_for(1.0)
    assert line.sequences != sorted(line.sequences)
    assert len(line.sequences) == len(set(line.sequences))
    check_contiguous(line)
    check_glitchless(line.frames)
    assert stream.nacked == 0


def test_packets_held_back_for_long_are_asked_for_and_not_forwarded_twice() -> None:
    call = Call(seed=4)
    ada = call.publisher("ada", up=Conditions(reorder=0.1, held_back=0.12))
    track, stream = call.camera(ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(SECONDS)
    stream.running = False
    call.run_for(1.0)
    assert stream.nacked > 0
    assert call.relay.stats.drops[DropReason.DUPLICATE] > 0
    assert len(line.sequences) - len(set(line.sequences)) <= line.resent
    check_contiguous(line)
    check_glitchless(line.frames)


@pytest.mark.parametrize("side", ["up", "down"])
def test_duplicates_reach_nobody(side: str) -> None:
    call = Call(seed=5)
    twice = Conditions(duplicate=0.3)
    ada = call.publisher("ada", up=twice if side == "up" else None)
    track, _ = call.camera(ada)
    bob = call.subscriber("bob", down=twice if side == "down" else None)
    _, line = call.subscribe(bob, track)
    call.run_for(SECONDS)
    # SRTP's replay list has them, at the relay and at the subscriber.
    assert (call.relay.stats.drops[DropReason.REPLAYED] > 0) is (side == "up")
    assert len(line.sequences) == len(set(line.sequences))
    check_contiguous(line)
    check_glitchless(line.frames)


def test_a_subscriber_that_asks_for_everything_again_is_limited() -> None:
    call = Call(seed=6)
    ada = call.publisher("ada")
    track, stream = call.camera(ada)
    bob = call.subscriber("bob")
    down, line = call.subscribe(bob, track)
    call.run_for(2.0)
    greedy = [number & 0xFFFF for number in line.sequences[-100:]]

    def ask() -> None:
        bob.send_rtcp(rtcp.build_receiver_report(1, ()) + rtcp.build_nack(1, line.ssrc, greedy))

    call.simulation.every(0.005, ask)
    call.run_for(10.0)
    sent_once = stream.octets
    resent = down.resent * (stream.shape.size + 40)
    assert (
        call.relay.stats.drops[DropReason.NACK_RATE]
        + call.relay.stats.drops[DropReason.NACK_NOT_CACHED]
        > 0
    )
    assert resent < 12 * 250_000 + 250_000
    assert sent_once > 0
    check_glitchless(line.frames)


def test_a_picture_that_seldom_changes_is_repaired_and_not_sent_anew() -> None:
    """A shared screen on which nothing moves: a frame a second, so that each loss follows a
    silence as an outage's would, and a key frame is most of what there is to send."""
    call = Call(seed=8)
    ada = call.publisher("ada", up=Conditions(loss=0.05))
    track, stream = call.camera(ada, shape=Shape(interval=1.1, packets=10))
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(60.0)
    assert stream.nacked > 10
    assert sum(frame.key for frame in line.frames) <= 3
    assert len(line.frames) >= stream.frames - 3


def test_an_outage_longer_than_the_retries_recovers_with_a_key_frame() -> None:
    call = Call(seed=7)
    ada = call.publisher("ada")
    track, stream = call.camera(ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(3.0)
    ada.wire.up.conditions.loss = 1.0
    call.run_for(4.0)
    ada.wire.up.conditions.loss = 0.0
    back = call.now
    call.run_for(5.0)
    after = [frame for frame in line.frames if frame.at > back]
    assert after
    assert after[0].key
    assert after[0].at - back < 2.0
    assert after[-1].number >= stream.frames - 3
    check_glitchless(after)
