"""Log lines: fields, forms, and what a client cannot do to them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from relay.logs import configure

log = logging.getLogger("signaling.hub")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)


def test_json_lines_carry_fields_as_keys() -> None:
    stream = io.StringIO()
    configure(stream, form="auto", level="info", environ={})
    log.info("joined", extra={"room": "demo", "participant": "p_1", "address": None})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "signaling.hub",
        "message": "joined",
        "room": "demo",
        "participant": "p_1",
    }


def test_text_lines_name_room_and_participant() -> None:
    stream = Terminal()
    configure(stream, form="auto", level="info", environ={"NO_COLOR": "1"})
    log.info("joined", extra={"room": "demo", "participant": "p_1"})
    assert stream.getvalue().endswith(" INFO    signaling.hub joined room=demo participant=p_1\n")


def test_a_terminal_gets_colours_for_what_is_wrong() -> None:
    stream = Terminal()
    configure(stream, form="auto", level="info", environ={})
    log.error("broken")
    assert "\x1b[31mERROR" in stream.getvalue()


def test_what_a_client_chose_neither_breaks_a_line_nor_colours_the_terminal() -> None:
    stream = Terminal()
    configure(stream, form="text", level="info", environ={})
    log.info("named %s", "a\nb", extra={"name_given": "\x1b[31m red\r\n"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b[31m red" not in stream.getvalue()


def test_a_process_names_itself_in_each_of_its_lines() -> None:
    stream = io.StringIO()
    configure(stream, form="json", level="info", environ={}, worker=0)
    log.info("ready", extra={"port": 8443})
    line = json.loads(stream.getvalue())
    assert (line["worker"], line["port"]) == (0, 8443)


def test_warnings_of_python_are_lines_like_any_other() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(stream, form="json", level="info", environ={})
        warnings.warn("of old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "of old" in line["message"]


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure(stream, form="json", level="warning", environ={})
    log.info("no")
    log.warning("yes")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_goes_to_the_log_with_its_traceback(form: str) -> None:
    stream = io.StringIO()
    configure(stream, form=form, level="info", environ={})  # type: ignore[arg-type]
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("failed")
    assert "ValueError: boom" in stream.getvalue()
