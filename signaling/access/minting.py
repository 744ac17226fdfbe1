"""`python -m signaling token`: an access token on the terminal."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO
from urllib.parse import urlencode

from msgspec import UNSET

from ..protocol.messages import Grant
from ..settings.arguments import Parser, read_file
from ..settings.setting import ConfigError
from . import tokens

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m signaling token",
        description="Mints an access token (JWT, HS256, as LiveKit's libraries do) and prints it.",
        epilog="The key may also come from SIGNALING_API_KEY; of several the first signs.",
        allow_abbrev=False,
    )
    parser.add_argument("--api-key", metavar="NAME:SECRET", help="The key that signs.")
    parser.add_argument("--api-key-file", metavar="FILE", help="File with keys, one a line.")
    parser.add_argument("--room", help="The room it opens; left out, with --admin: all rooms.")
    parser.add_argument(
        "--identity",
        required=True,
        help="Who holds it; in a room once, unless it is '' or --identity many lets it be.",
    )
    parser.add_argument("--name", default="", help="The name that others see.")
    parser.add_argument(
        "--ttl",
        default="6h",
        type=parse_ttl,
        help="How long it holds: 90s, 30m, 6h, 7d. Default: 6h",
    )
    parser.add_argument("--admin", action="store_true", help="May moderate, and use /api.")
    parser.add_argument("--no-publish", action="store_true", help="May not send media.")
    parser.add_argument("--no-subscribe", action="store_true", help="May not receive media.")
    parser.add_argument("--no-chat", action="store_true", help="May not write.")
    parser.add_argument("--hidden", action="store_true", help="Receives, and nobody is told of it.")
    parser.add_argument("--no-update", action="store_true", help="May not change its name.")
    parser.add_argument("--list", action="store_true", help="May list rooms by /api.")
    parser.add_argument("--url", help="Print a link to the page there instead of the token.")
    return parser


def run(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:  # noqa: ARG001
    """Print a token, or a link that holds one. Raises ConfigError."""
    options = make_parser().parse_args(arguments)
    if not (options.room or options.admin or options.list):
        raise ConfigError("token: --room is missing (only --admin or --list is for all rooms)")
    if options.room and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", options.room):
        raise ConfigError("token: --room is 1 to 64 letters, digits, dots, dashes, underscores")
    grant = Grant(
        publish=not options.no_publish,
        subscribe=not options.no_subscribe,
        chat=not options.no_chat,
        moderate=options.admin,
        update=False if options.no_update else UNSET,
        hidden=True if options.hidden else UNSET,
    )
    token = tokens.mint(
        _find_key(options, environ),
        room=options.room or "",
        identity=options.identity,
        name=options.name,
        wall=time.time(),
        ttl=options.ttl,
        grant=grant,
        lists=options.list,
    )
    if options.url is None:
        print(token, file=sys.stdout)
    else:
        # After the "#": a browser keeps it to itself, so it is in no server's log.
        query, fragment = urlencode({"room": options.room or ""}), urlencode({"token": token})
        print(f"{options.url.rstrip('/')}/?{query}#{fragment}", file=sys.stdout)
    return 0


def parse_ttl(text: str) -> int:
    """Read 90s, 30m, 6h or 7d; a bare number is seconds."""
    match = re.fullmatch(r"([1-9]\d{0,8})([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 90s, 30m, 6h or 7d")
    return int(match[1]) * _UNITS[match[2] or "s"]


def _find_key(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, str]:
    lines: Sequence[str] = environ.get("SIGNALING_API_KEY", "").split(",")
    source = "SIGNALING_API_KEY"
    try:
        if options.api_key is not None:
            lines, source = [options.api_key], "--api-key"
        elif options.api_key_file is not None:
            source = f"--api-key-file: {options.api_key_file}"
            lines = read_file("token: --api-key-file", options.api_key_file).splitlines()
        keys = tokens.parse_keys(lines)
    except ValueError as error:
        raise ConfigError(f"token: {source}: {error}") from None
    if not keys:
        raise ConfigError("token: a key is missing: --api-key NAME:SECRET or SIGNALING_API_KEY")
    return next(iter(keys.items()))
