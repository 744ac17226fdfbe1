"""A wrong command line, or a file that it names, is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from signaling.settings.arguments import PROGRAM, Parser, read_file
from signaling.settings.setting import ConfigError


def test_a_file_is_read_or_its_option_is_named(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("ada: ä\n", encoding="utf-8")
    assert read_file("--api-key-file", str(file)) == "ada: ä\n"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"^--api-key-file: .*keys is not text in UTF-8$"):
        read_file("--api-key-file", str(file))
    with pytest.raises(ConfigError, match=r"^--api-key-file: cannot read .*/none: No such file"):
        read_file("--api-key-file", str(tmp_path / "none"))


@pytest.mark.parametrize(("command", "prefix"), [("", ""), (" token", "token: ")])
def test_a_wrong_option_is_refused_with_the_command_s_name(command: str, prefix: str) -> None:
    parser = Parser(prog=PROGRAM + command)
    with pytest.raises(ConfigError, match=f"^{prefix}unrecognized arguments: --nonsense"):
        parser.parse_args(["--nonsense"])
