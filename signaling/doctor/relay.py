"""The media relay tried as a call would: one sends a tone to it, another one receives that.

What it advertises is compared with where the server is; whether UDP gets there, and whether media
come back, is tried without TURN, so that TURN hides nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from msgspec import Raw

from relay.control import PublishTrack

from ..bot import Bot
from ..client import Client, ClientError, Refused, Replaced, TokenRefused
from ..protocol import messages
from ..protocol.messages import IceServer
from . import report
from .report import Finding
from .server import PATIENCE, Server, resolve

# ICE tries an address for some seconds, and then DTLS begins.
MEDIA_PATIENCE = 15.0
_SENDER = "Doctor, sending"
_CANDIDATE = re.compile(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) ", re.IGNORECASE)


class Visit:
    """What the doctor learned in the room, beside findings."""

    def __init__(self) -> None:
        self.joined = False
        self.ice_servers: list[IceServer] = []


async def examine_relay(
    server: Server,
    visit: Visit,
    *,
    room: str,
    token: str | None,
    context: ssl.SSLContext,
) -> AsyncIterator[Finding]:
    """Findings `join`, `advertised`, `udp` and `relay`, as far as one gets."""
    client = Client(
        server.url, room=room, name=_SENDER, token=token, patience=PATIENCE, ssl=context
    )
    refusal = await _join(client)
    visit.joined = refusal is None
    yield refusal or report.ok("join", f"A bot may join room {room}.")
    if refusal is not None:
        return
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        visit.ice_servers = client.ice_servers
        if not client.relay:
            yield report.warning(
                "relay",
                "There is no media relay: rooms stay small, and some pairs need TURN.",
                "Leave out --relay-workers 0, or see the server's log for why it ended.",
            )
            return
        async for finding in _send(server, client, pc):
            yield finding
            if finding.status is report.Status.FAILURE and finding.check != "advertised":
                return
        yield await _receive(server, client, token, context)
    finally:
        await pc.close()
        await client.close()


async def _join(client: Client) -> Finding | None:
    """What kept the bot out, or None."""
    try:
        async with asyncio.timeout(2 * PATIENCE):
            await client.start()
    except TokenRefused as error:
        return report.failure(
            "join",
            f"A bot may not join room {client.room}: {error}",
            "Give a token for it: --token $(python -m signaling token --room"
            f" {client.room} --identity '').",
        )
    except TimeoutError:
        await client.close()
        return report.failure(
            "join",
            f"Nobody let the bot into room {client.room}.",
            "The room has a lobby: admit the bot, or give a --token that may moderate.",
        )
    except ClientError as error:
        return report.failure(
            "join", f"A bot may not join room {client.room}: {error}", "Try another --room."
        )
    return None


async def _send(server: Server, client: Client, pc: RTCPeerConnection) -> AsyncIterator[Finding]:
    pc.addTrack(AudioStreamTrack())
    await pc.setLocalDescription(await pc.createOffer())
    try:
        answer = await client.request(
            messages.Offer(
                to=messages.RELAY,
                sdp=Raw(msgspec.json.encode(pc.localDescription.sdp)),
                tracks=Raw(msgspec.json.encode([PublishTrack("0", "microphone")])),
            )
        )
    except Refused as error:
        if error.code == "forbidden":
            yield report.skipped("relay", "The token does not allow to publish: not tried.")
        else:
            yield report.failure(
                "relay", f"The relay refuses a track: {error}", "The server's log says more."
            )
        return
    assert isinstance(answer, messages.AnswerFrom)
    candidates = [(host, int(port)) for host, port in _CANDIDATE.findall(answer.sdp)]
    yield check_advertised([host for host, _ in candidates], await resolve(server.host))
    connected = asyncio.Event()
    pc.on("connectionstatechange", lambda: _note(pc, connected))
    await pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    try:
        async with asyncio.timeout(MEDIA_PATIENCE):
            await connected.wait()
    except TimeoutError:
        pass
    yield _explain_udp(pc.connectionState == "connected", candidates)


def _note(pc: RTCPeerConnection, done: asyncio.Event) -> None:
    if pc.connectionState in ("connected", "failed", "closed"):
        done.set()


def check_advertised(advertised: Sequence[str], addresses: Sequence[str]) -> Finding:
    """Compare the relay's candidates with the addresses of the server's name."""
    named = [ipaddress.ip_address(text.partition("%")[0]) for text in addresses]
    offered = [ipaddress.ip_address(text.partition("%")[0]) for text in advertised]
    told = ", ".join(advertised) or "nothing"
    distant = [address for address in named if address.is_global]
    if distant and not any(address.is_global for address in offered):
        return report.failure(
            "advertised",
            f"The relay tells clients to send to {told}, which nobody outside reaches.",
            f"Start the server with --public-ip {distant[0]}.",
        )
    if all(address.is_loopback for address in offered) and not all(
        address.is_loopback for address in named
    ):
        return report.failure(
            "advertised",
            f"The relay tells clients to send to {told}: that is their own machine.",
            "Start the server with --host 0.0.0.0 or with --public-ip.",
        )
    if distant and not set(offered) & set(named):
        return report.warning(
            "advertised",
            f"The relay tells clients to send to {told}, but {', '.join(addresses)} is the"
            " server's address.",
            "Right if there is a proxy between; otherwise correct --public-ip.",
        )
    return report.ok("advertised", f"The relay tells clients to send to {told}.")


def _explain_udp(connected: bool, candidates: Sequence[tuple[str, int]]) -> Finding:
    ports = ", ".join(sorted({f"{port}/udp" for _, port in candidates})) or "a UDP port"
    if connected:
        return report.ok("udp", f"Media connect to the relay at {ports}.")
    hosts = ", ".join(host for host, _ in candidates) or "no address"
    return report.failure(
        "udp",
        f"No media connection to the relay at {hosts}, {ports}.",
        f"Open {ports} in the firewall and in the cloud's security group; behind NAT start the"
        " server with --public-ip.",
    )


async def _receive(
    server: Server, sender: Client, token: str | None, context: ssl.SSLContext
) -> Finding:
    """Have a second bot hear the first one."""
    bot = Bot.join(
        server.url,
        room=sender.room,
        name="Doctor, listening",
        token=token,
        via="relay",
        patience=PATIENCE,
        ssl=context,
    )
    try:
        async with asyncio.timeout(2 * MEDIA_PATIENCE), bot:
            track = await bot.track("audio", name=_SENDER)
            async for _ in track.frames():
                return report.ok("relay", "Sound went to the relay and came back to another bot.")
    except (TimeoutError, ClientError, EOFError):
        pass
    if isinstance(sender.error, Replaced):
        return report.skipped(
            "relay",
            "The token's identity may be in a room once, and this takes two: give one that names"
            " nobody (--identity '').",
        )
    return report.failure(
        "relay",
        "What one bot sends to the relay does not reach another one.",
        "See relay_drops in /metrics, and the server's log.",
    )
