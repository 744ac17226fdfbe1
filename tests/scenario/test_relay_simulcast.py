"""A camera in several layers: subscribers get the best one that is alive, as one stream."""

from __future__ import annotations

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
