"""SECURITY.md promises what a test shows, and the unit beside it starts what there is."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from signaling import cli
from signaling.settings.config import list_options

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "signaling" / "SECURITY.md").read_text()
DEPLOY = ROOT / "signaling" / "deploy"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
PROMISES = TEXT.partition("## Promises")[2].partition("## Not promised")[0]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, functions)}


def test_every_promise_names_a_test() -> None:
    promises = re.findall(r"^- .*", PROMISES, re.MULTILINE)
    assert len(promises) > 30
    assert [
        line for line in promises if not re.search(r"`tests/[\w/]+\.py::test_\w+`$", line)
    ] == []


@pytest.mark.parametrize(
    "text", [TEXT, (DEPLOY / "README.md").read_text()], ids=["security", "deploy"]
)
def test_options_and_links_are_there(text: str) -> None:
    known = {option.flag for option in list_options()} | {"--url"}
    assert set(re.findall(r"--[a-z][a-z-]+[a-z]", text)) <= known
    for target in re.findall(r"\]\(((?!https:)[^)#]+)\)", text):
        assert (DEPLOY / target).exists()


def test_the_unit_starts_a_server_as_it_should() -> None:
    unit = (DEPLOY / "tandem.service").read_text()
    (line,) = re.findall(r"^ExecStart=\S+ -m signaling (.+)", unit, re.MULTILINE)
    config = cli.parse_serve(shlex.split(line), {})
    assert config.api_key_file
    assert config.tls_cert
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)
    assert int(stop) > config.drain_timeout
    (files,) = re.findall(r"^LimitNOFILE=(\d+)", unit, re.MULTILINE)
    assert int(files) > config.limits.max_sockets
