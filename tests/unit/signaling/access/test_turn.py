"""TURN URIs and credentials."""

from __future__ import annotations

import pytest

from signaling.access.turn import ice_servers, make_credentials, parse_url


def test_credentials_are_the_hmac_that_coturn_computes() -> None:
    # echo -n '1732410000:p_ada' | openssl dgst -sha1 -hmac north -binary | base64
    assert make_credentials("north", "p_ada", expires=1732410000) == (
        "1732410000:p_ada",
        "8B8q6TrMNvuHB6LyRJwMKb/pEl4=",
    )


def test_an_identity_cannot_bring_an_expiry_of_its_own() -> None:
    username, _ = make_credentials("north", "9999999999:root", expires=1)
    assert username == "1:9999999999_root"


def test_stun_needs_no_credentials_and_turn_is_left_out_without_a_secret() -> None:
    urls = ["stun:stun.example.org", "turn:turn.example.org?transport=udp"]
    (stun,) = ice_servers(urls, "", "p_ada", wall=0.0, ttl=60)
    assert (stun.urls, stun.username) == (["stun:stun.example.org"], "")


def test_credentials_hold_for_the_time_to_live() -> None:
    (turn,) = ice_servers(["turns:turn.example.org:443"], "north", "p_ada", wall=1000.9, ttl=60)
    assert turn.username == "1060:p_ada"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stun:a.example", ("stun", "a.example", 3478, "udp")),
        ("turn:a.example:3479?transport=tcp", ("turn", "a.example", 3479, "tcp")),
        ("turns:a.example", ("turns", "a.example", 5349, "tcp")),
        ("turns:[2001:db8::1]:443?transport=tcp", ("turns", "2001:db8::1", 443, "tcp")),
    ],
)
def test_a_uri_is_read_with_its_defaults(text: str, expected: tuple[str, str, int, str]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.host, url.port, url.transport) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn:",
        "http://a",
        "turn://a",
        "turn:a:0",
        "turn:a:70000",
        "turn:a?transport=sctp",
        "stun:a?transport=udp",
        "turn:a b",
        "turn:a\n",
    ],
)
def test_what_is_no_turn_uri_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a STUN or TURN URI|takes no transport"):
        parse_url(text)
