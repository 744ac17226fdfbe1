"""Detectors for the bots' known picture and tone, and for Chromium's fake devices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from signaling.bot.patterns import COLOURS

CHROMIUM_BEEP_HZ = (150.0, 1200.0)
"""Chromium's fake microphone beeps once in a second, at a few hundred hertz."""


def quarters(picture: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The mean colour in the middle of each quarter, in the order of `COLOURS`."""
    height, width = picture.shape[:2]
    result = []
    for row in (0, 1):
        for column in (0, 1):
            part = picture[
                (4 * row + 1) * height // 8 : (4 * row + 2) * height // 8,
                (4 * column + 1) * width // 8 : (4 * column + 3) * width // 8,
            ]
            red, green, blue = (round(float(value)) for value in part.mean(axis=(0, 1)))
            result.append((red, green, blue))
    return result


def is_known_picture(picture: NDArray[np.uint8], tolerance: int = 30) -> bool:
    """Whether this is a picture of `signaling.bot.patterns`, as compression left it."""
    return all(
        max(abs(a - b) for a, b in zip(seen, known, strict=True)) <= tolerance
        for seen, known in zip(quarters(picture), COLOURS, strict=True)
    )


def block_position(picture: NDArray[np.uint8]) -> float:
    """Where the white block is, from 0 (left) to 1 (right)."""
    height, width = picture.shape[:2]
    strip = picture[height // 2 - 1 : height // 2 + 1].astype(int).min(axis=2).mean(axis=0)
    white = np.flatnonzero(strip > 140)
    return float(white.mean() / width) if white.size else -1.0


def chromium_green(picture: NDArray[np.uint8]) -> float:
    """The share of the picture in the green of Chromium's fake camera."""
    red, green, blue = (picture[..., n].astype(int) for n in range(3))
    return float(np.mean((green > red + 40) & (green > blue + 40)))


def loudest_hertz(pcm: NDArray[np.int16], rate: int) -> float:
    """The frequency with the most energy, over all of `pcm`, of shape (samples, ...)."""
    mono = pcm.reshape(len(pcm), -1)[:, 0].astype(float)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
    spectrum[0] = 0
    return float(np.argmax(spectrum) * rate / len(mono))


def level(pcm: NDArray[np.int16]) -> float:
    """Decibels below full scale, -100 for silence."""
    power = float(np.mean(pcm.astype(float) ** 2)) / 32768**2
    return max(10 * math.log10(power), -100.0) if power > 0 else -100.0
