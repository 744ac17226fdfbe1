"""What a publisher may send: whole frames, then nothing, then a fresh start."""

from __future__ import annotations

from relay.plane.policing import LEAST_SIZE, Allowance, Policer


def send(policer: Policer, bitrate: float, seconds: float, start: float = 0.0) -> list[float]:
    """A frame of four packets 25 times a second; when each packet passed."""
    passed = []
    size = int(bitrate / 8 / 100)
    for frame in range(int(seconds * 25)):
        for packet in range(4):
            now = start + frame / 25 + packet * 0.001
            if policer.take(size, packet == 0, now):
                passed.append(now)
    return passed


def make(own: int = 1_000_000, shared: int = 10_000_000, *, obeys: bool = True) -> Policer:
    return Policer(Allowance(own), Allowance(shared), obeys=obeys)


def test_who_sends_what_it_may_is_never_stopped() -> None:
    assert len(send(make(), 990_000, 60)) == 60 * 100


def test_a_key_frame_of_a_second_s_worth_passes() -> None:
    policer = make()
    assert all(policer.take(1000, packet == 0, 5.0) for packet in range(124))


def test_over_time_no_more_passes_than_may() -> None:
    for bitrate in (1_200_000, 2_000_000, 10_000_000):
        passed = send(make(), bitrate, 60)
        octets = len(passed) * int(bitrate / 8 / 100)
        assert 8 * octets <= 1_000_000 * (60 + 1.5)
        assert 8 * octets >= 1_000_000 * 60 * 0.9


def test_frames_are_cut_at_their_end() -> None:
    passed = send(make(), 2_000_000, 30)
    frames: dict[int, int] = {}
    for now in passed:
        frames[int(now * 25 + 0.001)] = frames.get(int(now * 25 + 0.001), 0) + 1
    # It may go on in the midst of one: the packets up to the next key frame are not shown anyway.
    assert sum(count < 4 for count in frames.values()) <= 30


def test_a_frame_that_never_ends_is_cut() -> None:
    policer = make()
    passed = sum(policer.take(1000, False, 1.0) for _ in range(10_000))
    assert passed <= 125 * 1.25 + 1


def test_a_stop_lasts_until_half_a_second_s_worth_is_there() -> None:
    policer = make()
    while policer.take(1000, True, 1.0):
        pass
    assert policer.stopped
    assert not policer.take(1000, True, 1.4)
    assert policer.take(1000, True, 1.6)
    assert not policer.stopped


def test_pictures_end_with_what_their_participant_may_send_and_sound_does_not() -> None:
    shared = Allowance(1_000_000)
    picture = Policer(Allowance(10_000_000), shared)
    sound = Policer(Allowance(512_000), shared, obeys=False)
    while picture.take(1000, True, 1.0):
        pass
    assert sound.take(100, True, 1.0)
    assert not picture.take(100, True, 1.0)


def test_small_packets_count_as_what_they_cost() -> None:
    policer = make()
    passed = sum(policer.take(20, True, 1.0 + n / 10_000) for n in range(20_000))
    assert passed <= 3.25 * 1_000_000 / 8 / LEAST_SIZE
    sound = make(obeys=False)
    assert all(sound.take(100, True, 1.0 + n / 1000) for n in range(5000))
