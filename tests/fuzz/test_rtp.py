"""A short run of the RTP targets; the corpus is kept in git."""

from __future__ import annotations

import pytest

from tests.fuzz import rtp
from tests.fuzz.engine import Target, read_corpus, run


@pytest.mark.parametrize(
    ("target", "corpus"),
    [(rtp.rtp, "rtp"), (rtp.payload, "payload"), (rtp.rtcp, "rtcp"), (rtp.feedback, "feedback")],
)
def test_mutated_packets_break_nothing(target: Target, corpus: str) -> None:
    run(target, read_corpus(corpus), seed=1, count=4000)
