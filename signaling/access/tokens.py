"""Access tokens: who may do what in which room.

JSON Web Tokens (RFC 7519), HS256, in the shape that LiveKit's server libraries mint:
`iss` names the key, `sub` the identity, and `video` holds the grants. Several keys may
hold at once, so that one can be replaced while tokens of the other are still about.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jwt
import msgspec
from msgspec import UNSET

from ..protocol.errors import ProtocolError
from ..protocol.messages import Grant, Source

# Clocks of the machine that mints and of this one differ by seconds, not by minutes.
LEEWAY = 10.0
# RFC 7518, 3.2: "A key of the same size as the hash output (for instance, 256 bits for
# HS256) or larger MUST be used with this algorithm."
STRONG_SECRET = 32
# A token with all that we read is some 500 bytes; parsing is not for free.
MAX_TOKEN = 8192


class Access(msgspec.Struct, frozen=True):
    """What a token opens. `room` empty: every room, for administration only.

    `sources`: the only kinds of track that may be published; None: any. `serial` tells one token
    from others, without being one.
    """

    grant: Grant
    join: bool = True
    room: str = ""
    identity: str = ""
    name: str = ""
    sources: frozenset[Source] | None = None
    lists: bool = False
    """May list rooms, without administering any."""
    serial: str = ""

    @property
    def full_grant(self) -> Grant:
        """The grant with the sources in it, as participants hold it."""
        if self.sources is None:
            return self.grant
        return msgspec.structs.replace(self.grant, sources=sorted(self.sources))

    def covers(self, room: str) -> bool:
        return self.room in ("", room)


_SOURCES: dict[str, Source] = {
    "camera": "camera",
    "microphone": "microphone",
    "screen_share": "screen",
    "screen_share_audio": "screen-audio",
}


class _Video(msgspec.Struct, rename="camel"):
    """The `video` claim; what is absent is not restricted, but has to be granted to act on
    a room as a whole: the defaults are those of LiveKit's server."""

    room: str = ""
    room_join: bool = False
    room_admin: bool = False
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: list[str] | None = None
    can_update_own_metadata: bool | None = None
    hidden: bool = False
    recorder: bool = False
    room_list: bool = False


class _Claims(msgspec.Struct):
    exp: float
    sub: str = ""
    name: str = ""
    nbf: float | None = None
    video: _Video = msgspec.field(default_factory=_Video)


def parse_key(text: str) -> tuple[str, str]:
    """Split NAME:SECRET. Raises ValueError, which never quotes the secret."""
    name, separator, secret = text.strip().partition(":")
    name, secret = name.strip(), secret.strip()
    if not (separator and name and secret):
        raise ValueError("an API key is NAME:SECRET")
    return name, secret


def parse_keys(lines: Iterable[str]) -> dict[str, str]:
    """Read one NAME:SECRET a line; empty lines and those that begin with # are passed over."""
    keys: dict[str, str] = {}
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            name, secret = parse_key(line)
            keys[name] = secret
    return keys


class Authority:
    """Checks tokens against a set of keys."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys)

    @property
    def weak_keys(self) -> list[str]:
        """Names of keys whose secret is shorter than the algorithm asks for."""
        return [name for name, secret in self._keys.items() if len(secret) < STRONG_SECRET]

    def verify(self, token: str | None, wall: float) -> Access:
        """Return what the token opens. Raises ProtocolError `unauthorized`."""
        if not token:
            raise ProtocolError("unauthorized", "This server needs a token.")
        claims = self._decode(token)
        if not math.isfinite(claims.exp) or claims.exp + LEEWAY < wall:
            raise ProtocolError("unauthorized", "The token has expired.")
        if claims.nbf is not None and claims.nbf - LEEWAY > wall:
            raise ProtocolError("unauthorized", "The token does not hold yet.")
        return _make_access(claims, _digest(token))

    def authorize_join(self, token: str | None, room: str, wall: float) -> Access:
        """Return the access of one who may join `room`. Raises ProtocolError `unauthorized`."""
        access = self.verify(token, wall)
        # A token to join names its room: one that leaves it out is more likely a mistake
        # than a key to every room there will ever be.
        if not access.join or access.room != room:
            raise ProtocolError("unauthorized", f"The token is not for joining room {room}.")
        return access

    def authorize_admin(self, token: str | None, room: str | None, wall: float) -> Access:
        """Return the access of one who administers `room`; None: some room or all of them.

        Raises ProtocolError: `unauthorized` for a bad token, `forbidden` for a good one
        without the grant.
        """
        access = self.verify(token, wall)
        if not access.grant.moderate or (room is not None and not access.covers(room)):
            raise ProtocolError("forbidden", "The token does not allow that.")
        return access

    def authorize_list(self, token: str | None, wall: float) -> Access:
        """Return the access of one who may list rooms: its own, or all where it names none.

        Raises ProtocolError, as `authorize_admin` does.
        """
        access = self.verify(token, wall)
        if not access.lists:
            raise ProtocolError("forbidden", "The token does not allow that.")
        return access

    def _decode(self, token: str) -> _Claims:
        # One text for all that is wrong with a token: a guesser learns nothing from it.
        malformed = ProtocolError("unauthorized", "The token is not valid.")
        if len(token) > MAX_TOKEN:
            raise malformed
        try:
            # Read first, trusted after: the issuer says which key to check with.
            unverified = jwt.decode(token, options={"verify_signature": False})
            secret = self._keys.get(unverified.get("iss", ""))
            if secret is None:
                raise malformed
            with warnings.catch_warnings():
                # Weak keys are named once, when the server starts.
                warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
                payload: Any = jwt.decode(
                    token,
                    secret,
                    algorithms=["HS256"],
                    # Times are compared with `wall`, which a test can set.
                    options={
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                        "verify_aud": False,
                        "require": ["exp", "iss"],
                    },
                )
            return msgspec.convert(payload, _Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, TypeError, ValueError):
            raise malformed from None


def _digest(token: str) -> str:
    """A name for what was signed: one signature can be written in several ways."""
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]


def _make_access(claims: _Claims, serial: str) -> Access:
    video = claims.video
    sources = None
    if video.can_publish_sources:
        # "When set, it supersedes CanPublish. Only sources explicitly set here can be
        # published" (LiveKit, VideoGrants). One that we do not know allows nothing.
        sources = frozenset(
            _SOURCES[name.lower()] for name in video.can_publish_sources if name.lower() in _SOURCES
        )
    hidden = video.hidden or video.recorder
    publish = bool(sources) if sources is not None else video.can_publish is not False
    grant = Grant(
        publish=publish and not hidden,
        subscribe=video.can_subscribe is not False,
        chat=video.can_publish_data is not False,
        moderate=video.room_admin,
        data=video.can_publish_data is not False,
        update=False if video.can_update_own_metadata is False else UNSET,
        hidden=True if hidden else UNSET,
    )
    return Access(
        grant,
        join=video.room_join,
        room=video.room,
        identity=_mend(claims.sub),
        name=_mend(claims.name),
        sources=sources,
        lists=video.room_list or video.room_admin,
        serial=serial,
    )


def _mend(text: str) -> str:
    """Text that can be sent on. JSON may hold half of a surrogate pair, such as is left of an
    emoji where a program cut a name to a length; UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def mint(
    key: tuple[str, str],
    *,
    room: str,
    identity: str,
    wall: float,
    ttl: float,
    name: str = "",
    grant: Grant | None = None,
    lists: bool = False,
) -> str:
    """Return a token for `room` (empty: all, for administration), good for `ttl` seconds."""
    grant = grant or Grant()
    video: dict[str, Any] = {
        "room": room,
        "roomJoin": bool(room),
        "canPublish": grant.publish,
        "canSubscribe": grant.subscribe,
        "canPublishData": grant.chat,
        "roomAdmin": grant.moderate,
    }
    if grant.hidden is True:
        video["hidden"] = True
    if grant.update is False:
        video["canUpdateOwnMetadata"] = False
    if lists:
        video["roomList"] = True
    claims: dict[str, Any] = {
        "iss": key[0],
        "sub": identity,
        "nbf": int(wall),
        "exp": int(wall + ttl),
        "video": video,
    }
    if name:
        claims["name"] = name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, key[1], algorithm="HS256")
