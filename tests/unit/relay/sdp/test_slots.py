"""A slot says which codecs its client takes, under which numbers."""

from __future__ import annotations

from relay.sdp.capabilities import CODECS, OPUS, RED, VP8
from relay.sdp.slots import Carried, Slot, make_slot
from tests.unit.relay.sdp.offers import count_ssrcs

BY_PROFILE = {codec.profile: codec for codec in CODECS if codec.name == "H264"}


def test_a_slot_has_ssrcs_of_its_own_and_repairs_pictures_alone() -> None:
    draw = count_ssrcs()
    video = make_slot("0", "video", [], draw)
    audio = make_slot("1", "audio", [video], draw)
    assert (video.ssrc, video.rtx_ssrc, audio.ssrc, audio.rtx_ssrc) == (1000, 1001, 1002, None)


def test_a_slot_is_for_the_track_that_it_was_given_last() -> None:
    slot = Slot("0", "audio", 1, None)
    slot.carry(Carried("audio", "p_1", "t_1", [OPUS], "stereo=1", 20))
    slot.carry(Carried("audio", "p_2", "t_2", [RED]))
    assert (slot.participant, slot.track, slot.codecs) == ("p_2", "t_2", (RED,))
    assert (slot.opus, slot.ptime) == ("", None)


def test_whoever_takes_opus_takes_red_as_what_is_in_it() -> None:
    slot = Slot("0", "audio", 1, None, payload_types={OPUS.payload_type: 109})
    assert slot.takes(RED)
    assert slot.get_numbers() == {OPUS.payload_type: 109}
    slot.payload_types = {0: 0}
    assert not slot.takes(RED)


def test_the_exact_profile_counts_before_one_that_covers_it() -> None:
    high, base, plain = (
        BY_PROFILE[name] for name in ("high/1", "constrained-baseline/1", "constrained-baseline/0")
    )
    slot = Slot("0", "video", 1, 2, payload_types={high.payload_type: 120, base.payload_type: 121})
    numbers = slot.get_numbers()
    assert (numbers[high.payload_type], numbers[base.payload_type]) == (120, 121)
    assert numbers[plain.payload_type] in (120, 121)
    assert slot.takes(BY_PROFILE["main/1"])
    assert not slot.takes(BY_PROFILE["baseline/1"])
    assert not slot.takes(VP8)
