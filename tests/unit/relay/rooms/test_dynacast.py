"""Layers nobody takes are switched off after a while, wanted ones on at once."""

from __future__ import annotations

from relay.plane.cut import Cuts
from relay.plane.layer import Layer
from relay.plane.tracks import UpTrack
from relay.rooms.dynacast import INTERVAL, OFF_AFTER, Dynacast
from tests.support.media import video_media


class Publisher:
    """A simulcast whose layers are taken or not as the test says."""

    def __init__(self, *rids: str) -> None:
        self.track = UpTrack("t", video_media(ssrcs=(), rids=rids))
        self.cast = Dynacast()
        self.now = 100.0

    def add(self, index: int) -> Layer:
        layer = Layer(self.track, index, Cuts(), index + 1, None, 90000)
        self.track.layers[index] = layer
        self.track.stale = False
        return layer

    def run(self, seconds: float) -> list[list[str]]:
        told = []
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            active = self.cast.update(self.track, self.now)
            if active is not None:
                told.append(list(active))
        return told


def test_what_nobody_takes_is_off_after_a_while_and_on_at_once() -> None:
    publisher = Publisher("q", "h", "f")
    layers = [publisher.add(index) for index in range(3)]
    layers[0].taken = True
    assert publisher.run(OFF_AFTER - 0.4) == []
    assert publisher.run(1) == [["q"]]
    assert [layer.off for layer in layers] == [False, True, True]
    layers[2].taken = True
    assert publisher.run(0.2) == [["q", "f"]]
    assert not layers[2].off
    layers[0].taken = layers[2].taken = False
    assert publisher.run(OFF_AFTER + 1) == [[]]


def test_it_is_told_twice_a_second_at_most() -> None:
    publisher = Publisher("q", "f")
    layers = [publisher.add(index) for index in range(2)]
    publisher.run(OFF_AFTER + 1)
    told = 0
    for turn in range(20):
        layers[turn % 2].taken = True
        told += len(publisher.run(0.2))
    assert told <= 20 * 0.2 / INTERVAL


def test_a_layer_that_has_not_come_yet_may_come() -> None:
    publisher = Publisher("q", "f")
    publisher.add(0).taken = True
    assert publisher.run(3 * OFF_AFTER) == []


def test_a_publisher_of_one_layer_is_told_nothing() -> None:
    publisher = Publisher()
    publisher.add(0)
    assert publisher.run(10) == []
