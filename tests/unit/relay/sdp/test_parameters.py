"""Codec parameters are read loosely, checked where a codec is known, carried where they help."""

from __future__ import annotations

import pytest

from relay.sdp.description import BadSdp
from relay.sdp.parameters import (
    ask_for_stereo,
    carry_parameters,
    check_parameters,
    read_parameters,
)

OWN = "minptime=10;useinbandfec=1"


def test_keys_are_read_in_lower_case_and_spaces_do_not_count() -> None:
    assert read_parameters(" Profile-Id=2 ;x; tier = 0") == {
        "profile-id": "2",
        "x": "",
        "tier": "0",
    }
    assert read_parameters("") == {"": ""}


@pytest.mark.parametrize(
    ("codec", "fmtp"),
    [
        ("opus", "stereo=2"),
        ("OPUS", "maxaveragebitrate=much"),
        ("H264", "profile-level-id=42e01"),
        ("h265", "sprop-vps=<script>"),
        ("rtx", "apt=-1"),
    ],
)
def test_what_means_nothing_is_refused_and_shown_in_short(codec: str, fmtp: str) -> None:
    with pytest.raises(BadSdp, match="malformed") as refusal:
        check_parameters(codec, read_parameters(fmtp + "x" * 999))
    assert len(str(refusal.value)) < 150


def test_what_is_not_known_is_nobodys_business() -> None:
    check_parameters("opus", {"x-bandwidth": "??", "maxplaybackrate": "16000"})
    check_parameters("telephone-event", {"0-15": ""})
    check_parameters("H264", {"max-mbps": "anything"})


def test_a_publisher_that_has_stereo_is_asked_for_it_once() -> None:
    assert ask_for_stereo("sprop-stereo=1") == "sprop-stereo=1;stereo=1"
    for fmtp in (OWN, "sprop-stereo=1;stereo=0", "sprop-stereo=0"):
        assert ask_for_stereo(fmtp) == fmtp


@pytest.mark.parametrize(
    ("published", "told"),
    [
        ("", OWN),
        ("cbr=1;maxplaybackrate=8000", OWN),
        ("useinbandfec=0;usedtx=1", "minptime=10;useinbandfec=0;usedtx=1"),
        ("maxaveragebitrate=96000", f"{OWN};maxaveragebitrate=96000"),
        ("maxaveragebitrate=999999", f"{OWN};maxaveragebitrate=510000"),
        ("stereo=1", f"{OWN};stereo=1;sprop-stereo=1"),
        ("sprop-stereo=1", f"{OWN};sprop-stereo=1;stereo=1"),
        ("stereo=0", f"{OWN};stereo=0"),
    ],
)
def test_receivers_are_told_how_the_publisher_sends(published: str, told: str) -> None:
    assert carry_parameters(OWN, published) == told
