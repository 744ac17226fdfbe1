"""aiortc as the other side of a bare transport, and strangers who send it whatever they like."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from relay.sdp.capabilities import OPUS, VP8
from relay.sdp.slots import Carried
from relay.sdp.subscription import Subscription
from relay.stats import DropReason
from relay.transport.transport import Transport, TransportState
from tests.fuzz.engine import mutate
from tests.integration.relay_socket import Leg, RelaySocket, pack_address, wait_until
from tests.unit.relay.sdp.offers import answer_publisher
from tests.unit.relay.transport.fakes import make_check


@pytest.fixture
async def relay() -> AsyncIterator[RelaySocket]:
    relay = await RelaySocket.open()
    yield relay
    await relay.close()


@pytest.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield peer
    await peer.close()


async def publish(relay: RelaySocket, peer: RTCPeerConnection) -> Transport[Leg]:
    """Have aiortc send audio and video until both arrive."""
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(VideoStreamTrack())
    await peer.setLocalDescription(await peer.createOffer())
    transport = relay.make_transport()
    publication = answer_publisher(peer.localDescription.sdp, relay.describe(transport.local))
    transport.start(publication.remote, asyncio.get_running_loop().time())
    await peer.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
    audio, video = (media.codecs[0].payload_type for media in publication.media)
    packets = transport.leg.packets
    await wait_until(lambda: packets[audio] > 10 and packets[video] > 5)
    return transport


async def test_aiortc_publishes_and_says_goodbye(
    relay: RelaySocket, peer: RTCPeerConnection
) -> None:
    transport = await publish(relay, peer)
    assert transport.leg.failures == 0
    assert relay.states == [TransportState.CONNECTING, TransportState.CONNECTED]
    await peer.close()
    await wait_until(lambda: transport.state is TransportState.CLOSED)


async def test_aiortc_takes_offers_whose_slots_come_and_go(
    relay: RelaySocket, peer: RTCPeerConnection
) -> None:
    transport = relay.make_transport()
    subscription = Subscription(session_id=1, cname="relay", ssrc=lambda: random.getrandbits(32))
    tracks: list[str] = []
    peer.on("track", lambda track: tracks.append(track.id))

    async def negotiate() -> None:
        offer = subscription.build_offer(relay.describe(transport.local))
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        subscription.receive_answer(peer.localDescription.sdp)
        assert subscription.remote is not None
        transport.start(subscription.remote, asyncio.get_running_loop().time())

    audio = subscription.assign(Carried("audio", "p_1", "t_1", [OPUS]))
    video = subscription.assign(Carried("video", "p_1", "t_2", [VP8]))
    await negotiate()
    await wait_until(lambda: transport.state is TransportState.CONNECTED)
    assert audio.payload_types == {111: 111}
    assert video.payload_types == {96: 96, 97: 97, 108: 108, 109: 109}

    subscription.release("t_2")
    await negotiate()
    assert video.payload_types == {}
    assert subscription.assign(Carried("video", "p_2", "t_3", [VP8])) is video
    subscription.assign(Carried("video", "p_3", "t_4", [VP8]))
    await negotiate()
    assert video.payload_types == {96: 96, 97: 97, 108: 108, 109: 109}
    assert tracks == ["t_1", "t_2", "t_4"]
    assert peer.connectionState == "connected"
    transport.close()
    await wait_until(lambda: peer.connectionState == "closed")


class Stranger(asyncio.DatagramProtocol):
    """A socket that nobody invited; it keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data)


async def test_strangers_and_forgers_do_not_disturb_a_call(
    relay: RelaySocket, peer: RTCPeerConnection
) -> None:
    relay.recorded = []
    transport = await publish(relay, peer)
    seeds = [data for data, _ in relay.recorded]
    _, genuine = relay.recorded[-1]
    rng = random.Random(7)
    loop = asyncio.get_running_loop()
    socket, stranger = await loop.create_datagram_endpoint(
        Stranger, remote_addr=relay.address, local_addr=("127.0.0.1", 0)
    )
    relay.recorded = None
    received = relay.received
    guess = f"{transport.local.ufrag}:them"
    for number in range(800):
        random_bytes = rng.randbytes(rng.randrange(1, 200))
        socket.sendto(mutate(rng, seeds, 1400) or b"\x00")
        socket.sendto(rng.choice(seeds))  # a replay, from elsewhere
        relay.receive(mutate(rng, seeds, 1400), genuine)  # a forged source address
        relay.receive(random_bytes, genuine)
        if number % 30 == 0:
            socket.sendto(make_check(guess, "x" * 32, nominate=True))
        await asyncio.sleep(0)  # lets the socket be read: nothing is lost for want of room
    await wait_until(lambda: relay.received > received + 2800)
    assert stranger.received == []
    drops = relay.stats.drops
    assert drops[DropReason.REPLAYED] > 0
    assert drops[DropReason.MALFORMED] > 0
    assert drops[DropReason.AUTHENTICATION] > 0
    assert set(relay.addresses.values()) == {transport}
    assert transport.address == pack_address(*genuine[:2])

    assert transport.state is TransportState.CONNECTED
    before = transport.leg.packets.total()
    await wait_until(lambda: transport.leg.packets.total() > before + 30)
    socket.close()
