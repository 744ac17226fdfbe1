"""Addresses go to the kernel's form and back."""

from __future__ import annotations

import socket

import pytest

from relay.plane.addresses import get_name_length, pack_address, sockaddr, unpack_address


@pytest.mark.parametrize(
    ("host", "family", "back"),
    [
        ("192.0.2.7", socket.AF_INET, "192.0.2.7"),
        ("192.0.2.7", socket.AF_INET6, "192.0.2.7"),
        ("2001:db8::1", socket.AF_INET6, "2001:db8::1"),
    ],
)
def test_an_address_comes_back_as_it_was(host: str, family: int, back: str) -> None:
    assert unpack_address(pack_address(host, 4711, family)) == (back, 4711)


def test_an_ipv6_address_cannot_be_reached_over_ipv4() -> None:
    with pytest.raises(ValueError, match="not an IPv4"):
        pack_address("::1", 1, socket.AF_INET)
    with pytest.raises(ValueError, match="example"):
        pack_address("example", 1, socket.AF_INET)


def test_python_gets_an_address_of_the_sockets_own_family() -> None:
    mapped = pack_address("192.0.2.7", 80, socket.AF_INET6)
    assert sockaddr(mapped) == ("::ffff:192.0.2.7", 80, 0, 0)
    assert sockaddr(pack_address("192.0.2.7", 80, socket.AF_INET)) == ("192.0.2.7", 80)


def test_a_sockets_addresses_are_as_long_as_its_family_has_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert get_name_length(sock) == len(pack_address("192.0.2.7", 80, socket.AF_INET))
