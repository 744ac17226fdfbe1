"""Addresses behind proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.http.proxy import find_client, find_scheme, parse_networks

TRUSTED = parse_networks(["127.0.0.1", "10.0.0.0/8", "2001:db8:f::/48"])


@pytest.mark.parametrize(
    ("remote", "header", "client"),
    [
        # Nobody in between, or nobody trusted: the header is the client's own.
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        # One proxy, two proxies.
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        # What the client wrote itself comes before what our proxy wrote.
        ("127.0.0.1", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["nonsense, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, nonsense, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", [], "127.0.0.1"),
        # Ports, IPv6, mapped IPv4.
        ("127.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:f::1", ["198.51.100.7"], "198.51.100.7"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_the_client_is(remote: str, header: list[str], client: str) -> None:
    assert find_client(remote, header, TRUSTED) == client


def test_without_trusted_proxies_nothing_is_believed() -> None:
    assert find_client("127.0.0.1", ["198.51.100.7"], ()) == "127.0.0.1"
    assert find_scheme("127.0.0.1", "https", ()) is None


@pytest.mark.parametrize(
    ("remote", "header", "scheme"),
    [
        ("127.0.0.1", "https", "https"),
        ("127.0.0.1", "http, HTTPS", "https"),
        ("127.0.0.1", "gopher", None),
        ("127.0.0.1", None, None),
        ("198.51.100.7", "https", None),
    ],
)
def test_the_scheme_is(remote: str, header: str | None, scheme: str | None) -> None:
    assert find_scheme(remote, header, TRUSTED) == scheme


@given(st.text(), st.lists(st.text()))
def test_no_header_raises(remote: str, header: list[str]) -> None:
    find_client(remote, header, TRUSTED)
    find_client("127.0.0.1", header, TRUSTED)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="example"):
        parse_networks(["proxy.example.org"])
