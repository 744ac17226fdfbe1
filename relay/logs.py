"""Log lines with fields: text for people on a terminal, JSON for machines elsewhere.

The same for the hub and its workers, who write to one stream. Never given to it: SDP, tokens,
session secrets.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Literal, TextIO

# What every LogRecord has; anything else on it was given as a field.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_LEVELS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m", "DEBUG": "\x1b[2m"}
_RESET = "\x1b[0m"


def get_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the record carries beside its message; nothing for None."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


class TextFormatter(logging.Formatter):
    """`12:00:00.123 INFO    signaling.hub participant joined room=demo participant=p_1`"""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {name}={_quote(value)}" for name, value in get_fields(record).items())
        level = f"{record.levelname:<7}"
        if self._colour and record.levelname in _LEVELS:
            level = _LEVELS[record.levelname] + level + _RESET
        message = _escape(record.getMessage())
        line = f"{when}.{int(record.msecs):03d} {level} {record.name} {message}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **get_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _escape(text: str) -> str:
    # What a client chose must not be able to begin a new line or colour the terminal.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _quote(value: object) -> str:
    text = _escape(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


def configure(
    stream: TextIO,
    *,
    form: Literal["auto", "text", "json"],
    level: Literal["debug", "info", "warning", "error"],
    environ: Mapping[str, str],
    **fields: object,
) -> None:
    """Send every logger's lines to `stream`, and Python's warnings; `fields` go with each line.

    `auto` is text on a terminal and JSON elsewhere.
    """

    def add_fields(record: logging.LogRecord) -> bool:
        vars(record).update(fields)
        return True

    terminal = stream.isatty()
    text = form == "text" or (form == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    # https://no-color.org: any value but an empty one asks for none.
    colour = terminal and not environ.get("NO_COLOR")
    handler.setFormatter(TextFormatter(colour=colour) if text else JsonFormatter())
    handler.addFilter(add_fields)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Others' lines at INFO are about their own inner life.
    for name in ("aiohttp", "aioice", "aiortc", "asyncio"):
        logging.getLogger(name).setLevel("DEBUG" if level == "debug" else "WARNING")
    logging.captureWarnings(True)
    # A logger that meets a closed stream must not print a traceback over the terminal.
    logging.raiseExceptions = False
