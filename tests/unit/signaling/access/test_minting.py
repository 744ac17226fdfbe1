"""The command that mints tokens."""

from __future__ import annotations

import io
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from signaling.access.minting import parse_ttl, run
from signaling.access.tokens import Authority
from signaling.settings.setting import ConfigError

KEY = "front-desk:a secret of at least thirty-two bytes"
AUTHORITY = Authority({"front-desk": "a secret of at least thirty-two bytes"})


def mint(*arguments: str, environ: dict[str, str] | None = None) -> int:
    return run(arguments, environ or {}, io.StringIO())


def test_a_token_opens_its_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert mint("--api-key", KEY, "--room", "demo", "--identity", "ada", "--name", "Ada") == 0
    access = AUTHORITY.authorize_join(capsys.readouterr().out.strip(), "demo", time.time())
    assert (access.identity, access.name, access.grant.moderate) == ("ada", "Ada", False)


def test_grants_are_withheld_and_given(capsys: pytest.CaptureFixture[str]) -> None:
    mint(
        *("--api-key", KEY, "--room", "demo", "--identity", "ada", "--admin"),
        *("--no-publish", "--no-subscribe", "--no-chat"),
    )
    grant = AUTHORITY.authorize_join(capsys.readouterr().out.strip(), "demo", time.time()).grant
    assert (grant.publish, grant.subscribe, grant.chat, grant.moderate) == (False,) * 3 + (True,)


def test_an_admin_token_without_a_room_is_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    mint("--api-key", KEY, "--identity", "ops", "--admin")
    token = capsys.readouterr().out.strip()
    assert AUTHORITY.authorize_admin(token, "any", time.time()).grant.moderate


def test_a_link_holds_the_token_where_no_server_sees_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# keys\n{KEY}\nold:key\n")
    url = "https://call.example.org/"
    mint("--api-key-file", str(path), "--room", "demo", "--identity", "ada", "--url", url)
    link = urlsplit(capsys.readouterr().out.strip())
    assert (link.netloc, link.path, link.query) == ("call.example.org", "/", "room=demo")
    (token,) = parse_qs(link.fragment)["token"]
    AUTHORITY.authorize_join(token, "demo", time.time())


def test_the_key_may_come_from_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    mint("--room", "demo", "--identity", "ada", environ={"SIGNALING_API_KEY": f"{KEY},old:key"})
    AUTHORITY.authorize_join(capsys.readouterr().out.strip(), "demo", time.time())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--room", "demo", "--identity", "ada"], "a key is missing"),
        (["--room", "demo", "--identity", "ada", "--api-key", "x"], "NAME:SECRET"),
        (["--room", "demo", "--identity", "ada", "--api-key-file", "/nowhere"], "No such file"),
        (["--identity", "ada", "--api-key", KEY], "--room is missing"),
        (["--room", "a b", "--identity", "ada", "--api-key", KEY], "--room is 1 to 64"),
        (["--room", "demo", "--api-key", KEY], "--identity"),
        (["--room", "demo", "--identity", "a", "--ttl", "soon"], "no duration"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        mint(*arguments)


def test_durations_are_read() -> None:
    assert [parse_ttl(text) for text in ("90", "90s", "30m", "6h", "7d")] == [
        90,
        90,
        1800,
        21600,
        604800,
    ]
