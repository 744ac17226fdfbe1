"""A short run of the SCTP targets; the corpora are kept in git."""

from __future__ import annotations

import pytest

from tests.fuzz import sctp
from tests.fuzz.engine import Target, read_corpus, run


@pytest.mark.parametrize(
    ("target", "corpus", "count"),
    [
        (sctp.packet, "sctp", 4000),
        (sctp.insides, "sctp-insides", 4000),
        (sctp.channel, "sctp-channel", 4000),
        (sctp.cookie, "sctp-cookie", 2000),
        (sctp.frame, "data-frame", 4000),
        (sctp.association, "sctp", 1000),
    ],
)
def test_mutated_sctp_breaks_nothing(target: Target, corpus: str, count: int) -> None:
    run(target, read_corpus(corpus), seed=1, count=count, max_size=8192)


def test_an_association_outlives_a_flood_of_hostile_packets() -> None:
    hostile = sctp.flood(20_000, 3, read_corpus("sctp"))
    assert hostile.packets == 20_000
    assert hostile.ended > 10
