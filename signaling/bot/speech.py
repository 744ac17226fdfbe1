"""What somebody said, cut at its pauses. Rules alone: samples in, utterances out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.015
"""Of full scale, root of the mean square: what is below is silence. A quiet voice has twice it."""
BEFORE: Final = 0.2
"""Seconds before the first loud sound that belong to it: consonants begin softly."""
LEAST: Final = 0.08
"""Seconds that must be loud: a click is no word."""


@dataclass(frozen=True, eq=False)
class Utterance:
    """16-bit mono samples at `rate`, the first at `start` on the media clock, and `until` when
    something was said, after which it was silent."""

    pcm: NDArray[np.int16]
    rate: int
    start: float
    until: float

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.rate


class SpeechCutter:
    """Takes sound in pieces and gives what was said between two silences.

    silence: seconds that end an utterance. longest: seconds after which one is cut anyway.
    level: root of the mean square, of full scale, from which it is loud.
    """

    def __init__(
        self, rate: int, *, silence: float = 0.4, longest: float = 15.0, level: float = LEVEL
    ) -> None:
        self.rate = rate
        self._silence = silence
        self._longest = longest
        self._level = level * 32_768
        self._before: deque[NDArray[np.int16]] = deque()
        self._parts: list[NDArray[np.int16]] = []
        self._start = 0.0
        self._end = self._until = 0.0
        self._loud = 0.0
        self._quiet = 0.0

    @property
    def speaking(self) -> bool:
        """Whether something is being said now, or a click has been heard."""
        return bool(self._parts)

    @property
    def certain(self) -> bool:
        """Whether it has been loud for longer than a click is."""
        return bool(self._parts) and self._loud >= LEAST

    def add(self, pcm: NDArray[np.int16], time: float) -> list[Utterance]:
        """Samples of shape (samples,) that sound at `time`; what has ended with them."""
        done: list[Utterance] = []
        if self._parts and time - self._end >= self._silence:
            done += self.flush()  # Nothing came for so long: a microphone that was turned off.
        length = len(pcm) / self.rate
        self._end = time + length
        loud = bool(len(pcm)) and float(np.sqrt(np.mean(np.square(pcm, dtype=float)))) > self._level
        if not self._parts and not loud:
            self._keep_before(pcm)
            return done
        if not self._parts:
            self._parts = list(self._before)
            self._start = time - sum(map(len, self._parts)) / self.rate
            self._before.clear()
            self._loud = self._quiet = 0.0
        self._parts.append(pcm)
        if loud:
            self._loud += length
            self._until = self._end
        self._quiet = 0.0 if loud else self._quiet + length
        if self._quiet >= self._silence or self._end - self._start >= self._longest:
            done += self.flush()
        return done

    def flush(self) -> list[Utterance]:
        """What was being said, as if silence had followed."""
        parts, self._parts = self._parts, []
        if not parts or self._loud < LEAST:
            return []
        return [Utterance(np.concatenate(parts), self.rate, self._start, self._until)]

    def _keep_before(self, pcm: NDArray[np.int16]) -> None:
        self._before.append(pcm)
        kept = sum(map(len, self._before))
        while kept - len(self._before[0]) >= BEFORE * self.rate:
            kept -= len(self._before.popleft())
