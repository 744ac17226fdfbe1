"""Cookies: only ours, only unchanged, only for a while."""

from __future__ import annotations

import pytest

from relay.transport.sctp.cookie import LIFETIME, Cookie, parse_cookie_untrusted, sign
from relay.transport.sctp.packet import MalformedSctp

COOKIE = Cookie(10.0, 1, 2, 3, 4, 5, 6, 7, 3, 8, 9)
KEY = b"k" * 32


def test_a_cookie_comes_back_as_it_was() -> None:
    assert parse_cookie_untrusted(sign(COOKIE, KEY), KEY, 10.0 + LIFETIME) == COOKIE


@pytest.mark.parametrize("now", [9.9, 10.1 + LIFETIME])
def test_a_cookie_has_its_time(now: float) -> None:
    with pytest.raises(MalformedSctp):
        parse_cookie_untrusted(sign(COOKIE, KEY), KEY, now)


def test_no_other_bytes_are_a_cookie() -> None:
    whole = sign(COOKIE, KEY)
    changed = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]
    for data in (*changed, whole[:-1], whole + b"\0", b"", sign(COOKIE, b"z" * 32)):
        with pytest.raises(MalformedSctp):
            parse_cookie_untrusted(data, KEY, 10.0)
