"""What somebody said, cut at its pauses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from signaling.bot.speech import SpeechCutter, Utterance

RATE = 16_000
PIECE = 320


def sound(seconds: float, level: int) -> NDArray[np.int16]:
    wave = level * np.sin(np.arange(round(seconds * RATE)) / 5)
    return wave.astype(np.int16)


def cut(pcm: NDArray[np.int16], cutter: SpeechCutter) -> list[Utterance]:
    done: list[Utterance] = []
    for start in range(0, len(pcm), PIECE):
        done += cutter.add(pcm[start : start + PIECE], 50 + start / RATE)
    return done


def test_two_sentences_with_a_pause_are_two_utterances() -> None:
    pcm = np.concatenate(
        [sound(1, 0), sound(0.8, 8000), sound(0.5, 5), sound(1.2, 3000), sound(1, 0)]
    )
    one, two = cut(pcm, SpeechCutter(RATE))
    assert one.start == pytest.approx(50.8, abs=0.03)
    assert one.until == pytest.approx(51.8, abs=0.03)
    assert one.seconds == pytest.approx(0.2 + 0.8 + 0.4, abs=0.05)
    assert two.until == pytest.approx(53.5, abs=0.03)


def test_a_short_pause_cuts_nothing_and_a_click_is_no_speech() -> None:
    cutter = SpeechCutter(RATE)
    pcm = np.concatenate([sound(0.5, 8000), sound(0.2, 0), sound(0.5, 8000), sound(1, 0)])
    assert len(cut(pcm, cutter)) == 1
    assert cut(np.concatenate([sound(0.04, 20_000), sound(1, 0)]), SpeechCutter(RATE)) == []


def test_who_does_not_stop_is_cut_anyway() -> None:
    done = cut(sound(10, 8000), SpeechCutter(RATE, longest=3.0))
    assert [round(one.seconds) for one in done] == [3, 3, 3]


def test_a_microphone_that_was_turned_off_ends_what_was_said() -> None:
    cutter = SpeechCutter(RATE)
    assert cut(sound(1, 8000), cutter) == []
    assert cutter.speaking
    assert cutter.certain
    (said,) = cutter.add(sound(0.02, 8000), 60.0)
    assert said.seconds == pytest.approx(1.0)
    assert cutter.speaking
    assert cutter.flush() == []
    assert not cutter.speaking


def test_what_is_kept_before_speech_is_bounded() -> None:
    cutter = SpeechCutter(RATE)
    cut(sound(60, 0), cutter)
    assert sum(map(len, cutter._before)) < 0.25 * RATE
