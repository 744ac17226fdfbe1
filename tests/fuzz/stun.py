"""Fuzz targets of `relay.transport`: STUN at an ICE agent, and anything at a whole transport."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from relay.transport.ice import Address, Credentials, IceLite
from relay.transport.stun import MalformedStun, parse_request_untrusted

# The corpus is signed with these, so that what a mutation leaves intact is verified.
CREDENTIALS = Credentials("u" * 16, "p" * 32)
ADDRESS = Address(b"192.0.2.1 4433")


def unpack_address(host: str, _address: Address) -> tuple[str, int]:
    return host, 4433


def request(data: bytes) -> None:
    """A request is read or malformed."""
    with suppress(MalformedStun):
        parse_request_untrusted(data).verify(CREDENTIALS.pwd)


def agent(data: bytes) -> None:
    """What is verified is answered with no more bytes than it had; nothing else is answered."""
    for host in ("192.0.2.1", "2001:db8::1"):
        ice = IceLite(CREDENTIALS, unpack_address=partial(unpack_address, host))
        dropped = ice.receive_datagram(data, ADDRESS, 0.0)
        answers = ice.datagrams_to_send()
        if dropped is None:
            ((answer, to),) = answers
            assert to == ADDRESS
            assert len(answer) <= len(data)
            assert ice.address == ADDRESS
        else:
            assert not answers
            assert ice.next_event() is None
            assert ice.address is None
