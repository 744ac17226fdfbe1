"""Command lines, and files named in them, whose mistakes are said in one line, as for every
other wrong setting."""

from __future__ import annotations

import argparse
from typing import Any, Final

from .setting import ConfigError

PROGRAM: Final = "python -m signaling"


def read_file(option: str, path: str) -> str:
    """The text of a file that `option` names. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{option}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{option}: {path} is not text in UTF-8") from None


class Parser(argparse.ArgumentParser):
    """`prog` is `PROGRAM`, with the command's name behind it where there is one."""

    def error(self, message: str) -> Any:
        """Raise ConfigError, which names the command."""
        command = self.prog.removeprefix(PROGRAM).strip()
        prefix = f"{command}: " if command else ""
        raise ConfigError(f"{prefix}{message}; --help lists the options")
