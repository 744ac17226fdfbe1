"""A camera in several layers: subscribers get the best one that is alive, as one stream."""

from __future__ import annotations

from relay.plane.layer import Rung
from relay.plane.tracks import UpTrack
from tests.support.call import Call, check_contiguous, check_glitchless
from tests.support.network import Conditions
from tests.support.publishing import Publisher, Shape, Stream

RIDS = ("f", "h", "q")
SIZES = {"f": 400, "h": 120, "q": 40}


def simulcast(call: Call, publisher: Publisher) -> tuple[UpTrack, dict[str, Stream]]:
    track = call.relay.add_simulcast(publisher.wire, "t_camera", RIDS)
    # The small layers are there first, as browsers start them.
    streams = {
        rid: publisher.add(
            "video",
            100 + number,
            rtx_ssrc=200 + number,
            shape=Shape(size=SIZES[rid]),
            picture_id=1000 * number,
            rid=rid,
        )
        for number, rid in enumerate(reversed(RIDS))
    }
    return track, streams


def test_subscribers_get_the_best_layer_soon() -> None:
    call = Call(seed=81)
    track, streams = simulcast(call, call.publisher("ada"))
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(5.0)
    best = streams["f"].name
    first = next(frame for frame in line.frames if frame.name == best)
    assert first.at - call.now + 5.0 < 2.5
    assert all(frame.name == best for frame in line.frames if frame.at > first.at)
    check_contiguous(line)
    check_glitchless(line.frames)
    assert len(track.layers) == 3


def test_when_the_best_layer_stops_the_next_takes_over_and_back() -> None:
    call = Call(seed=82)
    ada = call.publisher("ada")
    track, streams = simulcast(call, ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(4.0)
    streams["f"].running = False
    stopped = call.now
    call.run_for(4.0)
    assert line.frames[-1].name == streams["h"].name
    again = next(frame for frame in line.frames if frame.at > stopped + 0.1)
    assert again.key
    assert again.at - stopped < 2.0
    # The encoder may use the layer again: same SSRC, numbers that go on.
    ada.resume(streams["f"])
    call.run_for(4.0)
    assert line.frames[-1].name == streams["f"].name
    check_contiguous(line)
    check_glitchless(line.frames, gap=2.0)


def test_lost_packets_of_a_layer_known_by_its_rid_are_sent_again() -> None:
    call = Call(seed=83)
    ada = call.publisher("ada", up=Conditions(loss=0.05))
    track, streams = simulcast(call, ada)
    _, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(8.0)
    assert streams["f"].nacked > 0
    after = [frame for frame in line.frames if frame.at > call.now - 5.0]
    assert {frame.name for frame in after} == {streams["f"].name}
    numbers = [frame.number for frame in after]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_layers_that_do_not_go_out_are_not_repaired() -> None:
    call = Call(seed=84)
    ada = call.publisher("ada", up=Conditions(loss=0.1))
    track, streams = simulcast(call, ada)
    call.subscribe(call.subscriber("bob"), track)
    call.run_for(4.0)
    before = {rid: stream.nacked for rid, stream in streams.items()}
    call.run_for(6.0)
    assert streams["f"].nacked > before["f"]
    assert streams["h"].nacked == before["h"]
    assert streams["q"].nacked == before["q"]


def test_each_subscriber_has_its_own_layer_and_changes_without_a_glitch() -> None:
    call = Call(seed=85)
    ada = call.publisher("ada")
    track, streams = simulcast(call, ada)
    lines = {}
    for index, rid in enumerate(RIDS):
        down, line = call.subscribe(call.subscriber(f"sub-{rid}"), track)
        down.set_target(Rung(index), call.now)
        lines[rid] = down, line
    call.run_for(4.0)
    for rid, (_, line) in lines.items():
        assert line.frames[-1].name == streams[rid].name
    # Each takes the next one's layer, and one of them all three in turn.
    for turn in range(1, 4):
        for index, rid in enumerate(RIDS):
            lines[rid][0].set_target(Rung((index + turn) % 3), call.now)
        asked = call.now
        call.run_for(3.0)
        for index, rid in enumerate(RIDS):
            line = lines[rid][1]
            wanted = streams[RIDS[(index + turn) % 3]].name
            first = next(f for f in line.frames if f.at > asked and f.name == wanted)
            assert first.key
            assert first.at - asked < 1.0
    for _, line in lines.values():
        check_contiguous(line)
        check_glitchless(line.frames, gap=0.2)
    # One key frame for each change of a layer, however many wait for it.
    assert all(len(stream.plis) <= 8 for stream in streams.values())


def test_a_layer_that_nobody_takes_any_more_is_not_repaired_and_starts_afresh() -> None:
    call = Call(seed=86)
    ada = call.publisher("ada", up=Conditions(loss=0.05))
    track, streams = simulcast(call, ada)
    down, line = call.subscribe(call.subscriber("bob"), track)
    down.set_target(Rung(0), call.now)
    call.run_for(4.0)
    down.set_target(Rung(2), call.now)
    call.run_for(2.0)
    before = streams["f"].nacked
    call.run_for(4.0)
    assert streams["f"].nacked == before
    assert line.frames[-1].name == streams["q"].name
    down.set_target(Rung(0), call.now)
    call.run_for(3.0)
    assert line.frames[-1].name == streams["f"].name
    check_glitchless(line.frames, gap=1.0, gapless=False)


def test_what_the_line_does_not_carry_is_withheld_and_comes_back_at_a_key_frame() -> None:
    call = Call(seed=87)
    track, streams = simulcast(call, call.publisher("ada"))
    down, line = call.subscribe(call.subscriber("bob"), track)
    call.run_for(3.0)
    down.set_target(None, call.now)
    stopped = call.now
    call.run_for(2.0)
    assert all(frame.at < stopped + 0.1 for frame in line.frames)
    down.set_target(Rung(2), call.now)
    call.run_for(2.0)
    first = next(frame for frame in line.frames if frame.at > stopped + 0.1)
    assert first.key
    assert first.name == streams["q"].name
    check_contiguous(line)
