"""What a setting is: a field that carries its own documentation, bounds and group, so that
`--help`, the environment variable (`SIGNALING_` and the field's name), the TOML key and the
error for a wrong value all come from the one line that defines it.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

ENV_PREFIX = "SIGNALING_"


class ConfigError(Exception):
    """A setting is wrong. The text is one line: which setting, from where, what would be right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What is known about a field besides its type and default: where it shows and its bounds."""

    doc: str
    group: str
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    example: str | None = None
    secret: bool = False


def setting(
    default: Any,
    doc: str,
    group: str,
    *,
    least: float | None = None,
    most: float | None = None,
    pattern: str | None = None,
    example: str | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field that says what it is for; a secret one is not quoted in errors."""
    about = Setting(doc, group, least, most, pattern, example, secret)
    return dataclasses.field(default=default, metadata={"setting": about})


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One setting as the outside sees it."""

    name: str
    kind: Any
    default: Any
    about: Setting
    nested: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENV_PREFIX + self.name.upper()

    @property
    def key(self) -> str:
        return f"limits.{self.name}" if self.nested else self.name

    @property
    def repeatable(self) -> bool:
        return typing.get_origin(self.kind) is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else ()


def list_fields(kind: type, nested: bool) -> Iterable[Option]:
    """Those of a dataclass; `nested`: they belong into a table of the file."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if "setting" in field.metadata:
            yield Option(
                field.name, hints[field.name], field.default, field.metadata["setting"], nested
            )


def find_value(
    option: Option,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    values: Mapping[str, Any],
    toml_name: str,
) -> tuple[Any, str] | None:
    """What was given for the option, and where: by flag, else variable, else in the file."""
    if option.name in flags:
        return flags[option.name], option.flag
    if option.variable in environ:
        text = environ[option.variable]
        value = [part.strip() for part in text.split(",") if part.strip()]
        return (value if option.repeatable else text), f"{option.variable} in the environment"
    if option.key in values:
        return values[option.key], f"{option.key} in {toml_name}"
    return None


def convert(option: Option, value: Any, source: str) -> Any:
    """Turn text (or a TOML value) into what the field holds, or say what would be right."""
    if option.repeatable:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert_one(option, str, item, source) for item in items)
    kind = option.kind
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return _convert_one(option, kind, value, source)


TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")


def _convert_one(option: Option, kind: Any, value: Any, source: str) -> Any:
    about = option.about
    wanted = describe_kind(option)
    quoted = "what it holds" if about.secret else repr(value)
    refusal = ConfigError(f"{source}: {quoted} is wrong, it has to be {wanted}")
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in TRUE + FALSE:
            return str(value).lower() in TRUE
        raise refusal
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise refusal
        try:
            number = kind(value)
            exact = number == float(value)
        except (ValueError, OverflowError):  # the latter for inf, and for more than a float holds
            raise refusal from None
        if not exact or not _within(number, about):
            raise refusal
        return number
    if not isinstance(value, str) or (option.choices and value not in option.choices):
        raise refusal
    if about.pattern and not re.fullmatch(about.pattern, value):
        raise refusal
    return value


def _within(number: float, about: Setting) -> bool:
    # Written so that NaN, for which every comparison is false, is refused.
    over = about.least is None or number >= about.least
    under = about.most is None or number <= about.most
    return over and under


def describe_kind(option: Option) -> str:
    """What a right value looks like, for people."""
    about = option.about
    if option.choices:
        return " or ".join(option.choices)
    if option.kind is bool:
        return "true or false"
    if option.repeatable or about.least is None:
        example = f" like {about.example}" if about.example else ""
        return f"text{example}"
    number = "a number" if option.kind is float else "a whole number"
    return f"{number} from {about.least:g} to {_plain(about.most)}"


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.10g}"
