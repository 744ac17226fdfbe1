"""A stream without its upper layers is a stream of its own: numbered without gaps, marked at
its pictures' ends, and begun only where a decoder can."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest

from relay.plane.cut import Cut, Cuts, may_move
from relay.plane.item import Item
from relay.plane.layer import Layer
from relay.plane.tracks import UpTrack
from relay.rtp.descriptor import TOP
from tests.support.media import video_media

PATTERN = (0, 2, 1, 2)


def make_layer() -> Layer:
    return Layer(UpTrack("t", video_media()), 0, Cuts(), 1, None, 90000)


@dataclass
class Sent:
    """A packet as it left a cut."""

    number: int
    picture: int
    temporal: int
    marker: int
    source: int


class Stream:
    """VP8 in three temporal layers, two packets a picture."""

    def __init__(self, spatial: int = TOP, temporal: int = TOP) -> None:
        self.layer = make_layer()
        self.layer.top = (2, 2)
        self.cut = self.layer.get_cut(spatial, temporal)
        self.number, self.picture = 1000, 50

    def make_picture(self, temporal: int, *, dense: bool = True) -> list[Item]:
        items = []
        for place in range(2):
            item = Item()
            item.number = self.number
            item.marker = place
            item.picture.picture_at, item.picture.picture_mask = 12, 0x7FFF
            item.picture.picture_id, item.picture.dense = self.picture, dense
            item.picture.temporal, item.picture.starts = temporal, place == 0
            items.append(item)
            self.number += 1
        self.picture += 1
        return items

    def take(self, items: list[Item]) -> list[Sent]:
        return [
            Sent(out.number, out.picture.picture_id, out.picture.temporal, out.marker, item.number)
            for item in items
            if (out := self.cut.admit(item)) is not None
        ]

    def run(self, pictures: int) -> list[Item]:
        return [item for count in range(pictures) for item in self.make_picture(PATTERN[count % 4])]


def check(sent: list[Sent]) -> None:
    numbers = [one.number for one in sent]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    pictures = [one.picture for one in sent]
    assert all(after - before in (0, 1) for before, after in pairwise(pictures))


@pytest.mark.parametrize(("temporal", "share"), [(0, 4), (1, 2)])
def test_upper_temporal_layers_leave_no_gap(temporal: int, share: int) -> None:
    stream = Stream(temporal=temporal)
    sent = stream.take(stream.run(80))
    assert len(sent) == 160 // share
    assert {one.temporal for one in sent} == set(range(temporal + 1))
    check(sent)
    for one in sent:
        source = stream.cut.find_source(one.number)
        assert source is not None
        assert source[0] == one.source


def test_the_whole_layer_is_the_stream_itself() -> None:
    stream = Stream()
    items = stream.run(8)
    assert [stream.cut.admit(item) for item in items] == items
    assert stream.layer.get_cut(5, 5) is stream.layer.whole
    assert stream.cut.find_source(7) == (7, 0, False)


def test_what_comes_late_takes_the_place_that_was_kept_for_it() -> None:
    stream = Stream(temporal=1)
    items = stream.run(40)
    late = [item for item in items if item.picture.temporal == 0][5:7]
    first = stream.take([item for item in items if item not in late])
    missing = set(range(first[0].number, first[-1].number + 1)) - {one.number for one in first}
    assert len(missing) == 2
    after = stream.take(late)
    assert {one.number for one in after} == missing
    check(sorted([*first, *after], key=lambda one: one.number))


def test_late_and_lost_packets_never_share_a_number() -> None:
    chance = random.Random(4)
    for temporal in (0, 1):
        stream = Stream(temporal=temporal)
        items = stream.run(400)
        arrived = [item for item in items if chance.random() > 0.05]
        order = sorted(
            arrived,
            key=lambda item: item.number + (chance.random() < 0.1) * chance.randrange(60),
        )
        sent = stream.take(order)
        numbers = [one.number for one in sent]
        assert len(set(numbers)) == len(numbers)


def test_asked_again_about_a_packet_it_says_the_same() -> None:
    stream = Stream(temporal=0)
    for item in stream.run(8):
        out = stream.cut.admit(item)
        assert stream.cut.admit(item) is out


def test_the_marker_moves_to_the_end_of_the_highest_layer_sent() -> None:
    stream = Stream(spatial=0)
    marks = []
    for _ in range(10):
        for spatial in range(3):
            items = stream.make_picture(0, dense=False)
            items[0].marker = 0
            items[1].marker = int(spatial == 2)
            for item in items:
                item.picture.spatial = spatial
            items[1].picture.ends = True
            marks += [one.marker for one in stream.take(items)]
    assert marks == [0, 1] * 10


@pytest.mark.parametrize(
    ("source", "target", "picture", "may"),
    [
        # Down in pictures a second: at any picture's start that belongs to it.
        ((TOP, TOP), (TOP, 0), {"temporal": 0}, True),
        ((TOP, TOP), (TOP, 0), {"temporal": 2}, False),
        ((TOP, TOP), (TOP, 0), {"temporal": 0, "starts": False}, False),
        # Up: where the encoder says so, or at a key frame.
        ((TOP, 0), (TOP, 1), {"temporal": 1}, False),
        ((TOP, 0), (TOP, 1), {"temporal": 1, "rise": 1}, True),
        ((TOP, 0), (TOP, TOP), {"temporal": 1, "rise": 1}, False),
        ((TOP, 0), (TOP, TOP), {"temporal": 1, "rise": TOP}, True),
        ((TOP, 0), (TOP, TOP), {"key_frame": True}, True),
        # Smaller at any picture, larger at a key frame.
        ((2, TOP), (0, TOP), {}, True),
        ((2, TOP), (0, TOP), {"spatial": 1}, False),
        ((0, TOP), (2, TOP), {"rise": TOP}, False),
        ((0, TOP), (2, TOP), {"key_frame": True}, True),
    ],
)
def test_a_receiver_changes_where_its_decoder_can_follow(
    source: tuple[int, int], target: tuple[int, int], picture: dict[str, int], may: bool
) -> None:
    layer = make_layer()
    layer.top = (2, 2)
    item = Item()
    item.picture.starts = True
    for name, value in picture.items():
        setattr(item.picture, name, value)
    assert may_move(layer.get_cut(*source), layer.get_cut(*target), item.picture) is may


def test_cuts_of_a_layer_end_with_it() -> None:
    registry = Cuts()
    layer = Layer(UpTrack("t", video_media()), 0, registry, 1, None, 90000)
    layer.top = (2, 2)
    cuts: list[Cut] = [layer.whole, layer.get_cut(0, 0), layer.get_cut(1, TOP)]
    assert {cut.number for cut in cuts} == set(registry.by_number)
    layer.close()
    assert registry.by_number == {}
