"""The hub's configuration: one frozen object, made once, from flags, environment and a TOML file.

Above 400 lines, because every setting is in it, each with its documentation and bounds.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..access.turn import parse_url
from ..http.proxy import parse_networks
from ..webhooks.outbox import parse_secret
from .setting import ENV_PREFIX, ConfigError, Option, convert, find_value, list_fields, setting

MINUTE = 60.0
HOUR = 60 * MINUTE
KIB = 1024
MIB = 1024 * KIB


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound that one client, or all together, can run into."""

    max_frame: int = setting(
        64 * KIB,
        "Largest WebSocket message, in bytes; a large SDP is about 10 KiB. Over it: too-large.",
        "limits",
        least=KIB,
        most=16 * MIB,
    )
    max_description: int = setting(
        256 * KIB,
        "Largest message with a session description for the relay, in bytes: the answer for a room"
        " of 50 is about 150 KiB. Over it: too-large.",
        "limits",
        least=KIB,
        most=16 * MIB,
    )
    max_name: int = setting(
        64, "Longest display name, in characters.", "limits", least=1, most=1024
    )
    max_metadata: int = setting(
        2 * KIB, "Largest metadata of a participant, in bytes of JSON.", "limits", least=2, most=MIB
    )
    max_chat: int = setting(
        4096, "Longest chat message, in characters.", "limits", least=1, most=MIB
    )
    chat_history: int = setting(
        50,
        "Chat messages to everyone that those who come later get, as long as the room lasts;"
        " at most 64 KiB of them. 0: none.",
        "limits",
        least=0,
        most=1000,
    )
    max_data: int = setting(
        16 * KIB,
        "Largest content of a data message, in bytes of JSON.",
        "limits",
        least=1,
        most=MIB,
    )
    max_participants: int = setting(
        50, "Participants in one room. Over it: room-full.", "limits", least=1, most=10_000
    )
    max_rooms: int = setting(
        10_000, "Rooms at a time. Over it: room-full.", "limits", least=1, most=10_000_000
    )
    max_connections: int = setting(
        20_000,
        "WebSocket connections at a time; further ones get HTTP 503.",
        "limits",
        least=1,
        most=10_000_000,
    )
    max_sockets: int = setting(
        25_000,
        "Sockets open at a time, WebSockets and others; further ones are closed at once.",
        "limits",
        least=1,
        most=10_000_000,
    )
    outbox_messages: int = setting(
        2048,
        "Messages that may wait for a client that reads slowly; all that is kept for a resume, and"
        " as many again. Over it: overloaded.",
        "limits",
        least=8,
        most=1_000_000,
    )
    outbox_bytes: int = setting(
        MIB,
        "Bytes that may wait for a client that reads slowly. Over it: overloaded.",
        "limits",
        least=64 * KIB,
        most=1024 * MIB,
    )
    replay_messages: int = setting(
        1024,
        "Messages kept for a client that lost its connection; beyond, it has to join again.",
        "limits",
        least=1,
        most=1_000_000,
    )
    replay_bytes: int = setting(
        MIB,
        "Bytes kept for a client that lost its connection; beyond, it has to join again.",
        "limits",
        least=KIB,
        most=1024 * MIB,
    )
    message_rate: float = setting(
        200.0,
        "Messages a second that one session may send for long. Over it: rate-limited.",
        "limits",
        least=1,
        most=1_000_000,
    )
    message_burst: int = setting(
        400,
        "Messages that one session may send at once; joining a full room by ICE takes about 300.",
        "limits",
        least=1,
        most=1_000_000,
    )
    broadcast_rate: float = setting(
        100.0,
        "Of these, messages a second that go to a whole room (chat, update, data to more"
        " than one). Over it: rate-limited.",
        "limits",
        least=1,
        most=1_000_000,
    )
    broadcast_burst: int = setting(
        400, "Such messages that one session may send at once.", "limits", least=1, most=1_000_000
    )
    heartbeat: float = setting(
        25.0,
        "Seconds between heartbeats; below the 30 s after which many proxies cut idle sockets.",
        "limits",
        least=0.1,
        most=HOUR,
    )
    resume_within: float = setting(
        30.0,
        "Seconds for which the place of a client that lost its connection is kept.",
        "limits",
        least=0,
        most=HOUR,
    )
    connection_rate: float = setting(
        10.0,
        "Connections a second from one address (an IPv6 /64) for long. Over it: HTTP 429.",
        "limits",
        least=0.01,
        most=1_000_000,
    )
    connection_burst: int = setting(
        20, "Connections from one address at once.", "limits", least=1, most=1_000_000
    )
    address_connections: int = setting(
        200,
        "Connections of one address at a time; an office shares one. Over it: HTTP 429.",
        "limits",
        least=1,
        most=1_000_000,
    )
    join_rate: float = setting(
        10.0,
        "Joins a second from one address for long. Over it: rate-limited.",
        "limits",
        least=0.01,
        most=1_000_000,
    )
    join_burst: int = setting(
        50, "Joins from one address at once.", "limits", least=1, most=1_000_000
    )
    token_join_rate: float = setting(
        1.0,
        "Joins a second with one token for long, also by WHIP and WHEP. Over it: rate-limited.",
        "limits",
        least=0.01,
        most=1_000_000,
    )
    token_join_burst: int = setting(
        50,
        "Joins with one token at once; an invitation is one token for many.",
        "limits",
        least=1,
        most=1_000_000,
    )
    media_timeout: float = setting(
        15.0,
        "Seconds from a WHIP or WHEP request to its media connection; after that it ends.",
        "limits",
        least=1,
        most=HOUR,
    )
    request_rate: float = setting(
        100.0,
        "HTTP requests a second from one address for long; loading the page takes about 60. Over"
        " it: HTTP 429, and after as many refusals as --request-burst a ban.",
        "limits",
        least=0.01,
        most=1_000_000,
    )
    request_burst: int = setting(
        500, "HTTP requests from one address at once.", "limits", least=1, most=1_000_000
    )
    ban: float = setting(
        300.0,
        "Seconds for which an address is shut out after 20 violations within a minute, or a flood"
        " of requests.",
        "limits",
        least=0,
        most=24 * HOUR,
    )
    handshake_timeout: float = setting(
        10.0,
        "Seconds for a TLS handshake, and for a request to arrive.",
        "limits",
        least=0.1,
        most=HOUR,
    )
    join_timeout: float = setting(
        60.0,
        "Seconds from connecting to joining a room; longer than two heartbeats.",
        "limits",
        least=0.1,
        most=HOUR,
    )
    mesh_limit: int = setting(
        4,
        "Participants up to which a room connects directly, without the relay.",
        "limits",
        least=0,
        most=10_000,
    )
    mesh_return: float = setting(
        10.0,
        "Seconds a room has to be smaller again before it connects directly again.",
        "limits",
        least=0,
        most=HOUR,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. Addresses are text as given; times are seconds."""

    host: tuple[str, ...] = setting(
        ("127.0.0.1", "::1"),
        "Address to listen on; repeatable. Only this machine by default; 0.0.0.0 and :: are all"
        " addresses.",
        "network",
        example="0.0.0.0",
    )
    port: int = setting(
        8443,
        "TCP port for pages and WebSockets; 0 takes a free one.",
        "network",
        least=0,
        most=65535,
    )
    open: bool = setting(
        False, "Listen on other than local addresses although anyone may join.", "network"
    )
    allow_origin: tuple[str, ...] = setting(
        (),
        "Origin of pages, besides our own, that may open a WebSocket; repeatable; * allows all.",
        "network",
        pattern=r"\*|https?://[^/\s]+",
        example="https://example.org",
    )
    websocket: Literal["auto", "direct", "plain"] = setting(
        "auto",
        "How frames are read: direct handles them in the parser's callback, plain uses only the"
        " public API of aiohttp, auto is direct where this aiohttp allows it.",
        "network",
    )
    trusted_proxy: tuple[str, ...] = setting(
        (),
        "Address or CIDR block of proxies whose X-Forwarded-For and -Proto count; repeatable.",
        "network",
        example="10.0.0.0/8",
    )
    metrics_host: str = setting(
        "127.0.0.1",
        "Address of the port that --metrics-port opens.",
        "network",
        example="10.0.0.5",
    )
    metrics_port: int | None = setting(
        None,
        "TCP port for /metrics alone, plain HTTP, which is then not on the other port.",
        "network",
        least=0,
        most=65535,
    )
    peerjs: bool = setting(False, "Serve PeerJS clients, as peerjs-server does.", "foreign")
    peerjs_path: str = setting(
        "/peerjs",
        "Where PeerJS clients come in: what they have as their path.",
        "foreign",
        pattern=r"/[A-Za-z0-9._~/-]{0,200}",
        example="/peerjs",
    )
    peerjs_key: str = setting(
        "peerjs",
        "The key that PeerJS clients have to name.",
        "foreign",
        pattern=r"[A-Za-z0-9._~-]{1,200}",
    )
    peerjs_discovery: bool = setting(
        False, "Tell whoever has the key which PeerJS clients are there.", "foreign"
    )
    y_webrtc: bool = setting(False, "Serve y-webrtc clients at /yjs.", "foreign")
    metrics_token_file: str | None = setting(
        None,
        "File with a token that /metrics asks for as Bearer; read again on SIGHUP.",
        "access",
        example="/etc/tandem/metrics",
    )
    api_key: tuple[str, ...] = setting(
        (),
        "Key that signs access tokens, as NAME:SECRET; repeatable. With a key, nobody joins without"
        " a token.",
        "access",
        pattern=r"[^:]+:.+",
        example="NAME:SECRET",
        secret=True,
    )
    api_key_file: str | None = setting(
        None,
        "File with such keys, one a line; read again on SIGHUP.",
        "access",
        example="/etc/tandem/keys",
    )
    identity: Literal["once", "many"] = setting(
        "once",
        "How often the identity of a token may be in a room: once, so that a second join replaces"
        " the first, or many times.",
        "access",
    )
    lobby: bool = setting(
        False, "Whoever has no right to moderate waits until a moderator lets them in.", "access"
    )
    turn_url: tuple[str, ...] = setting(
        (),
        "STUN or TURN server that clients are told of; repeatable.",
        "turn",
        example="turn:turn.example.org:3478?transport=udp",
    )
    turn_secret: str | None = setting(
        None,
        "The secret that coturn has as static-auth-secret.",
        "turn",
        secret=True,
        example="the output of openssl rand -hex 32",
    )
    turn_secret_file: str | None = setting(
        None, "File with that secret; read again on SIGHUP.", "turn", example="/etc/tandem/turn"
    )
    turn_ttl: int = setting(
        12 * 3600,
        "Seconds for which a client's TURN credentials hold: a working day's meeting.",
        "turn",
        least=60,
        most=30 * 24 * 3600,
    )
    webhook_url: tuple[str, ...] = setting(
        (),
        "Where events of rooms and participants are posted; repeatable.",
        "webhooks",
        pattern=r"https?://[^/\s]+(/\S*)?",
        example="https://example.org/hook",
    )
    webhook_secret: str | None = setting(
        None,
        "Key that signs webhooks (whsec_… or 16 characters and more).",
        "webhooks",
        secret=True,
        example="whsec_ and 24 random bytes in base64",
    )
    tls: Literal["off", "self-signed"] = setting(
        "off",
        "self-signed makes a certificate in memory, so that a phone on the LAN may use its camera.",
        "tls",
    )
    tls_cert: str | None = setting(
        None, "File with the certificate chain, PEM.", "tls", example="fullchain.pem"
    )
    tls_key: str | None = setting(
        None, "File with the certificate's key, PEM.", "tls", example="privkey.pem"
    )
    tls_client_ca: str | None = setting(
        None,
        "File with authorities, PEM: clients must show a certificate that one of them signed.",
        "tls",
        example="clients.pem",
    )
    relay_workers: int = setting(
        1, "Processes that relay media; 0 switches the relay off.", "relay", least=0, most=256
    )
    relay_port: int | None = setting(
        None,
        "UDP port of the first relay worker, the next ones for further workers; by default the"
        " number of the TCP port.",
        "relay",
        least=0,
        most=65535,
    )
    max_bitrate: int = setting(
        8_000_000,
        "Most that one picture may be published with through the relay, in bit/s, all its layers"
        " together; whoever sends more is cut at the end of a frame.",
        "relay",
        least=100_000,
        most=1_000_000_000,
    )
    max_sound_bitrate: int = setting(
        512_000,
        "Most that one sound may be published with, in bit/s.",
        "relay",
        least=16_000,
        most=100_000_000,
    )
    max_participant_bitrate: int = setting(
        20_000_000,
        "Most that one participant may publish in all, in bit/s; beyond it pictures are cut.",
        "relay",
        least=100_000,
        most=1_000_000_000,
    )
    public_ip: tuple[str, ...] = setting(
        (),
        "Address at which clients reach the relay; repeatable. By default those of the machine's"
        " interfaces.",
        "relay",
        example="203.0.113.7",
    )
    redis_url: str | None = setting(
        None,
        "Redis through which several hubs are one server: redis://, rediss:// or"
        " redis+sentinel://host:port,host:port/service. Without it this hub is alone.",
        "cluster",
        pattern=r"(rediss?|redis\+sentinel|unix)://\S+",
        example="redis://10.0.0.5:6379/0",
        secret=True,
    )
    cluster_host: str | None = setting(
        None,
        "Address at which other hubs reach this one; by default that from which it reaches Redis.",
        "cluster",
        example="10.0.0.7",
    )
    cluster_port: int = setting(
        0, "TCP port for other hubs; 0 takes a free one.", "cluster", least=0, most=65535
    )
    cluster_secret: str | None = setting(
        None,
        "Secret that hubs prove to each other. By default the first hub leaves one in Redis.",
        "cluster",
        secret=True,
        example="the output of openssl rand -hex 32",
    )
    cluster_secret_file: str | None = setting(
        None, "File with that secret.", "cluster", example="/etc/tandem/cluster"
    )
    webhook_secret_file: str | None = setting(
        None,
        "File with that key; read again on SIGHUP.",
        "webhooks",
        example="/etc/tandem/webhook",
    )
    region: str = setting(
        "",
        "This hub's region: rooms go to relay nodes of it before others.",
        "cluster",
        pattern=r"[A-Za-z0-9-]{0,32}",
        example="eu",
    )
    event_stream: str | None = setting(
        None,
        "Redis stream to which events of rooms and participants are written, at least once.",
        "cluster",
        pattern=r"[A-Za-z0-9:._-]{1,128}",
        example="tandem-events",
    )
    drain_timeout: float = setting(
        10.0,
        "Seconds for clients to go elsewhere after SIGTERM, before the rest is cut.",
        "lifecycle",
        least=0,
        most=HOUR,
    )
    log_format: Literal["auto", "text", "json"] = setting(
        "auto", "auto is text on a terminal and JSON elsewhere.", "logs"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least severe lines that are written.", "logs"
    )
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        check(self)


def list_options() -> list[Option]:
    """Every setting, in the order of definition, nested ones last."""
    return [*list_fields(Config, False), *list_fields(Limits, True)]


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    toml: str | None = None,
    toml_name: str = "the configuration file",
) -> Config:
    """Make the configuration: a flag wins over the environment, which wins over the file.

    `flags` maps names of settings to the text given (a list of texts where repeatable, a bool
    for a switch); those not given are absent. Raises ConfigError.
    """
    values = _parse_toml(toml, toml_name) if toml is not None else {}
    outer: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    known = {option.variable for option in list_options()}
    unknown = sorted(n for n in environ if n.startswith(ENV_PREFIX) and n not in known)
    if unknown:
        raise ConfigError(f"{unknown[0]} in the environment: there is no such setting")
    for option in list_options():
        found = find_value(option, flags, environ, values, toml_name)
        if found is not None:
            value, source = found
            (nested if option.nested else outer)[option.name] = convert(option, value, source)
    return Config(**outer, limits=Limits(**nested))


def _parse_toml(text: str, name: str) -> dict[str, Any]:
    """Flatten the file to dotted keys, refusing those that nobody would read."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    limits = tree.pop("limits", {})
    if not isinstance(limits, dict):
        raise ConfigError(f"limits in {name}: has to be a table, [limits]")
    values = {**tree, **{f"limits.{key}": value for key, value in limits.items()}}
    known = {option.key for option in list_options()}
    for key in values:
        if key not in known:
            near = [k for k in known if k.rpartition(".")[2] == key]
            hint = f"; {key} belongs under [limits]" if near else ""
            raise ConfigError(f"{key} in {name}: there is no such setting{hint}")
    return values


def check(config: Config) -> None:
    """Refuse what is wrong only in combination. Raises ConfigError."""
    if not config.host:
        raise ConfigError("--host: at least one address is needed, like 127.0.0.1")
    if (config.tls_cert is None) != (config.tls_key is None):
        missing = "--tls-key" if config.tls_key is None else "--tls-cert"
        raise ConfigError(f"{missing} is missing: a certificate and its key are given together")
    if config.tls_cert is not None and config.tls != "off":
        raise ConfigError("--tls self-signed and --tls-cert exclude each other: give one of them")
    for address in config.public_ip:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigError(
                f"--public-ip: {address!r} is wrong, it has to be an IP address like 203.0.113.7"
            ) from None
    _check_access(config)
    strangers = find_public_hosts(config.host)
    if strangers and not (config.open or config.api_key or config.api_key_file):
        raise ConfigError(
            f"--host {strangers[0]} is not local to this machine and anyone may join there: give a"
            " key (--api-key), or add --open if that is meant"
        )


def _check_access(config: Config) -> None:
    """What `check` has to say of keys, TURN, proxies and webhooks."""
    try:
        parse_networks(config.trusted_proxy)
    except ValueError as error:
        raise ConfigError(f"--trusted-proxy: {error}") from None
    try:
        needed = any(parse_url(url).needs_credentials for url in config.turn_url)
    except ValueError as error:
        raise ConfigError(f"--turn-url: {error}") from None
    if config.turn_secret and config.turn_secret_file:
        raise ConfigError("--turn-secret and --turn-secret-file exclude each other")
    if needed and not (config.turn_secret or config.turn_secret_file):
        raise ConfigError("--turn-secret or --turn-secret-file is missing: TURN needs credentials")
    if config.webhook_secret and config.webhook_secret_file:
        raise ConfigError("--webhook-secret and --webhook-secret-file exclude each other")
    if config.webhook_url and not (config.webhook_secret or config.webhook_secret_file):
        raise ConfigError("--webhook-secret is missing: webhooks are signed")
    if config.webhook_secret is not None:
        try:
            parse_secret(config.webhook_secret)
        except ValueError as error:
            raise ConfigError(f"--webhook-secret: {error}") from None
    if config.event_stream and not config.redis_url:
        raise ConfigError("--event-stream needs --redis-url")
    if config.cluster_secret and config.cluster_secret_file:
        raise ConfigError("--cluster-secret and --cluster-secret-file exclude each other")
    if config.tls_client_ca and config.tls == "off" and config.tls_cert is None:
        raise ConfigError("--tls-client-ca needs TLS: give --tls-cert and --tls-key")


LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def is_local(host: str) -> bool:
    """Whether only this machine reaches `host`; a name that is not localhost counts as not."""
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def find_public_hosts(hosts: Sequence[str]) -> list[str]:
    """Those of `hosts` that other machines may reach."""
    return [host for host in hosts if not is_local(host)]
