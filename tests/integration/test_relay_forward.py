"""A publisher and subscribers with real sockets and real SRTP: payloads arrive bit for bit."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pylibsrtp import Policy, Session

from relay.plane.addresses import pack_address
from relay.plane.batch import available
from relay.plane.forwarder import Forwarder
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack, UpTrack
from relay.plane.udp import Udp, open_socket
from relay.rtp import rtcp
from relay.rtp.packet import header_size
from relay.stats import DropReason, Stats
from relay.transport.ice import Address
from relay.transport.srtp import PROFILES, Srtp
from tests.support.media import audio_media, build_rtp, build_vp8, video_media

PROFILE_KEYS = {"aead-aes-256-gcm": 44, "aead-aes-128-gcm": 28, "aes128-cm-sha1-80": 30}
VIDEO, AUDIO = 0x1001, 0x2001
SUBSCRIBERS = 12


@dataclass
class Endpoint:
    """A transport whose handshake is done."""

    leg: Leg

    def receive_stun(self, data: bytes, address: Address, now: float) -> None:
        raise AssertionError(f"STUN at {now} from {address!r}: {data!r}")

    def receive_dtls(self, data: bytes) -> None:
        raise AssertionError(f"DTLS: {data!r}")


class Peer:
    """The other side: a socket, and sessions for both directions."""

    def __init__(self, room: Room, name: str, host: str) -> None:
        self.sock = socket.socket(room.sock.family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        keys = random.Random(name)
        sizes = PROFILE_KEYS[room.profile]
        up, down = keys.randbytes(sizes), keys.randbytes(sizes)
        profile = PROFILES[room.profile]
        self.tx = Session(Policy(up, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self.rx = Session(Policy(down, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        self.leg = room.forwarder.open_leg(name)
        self.leg.connect(
            Srtp.from_key(room.profile, up, inbound=True),
            Srtp.from_key(room.profile, down, inbound=False),
        )
        address = pack_address(*self.sock.getsockname()[:2], room.sock.family)
        self.leg.set_address(address)
        room.udp.latch(address, Endpoint(self.leg))

    async def read(self, count: int) -> list[bytes]:
        """The next RTP packets, decrypted."""
        loop = asyncio.get_running_loop()
        out: list[bytes] = []
        async with asyncio.timeout(60):
            while len(out) < count:
                data = await loop.sock_recv(self.sock, 2048)
                if not 64 <= data[1] & 0x7F <= 95:
                    out.append(self.rx.unprotect(data))
        return out

    async def read_rtcp(self, kind: type) -> rtcp.Rtcp:
        """The next RTCP packet of that kind."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while True:
                data = await loop.sock_recv(self.sock, 2048)
                if 64 <= data[1] & 0x7F <= 95:
                    plain = self.rx.unprotect_rtcp(data)
                    for packet in rtcp.parse_compound_untrusted(plain, 0, len(plain)):
                        if isinstance(packet, kind):
                            return packet


class Room:
    def __init__(self, profile: str, host: str, portable: bool) -> None:
        self.profile, self.host = profile, host
        self.stats = Stats()
        self.forwarder = Forwarder(stats=self.stats)
        self.sock = open_socket(host, 0)
        self.udp = Udp(
            self.sock, self.forwarder, stats=self.stats, clock=time.monotonic, portable=portable
        )
        self.udp.open(asyncio.get_running_loop())
        self.publisher = Peer(self, "publisher", host)
        self.subscribers = [Peer(self, f"s{number}", host) for number in range(SUBSCRIBERS)]
        for track in (UpTrack("v", video_media(VIDEO)), UpTrack("a", audio_media(AUDIO))):
            self.publisher.leg.add_up(track)
            for number, peer in enumerate(self.subscribers):
                down = DownTrack(
                    peer.leg,
                    track.kind,
                    0x5000 if track.kind == "video" else 0x6000,
                    0x7000,
                    sequence=100 * number,
                    timestamp=0,
                )
                peer.leg.add_down(down)
                down.attach(track, {96: 96, 97: 97, 111: 111}, time.monotonic())

    def publish(self, packet: bytes) -> bytes:
        data = self.publisher.tx.protect(packet)
        self.publisher.sock.sendto(data, self.sock.getsockname())
        return data

    def close(self) -> None:
        self.udp.close()
        for peer in (self.publisher, *self.subscribers):
            peer.sock.close()


@pytest.fixture(
    params=[
        ("aead-aes-256-gcm", "127.0.0.1", False),
        ("aead-aes-128-gcm", "::1", False),
        ("aes128-cm-sha1-80", "127.0.0.1", False),
        ("aes128-cm-sha1-80", "127.0.0.1", True),
    ],
    ids=lambda param: "-".join(str(part) for part in param),
)
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    profile, host, portable = request.param
    if not portable and not available():
        pytest.skip("needs recvmmsg")
    try:
        room = Room(profile, host, portable)
    except OSError:
        pytest.skip(f"no {host} here")
    yield room
    room.close()


def build_frames(count: int) -> list[bytes]:
    """Video frames of several packets, of any bytes, with sound between them."""
    chance = random.Random(5)
    packets: list[bytes] = []
    sequence = 65000
    for frame in range(count):
        sizes = [1100] * chance.randrange(5) + [chance.randrange(1, 1100)]
        for index, size in enumerate(sizes):
            payload = build_vp8(
                frame, key_frame=frame == 0, first=index == 0, data=chance.randbytes(size)
            )
            packets.append(
                build_rtp(
                    payload_type=120,
                    sequence=sequence,
                    timestamp=3000 * frame,
                    ssrc=VIDEO,
                    payload=payload,
                    marker=index == len(sizes) - 1,
                    extensions={5: bytes(2), 7: b"\1"},
                )
            )
            sequence += 1
        packets.append(
            build_rtp(
                payload_type=109,
                sequence=frame,
                timestamp=960 * frame,
                ssrc=AUDIO,
                payload=chance.randbytes(chance.randrange(3, 120)),
                extensions={1: b"\x90"},
            )
        )
    return packets


async def test_every_payload_arrives_bit_for_bit_and_in_order(room: Room) -> None:
    packets = build_frames(25)
    for packet in packets:
        room.publish(packet)
        await asyncio.sleep(0)
    for number, peer in enumerate(room.subscribers):
        got = await peer.read(len(packets))
        for ssrc, out_ssrc in ((VIDEO, 0x5000), (AUDIO, 0x6000)):
            sent = [p for p in packets if int.from_bytes(p[8:12], "big") == ssrc]
            seen = [p for p in got if int.from_bytes(p[8:12], "big") == out_ssrc]
            assert [p[header_size(p, 0) :] for p in seen] == [p[header_size(p, 0) :] for p in sent]
            numbers = [int.from_bytes(p[2:4], "big") for p in seen]
            assert numbers == list(range(100 * number, 100 * number + len(sent)))
            assert [p[1] & 0x80 for p in seen] == [p[1] & 0x80 for p in sent]
    assert not any(room.stats.drops.values())


async def test_replayed_forged_and_foreign_packets_are_dropped(room: Room) -> None:
    packets = build_frames(1)
    data = [room.publish(packet) for packet in packets][-1]
    for peer in room.subscribers:
        await peer.read(len(packets))
    forged = bytearray(data)
    forged[2:4] = b"\x77\x77"
    room.publisher.sock.sendto(data, room.sock.getsockname())
    room.publisher.sock.sendto(forged, room.sock.getsockname())
    with socket.socket(room.sock.family, socket.SOCK_DGRAM) as foreign:
        foreign.bind((room.host, 0))
        foreign.sendto(data, room.sock.getsockname())
    drops = room.stats.drops
    room.publish(build_frames(2)[-1])
    await room.subscribers[0].read(1)
    assert drops[DropReason.UNKNOWN_ADDRESS] == 1
    assert drops[DropReason.REPLAYED] == 1
    assert drops[DropReason.AUTHENTICATION] == 1


async def test_feedback_flows_both_ways(room: Room) -> None:
    packets = build_frames(1)
    for packet in packets:
        room.publish(packet)
    subscriber = room.subscribers[0]
    sent = await subscriber.read(len(packets))
    video = next(p for p in sent if p[8:12] == (0x5000).to_bytes(4, "big"))
    request = rtcp.build_receiver_report(1, ()) + rtcp.build_nack(1, 0x5000, [0])
    request += rtcp.build_pli(1, 0x5000)
    subscriber.sock.sendto(subscriber.tx.protect_rtcp(request), room.sock.getsockname())
    (again,) = await subscriber.read(1)
    assert again[8:12] == (0x7000).to_bytes(4, "big")
    # RFC 4588, 4: the original number, and the original payload.
    at = header_size(again, 0)
    assert again[at:] == video[2:4] + video[header_size(video, 0) :]
    pli = await room.publisher.read_rtcp(rtcp.Pli)
    assert isinstance(pli, rtcp.Pli)
    assert pli.ssrc == VIDEO
