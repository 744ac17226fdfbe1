"""A picture and a tone that can be recognised at the other end, by eye, ear or program."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

COLOURS = ((192, 40, 40), (40, 168, 40), (40, 40, 192), (192, 192, 40))
"""Upper left, upper right, lower left, lower right; away from the ends of the scale, so that
no conversion of colours clips them."""
TONE_HZ = 440.0
TONE_LEVEL = 0.25
SAMPLES = 960


def picture(width: int, height: int, count: int) -> NDArray[np.uint8]:
    """Picture number `count`: a quarter of each colour, and a white block that moves a step to
    the right in the middle of each, 32 steps to a round."""
    array = np.empty((height, width, 3), np.uint8)
    half_y, half_x = height // 2, width // 2
    array[:half_y, :half_x] = COLOURS[0]
    array[:half_y, half_x:] = COLOURS[1]
    array[half_y:, :half_x] = COLOURS[2]
    array[half_y:, half_x:] = COLOURS[3]
    size = max(height // 12, 4)
    left = (width - size) * (count % 32) // 31
    array[half_y - size // 2 : half_y + size // 2, left : left + size] = 235
    return array


def pictures(width: int = 640, height: int = 360) -> Iterator[NDArray[np.uint8]]:
    """Pictures without end."""
    count = 0
    while True:
        yield picture(width, height, count)
        count += 1


def tone(hertz: float = TONE_HZ, *, rate: int = 48_000) -> Iterator[NDArray[np.int16]]:
    """A sine without end, in blocks of 20 ms."""
    samples = rate * SAMPLES // 48_000
    position = 0
    while True:
        phase = 2 * np.pi * hertz * (np.arange(samples) + position) / rate
        yield (TONE_LEVEL * 32767 * np.sin(phase)).astype(np.int16)
        position += samples
