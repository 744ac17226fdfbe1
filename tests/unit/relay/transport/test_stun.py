"""Binding requests are read like the RFC's own and like aioice's, and never answered with more."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from relay.transport.ice import UFRAG_LENGTH
from relay.transport.stun import MalformedStun, build_response, parse_request_untrusted
from tests.unit.relay.transport.fakes import make_check

PWD = "p" * 32

# RFC 5769 2.1: a sample request, its password, and what it says.
SAMPLE = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)


def test_the_rfcs_sample_is_read_and_verified() -> None:
    request = parse_request_untrusted(SAMPLE)
    assert (request.local, request.remote) == ("evtj", "h6vY")
    assert request.transaction_id == bytes.fromhex("b7e7a701bc34d686fa87dfae")
    assert request.priority == 0x6E0001FF
    assert request.fingerprint
    assert not request.use_candidate
    assert request.verify("VOkJxbRl1RmTxUk/WvJxBt")
    assert not request.verify("VOkJxbRl1RmTxUk/WvJxBu")


def test_aioices_request_is_read_and_its_reading_of_our_answer_is_the_senders_address() -> None:
    for host, family in (("192.0.2.7", 4), ("2001:db8::7", 6)):
        request = parse_request_untrusted(make_check("a" * 16 + ":b", PWD, nominate=True))
        assert request.use_candidate
        answer = stun.parse_message(build_response(request, PWD, host, 4433))
        assert answer.message_class is stun.Class.RESPONSE
        assert answer.transaction_id == request.transaction_id
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == (host, 4433)
        assert answer.check_message_integrity(PWD.encode())
        assert "FINGERPRINT" in answer.attributes
        assert ipaddress.ip_address(host).version == family


@given(
    remote=st.text(alphabet="abc", max_size=20),
    fingerprint=st.booleans(),
    host=st.sampled_from(["192.0.2.1", "2001:db8::1"]),
)
def test_an_answer_is_never_larger_than_its_request(
    remote: str, fingerprint: bool, host: str
) -> None:
    username = f"{'u' * UFRAG_LENGTH}:{remote}".encode()
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username.decode()
    message.add_message_integrity(PWD.encode())
    if not fingerprint:
        del message.attributes["FINGERPRINT"]
        body = bytes(message)
        data = body[:2] + struct.pack("!H", len(body) - 20) + body[4:]
    else:
        data = bytes(message)
    request = parse_request_untrusted(data)
    assert request.verify(PWD)
    assert len(build_response(request, PWD, host, 1)) <= len(data)


def test_a_flipped_bit_anywhere_is_malformed_or_fails_verification() -> None:
    data = make_check("a" * 16 + ":b", PWD, fingerprint=False)
    for position in range(len(data)):
        for bit in range(8):
            spoiled = bytearray(data)
            spoiled[position] ^= 1 << bit
            try:
                request = parse_request_untrusted(bytes(spoiled))
            except MalformedStun:
                continue
            assert not request.verify(PWD), (position, bit)


def test_what_follows_the_integrity_is_not_believed() -> None:
    data = make_check("a" * 16 + ":b", PWD, fingerprint=False)
    forged = data + struct.pack("!HH", 0x0025, 0)  # USE-CANDIDATE
    forged = forged[:2] + struct.pack("!H", len(forged) - 20) + forged[4:]
    request = parse_request_untrusted(forged)
    assert not request.use_candidate
    assert request.verify(PWD)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(*attributes: bytes, kind: int = 1, cookie: int = 0x2112A442, extra: int = 0) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HHI12s", kind, len(body) + extra, cookie, b"t" * 12) + body


NAME = attribute(0x0006, b"abcd:efgh")
SEAL = attribute(0x0008, bytes(20))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shorter"),
        (b"\x00\x01\x00\x00", "shorter"),
        (message(NAME, SEAL, kind=0x0101), "not a Binding request"),
        (message(NAME, SEAL, kind=0x0011), "not a Binding request"),
        (message(NAME, SEAL, cookie=1), "not a Binding request"),
        (message(NAME, SEAL, extra=4), "length"),
        (message(NAME, SEAL) + b"abcd", "length"),
        (message(NAME, SEAL, b"ab"), "length"),
        (message(NAME), "missing"),
        (message(SEAL), "missing"),
        (message(), "missing"),
        (message(struct.pack("!HH", 6, 500), NAME), "over the end"),
        (message(NAME, attribute(8, b"short123")), "wrong size"),
        (message(NAME, SEAL, attribute(0x8028, bytes(4))), "FINGERPRINT"),
        (message(NAME, SEAL, attribute(0x8028, bytes(8))), "FINGERPRINT"),
        (message(attribute(6, b"\xff:abc"), SEAL), "ASCII"),
        (message(attribute(6, b"a" * 600), SEAL), "too long"),
    ],
)
def test_everything_else_is_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedStun, match=reason):
        parse_request_untrusted(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    for candidate in (data, message(data[: len(data) & ~3])):
        try:
            parse_request_untrusted(candidate)
        except MalformedStun:
            continue
