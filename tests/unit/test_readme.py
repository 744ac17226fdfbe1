"""The README's links lead somewhere and its commands are ones that there are."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from signaling import cli
from signaling.access import minting
from signaling.bot import commands
from signaling.doctor import command as doctor
from signaling.settings.config import list_options

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)", TEXT))))
def test_a_link_leads_somewhere(target: str) -> None:
    if not target.startswith("https://"):
        assert (ROOT / target).exists()


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--help"}))
def test_an_option_is_one_of_ours(option: str) -> None:
    bots = argparse.ArgumentParser()
    commands.add_arguments(bots)
    (choices,) = [action.choices for action in bots._actions if action.dest == "bot"]
    assert isinstance(choices, dict)
    of_bots = {flag for parser in choices.values() for flag in parser._option_string_actions}
    of_commands = {
        flag
        for parser in (minting.make_parser(), doctor.make_parser())
        for flag in parser._option_string_actions
    }
    ours = {o.flag for o in list_options()} | {"--config"}
    assert option in ours | of_bots | of_commands


@pytest.mark.parametrize("line", re.findall(r"^python -m signaling bot (.+)", TEXT, re.M))
def test_a_bot_s_command_line_is_understood(line: str) -> None:
    bots = argparse.ArgumentParser()
    commands.add_arguments(bots)
    assert bots.parse_args(shlex.split(line, comments=True)).room == "demo"


@pytest.mark.parametrize("goal", sorted(set(re.findall(r"^make (\w+)|`make (\w+)`", TEXT, re.M))))
def test_what_is_to_be_made_can_be_made(goal: tuple[str, str]) -> None:
    done = subprocess.run(["make", "-n", *filter(None, goal)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", re.findall(r'^make run ARGS="([^"]+)"', TEXT, re.M))
def test_what_a_server_is_started_with_is_understood(arguments: str) -> None:
    cli.parse_serve(shlex.split(arguments), {})


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m signaling (\w+)", TEXT))))
def test_a_command_is_one_that_there_is(command: str) -> None:
    assert command in cli.COMMANDS
