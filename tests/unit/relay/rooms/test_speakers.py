"""Speakers are told apart from noise, and told of only when they change."""

from __future__ import annotations

import itertools
import random

from relay.rooms.speakers import MIN_INTERVAL, Speakers


class Talk:
    """Feeds levels every 20 ms and collects the reports."""

    def __init__(self) -> None:
        self.now = 100.0
        self.speakers = Speakers()
        self.reports: list[tuple[float, list[str]]] = []

    def run(self, seconds: float, **levels: int) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            for name, level in levels.items():
                self.speakers.receive_level(name, level, self.now)
            change = self.speakers.take_change(self.now)
            if change is not None:
                self.reports.append((self.now, [speaker.participant for speaker in change]))

    @property
    def last(self) -> list[str]:
        return self.reports[-1][1]


def test_a_voice_is_reported_once_while_it_lasts() -> None:
    talk = Talk()
    talk.run(5, ada=-25, bob=-90)
    assert [names for _, names in talk.reports] == [["ada"]]


def test_silence_is_reported_after_a_pause_longer_than_between_words() -> None:
    talk = Talk()
    talk.run(2, ada=-25)
    talk.run(0.6, ada=-127)
    talk.run(2, ada=-25)
    assert len(talk.reports) == 1
    talk.run(4, ada=-127)
    assert talk.last == []


def test_a_source_that_sends_nothing_any_more_falls_silent() -> None:
    talk = Talk()
    talk.run(2, ada=-25)
    talk.run(3, bob=-100)
    assert talk.last == []


def test_a_click_is_not_a_voice() -> None:
    talk = Talk()
    talk.run(1, ada=-90)
    talk.run(0.02, ada=-40)
    talk.run(2, ada=-90)
    assert talk.reports == []


def test_the_loudest_comes_first_and_the_order_does_not_flicker() -> None:
    talk = Talk()
    talk.run(2, ada=-25, bob=-40)
    assert talk.last == ["ada", "bob"]
    reports = len(talk.reports)
    dice = random.Random(1)
    for _ in range(100):
        talk.run(0.04, ada=-33 + dice.randint(-3, 3), bob=-31 + dice.randint(-3, 3))
    assert len(talk.reports) == reports
    talk.run(2, ada=-40, bob=-20)
    assert talk.last == ["bob", "ada"]


def test_reports_keep_their_distance() -> None:
    talk = Talk()
    dice = random.Random(2)
    for _ in range(300):
        talk.run(0.1, **{name: dice.choice([-15, -127]) for name in "abcd"})
    times = [at for at, _ in talk.reports]
    assert len(times) > 3
    assert all(b - a >= MIN_INTERVAL - 1e-9 for a, b in itertools.pairwise(times))


def test_whoever_left_is_no_speaker() -> None:
    talk = Talk()
    talk.run(2, ada=-20, bob=-20)
    talk.speakers.remove("ada")
    talk.run(1, bob=-20)
    assert talk.last == ["bob"]
