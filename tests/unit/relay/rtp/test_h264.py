"""The size of H264's pictures, by parameter sets that real encoders wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.codecs import Picture, inspect_h264
from relay.rtp.h264 import read_size

# From x264 (baseline and high), by `ffmpeg -f lavfi -i testsrc=size=…`.
SETS = {
    (640, 360): "6742c016d900a02ff970110000030001000003000a0f162e48",
    (320, 180): "6742c00bd901419f9f0110000003001000000300a0f142a480",
    (1280, 720): "6764001facd9405005bb0110000003001000000300a0f1831960",
    (854, 480): "674d4016eca06c1ef37808800000030080000005078b16cb",
    (1920, 1080): "67640028acd940780227e5c044000003000400000300283c60c658",
}


@pytest.mark.parametrize(("size", "parameters"), SETS.items())
def test_a_parameter_set_tells_the_size(size: tuple[int, int], parameters: str) -> None:
    data = bytes.fromhex(parameters)
    assert read_size(data[1:]) == size
    picture = Picture()
    inspect_h264(data, 0, len(data), picture)
    assert picture.key_frame
    assert picture.sizes == (size,)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_size_or_none(data: bytes) -> None:
    size = read_size(data)
    assert size is None or min(size) > 0
