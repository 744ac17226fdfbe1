"""The operator's secrets in use: API keys, those of TURN, webhooks and metrics; from options and
files.

What was read from a file is read again on `reload`; where that fails, what was there stays
in force, so that a typing error at night locks nobody out.
"""

from __future__ import annotations

from collections.abc import Callable

from ..logs import Log
from ..protocol.messages import Grant, IceServer
from ..settings.arguments import read_file
from ..settings.config import Config
from ..settings.setting import ConfigError
from ..webhooks.outbox import parse_secret
from . import tokens, turn

_log = Log(__name__)

INVITE_TTL = 24 * 3600
"""Seconds: an invitation is for today's call."""


class Credentials:
    """Answers the hub's and the routes' questions about tokens and TURN. Raises ConfigError."""

    def __init__(self, config: Config, wall: Callable[[], float]) -> None:
        self._config = config
        self._wall = wall
        self._keys: dict[str, str] = {}
        self._authority = tokens.Authority({})
        self._turn_secret = ""
        self.metrics_token = ""
        """What `/metrics` asks for; empty: nothing."""
        self.webhook_key = b""
        self._read()

    @property
    def needs_tokens(self) -> bool:
        """Whether there is a key; it stays so when a reload finds an empty file."""
        return bool(self._config.api_key or self._config.api_key_file)

    def reload(self) -> None:
        """Read the files again; a file that cannot be read changes nothing."""
        try:
            self._read()
        except ConfigError as error:
            _log.error("secrets not reloaded", extra={"reason": str(error)})
        else:
            _log.info("secrets reloaded", extra={"keys": len(self._keys)})

    def _read(self) -> None:
        config = self._config
        try:
            keys = tokens.parse_keys(config.api_key)
        except ValueError as error:
            raise ConfigError(f"--api-key: {error}") from None
        if config.api_key_file is not None:
            text = read_file("--api-key-file", config.api_key_file)
            try:
                keys |= tokens.parse_keys(text.splitlines())
            except ValueError as error:
                raise ConfigError(f"--api-key-file: {config.api_key_file}: {error}") from None
        if self.needs_tokens and not keys:
            raise ConfigError(f"--api-key-file: {config.api_key_file} holds no key")
        secret = config.turn_secret or _read_secret("--turn-secret-file", config.turn_secret_file)
        metrics_token = _read_secret("--metrics-token-file", config.metrics_token_file)
        webhook_key = self._read_webhook_key()
        self._keys, self._turn_secret = keys, secret
        self.metrics_token, self.webhook_key = metrics_token, webhook_key
        self._authority = tokens.Authority(keys)
        for name in self._authority.weak_keys:
            _log.warning("a key's secret is shorter than 32 characters", extra={"key": name})

    def _read_webhook_key(self) -> bytes:
        flag, path = "--webhook-secret-file", self._config.webhook_secret_file
        text = self._config.webhook_secret or _read_secret(flag, path)
        try:
            return parse_secret(text) if text else b""
        except ValueError as error:
            raise ConfigError(f"{flag}: {path}: {error}") from None

    # -- Tokens -------------------------------------------------------------------------

    def authorize_join(self, token: str | None, room: str) -> tokens.Access:
        """Raises ProtocolError `unauthorized`."""
        return self._authority.authorize_join(token, room, self._wall())

    def authorize_admin(self, token: str | None, room: str | None) -> tokens.Access:
        """Raises ProtocolError: `unauthorized`, or `forbidden` for a token of somebody else's."""
        return self._authority.authorize_admin(token, room, self._wall())

    def authorize_list(self, token: str | None) -> tokens.Access:
        """Raises ProtocolError, as `authorize_admin` does."""
        return self._authority.authorize_list(token, self._wall())

    def verify(self, token: str | None) -> tokens.Access:
        """Raises ProtocolError `unauthorized`."""
        return self._authority.verify(token, self._wall())

    def mint_invitation(self, room: str) -> tuple[str, float] | None:
        """Return a token that lets anybody join `room` without moderating, and its expiry.

        None where none is needed.
        """
        if not self.needs_tokens:
            return None
        key = next(iter(self._keys.items()))
        wall = self._wall()
        token = tokens.mint(
            key, room=room, identity="", wall=wall, ttl=INVITE_TTL, grant=Grant(moderate=False)
        )
        return token, wall + INVITE_TTL

    # -- TURN ---------------------------------------------------------------------------

    def ice_servers(self, identity: str) -> list[IceServer]:
        """Return what `identity` (a participant's id) puts into its RTCConfiguration."""
        return turn.ice_servers(
            self._config.turn_url,
            self._turn_secret,
            identity,
            wall=self._wall(),
            ttl=self._config.turn_ttl,
        )


def _read_secret(flag: str, path: str | None) -> str:
    """The one secret in a file; empty where there is no file. Raises ConfigError."""
    if path is None:
        return ""
    secret = read_file(flag, path).strip()
    if not secret:
        raise ConfigError(f"{flag}: {path} is empty")
    return secret
