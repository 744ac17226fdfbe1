"""A subscriber's slot is one stream for its whole life, whatever happens behind it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from relay.plane.tracks import DownTrack
from relay.stats import DropReason
from tests.support.call import Call, check_contiguous, check_glitchless, check_payloads
from tests.support.network import Conditions
from tests.support.publishing import Shape
from tests.support.subscribing import Frame

TURN = 1 << 32
SLOW = Shape(interval=0.1, packets=2)


def sources(frames: list[Frame]) -> list[str]:
    """The names of the sources in the order they were seen."""
    return list(dict.fromkeys(frame.name for frame in frames))


def longest_gap(frames: list[Frame]) -> float:
    return max(after.at - before.at for before, after in pairwise(frames))


def test_sequence_numbers_timestamps_and_picture_ids_wrap() -> None:
    call = Call(seed=11)
    ada = call.publisher("ada", up=Conditions(loss=0.05))
    track, stream = call.camera(ada, sequence=65500, timestamp=TURN - 90000, picture_id=0x7FFF - 40)
    _, line = call.subscribe(call.subscriber("bob", down=Conditions(loss=0.05)), track)
    call.run_for(10.0)
    assert stream.picture_id < 1000
    assert stream.sequence < 30000
    check_glitchless(line.frames)
    check_payloads(line.frames, stream)


def test_a_subscribers_own_numbers_wrap_while_packets_are_lost() -> None:
    call = Call(seed=12)
    # From 32767 at most to 65536 it takes 32769 packets: 1000 a second for 35 seconds.
    track, _ = call.camera(call.publisher("ada"), shape=Shape(interval=0.02, packets=20, size=30))
    bob = call.subscriber("bob", down=Conditions(loss=0.02))
    down = DownTrack(bob.wire.leg, "video", 7, 8, sequence=0x7FFF, timestamp=TURN - 90000)
    bob.wire.leg.add_down(down)
    line = bob.add("video", 7, 8)
    call.relay.attach(down, track)
    call.run_for(35.0)
    assert line.sequences[-1] >> 16 > line.sequences[0] >> 16
    check_glitchless(line.frames)


def test_the_first_sequence_number_is_in_the_lower_half() -> None:
    """RFC 3711, 3.3.1: a first number near the top could wrap before anything arrived."""
    for seed in range(20):
        call = Call(seed=seed)
        track, _ = call.camera(call.publisher("ada"), shape=SLOW)
        _, line = call.subscribe(call.subscriber("bob"), track)
        call.run_for(0.3)
        assert line.sequences[0] & 0xFFFF < 0x8000


@pytest.mark.parametrize("announced", [True, False])
def test_a_publisher_that_restarts_its_stream_goes_on_in_the_same_slot(announced: bool) -> None:
    call = Call(seed=13)
    ada = call.publisher("ada")
    track, first = call.camera(ada, announced=announced, picture_id=500)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(3.0)
    ada.stop(first)
    call.run_for(0.3)
    # Another SSRC, told by nothing but its mid; all its numbers are new.
    second = ada.add("video", 777_777, picture_id=9)
    call.run_for(3.0)
    assert sources(line.frames) == [first.name, second.name]
    check_contiguous(line)
    check_glitchless(line.frames, gap=0.5)
    assert line.frames[-1].number >= second.frames - 3


def test_a_switch_of_source_is_one_stream_to_the_subscriber() -> None:
    call = Call(seed=14)
    ada, eve = call.publisher("ada"), call.publisher("eve")
    one, first = call.camera(ada, picture_id=0x7FF0)
    two, second = call.camera(eve, picture_id=5)
    down, line = call.subscribe(call.subscriber("bob"), one)
    _, other = call.subscribe(call.subscriber("dan"), two)
    for _ in range(4):
        call.run_for(1.5)
        call.relay.attach(down, two)
        call.run_for(1.5)
        call.relay.attach(down, one)
    call.run_for(1.0)
    assert sources(line.frames) == [first.name, second.name]
    check_contiguous(line)
    check_glitchless(line.frames)
    check_payloads(line.frames, first)
    check_payloads(line.frames, second)
    # A key frame is a round trip away; nothing else is waited for.
    assert longest_gap(line.frames) < 0.2
    # Dan, who watched eve all the time, sees nothing of it.
    check_glitchless(other.frames)


def test_a_switch_under_loss_recovers_packets_from_before_it() -> None:
    call = Call(seed=15)
    lossy = Conditions(loss=0.1, reorder=0.1, held_back=0.015)
    ada, eve = call.publisher("ada"), call.publisher("eve")
    one, _ = call.camera(ada)
    two, _ = call.camera(eve)
    down, line = call.subscribe(call.subscriber("bob", down=lossy), one)
    for _ in range(6):
        call.run_for(1.0)
        call.relay.attach(down, two)
        call.run_for(1.0)
        call.relay.attach(down, one)
    lossy.loss = 0.0
    call.run_for(1.5)
    check_contiguous(line)
    check_glitchless(line.frames)


def test_av1_frame_numbers_go_on_across_sources_and_retransmissions() -> None:
    call = Call(seed=22)
    lossy = Conditions(loss=0.1)
    ada, eve = call.publisher("ada"), call.publisher("eve")
    one, first = call.camera(ada, av1=True, picture_id=0xFFF0)
    two, second = call.camera(eve, av1=True, picture_id=77)
    bob = call.subscriber("bob", down=lossy)
    down, line = call.subscribe(bob, one)
    call.run_for(3.0)
    call.relay.attach(down, two)
    call.run_for(3.0)
    lossy.loss = 0.0
    call.run_for(1.0)
    assert line.resent > 10
    assert sources(line.frames) == [first.name, second.name]
    check_contiguous(line)
    check_glitchless(line.frames, mask=0xFFFF)
    check_payloads(line.frames, second)


def test_the_codec_may_change_behind_a_slot() -> None:
    call = Call(seed=23)
    ada, eve = call.publisher("ada"), call.publisher("eve")
    one, first = call.camera(ada, av1=True)
    two, second = call.camera(eve)
    down, line = call.subscribe(call.subscriber("bob"), one)
    call.run_for(2.0)
    call.relay.attach(down, two)
    call.run_for(2.0)
    assert sources(line.frames) == [first.name, second.name]
    assert line.payload_types == {45, 96}
    check_contiguous(line)
    last = max(n for n, frame in enumerate(line.frames) if frame.name == first.name)
    assert line.frames[last + 1].key
    check_glitchless(line.frames[: last + 1], mask=0xFFFF)
    check_glitchless(line.frames[last + 1 :])


def test_a_pause_stops_the_stream_and_it_goes_on_with_a_key_frame() -> None:
    call = Call(seed=16)
    track, _ = call.camera(call.publisher("ada"))
    down, line = call.subscribe(call.subscriber("bob"), track)
    _, other = call.subscribe(call.subscriber("eve"), track)
    call.run_for(2.0)
    down.set_paused(True, call.now)
    call.run_for(0.1)
    before = len(line.sequences)
    call.run_for(3.0)
    assert len(line.sequences) == before
    down.set_paused(False, call.now)
    call.run_for(2.0)
    check_contiguous(line)
    check_glitchless(line.frames, gap=4.0, gapless=False)
    resumed = next(b for a, b in pairwise(line.frames) if b.at - a.at > 1)
    assert resumed.key
    check_glitchless(other.frames)


def test_muting_stops_everyone_and_unmuting_starts_with_a_key_frame() -> None:
    call = Call(seed=17)
    track, stream = call.camera(call.publisher("ada"))
    lines = [call.subscribe(call.subscriber(name), track)[1] for name in ("bob", "eve")]
    call.run_for(2.0)
    track.set_muted(True, call.now)
    call.run_for(0.1)
    before = [len(line.sequences) for line in lines]
    call.run_for(5.0)
    assert [len(line.sequences) for line in lines] == before
    nacked = stream.nacked
    track.set_muted(False, call.now)
    back = call.now
    call.run_for(2.0)
    for line in lines:
        check_contiguous(line)
        first = next(frame for frame in line.frames if frame.at > back)
        assert first.key
        assert first.at - back < 0.3
        check_glitchless(line.frames, gap=6.0, gapless=False)
    # What was sent while muted is not asked for.
    assert stream.nacked == nacked


def test_audio_goes_on_at_once_after_a_mute() -> None:
    call = Call(seed=18)
    track, _ = call.microphone(call.publisher("ada"))
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(2.0)
    track.set_muted(True, call.now)
    call.run_for(2.0)
    track.set_muted(False, call.now)
    back = call.now
    call.run_for(1.0)
    check_contiguous(line)
    first = next(frame for frame in line.frames if frame.at > back)
    assert first.at - back < 0.1
    check_glitchless(line.frames, gap=2.2, clock_rate=48000, gapless=False)


def test_probes_of_padding_alone_leave_no_gap() -> None:
    call = Call(seed=19)
    ada = call.publisher("ada")
    track, stream = call.camera(ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.simulation.every(0.1, lambda: ada.send_padding(stream), first=0.05)
    call.run_for(5.0)
    check_contiguous(line)
    check_glitchless(line.frames)
    assert stream.nacked == 0


def test_a_track_that_nobody_watched_is_not_repaired_when_somebody_comes() -> None:
    call = Call(seed=20)
    track, stream = call.camera(call.publisher("ada"))
    down, _ = call.subscribe(call.subscriber("bob"), track)
    call.run_for(1.0)
    call.relay.attach(down, None)
    call.run_for(0.9)
    _, line = call.subscribe(call.subscriber("eve"), track)
    call.run_for(1.0)
    assert stream.nacked == 0
    assert line.frames
    check_glitchless(line.frames)


def test_a_second_stream_does_not_take_the_place_of_one_that_is_heard() -> None:
    call = Call(seed=21)
    ada = call.publisher("ada")
    track, stream = call.camera(ada, announced=False)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(0.5)
    ada.add("video", 4711)
    call.run_for(3.0)
    assert {frame.name for frame in line.frames} == {stream.name}
    check_contiguous(line)
    check_glitchless(line.frames)
    assert call.relay.stats.drops[DropReason.UNKNOWN_SSRC] > 100
