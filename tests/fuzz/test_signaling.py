"""A short run of the signaling targets; the corpus is kept in git."""

from __future__ import annotations

import pytest

from tests.fuzz import signaling
from tests.fuzz.engine import Target, read_corpus, run


@pytest.mark.parametrize(("target", "count"), [(signaling.message, 20_000), (signaling.hub, 1_000)])
def test_mutated_frames_break_nothing(target: Target, count: int) -> None:
    run(target, read_corpus("signaling"), seed=1, count=count)


def test_mutated_frames_of_foreign_clients_break_nothing() -> None:
    run(signaling.foreign, read_corpus("foreign"), seed=1, count=1500)
