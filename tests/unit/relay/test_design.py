"""What relay/DESIGN.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

from relay.stats import DropReason

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "relay" / "DESIGN.md").read_text()


def test_the_table_of_drops_is_complete() -> None:
    table = TEXT[TEXT.index("Drops, by the name") :]
    names = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    assert sorted(names) == sorted(DropReason)


def test_the_tests_and_files_that_it_names_exist() -> None:
    for name in re.findall(r"`(test_(?:relay|bandwidth)_\w+\.py)`", TEXT):
        assert (ROOT / "tests" / "scenario" / name).is_file(), name
    for name in re.findall(r"`((?:rtp|sdp|bwe|transport)/\w+)`", TEXT):
        assert (ROOT / "relay" / f"{name}.py").is_file(), name
