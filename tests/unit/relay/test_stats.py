"""What a worker counts."""

from __future__ import annotations

from relay.stats import DropReason, Stats


def test_every_reason_is_counted_from_the_start_and_for_itself() -> None:
    first, second = Stats(), Stats()
    first.drops[DropReason.FLOOD] += 1
    assert set(second.drops) == set(DropReason)
    assert not any(second.drops.values())


def test_a_reason_is_a_name_fit_for_a_label() -> None:
    assert all(reason.replace("-", "").isalpha() and reason.islower() for reason in DropReason)
