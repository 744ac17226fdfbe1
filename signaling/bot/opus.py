"""libopus, of which FFmpeg's decoder uses neither concealment nor forward error correction.

The one file that knows it. PyAV's wheels bring it along; a system has it where FFmpeg has.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

RATE: Final = 48_000
CHANNELS: Final = 2
LONGEST: Final = 5760
"""Samples: 120 ms, the longest packet."""


@cache
def load_library() -> Any:
    """The library, None where there is none."""
    beside = sorted((Path(av.__file__).parent.parent / "av.libs").glob("libopus*"))
    names = [str(path) for path in beside] + [ctypes.util.find_library("opus") or ""]
    for name in names:
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            library.opus_decoder_create.restype = ctypes.c_void_p
            library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
            library.opus_decode.argtypes = [
                ctypes.c_void_p,
                ctypes.c_char_p,
                ctypes.c_int32,
                ctypes.c_void_p,
                ctypes.c_int,
                ctypes.c_int,
            ]
            return library
    return None


class OpusError(ValueError):
    """A packet that cannot be decoded."""


class OpusDecoder:
    """Gives 16-bit stereo of shape (samples, 2). Raises OpusError, or OSError with no library."""

    def __init__(self) -> None:
        self._library = load_library()
        if self._library is None:
            raise OSError("There is no libopus.")
        error = ctypes.c_int()
        self._state = self._library.opus_decoder_create(RATE, CHANNELS, ctypes.byref(error))
        if error.value:
            raise OSError(f"libopus: {error.value}")
        self._pcm = np.zeros((LONGEST, CHANNELS), np.int16)

    def decode(self, data: bytes) -> NDArray[np.int16]:
        return self._decode(data, LONGEST, 0)

    def recover(self, data: bytes, samples: int) -> NDArray[np.int16]:
        """The packet before the one with `data`, from what that says of it."""
        return self._decode(data, samples, 1)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """Something in the place of a packet that nothing is known of."""
        return self._decode(None, samples, 0)

    def _decode(self, data: bytes | None, samples: int, recover: int) -> NDArray[np.int16]:
        count = self._library.opus_decode(
            self._state, data, len(data or b""), self._pcm.ctypes.data, samples, recover
        )
        if count < 0:
            raise OpusError(f"libopus: {count}")
        return self._pcm[:count].copy()

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_decoder_destroy(self._state)
            self._state = None
