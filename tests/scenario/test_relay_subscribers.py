"""Subscribers come, go and ask: each starts at a key frame, and none costs the others."""

from __future__ import annotations

from itertools import pairwise

from relay.plane.keyframes import MIN_INTERVAL
from tests.support.call import Call, check_contiguous, check_glitchless
from tests.support.network import Conditions
from tests.support.publishing import Shape
from tests.support.subscribing import Subscriber

SLOW = Shape(interval=0.1, packets=2)


def test_one_who_joins_late_starts_at_a_key_frame_soon() -> None:
    call = Call(seed=31)
    track, stream = call.camera(call.publisher("ada"))
    _, early = call.subscribe(call.subscriber("bob"), track)
    call.run_for(5.0)
    joined = call.now
    _, late = call.subscribe(call.subscriber("eve"), track)
    call.run_for(3.0)
    assert late.frames[0].key
    # A request to the publisher, its next frame, and the way back.
    assert late.frames[0].at - joined < 0.2
    check_contiguous(late)
    check_glitchless(late.frames)
    check_glitchless(early.frames)
    assert len(stream.plis) == 1


def test_one_who_joins_audio_late_hears_the_next_packet() -> None:
    call = Call(seed=32)
    track, _ = call.microphone(call.publisher("ada"))
    call.run_for(2.0)
    joined = call.now
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(1.0)
    assert line.frames[0].at - joined < 0.1
    check_contiguous(line)


def test_one_who_connects_after_subscribing_starts_at_a_key_frame() -> None:
    call = Call(seed=33)
    track, _ = call.camera(call.publisher("ada"))
    wire = call.relay.open("bob")
    down = call.relay.add_slot(wire, "video")
    call.relay.attach(down, track)
    call.run_for(2.0)
    assert down.packets == 0
    bob = Subscriber(call.simulation, wire, "bob")
    line = bob.add("video", down.ssrc, down.rtx_ssrc)
    wire.connect()
    connected = call.now
    call.run_for(2.0)
    assert line.frames[0].key
    assert line.frames[0].at - connected < 0.3
    check_glitchless(line.frames)


def test_one_who_leaves_does_not_disturb_the_others_and_leaves_nothing_behind() -> None:
    call = Call(seed=34)
    track, _ = call.camera(call.publisher("ada"))
    stayed = call.subscribe(call.subscriber("bob"), track)[1]
    for number in range(20):
        peer = call.subscriber(f"guest{number}")
        _, line = call.subscribe(peer, track)
        call.run_for(0.7)  # long enough for the throttle of key frame requests
        peer.leave()
        call.run_for(0.1)
        assert line.frames
    call.run_for(1.0)
    check_contiguous(stayed)
    check_glitchless(stayed.frames)
    assert len(track.downs) == 1
    assert len(track.waiters) == 0
    assert len(call.relay.forwarder.legs) == 2


def test_a_publisher_that_leaves_ends_its_tracks_and_leaves_nothing_behind() -> None:
    call = Call(seed=35)
    ada = call.publisher("ada")
    track, _ = call.camera(ada)
    down, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(1.0)
    ada.wire.close()
    before = len(line.sequences)
    call.run_for(1.0)
    assert down.source is None
    assert len(line.sequences) <= before + 6  # what was under way
    assert call.relay.forwarder.layers == {}
    assert len(call.relay.forwarder.legs) == 1


def test_a_track_without_subscribers_is_asked_for_nothing() -> None:
    call = Call(seed=36)
    ada = call.publisher("ada", up=Conditions(loss=0.2))
    _, stream = call.camera(ada)
    call.run_for(5.0)
    assert stream.nacked == 0
    assert stream.plis == []
    assert call.relay.stats.packets_out == call.relay.stats.rtcp_out


def test_a_track_that_everybody_paused_is_asked_for_nothing() -> None:
    call = Call(seed=37)
    ada = call.publisher("ada", up=Conditions(loss=0.2))
    track, stream = call.camera(ada)
    downs = [call.subscribe(call.subscriber(name), track)[0] for name in ("bob", "eve")]
    call.run_for(2.0)
    for down in downs:
        down.set_paused(True, call.now)
    call.run_for(0.5)
    nacked, plis = stream.nacked, len(stream.plis)
    call.run_for(5.0)
    assert stream.nacked == nacked
    assert len(stream.plis) == plis
    downs[0].set_paused(False, call.now)
    call.run_for(0.5)
    # Nothing of the pause is asked for, but a key frame is.
    assert stream.nacked < nacked + 30
    assert len(stream.plis) > plis


def test_fifty_impatient_subscribers_make_few_key_frame_requests() -> None:
    call = Call(seed=38)
    track, stream = call.camera(call.publisher("ada"), shape=SLOW)
    lines = []
    for number in range(50):
        peer = call.subscriber(f"peer{number}")
        peer.impatient = True
        lines.append(call.subscribe(peer, track)[1])
    seconds = 6.0
    call.run_for(seconds)
    assert call.relay.stats.plis_in > 50 * 100
    assert len(stream.plis) <= seconds / MIN_INTERVAL + 1
    gaps = [after - before for before, after in pairwise(stream.plis)]
    assert min(gaps) >= MIN_INTERVAL - 1e-6
    for line in lines:
        check_glitchless(line.frames)


def test_fifty_who_join_at_once_share_one_key_frame() -> None:
    call = Call(seed=39)
    track, stream = call.camera(call.publisher("ada"), shape=SLOW)
    _, first = call.subscribe(call.subscriber("bob"), track)
    call.run_for(2.0)
    joined = call.now
    lines = [call.subscribe(call.subscriber(f"peer{n}"), track)[1] for n in range(50)]
    call.run_for(2.0)
    assert len(stream.plis) == 1
    for line in lines:
        assert line.frames[0].key
        assert line.frames[0].at - joined < 0.3
        check_contiguous(line)
        check_glitchless(line.frames)
    check_glitchless(first.frames)


def test_a_lossy_subscriber_costs_the_others_nothing() -> None:
    call = Call(seed=40)
    track, stream = call.camera(call.publisher("ada"))
    bad = call.subscriber("bad", down=Conditions(loss=0.6))
    call.subscribe(bad, track)
    lines = [call.subscribe(call.subscriber(f"peer{n}"), track)[1] for n in range(3)]
    call.run_for(10.0)
    assert len(stream.plis) <= 10.0 / MIN_INTERVAL + 1
    assert stream.nacked == 0
    for line in lines:
        assert line.resent == 0
        check_contiguous(line)
        check_glitchless(line.frames)


def test_a_lost_key_frame_request_is_repeated() -> None:
    call = Call(seed=41)
    ada = call.publisher("ada")
    track, stream = call.camera(ada)
    call.run_for(1.0)
    ada.wire.down.conditions.loss = 1.0
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(1.2)
    assert line.frames == []
    ada.wire.down.conditions.loss = 0.0
    call.run_for(1.0)
    assert line.frames[0].key
    assert len(stream.plis) == 1
