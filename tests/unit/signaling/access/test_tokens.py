"""Tokens: what is accepted, what is refused, and what each grant becomes."""

from __future__ import annotations

import datetime
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api
from msgspec import UNSET

from signaling.access.tokens import MAX_TOKEN, Access, Authority, mint, parse_key, parse_keys
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant

KEY = ("front-desk", "a secret of at least thirty-two bytes, or sixty-four for HS512 tokens")
OTHER = ("old-desk", "another secret of thirty-two bytes, too")
WALL = 1_800_000_000.0
AUTHORITY = Authority(dict([KEY, OTHER]))


def token(key: tuple[str, str] = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": key[0],
        "sub": "ada",
        "exp": WALL + 60,
        "video": {"room": "demo", "roomJoin": True},
    }
    claims |= changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key[1], algorithm=algorithm)


def refusal(text: str | None, room: str = "demo") -> ProtocolError:
    with pytest.raises(ProtocolError) as raised:
        AUTHORITY.authorize_join(text, room, WALL)
    return raised.value


def test_a_token_for_the_room_lets_its_holder_in() -> None:
    access = AUTHORITY.authorize_join(token(name="Ada"), "demo", WALL)
    assert access == Access(Grant(), room="demo", identity="ada", name="Ada", serial=access.serial)


def test_half_an_emoji_in_a_name_is_replaced_and_spoils_no_message() -> None:
    cut = "Ada \N{GRINNING FACE}".encode("utf-16-le")[:-2].decode("utf-16-le", "surrogatepass")
    access = AUTHORITY.authorize_join(token(name=cut, sub=cut), "demo", WALL)
    assert access.name == access.identity == "Ada \N{REPLACEMENT CHARACTER}"


def test_each_grant_can_be_withheld() -> None:
    video = {
        "room": "demo",
        "roomJoin": True,
        "canPublish": False,
        "canSubscribe": False,
        "canPublishData": False,
        "roomAdmin": True,
    }
    access = AUTHORITY.authorize_join(token(video=video), "demo", WALL)
    assert access.grant == Grant(
        publish=False, subscribe=False, chat=False, moderate=True, data=False
    )


@pytest.mark.parametrize("name", ["hidden", "recorder"])
def test_a_recorder_joins_unseen_and_publishes_nothing(name: str) -> None:
    access = AUTHORITY.verify(token(video={"room": "demo", "roomJoin": True, name: True}), WALL)
    assert access.grant.hidden is True
    assert not access.grant.publish
    assert access.grant.subscribe


def test_who_may_not_change_metadata_and_who_may_list() -> None:
    def verify(**more: Any) -> Access:
        video = {"room": "demo", "roomJoin": True, **more}
        return AUTHORITY.verify(token(video=video), WALL)

    assert verify().grant.update is UNSET
    assert verify(canUpdateOwnMetadata=True).grant.update is UNSET
    assert verify(canUpdateOwnMetadata=False).grant.update is False
    assert not verify().lists
    assert verify(roomList=True).lists
    with pytest.raises(ProtocolError) as caught:
        AUTHORITY.authorize_admin(token(video={"roomList": True}), None, WALL)
    assert caught.value.code == "forbidden"


def test_named_sources_replace_the_right_to_publish_anything() -> None:
    video = {"room": "demo", "roomJoin": True, "canPublishSources": ["microphone", "SCREEN_SHARE"]}
    access = AUTHORITY.authorize_join(token(video=video), "demo", WALL)
    assert access.sources == {"microphone", "screen"}
    unknown = {"room": "demo", "roomJoin": True, "canPublishSources": ["hologram"]}
    assert not AUTHORITY.authorize_join(token(video=unknown), "demo", WALL).grant.publish


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "a.b.c",
        "€" * 10,
        token(exp=WALL - 60),
        token(exp=None),
        token(exp="soon"),
        token(exp=float("nan")),
        token(exp=float("inf")),
        token(nbf=WALL + 60),
        token(iss="nobody"),
        token(iss=None),
        jwt.PyJWS().encode(b'{"iss": ["front-desk"], "exp": 9e9}', KEY[1]),
        jwt.PyJWS().encode(b'"a string"', KEY[1]),
        token(key=(KEY[0], OTHER[1])),
        token(algorithm="HS512"),
        token(video=None),
        token(video=[]),
        token(video={"room": "demo"}),
        token(video={"room": "demo", "roomJoin": "yes"}),
        token(video={"room": "other", "roomJoin": True}),
        token(video={"roomJoin": True}),
        token(sub=7),
        jwt.encode({"iss": KEY[0], "exp": WALL + 60}, "", algorithm="none"),
        token() + "A" * MAX_TOKEN,
        token()[:-2],
    ],
)
def test_anything_else_is_unauthorized(text: str | None) -> None:
    error = refusal(text)
    assert error.code == "unauthorized"
    assert not text or text not in str(error)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    assert refusal(text).code == "unauthorized"


def test_a_clock_that_is_a_little_off_does_not_matter() -> None:
    AUTHORITY.authorize_join(token(exp=WALL - 5, nbf=WALL + 5), "demo", WALL)


def test_two_keys_hold_at_once() -> None:
    assert AUTHORITY.authorize_join(token(key=OTHER), "demo", WALL).identity == "ada"


def test_administration_wants_its_grant_and_its_room() -> None:
    admin = token(video={"room": "demo", "roomAdmin": True})
    assert AUTHORITY.authorize_admin(admin, "demo", WALL).grant.moderate
    assert AUTHORITY.authorize_admin(admin, None, WALL).room == "demo"
    everywhere = token(video={"roomAdmin": True})
    assert AUTHORITY.authorize_admin(everywhere, "other", WALL).grant.moderate
    for text, room in ((admin, "other"), (token(), "demo")):
        with pytest.raises(ProtocolError) as raised:
            AUTHORITY.authorize_admin(text, room, WALL)
        assert raised.value.code == "forbidden"


def test_a_token_of_livekits_library_is_accepted_as_it_is() -> None:
    minted = (
        api.AccessToken(*KEY)
        .with_identity("ada")
        .with_name("Ada")
        .with_ttl(datetime.timedelta(minutes=5))
        .with_grants(api.VideoGrants(room_join=True, room="demo", can_publish=False))
        .to_jwt()
    )
    access = AUTHORITY.authorize_join(minted, "demo", time.time())
    assert access == Access(
        Grant(publish=False), room="demo", identity="ada", name="Ada", serial=access.serial
    )


def test_what_we_mint_livekits_library_accepts() -> None:
    minted = mint(KEY, room="demo", identity="ada", name="Ada", wall=time.time(), ttl=300)
    claims = api.TokenVerifier(*KEY).verify(minted)
    assert claims.video is not None
    assert (claims.identity, claims.name, claims.video.room) == ("ada", "Ada", "demo")
    assert AUTHORITY.authorize_join(minted, "demo", time.time()).identity == "ada"


def test_keys_are_read_a_line_each_and_errors_quote_no_secret() -> None:
    assert parse_keys(["# keys", "", "a:b", " c : d:e \n"]) == {"a": "b", "c": "d:e"}
    for text in ("", "name", ":secret-text", "name:"):
        with pytest.raises(ValueError, match=r"NAME:SECRET") as raised:
            parse_key(text)
        assert "secret-text" not in str(raised.value)


def test_weak_keys_are_named() -> None:
    assert Authority({"a": "short", KEY[0]: KEY[1]}).weak_keys == ["a"]


def test_a_token_is_known_again_by_what_is_signed_and_not_quoted() -> None:
    one, other = token(name="Ada"), token(name="Bob")
    serial = AUTHORITY.authorize_join(one, "demo", WALL).serial
    assert AUTHORITY.authorize_join(one, "demo", WALL).serial == serial
    assert AUTHORITY.authorize_join(other, "demo", WALL).serial != serial
    assert one not in serial
