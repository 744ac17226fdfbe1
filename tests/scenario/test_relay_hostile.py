"""A publisher that sends as much as it can costs its own watchers, and nobody else."""

from __future__ import annotations

from relay.plane.intake import MAX_PACKETS
from relay.plane.policing import BURST, MAX_DEBT, Bitrates
from relay.stats import DropReason
from tests.support.call import Call, check_contiguous, check_glitchless
from tests.support.publishing import Shape

SECONDS = 3.0
LARGE = Shape(interval=0.01, packets=60, size=1100)
"""6,000 packets and 53 Mbit/s a second."""

SMALL = Shape(interval=0.01, packets=60, size=20)
"""6,000 packets a second, and not one megabit."""


def run(shape: Shape) -> Call:
    """Beside a call of two, three people watch one who sends like this."""
    call = Call(seed=71)
    ada = call.publisher("ada")
    camera, _ = call.camera(ada)
    microphone, _ = call.microphone(ada)
    bob = call.subscriber("bob")
    _, picture = call.subscribe(bob, camera)
    _, sound = call.subscribe(bob, microphone)
    call.run_for(1.0)
    mallory = call.publisher("mallory")
    track, _ = call.camera(mallory, shape=shape)
    downs = [call.subscribe(call.subscriber(f"s{number}"), track)[0] for number in range(3)]
    call.run_for(SECONDS)
    check_glitchless(picture.frames)
    check_contiguous(picture)
    check_contiguous(sound)
    most = Bitrates().video / 8 * (SECONDS + BURST + MAX_DEBT)
    assert 0 < max(down.octets for down in downs) <= most
    assert max(down.packets for down in downs) <= MAX_PACKETS * (SECONDS + 1)
    return call


def test_what_one_publisher_sends_beyond_its_bitrate_is_cut() -> None:
    call = run(LARGE)
    assert call.relay.stats.drops[DropReason.BITRATE] > 5_000


def test_small_packets_are_bounded_by_their_number() -> None:
    call = run(SMALL)
    drops = call.relay.stats.drops
    assert drops[DropReason.BITRATE] + drops[DropReason.FLOOD] > 3_000
