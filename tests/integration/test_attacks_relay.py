"""Floods at the relay's UDP port, and a call that goes on through it untouched."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.support.caller import RED, Caller, Picture, Tone, Watcher, call, until
from tests.support.processes import PATIENCE, ServerProcess, run_server
from tests.unit.relay.sdp.offers import make_offer
from tests.unit.relay.transport.fakes import make_check

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATAGRAMS = 3000
"""In each flood; the pauses between bursts leave one core of a busy machine to the call."""
BURST = 30
SOCKETS = 6
WRONG = "x" * 24


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server("--mesh-limit", "1", relay=True) as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line or '"error"' in line]


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


class Attacker:
    """A socket that notes how much it sent and how much came back, and the largest excess."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(("127.0.0.1", port))
        self.largest_sent = 0
        self.sent = 0
        self.answers: list[bytes] = []

    def send(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError:  # full: an attacker who is too quick for its own machine
            return
        self.largest_sent = max(self.largest_sent, len(data))
        self.sent += len(data)
        self.read()

    def read(self) -> None:
        try:
            while True:
                self.answers.append(self.socket.recv(65536))
        except OSError:
            return


def find_ufrag(caller: Caller) -> str:
    """The relay's user name for this caller: whoever sees the signaling knows it, nobody else."""
    assert caller.publishing is not None
    found = re.search(r"a=ice-ufrag:(\S+)", caller.publishing.remoteDescription.sdp)
    assert found is not None
    return found[1]


# RFC 6347, 4.1 and 4.2: a DTLS record with a ClientHello that names no cookie.
#   type 22 | version fe ff | epoch 0 | sequence (6) | length (2) | handshake
def build_client_hello(number: int) -> bytes:
    random_part = random.Random(number).randbytes(32)
    suites = struct.pack("!HHHH", 6, 0xC02B, 0xC02F, 0x009C)
    body = b"\xfe\xfd" + random_part + b"\x00\x00" + suites + b"\x01\x00" + b"\x00\x00"
    fragment = len(body).to_bytes(3)
    handshake = b"\x01" + fragment + b"\x00\x00" + b"\x00\x00\x00" + fragment + body
    return (
        b"\x16\xfe\xff"
        + b"\x00\x00"
        + number.to_bytes(6)
        + struct.pack("!H", len(handshake))
        + (handshake)
    )


def list_floods(ufrag: str) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    bare = b"\x00\x01\x00\x00\x21\x12\xa4\x42"
    yield "stun without a user", lambda n: bare + n.to_bytes(12)
    yield (
        "stun for nobody",
        lambda n: make_check(f"u{n:07}:abcd", WRONG, transaction_id=n.to_bytes(12)),
    )
    yield (
        "stun with a wrong password",
        lambda n: make_check(f"{ufrag}:abcd", WRONG, transaction_id=n.to_bytes(12)),
    )
    yield "dtls hellos", build_client_hello
    yield (
        "rtp of nobody",
        lambda n: b"\x80\x60" + struct.pack("!HII", n & 0xFFFF, n, n) + bytes(1000),
    )
    yield "noise", lambda n: random.Random(n).randbytes(1 + n % 1200)


async def flood(port: int, make: Callable[[int], bytes]) -> list[Attacker]:
    attackers = [Attacker(port) for _ in range(SOCKETS)]
    for number in range(DATAGRAMS):
        attackers[number % SOCKETS].send(make(number))
        if number % BURST == 0:
            await asyncio.sleep(0.005)
    # What is under way comes while the call goes on.
    await asyncio.sleep(0.1)
    for attacker in attackers:
        attacker.read()
        attacker.socket.close()
    return attackers


async def wait_frames(watcher: Watcher, count: int, name: str) -> None:
    await until(lambda: watcher.frames >= count, f"{watcher.kind} beside: {name}")


async def test_a_call_goes_on_beside_each_flood_and_nothing_is_amplified(
    server: ServerProcess, session: ClientSession
) -> None:
    async with (
        call(session, server.ws_url, "demo", "Ada") as ada,
        call(session, server.ws_url, "demo", "Bob") as bob,
    ):
        await ada.publish(Picture(RED), Tone(440))
        await until(lambda: bob.sees(ada, RED) and bob.hears(ada, 440))
        picture, tone = (bob.watch(ada.participant, kind) for kind in ("video", "audio"))
        assert picture is not None
        assert tone is not None
        for name, make in list_floods(find_ufrag(ada)):
            before = (picture.frames, tone.frames)
            async with asyncio.timeout(PATIENCE):
                attackers = await flood(server.port, make)
            for attacker in attackers:
                assert attacker.sent > 0, name
                received = sum(map(len, attacker.answers))
                assert received <= attacker.sent, name
                largest = max(map(len, attacker.answers), default=0)
                assert largest <= attacker.largest_sent, name
            await wait_frames(picture, before[0] + 10, name)
            await wait_frames(tone, before[1] + 25, name)
        assert picture.shows(RED)
        assert tone.sounds(440)
        assert not bob.got("relay-restarted")
        assert not bob.got("track-unpublished")


def make_dear_offer() -> str:
    """240 KB of m-lines that differ, the last of which is none."""
    lines = [
        "rtpmap:96 VP8/90000",
        *[f"rtcp-fb:96 x{n}" for n in range(12)],
        "fmtp:96 " + "x" * 500,
    ]
    offer = make_offer(*[("video", "96", lines)] * 240)
    for number in range(240):
        offer = offer.replace(f"a=mid:{number}\r\n", f"a=mid:{number}\r\na=x-{number}:1\r\n")
    return offer[:239_000] + "\r\nm=video\r\n"


async def test_offers_that_are_dear_to_read_end_no_worker_and_no_call(
    server: ServerProcess, session: ClientSession
) -> None:
    offer = make_dear_offer()
    async with contextlib.AsyncExitStack() as stack:
        ada, bob, *attackers = [
            await stack.enter_async_context(call(session, server.ws_url, room, name))
            for room, name in [("demo", "Ada"), ("demo", "Bob")] + [("other", "Eve")] * 3
        ]
        await ada.publish(Picture(RED), Tone(440))
        await until(lambda: bob.sees(ada, RED) and bob.hears(ada, 440))
        tone = bob.watch(ada.participant, "audio")
        assert tone is not None
        for _ in range(3):
            before = tone.frames
            asked = [
                asyncio.ensure_future(eve.ask(type="offer", to="relay", sdp=offer, tracks=[]))
                for eve in attackers
                for _ in range(16)
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            codes = {answer["code"] for answer in answers if isinstance(answer, dict)}
            # One of each is read; what waits longer than it may, and too much, is refused.
            assert "bad-sdp" in codes
            assert codes <= {"bad-sdp", "rate-limited", "relay-unavailable"}
            await wait_frames(tone, before + 25, "dear offers")
        assert tone.sounds(440)
        assert not bob.got("relay-restarted")
        assert not [line for line in server.log if "relay worker 0 ended" in line]


async def test_what_is_thrown_away_is_counted(
    server: ServerProcess, session: ClientSession
) -> None:
    await flood(server.port, build_client_hello)
    # The node's figures are of its workers' last report.
    async with asyncio.timeout(PATIENCE):
        while True:
            async with session.get(server.url + "/metrics") as response:
                rows = (await response.text()).splitlines()
            if any("unknown-address" in row and not row.endswith(" 0.0") for row in rows):
                break
            await asyncio.sleep(0.1)


async def test_an_answer_to_a_stranger_is_never_larger_than_its_question(
    server: ServerProcess, session: ClientSession
) -> None:
    """One datagram at a time, so that each answer has its question."""
    async with call(session, server.ws_url, "demo", "Ada") as ada:
        await ada.publish(Tone(440))
        for name, make in list_floods(find_ufrag(ada)):
            for number in range(20):
                attacker = Attacker(server.port)
                attacker.send(make(number))
                await asyncio.sleep(0.01)
                attacker.read()
                attacker.socket.close()
                assert sum(map(len, attacker.answers)) <= attacker.sent, name
