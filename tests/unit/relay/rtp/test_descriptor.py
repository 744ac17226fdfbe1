"""The dependency descriptor's structure, written bit by bit and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.codecs import Picture, inspect_layers
from relay.rtp.descriptor import TOP, DescriptorError, parse_structure_untrusted
from tests.support.descriptors import build_descriptor

L1T3 = [(0, 0, "SSS"), (0, 0, "SSS"), (0, 1, "-DS"), (0, 2, "--D")]
L2T2 = [
    (0, 0, "SSSS"),
    (0, 1, "-D-R"),
    (1, 0, "--SS"),
    (1, 1, "---D"),
]


def test_layers_and_where_to_rise_are_read() -> None:
    structure = parse_structure_untrusted(build_descriptor(0, 7, L1T3, offset=60))
    assert structure is not None
    assert [(t.spatial, t.temporal) for t in structure.templates] == [
        (0, 0),
        (0, 0),
        (0, 1),
        (0, 2),
    ]
    # From a base frame on to any number of pictures; from one between to that.
    assert [t.rise for t in structure.templates] == [TOP, TOP, TOP, -1]
    assert structure.find(60) == structure.templates[0]
    assert structure.find(63) == structure.templates[3]
    assert structure.find(0) is None


def test_sizes_and_chains_are_read() -> None:
    sizes = [(320, 180), (640, 360)]
    structure = parse_structure_untrusted(
        build_descriptor(1, 0xFFFF, L2T2, chains=2, sizes=sizes, offset=1)
    )
    assert structure is not None
    assert list(structure.sizes) == sizes
    assert [t.spatial for t in structure.templates] == [0, 0, 1, 1]


def test_a_frame_is_told_by_its_template() -> None:
    structure = parse_structure_untrusted(build_descriptor(0, 1, L2T2, sizes=[(1, 2), (3, 4)]))
    assert structure is not None
    picture = Picture()
    inspect_layers(structure, 3, picture)
    assert (picture.spatial, picture.temporal, picture.sizes) == (1, 1, ())
    picture.key_frame = True
    inspect_layers(structure, 0, picture)
    assert picture.sizes == ((1, 2), (3, 4))
    inspect_layers(structure, 40, picture)
    assert picture.spatial == 0


def test_what_is_no_structure_is_none_and_what_is_cut_off_is_refused() -> None:
    assert parse_structure_untrusted(b"\x80\x00\x01") is None
    assert parse_structure_untrusted(b"\x80\x00\x01\x00\x00") is None
    whole = build_descriptor(0, 1, L2T2, chains=1, sizes=[(320, 180), (640, 360)])
    for size in range(4, len(whole) - 1):
        with pytest.raises(DescriptorError):
            parse_structure_untrusted(whole[:size])


@given(st.binary(min_size=4, max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        structure = parse_structure_untrusted(data)
    except DescriptorError:
        return
    assert structure is None or structure.templates
