"""What all tests share: which of them need a program beside Python, and which run alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import hanging
from tests.support.components import COMPONENTS, in_ci

TESTS = Path(__file__).parent

# A slow machine is no fault of what is tested.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, saying so; in CI let it fail instead."""
    for item in items:
        if item.path.is_relative_to(TESTS / "browser"):
            item.add_marker(pytest.mark.needs("chromium"))
            # Browsers fill both cores: two at a time would measure each other.
            item.add_marker(pytest.mark.alone)
    if in_ci():
        return
    left_out: dict[str, list[pytest.Item]] = {}
    for item in items:
        for name in find_missing(item):
            left_out.setdefault(name, []).append(item)
    gone = {id(item) for group in left_out.values() for item in group}
    if gone:
        config.hook.pytest_deselected(items=[item for item in items if id(item) in gone])
        items[:] = [item for item in items if id(item) not in gone]
    config.stash[LEFT_OUT] = {name: len(group) for name, group in left_out.items()}


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    hanging.watch(item, settings.timeout)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    hanging.stop_watching(item)


LEFT_OUT = pytest.StashKey[dict[str, int]]()


def find_missing(item: pytest.Item) -> list[str]:
    wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
    return [name for name in wanted if COMPONENTS[name].find() is None]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for name, count in config.stash.get(LEFT_OUT, {}).items():
        package = COMPONENTS[name].package
        terminalreporter.write_line(
            f"{count} tests left out: {name} is missing (apt-get install {package})", yellow=True
        )
