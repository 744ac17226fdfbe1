"""DTLS through aiortc's transport: both roles, split hellos, wrong certificates, a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import aiortc.rtcdtlstransport as theirs
import pytest
from aiortc import RTCCertificate, RTCIceTransport
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relay.sdp.description import Fingerprint
from relay.stats import DropReason
from relay.transport.dtls import (
    MAX_ATTEMPTS,
    MAX_QUEUE,
    PROFILE_ORDER,
    Certificate,
    Dtls,
    Role,
    looks_like_dtls,
)
from tests.unit.relay.transport.dtls_peers import (
    Peer,
    PrivateKey,
    RawClient,
    RawPeer,
    decrypts,
    join,
)

WAIT = 60.0
OURS = Certificate()


async def connect(server: Peer, client: Peer) -> None:
    join(server, client)
    server.start("server", client.certificate.fingerprint)
    client.start("client", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        await server.connected.wait()
        await client.connected.wait()


async def close(*peers: Peer) -> None:
    for peer in peers:
        peer.dtls.close()
        await peer.dtls.wait_closed()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_peers_agree_on_keys_for_both_directions() -> None:
    server, client = Peer(), Peer()
    await connect(server, client)
    assert server.srtp is not None
    assert client.srtp is not None
    assert decrypts(client.srtp[1], server.srtp[0])
    assert decrypts(server.srtp[1], client.srtp[0])
    assert not decrypts(server.srtp[1], server.srtp[0])
    await close(server, client)


async def test_the_cheapest_cipher_is_chosen() -> None:
    server, client = Peer(), Peer()
    await connect(server, client)
    chosen = server.dtls._rtc._ssl
    assert chosen is not None
    assert chosen.get_selected_srtp_profile() == PROFILE_ORDER[0]
    await close(server, client)


async def test_closing_tells_the_peer_which_then_ends_too() -> None:
    server, client = Peer(), Peer()
    await connect(server, client)
    client.dtls.close()
    client.dtls.close()
    async with asyncio.timeout(WAIT):
        await server.ended.wait()
    assert not client.ended.is_set()
    await close(server, client)


async def test_a_client_hello_in_several_datagrams_is_put_together() -> None:
    server, client = Peer(), RawClient(mtu=256)
    server.start("server", client.certificate.fingerprint)
    hello = client.step()
    assert len(hello) > 1
    inbox: asyncio.Queue[bytes] = asyncio.Queue()
    server.deliver = inbox.put_nowait
    for datagram in hello:
        assert server.dtls.receive(datagram) is None
    async with asyncio.timeout(WAIT):
        while not (client.done and server.connected.is_set()):
            if not client.done:
                client.ssl.bio_write(await inbox.get())
                for datagram in client.step():
                    server.dtls.receive(datagram)
            await asyncio.sleep(0)
    await close(server)


async def test_a_hello_that_comes_before_the_peers_description_waits() -> None:
    server, client = Peer(), Peer()
    join(server, client)
    client.start("client", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        while not client.sent:  # noqa: ASYNC110 - a loop turn at a time, not a wait
            await asyncio.sleep(0)
        server.start("server", client.certificate.fingerprint)
        await server.connected.wait()
        await client.connected.wait()
    await close(server, client)


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
async def test_each_strong_digest_is_verified(algorithm: str) -> None:
    server, client = Peer(), Peer()
    join(server, client)
    digests = {f.algorithm: f.value for f in client.certificate._rtc.getFingerprints()}
    server.start("server", Fingerprint(algorithm, digests[algorithm]))
    client.start("client", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        await server.connected.wait()
    await close(server, client)


@pytest.mark.parametrize("algorithm", ["sha-256", "md5"])
async def test_another_certificate_than_the_announced_one_fails(algorithm: str) -> None:
    server, client = Peer(), Peer()
    join(server, client)
    wrong = Certificate().fingerprint
    server.start("server", Fingerprint(algorithm, wrong.value))
    client.start("client", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        await server.ended.wait()
    assert server.srtp is None
    await close(server, client)


async def test_the_queue_toward_the_handshake_is_bounded() -> None:
    server, client = Peer(), RawClient(mtu=1200)
    hello = client.step()[0]
    results = [server.dtls.receive(hello) for _ in range(MAX_QUEUE + 3)]
    assert results[:MAX_QUEUE] == [None] * MAX_QUEUE
    assert results[MAX_QUEUE:] == [DropReason.FLOOD] * 3
    await close(server)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x16",
        b"\x16\xfe\xfd" + bytes(10),
        b"\x16\x03\x01" + bytes(30),
        b"\x16\xfe\xfd" + bytes(8) + b"\xff\xff" + bytes(30),
        b"\x17\xfe\xfd" + bytes(30),
        b"\x3f\xfe\xfd" + bytes(30),
    ],
)
def test_what_is_no_record_is_not_let_in(data: bytes) -> None:
    assert not looks_like_dtls(data)


def make_record(kind: int, epoch: int = 0, number: int = 0) -> bytes:
    body = bytes(range(40))
    header = bytes([kind, 0xFE, 0xFD]) + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return header + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("kind", [20, 21, 22])
async def test_garbage_before_the_hello_does_not_stop_a_handshake(kind: int) -> None:
    server, client = Peer(), Peer()
    join(server, client)
    server.start("server", client.certificate.fingerprint)
    assert server.dtls.receive(make_record(kind)) is None
    await asyncio.sleep(0)
    client.start("client", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        await server.connected.wait()
    await close(server, client)


async def test_nothing_but_garbage_fails_in_the_end() -> None:
    server = Peer()
    server.start("server", server.certificate.fingerprint)
    async with asyncio.timeout(WAIT):
        for _ in range(MAX_ATTEMPTS):
            server.dtls.receive(make_record(22))
        await server.ended.wait()
    await close(server)


async def test_garbage_does_not_end_a_connection() -> None:
    server, client = Peer(), Peer()
    await connect(server, client)
    for kind in (20, 21, 22):
        for epoch in (0, 1, 2):
            assert server.dtls.receive(make_record(kind, epoch, 90)) is None
    client.dtls.close()
    async with asyncio.timeout(WAIT):
        await server.ended.wait()
    await close(server, client)


async def test_closing_before_and_during_a_handshake_leaves_nothing() -> None:
    never, waiting = Peer(), Peer()
    waiting.start("client", never.certificate.fingerprint)
    await asyncio.sleep(0)
    await close(never, waiting)
    assert not waiting.ended.is_set()


KEYS: dict[str, Callable[[], PrivateKey]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}
# What these programs offer, as far as a certificate with ECDSA can answer it.
LISTS = {
    "FFmpeg's WHIP": b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA",
    "GnuTLS's NORMAL": b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES256-CCM:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-SHA",
    "mbedTLS, small": b"ECDHE-ECDSA-AES128-CCM:ECDHE-RSA-AES128-GCM-SHA256",
    "OpenSSL's own": b"DEFAULT",
}


async def shake_hands(ours: Peer, theirs: RawPeer, role: Role) -> None:
    ours.start(role, theirs.fingerprint)
    async with asyncio.timeout(60):
        while not (ours.ended.is_set() or (theirs.done and ours.connected.is_set())):
            while ours.sent:
                theirs.receive(ours.sent.pop(0))
            for data in theirs.step():
                ours.dtls.receive(data)
            await asyncio.sleep(0)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("ciphers", LISTS)
@pytest.mark.parametrize("key", KEYS)
async def test_peers_with_any_key_and_the_ciphers_of_other_programs_connect(
    key: str, ciphers: str, role: Role
) -> None:
    theirs = RawPeer(KEYS[key](), LISTS[ciphers], server=role == "client")
    ours = Peer(OURS)
    await shake_hands(ours, theirs, role)
    assert ours.connected.is_set(), ours.reason
    ours.dtls.close()
    await ours.dtls.wait_closed()


async def test_a_handshake_that_fails_says_why() -> None:
    # Without forward secrecy: who has the key later reads what was recorded.
    theirs = RawPeer(KEYS["RSA"](), b"AES128-GCM-SHA256", server=False)
    ours = Peer(OURS)
    ours.start("server", theirs.fingerprint)
    (hello,) = theirs.step()
    async with asyncio.timeout(WAIT):
        while not ours.ended.is_set():  # as a client does that hears nothing
            ours.dtls.receive(hello)
            await asyncio.sleep(0)
            assert ours.dtls.fault in ("", "no shared cipher")
    assert ours.reason == "no shared cipher"
    await ours.dtls.wait_closed()


async def test_another_certificate_is_named_as_the_reason() -> None:
    theirs = RawPeer(KEYS["P-256"](), b"DEFAULT", server=False)
    theirs.fingerprint = Certificate().fingerprint
    ours = Peer(OURS)
    await shake_hands(ours, theirs, "server")
    assert ours.reason == "another certificate than announced"
    await ours.dtls.wait_closed()


async def test_an_ssl_context_is_made_once_for_a_certificate() -> None:
    def make(certificate: Certificate) -> object:
        return certificate._rtc._create_ssl_context(theirs.SRTP_PROFILES)

    assert make(OURS) is make(OURS)
    assert make(Certificate()) is not make(OURS)


def test_a_certificate_announces_its_sha_256() -> None:
    first, second = Certificate(), Certificate()
    assert first.fingerprint.algorithm == "sha-256"
    assert len(first.fingerprint.value) == 95
    assert first.fingerprint != second.fingerprint


async def test_aiortc_has_the_private_names_that_dtls_py_uses() -> None:
    certificate = RTCCertificate.generateCertificate()
    wire = cast(RTCIceTransport, object())
    transport = theirs.RTCDtlsTransport(wire, [certificate])
    for name in ("_rx_srtp", "_tx_srtp", "_task", "_srtp_profiles", "encrypted"):
        assert name in vars(transport), name
    transport._set_role("server")
    assert transport._role == "server"
    assert {p.openssl_profile for p in theirs.SRTP_PROFILES} == set(PROFILE_ORDER)
    stop = transport.stop()
    with pytest.raises(StopIteration):
        stop.send(None)
    assert Dtls.__module__ == "relay.transport.dtls"
