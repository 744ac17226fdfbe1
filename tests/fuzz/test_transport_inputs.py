"""A short run of the STUN and SDP targets; the corpora are kept in git."""

from __future__ import annotations

import pytest

from tests.fuzz import sdp, stun
from tests.fuzz.engine import Target, read_corpus, run


@pytest.mark.parametrize("target", [stun.request, stun.agent])
def test_mutated_stun_breaks_nothing(target: Target) -> None:
    run(target, read_corpus("stun"), seed=1, count=4000)


@pytest.mark.parametrize("target", [sdp.description, sdp.publisher, sdp.subscriber, sdp.player])
def test_mutated_descriptions_break_nothing(target: Target) -> None:
    run(target, read_corpus("sdp"), seed=1, count=500, max_size=sdp.MAX_SIZE)
