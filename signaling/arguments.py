"""Command lines whose mistakes are said in one line, as for every other wrong setting."""

from __future__ import annotations

import argparse
from typing import Any, Final

from .config import ConfigError

PROGRAM: Final = "python -m signaling"


class Parser(argparse.ArgumentParser):
    """`prog` is `PROGRAM`, with the command's name behind it where there is one."""

    def error(self, message: str) -> Any:
        """Raise ConfigError, which names the command."""
        command = self.prog.removeprefix(PROGRAM).strip()
        prefix = f"{command}: " if command else ""
        raise ConfigError(f"{prefix}{message}; --help lists the options")
