"""Log lines: fields, forms, and what a client cannot do to them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from signaling.logs import Log, configure


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


def test_json_lines_carry_fields_as_keys() -> None:
    stream = io.StringIO()
    configure(stream, form="auto", level="info", environ={})
    Log("signaling.hub", room="demo").info("joined", extra={"participant": "p_1", "address": None})
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
    Log("signaling.hub", room="demo").bind(participant="p_1").info("joined")
    assert stream.getvalue().endswith(" INFO    signaling.hub joined room=demo participant=p_1\n")


def test_a_terminal_gets_colours_for_what_is_wrong() -> None:
    stream = Terminal()
    configure(stream, form="auto", level="info", environ={})
    Log("x").error("broken")
    assert "\x1b[31mERROR" in stream.getvalue()


def test_what_a_client_chose_neither_breaks_a_line_nor_colours_the_terminal() -> None:
    stream = Terminal()
    configure(stream, form="text", level="info", environ={})
    Log("x").info("named %s", "a\nb", extra={"name_given": "\x1b[31m red\r\n"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b[31m red" not in stream.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure(stream, form="json", level="warning", environ={})
    Log("x").info("no")
    Log("x").warning("yes")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_goes_to_the_log_with_its_traceback(form: str) -> None:
    stream = io.StringIO()
    configure(stream, form=form, level="info", environ={})  # type: ignore[arg-type]
    try:
        raise ValueError("boom")
    except ValueError:
        Log("x").exception("failed")
    assert "ValueError: boom" in stream.getvalue()
