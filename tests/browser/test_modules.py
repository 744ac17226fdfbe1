"""The page's modules without a browser: their own tests in Node, and their types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _run(*command: str) -> None:
    program = shutil.which(command[0])
    assert program is not None, (
        f"{command[0]} has to be installed: the page's modules are tested with it"
    )
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_modules_do_what_they_say() -> None:
    _run("node", "--test", "tests/browser/unit/")


def test_the_types_hold() -> None:
    _run("npx", "--yes", "--package", "typescript@5", "tsc", "-p", "static/jsconfig.json")


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    for path in [*(ROOT / "static").rglob("*.html"), *(ROOT / "static").rglob("*.css")]:
        text = path.read_text()
        for forbidden in ("<style", " style=", "onclick=", "http://", "https://", "@import"):
            assert forbidden not in text, f"{forbidden} in {path}"


def test_the_example_stays_small() -> None:
    lines = (ROOT / "static/example/example.js").read_text().splitlines()
    assert len(lines) < 100
