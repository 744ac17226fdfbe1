"""Settings: where they come from, which wins, and what a wrong one says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from signaling.settings.config import Config, Limits, is_local, list_options, load
from signaling.settings.setting import ConfigError


def refuse(
    flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, toml: str = ""
) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ or {}, toml, "tandem.toml")
    return str(caught.value)


def test_defaults_stand_where_nothing_is_set() -> None:
    assert load({}, {}) == Config()


def test_a_flag_wins_over_the_environment_and_that_over_the_file() -> None:
    toml = "port = 1\ndrain_timeout = 1\nrelay_workers = 1\n"
    environ = {"SIGNALING_PORT": "2", "SIGNALING_DRAIN_TIMEOUT": "2"}
    config = load({"port": "3"}, environ, toml)
    assert (config.port, config.drain_timeout, config.relay_workers) == (3, 2.0, 1)


def test_several_values_are_separated_by_commas_in_the_environment() -> None:
    environ = {"SIGNALING_ALLOW_ORIGIN": "https://a.example, https://b.example"}
    assert load({}, environ).allow_origin == ("https://a.example", "https://b.example")


def test_several_values_are_an_array_in_the_file() -> None:
    assert load({}, {}, 'public_ip = ["203.0.113.7", "2001:db8::7"]').public_ip == (
        "203.0.113.7",
        "2001:db8::7",
    )


def test_limits_are_a_table_in_the_file() -> None:
    assert load({}, {}, "[limits]\nmax_frame = 4096\n").limits.max_frame == 4096


@pytest.mark.parametrize(("text", "value"), [("1", True), ("yes", True), ("off", False)])
def test_a_switch_takes_words_in_the_environment(text: str, value: bool) -> None:
    assert load({}, {"SIGNALING_OPEN": text}).open is value


@pytest.mark.parametrize(
    ("flags", "environ", "toml", "parts"),
    [
        ({"port": "x"}, {}, "", ["--port", "'x'", "whole number from 0 to 65535"]),
        ({"port": "70000"}, {}, "", ["--port", "'70000'"]),
        ({"port": "1.5"}, {}, "", ["--port", "'1.5'"]),
        ({"heartbeat": "nan"}, {}, "", ["--heartbeat", "'nan'"]),
        ({}, {"SIGNALING_PORT": ""}, "", ["SIGNALING_PORT in the environment"]),
        ({}, {"SIGNALING_OPEN": "perhaps"}, "", ["SIGNALING_OPEN", "true or false"]),
        ({}, {"SIGNALING_PROT": "1"}, "", ["SIGNALING_PROT", "no such setting"]),
        ({}, {}, "prot = 1", ["prot in tandem.toml", "no such setting"]),
        ({}, {}, "max_frame = 4096", ["belongs under [limits]"]),
        ({}, {}, "limits = 1", ["limits in tandem.toml", "table"]),
        ({}, {}, "port = true", ["port in tandem.toml", "True"]),
        ({}, {}, "port = [1]", ["port in tandem.toml"]),
        ({}, {}, "port = inf", ["port in tandem.toml", "whole number from 0 to 65535"]),
        ({}, {}, "limits.heartbeat = 1" + 400 * "0", ["limits.heartbeat in tandem.toml"]),
        ({}, {}, "tls_cert = 1", ["tls_cert in tandem.toml", "text"]),
        ({}, {}, "port 1", ["tandem.toml: not TOML"]),
        ({"log_format": "xml"}, {}, "", ["--log-format", "auto or text or json"]),
        ({"allow_origin": ["example.org"]}, {}, "", ["--allow-origin", "https://example.org"]),
        ({"public_ip": ["here"]}, {}, "", ["--public-ip", "'here'"]),
        ({"tls_cert": "a"}, {}, "", ["--tls-key is missing"]),
        ({"tls_key": "a"}, {}, "", ["--tls-cert is missing"]),
        (
            {"tls": "self-signed", "tls_cert": "a", "tls_key": "b"},
            {},
            "",
            ["exclude each other"],
        ),
        ({"host": ["0.0.0.0"]}, {}, "", ["--host 0.0.0.0", "--open"]),
        ({"host": []}, {}, "", ["--host"]),
    ],
)
def test_a_wrong_setting_says_which_from_where_and_what_would_be_right(
    flags: dict[str, Any], environ: dict[str, str], toml: str, parts: list[str]
) -> None:
    text = refuse(flags, environ, toml)
    assert "\n" not in text
    assert all(part in text for part in parts), text


def test_a_public_address_is_refused_until_open_is_given() -> None:
    assert load({"host": ["0.0.0.0"], "open": True}, {}).host == ("0.0.0.0",)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("meet.example", False),
    ],
)
def test_local_is_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_every_field_is_documented_and_its_default_is_within_its_bounds() -> None:
    options = {option.name: option for option in list_options()}
    fields = [f.name for kind in (Config, Limits) for f in dataclasses.fields(kind)]
    assert sorted([*options, "limits"]) == sorted(fields)
    assert all(len(option.about.doc) > 10 for option in options.values())
    texts = {
        name: [str(o.default)]
        for name, o in options.items()
        if isinstance(o.default, (int, float)) and not isinstance(o.default, bool)
    }
    assert load({name: text[0] for name, text in texts.items()}, {}) == Config()


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1  # type: ignore[misc]
