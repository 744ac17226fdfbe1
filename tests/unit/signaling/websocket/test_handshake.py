"""Who gets a WebSocket, and what the others are told."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from signaling.websocket.handshake import Refusal, accept_upgrade, check_origin


def offer(**changes: str) -> CIMultiDict[str]:
    headers = CIMultiDict(
        {
            "Upgrade": "websocket",
            "Connection": "keep-alive, Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
    )
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return headers


def test_the_answer_is_that_of_the_rfc_s_example() -> None:
    assert accept_upgrade(offer()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": "h2c"}, 426),
        ({"Upgrade": ""}, 426),
        ({"Connection": "close"}, 400),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": ""}, 426),
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
        ({"Sec_WebSocket_Key": "not base64 at all!!!"}, 400),
        ({"Sec_WebSocket_Key": "ключ"}, 400),
    ],
)
def test_what_is_no_handshake_is_refused(changes: dict[str, str], status: int) -> None:
    with pytest.raises(Refusal) as caught:
        accept_upgrade(offer(**changes))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "meet.example", ()),
        ("https://meet.example", "meet.example", ()),
        ("https://Meet.Example", "meet.example", ()),
        ("http://localhost:8443", "localhost:8443", ()),
        ("https://meet.example", "meet.example:443", ()),
        ("https://meet.example:443", "meet.example", ()),
        ("http://[::1]:8443", "[::1]:8443", ()),
        ("https://app.example", "meet.example", ("https://app.example",)),
        ("https://app.example", "meet.example", ("https://App.example/",)),
        ("https://any.example", "meet.example", ("*",)),
        ("null", "meet.example", ("*",)),
    ],
)
def test_our_own_pages_and_allowed_ones_get_in(
    origin: str | None, host: str, allowed: tuple[str, ...]
) -> None:
    check_origin(origin, host, allowed)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://evil.example", "meet.example", ()),
        ("https://meet.example.evil.example", "meet.example", ()),
        ("http://localhost:9000", "localhost:8443", ()),
        ("https://meet.example:8443", "meet.example", ()),
        ("null", "meet.example", ()),
        ("", "", ()),
        ("file://", "", ()),
        ("http://[", "meet.example", ()),
        ("http://[::1", "[::1]", ()),
        ("http://meet.example@evil.example", "meet.example", ()),
        ("http://meet.example/evil", "meet.example", ()),
        ("https://evil.example", "meet.example", ("https://app.example",)),
        ("https://a.app.example", "meet.example", ("https://app.example",)),
    ],
)
def test_pages_of_others_do_not(origin: str, host: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as caught:
        check_origin(origin, host, allowed)
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
