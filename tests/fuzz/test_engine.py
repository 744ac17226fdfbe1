"""The fuzzer itself: it keeps what reaches something new, and every target is explored."""

from __future__ import annotations

import ast
import itertools
import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import TARGETS, find
from tests.fuzz.engine import CORPUS, explore, keep, trace


def target(data: bytes) -> None:
    """Has a line that is behind two others."""
    if data[:1] == b"a":
        seen = data[1:2]
        if seen == b"b":
            assert data


def test_an_input_that_reaches_a_new_line_is_kept_and_mutated_further(tmp_path: Path) -> None:
    counter = itertools.count()
    found = list(
        explore(
            target,
            [b"xb"],
            rng=random.Random(7),
            max_size=8,
            more=lambda: next(counter) < 20_000,
            ours=[__file__],
        )
    )
    assert len(found) == 2
    assert found[1][:2] == b"ab"
    paths = {keep(tmp_path, data) for data in [*found, *found]}
    assert len(paths) == 2


def test_an_input_on_which_a_target_breaks_is_in_the_error() -> None:
    def broken(data: bytes) -> None:
        raise IndexError

    with pytest.raises(AssertionError, match="broken broke on 0102"):
        trace(broken, b"\1\2")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_the_seeds_of_its_corpus(name: str) -> None:
    corpus = CORPUS / TARGETS[name][0]
    assert trace(find(name), sorted(corpus.iterdir())[0].read_bytes())


def test_no_target_is_left_out() -> None:
    folder = Path(__file__).parent
    named = {name.partition(".")[0] for name in TARGETS}
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text())
        targets = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and [argument.arg for argument in node.args.args] == ["data"]
        ]
        if targets and not path.stem.startswith("test_"):
            assert path.stem in named
            assert {f"{path.stem}.{name}" for name in targets} <= set(TARGETS), path.stem
