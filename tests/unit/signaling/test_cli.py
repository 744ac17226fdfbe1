"""The command line: every setting has an option, and what is wrong is one line and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from signaling import cli
from signaling.settings.config import Config, list_options
from signaling.settings.setting import ConfigError


def test_help_names_every_setting_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in list_options():
        assert option.flag in text
    assert "Default: 8443" in " ".join(text.split())
    assert all(len(line) <= 100 for line in text.splitlines())


def test_every_group_of_settings_has_a_title() -> None:
    assert {option.about.group for option in list_options()} == set(cli.GROUPS)


def test_options_become_the_configuration() -> None:
    arguments = ["--port", "1", "--host", "127.0.0.1", "--host", "::1", "--max-frame", "4096"]
    config = cli.parse_serve(arguments, {})
    assert (config.port, config.host, config.limits.max_frame) == (1, ("127.0.0.1", "::1"), 4096)


def test_a_switch_can_be_turned_off_again() -> None:
    assert cli.parse_serve(["--no-open"], {"SIGNALING_OPEN": "1"}) == Config()


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["--port"], ["extra"], ["--port", "1", "extra"], ["--por", "1"]]
)
def test_what_is_no_option_is_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("signaling: ")


def test_serve_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def serve(arguments: list[str], *_: object) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "serve", serve)
    assert cli.main(["serve", "--port", "1"]) == 0
    assert asked == [["--port", "1"]]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tandem.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        cli.parse_serve(["--config", str(path)], {})
