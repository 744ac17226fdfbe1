"""The version of what runs: the distribution's, or the source tree's."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Final


def find_version() -> str:
    """The installed distribution's version; "0" where the source tree is not installed."""
    try:
        return importlib.metadata.version("tandem-rtc")
    except importlib.metadata.PackageNotFoundError:
        return "0"


VERSION: Final = find_version()
BUILD: Final = {"version": VERSION, "python": platform.python_version()}
