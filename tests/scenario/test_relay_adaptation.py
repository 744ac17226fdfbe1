"""Pictures fit everybody's line, in virtual time: the real plane and the real allotment, behind
links that fill up. Sound goes on whatever the line does, and one bad line costs nobody else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from relay.control import Preference
from relay.plane.tracks import UpTrack
from tests.support.adapting import Watcher, simulcast
from tests.support.call import Call
from tests.support.network import Conditions
from tests.support.publishing import Publisher, Shape, Stream

FAST = 5_000_000


def line(rate: float = FAST, **changes: float) -> Conditions:
    return Conditions(rate=rate, delay=0.03, **changes)


class Room:
    """Ada, with a camera in three layers and a microphone; who watches is the test's."""

    def __init__(self, seed: int) -> None:
        self.call = Call(seed=seed)
        self.ada: Publisher = self.call.publisher("ada")
        self.track: UpTrack
        self.track, self.streams = simulcast(self.call, self.ada)
        self.voice, self.spoken = self.call.microphone(self.ada)

    def watch(self, name: str, down: Conditions, **options: bool) -> Watcher:
        watcher = Watcher(self.call, name, down, **options)
        watcher.watch(self.track)
        watcher.watch(self.voice)
        return watcher

    def get_layers(self, watcher: Watcher, seconds: float = 1.0) -> set[str]:
        names = set(watcher.get_frames(self.track, seconds))
        return {rid for rid, stream in self.streams.items() if stream.name in names}

    def get_heard(self, watcher: Watcher, seconds: float) -> float:
        """The share of the sound of the last seconds that arrived."""
        return len(watcher.get_frames(self.voice, seconds)) / (seconds / 0.02)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_line_that_fills_up_costs_sharpness_and_nobody_else_anything(seed: int) -> None:
    room = Room(seed)
    slow = room.watch("bob", line())
    other = room.watch("eve", line())
    room.call.run_for(8)
    assert room.get_layers(slow) == room.get_layers(other) == {"f"}
    slow.down.rate = 600_000
    room.call.run_for(6)
    link = slow.subscriber.wire.down
    lost, sent = link.lost, link.sent
    room.call.run_for(12)
    assert room.get_layers(slow, 10) <= {"q", "h"}
    assert len(slow.get_frames(room.track, 10)) > 0.9 * 300
    assert link.lost - lost < 0.03 * (link.sent - sent)
    assert room.get_heard(slow, 10) > 0.97
    slow.down.rate = 250_000
    room.call.run_for(6)
    lost, sent = link.lost, link.sent
    room.call.run_for(10)
    assert room.get_layers(slow, 5) == {"q"}
    assert link.lost - lost < 0.03 * (link.sent - sent)
    assert room.get_heard(slow, 10) > 0.97
    # The state of the tile was told, and is told when all is well again.
    assert [one.state for one in slow.told if one.track == room.track.id][-1] == "reduced"
    slow.down.rate = FAST
    room.call.run_for(15)
    assert room.get_layers(slow) == {"f"}
    assert [one.state for one in slow.told if one.track == room.track.id][-1] == "full"
    # The other one saw nothing of all this.
    frames = other.get_frames(room.track, 40)
    assert set(frames) == {room.streams["f"].name}
    assert len(frames) > 0.99 * 40 * 30
    assert room.get_heard(other, 40) > 0.99
    for before, frame in pairwise(slow.lines[room.track.id].frames):
        # Another layer starts at a key frame, and time goes on; what the fall of the link cost
        # is over within three seconds.
        assert frame.key or frame.name == before.name
        assert 0 < (frame.timestamp - before.timestamp & 0xFFFFFFFF) < 3 * 90_000


def test_what_a_line_does_not_carry_at_all_is_not_sent_and_is_tried_again() -> None:
    room = Room(3)
    slow = room.watch("bob", line())
    room.call.run_for(6)
    slow.down.rate = 100_000
    room.call.run_for(20)
    assert slow.told[-1].state == "paused"
    assert not slow.get_frames(room.track, 3)
    assert room.get_heard(slow, 10) > 0.95
    slow.down.rate = FAST
    room.call.run_for(15)
    assert room.get_layers(slow) == {"f"}


def test_random_loss_and_a_long_way_cost_no_layer() -> None:
    room = Room(4)
    watcher = room.watch("bob", line(loss=0.03), up=Conditions(delay=0.03))  # type: ignore[arg-type]
    room.call.run_for(20)
    assert room.get_layers(watcher, 10) == {"f"}
    assert len(watcher.get_frames(room.track, 10)) > 0.97 * 300


def test_who_only_knows_remb_is_judged_by_it() -> None:
    room = Room(5)
    watcher = room.watch("bob", line(), feedback=False, remb=True)
    room.call.run_for(15)
    assert room.get_layers(watcher) == {"f"}
    watcher.down.rate = 600_000
    room.call.run_for(10)
    assert room.get_layers(watcher, 2) <= {"q", "h"}
    watcher.down.rate = FAST
    room.call.run_for(30)
    assert room.get_layers(watcher) == {"f"}


def test_a_small_tile_gets_the_small_layer_and_a_hidden_one_nothing() -> None:
    room = Room(6)
    watcher = room.watch("bob", line())
    watcher.preferences[room.track.id] = Preference(room.track.id, 0, 0)
    room.call.run_for(5)
    assert not watcher.get_frames(room.track, 3)
    assert watcher.told == []
    watcher.preferences[room.track.id] = Preference(room.track.id, 640, 360)
    room.call.run_for(8)
    assert room.get_layers(watcher) == {"f"}


def test_two_cameras_share_a_line_the_pinned_one_first() -> None:
    call = Call(seed=7)
    tracks: list[UpTrack] = []
    streams: list[dict[str, Stream]] = []
    for name in ("ada", "eve"):
        track, layers = simulcast(call, call.publisher(name))
        tracks.append(track)
        streams.append(layers)
    watcher = Watcher(call, "bob", line(800_000))
    for track in tracks:
        watcher.watch(track)
    watcher.preferences[tracks[1].id] = Preference(tracks[1].id, 640, 360, 0)
    call.run_for(25)
    first, second = (set(watcher.get_frames(track, 5)) for track in tracks)
    assert first <= {streams[0]["q"].name, streams[0]["h"].name}
    assert streams[1]["h"].name in second


def test_with_one_receiver_a_publisher_of_one_layer_is_told_what_fits() -> None:
    call = Call(seed=8)
    ada = call.publisher("ada")
    track, _ = call.camera(ada, shape=Shape(packets=3, size=1000))  # 720 kbit/s
    watcher = Watcher(call, "bob", line())
    watcher.watch(track)
    call.run_for(6)
    assert ada.rembs[-1] > 900_000
    watcher.down.rate = 500_000
    call.run_for(8)
    assert 150_000 <= ada.rembs[-1] < 650_000


def test_nothing_flaps_on_a_steady_line() -> None:
    room = Room(9)
    watcher = room.watch("bob", line(700_000))
    room.call.run_for(10)
    before = len(watcher.told)
    names = watcher.get_frames(room.track, 1)
    room.call.run_for(40)
    frames = watcher.get_frames(room.track, 40)
    changes = sum(one != two for one, two in pairwise(frames))
    assert changes <= 4
    assert len(watcher.told) - before <= 2
    assert names
