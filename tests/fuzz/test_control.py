"""A short run of the control plane's targets; the corpus is kept in git."""

from __future__ import annotations

import pytest

from relay.process import lifecycle
from relay.process.channel import ChannelError, FrameReader
from tests.fuzz import control
from tests.fuzz.engine import Target, read_corpus, run


@pytest.mark.parametrize(
    ("target", "corpus", "count"),
    [
        (control.channel, "control", 2000),
        (control.router, "control", 600),
        (control.fragment, "fragment", 4000),
    ],
)
def test_mutated_messages_break_nothing(target: Target, corpus: str, count: int) -> None:
    run(target, read_corpus(corpus), seed=1, count=count, max_size=20_000)


def test_the_corpus_is_what_a_call_says() -> None:
    """Seeds that no version understands any more find nothing."""
    for seed in read_corpus("control"):
        assert is_of(lifecycle.ToWorker, seed) or is_of(lifecycle.ToNode, seed)


def is_of(union: object, seed: bytes) -> bool:
    try:
        return bool(FrameReader[object](union).receive_data(seed))
    except ChannelError:
        return False
