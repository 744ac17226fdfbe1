"""`python -m signaling`: the options, the commands, and what they say on the terminal."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import uvloop

from relay import logs

from . import app, life
from .about import VERSION
from .access import minting
from .settings.arguments import Parser, read_file
from .settings.config import Config, list_options, load
from .settings.setting import ConfigError, Option

USAGE_ERROR = 2

GROUPS = {
    "network": "Where it listens",
    "foreign": "Clients of other systems",
    "access": "Who may join",
    "tls": "TLS",
    "turn": "STUN and TURN",
    "relay": "Media relay",
    "cluster": "Several hubs",
    "webhooks": "Webhooks",
    "lifecycle": "Stopping",
    "logs": "Logs",
    "limits": "Limits",
}

METAVARS = {
    "host": "ADDRESS",
    "allow_origin": "ORIGIN",
    "tls_cert": "FILE",
    "tls_key": "FILE",
    "tls_client_ca": "FILE",
    "trusted_proxy": "CIDR",
    "api_key": "NAME:SECRET",
    "api_key_file": "FILE",
    "turn_secret_file": "FILE",
    "webhook_secret_file": "FILE",
    "metrics_host": "ADDRESS",
    "metrics_token_file": "FILE",
    "cluster_secret_file": "FILE",
    "cluster_host": "ADDRESS",
    "redis_url": "URL",
    "public_ip": "ADDRESS",
}
KINDS: dict[Any, str] = {int: "N", float: "N", int | None: "N"}

# A command's own arguments in, the exit status out.
Command = Callable[[Sequence[str], Mapping[str, str], TextIO], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: the one named first, or `serve`. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: Command = serve
    if arguments and arguments[0] in COMMANDS:
        command = COMMANDS[arguments.pop(0)]
    try:
        return command(arguments, os.environ, sys.stderr)
    except ConfigError as error:
        print(f"signaling: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130


def serve(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:
    """Serve calls until told to stop."""
    config = parse_serve(arguments, environ)
    logs.configure(err, form=config.log_format, level=config.log_level, environ=environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(life.run(config, announce))


def bot(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:
    """Join a room with one of the ready-made bots."""
    from .bot import commands  # Brings codecs along that a server has no use for.

    return commands.main(arguments, environ, err)


def doctor(arguments: Sequence[str], environ: Mapping[str, str], err: TextIO) -> int:
    """Look for what will not work in a deployment."""
    from .doctor import command  # Tries the relay with bots.

    return command.run(arguments, environ, err)


COMMANDS: dict[str, Command] = {
    "serve": serve,
    "token": minting.run,
    "bot": bot,
    "doctor": doctor,
}


def announce(server: app.Server) -> None:
    """Say where to go, and what will not work there."""
    lines = ["Open " + "  or  ".join(server.list_urls())]
    if server.fingerprint is not None:
        lines.append(f"The certificate is made for this run; its SHA-256 is {server.fingerprint}")
    if not server.credentials.needs_tokens:
        lines.append("Anyone who reaches these addresses may join; --api-key asks for tokens.")
    hint = app.check_secure(server)
    if hint is not None:
        lines.append(hint)
    print("\n".join(lines), flush=True)


def parse_serve(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The configuration from flags, environment and file. Raises ConfigError."""
    flags = vars(make_parser().parse_args(arguments))
    path = flags.pop("config", None) or environ.get("SIGNALING_CONFIG")
    environ = {name: value for name, value in environ.items() if name != "SIGNALING_CONFIG"}
    return load(flags, environ, read_file("--config", path) if path else None, path or "")


def make_parser() -> Parser:
    """One option for each setting, grouped, with its default."""
    parser = Parser(
        prog="python -m signaling",
        usage="python -m signaling [serve] [options]",
        description="Video calls from one command and one port.",
        epilog=(
            "Each option is also an environment variable (--log-format: SIGNALING_LOG_FORMAT,"
            " several values separated by commas) and a key in the file (log_format, those under"
            " Limits in a table [limits]). An option wins over a variable, a variable over the"
            " file."
        ),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=96),
    )
    parser.add_argument("--version", action="version", version=f"tandem-rtc {VERSION}")
    parser.add_argument("--config", metavar="FILE", help="A TOML file with settings.")
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for option in list_options():
        add_option(groups[option.about.group], option)
    return parser


def add_option(group: Any, option: Option) -> None:
    help_text = option.about.doc.replace("%", "%%")
    if option.kind is bool:
        group.add_argument(
            option.flag, dest=option.name, action=argparse.BooleanOptionalAction, help=help_text
        )
        return
    default = option.default
    if default not in (None, ()):
        shown = ", ".join(default) if isinstance(default, tuple) else default
        help_text += f" Default: {shown}"
    metavar = (
        "|".join(option.choices) or METAVARS.get(option.name) or KINDS.get(option.kind, "TEXT")
    )
    action = "append" if option.repeatable else "store"
    group.add_argument(
        option.flag, dest=option.name, metavar=metavar, action=action, help=help_text
    )
