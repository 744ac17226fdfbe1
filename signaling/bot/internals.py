"""How a bot leans on aiortc's senders and connections. With `tap` one of the two files that know
its private names; a test pins each of them.

aiortc has no rollback, keeps key-frame requests to itself, and encodes in the program's threads.
`hook_key_frames` lets a request reach the source, `Checkpoint` undoes an offer, `learn_ssrcs`
follows a remote description that names new streams on a line in use, `bound_inboxes` bounds
aioice's queue of datagrams, `watch_packets` tells when anything comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from aioice.ice import get_host_addresses
from aiortc import (
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCRtpTransceiver,
    sdp,
)
from aiortc.codecs.base import Encoder
from aiortc.exceptions import InvalidStateError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from .encoders import FastVp8, ResilientOpus
from .threads import CODECS

DATAGRAMS_WAITING: Final = 512
"""Half a second of two megabit/s."""

ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {"opus": ResilientOpus, "VP8": FastVp8}
"""In the place of aiortc's."""


class _CodecLoop:
    """Stands where a sender keeps its loop, of which it uses the threads alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run_in_executor(self, _: None, function: Callable[..., Any], *args: Any) -> Any:
        return self._loop.run_in_executor(CODECS, function, *args)


def encode_apart(sender: RTCRtpSender) -> None:
    """Have the sender encode in the threads that are for it, with this library's encoders."""
    hidden = cast(Any, sender)
    hidden._RTCRtpSender__loop = _CodecLoop(hidden._RTCRtpSender__loop)
    start = sender._next_encoded_frame

    async def next_encoded_frame(codec: RTCRtpCodecParameters) -> Any:
        if hidden._RTCRtpSender__encoder is None and codec.name in ENCODERS:
            hidden._RTCRtpSender__encoder = ENCODERS[codec.name]()
        return await start(codec)

    hidden._next_encoded_frame = next_encoded_frame


def hook_key_frames(sender: RTCRtpSender, on_request: Callable[[], None]) -> None:
    """Call `on_request` for each PLI or FIR that `sender` receives, besides what aiortc does."""
    force = sender._send_keyframe

    def send_key_frame() -> None:
        force()
        on_request()

    cast(Any, sender)._send_keyframe = send_key_frame


def negotiated_codec(transceiver: RTCRtpTransceiver) -> str | None:
    """The codec that the transceiver's sender uses, None before the first negotiation."""
    codecs = transceiver._codecs
    return codecs[0].name if codecs else None


def is_started(sender: RTCRtpSender) -> bool:
    """Whether the sender's codec is settled for good."""
    return bool(cast(Any, sender)._RTCRtpSender__started)


def prefer_codec(transceiver: RTCRtpTransceiver, codec: str) -> None:
    """Offer and accept `codec` alone, with its retransmissions."""
    kind = transceiver.kind
    capabilities = RTCRtpSender.getCapabilities(kind).codecs
    wanted: list[RTCRtpCodecCapability] = [c for c in capabilities if c.name == codec]
    wanted += [c for c in capabilities if c.name == "rtx"]
    transceiver.setCodecPreferences(wanted)


class BoundedInbox(asyncio.Queue[Any]):
    """Stands where aioice queues received datagrams without a bound: where the process cannot
    keep up, the oldest go, as they would in a socket's buffer."""

    def put_nowait(self, item: Any) -> None:
        if self.qsize() >= DATAGRAMS_WAITING:
            self.get_nowait()
        super().put_nowait(item)


def bound_inboxes(pc: RTCPeerConnection) -> None:
    """Bound what waits in each transport that has not begun yet."""
    for transport in cast(Any, pc)._RTCPeerConnection__iceTransports:
        if transport.iceGatherer.state == "new":
            transport._connection._queue = BoundedInbox()


def connect_quietly(pc: RTCPeerConnection) -> None:
    """Have its tasks that connect end without a traceback when it is closed meanwhile."""
    hidden = cast(Any, pc)
    connect = hidden._RTCPeerConnection__connect

    async def connect_unless_closed() -> None:
        try:
            await connect()
        except (ConnectionError, InvalidStateError):
            if pc.connectionState != "closed":
                raise

    hidden._RTCPeerConnection__connect = connect_unless_closed


def watch_packets(pc: RTCPeerConnection, on_packet: Callable[[], None]) -> None:
    """Call `on_packet` for all that comes in: media, their reports, and checks of the way."""
    for transport in cast(Any, pc)._RTCPeerConnection__iceTransports:
        connection = transport._connection
        if connection.__dict__.get("data_received") is None:
            connection.data_received = _before(on_packet, connection.data_received)
            connection.request_received = _before(on_packet, connection.request_received)


def _before(first: Callable[[], None], then: Callable[..., None]) -> Callable[..., None]:
    def both(*args: Any) -> None:
        first()
        then(*args)

    return both


def local_addresses(pc: RTCPeerConnection) -> set[str]:
    """The machine's own addresses that the connection's media leave from; empty while it has
    none, and where it goes through TURN."""
    return {
        pair.local_candidate.host
        for transport in cast(Any, pc)._RTCPeerConnection__iceTransports
        for pair in transport._connection._nominated.values()
        if pair.local_candidate.type == "host"
    }


def machine_addresses() -> set[str]:
    """All that the machine has now."""
    return set(get_host_addresses(use_ipv4=True, use_ipv6=True))


class Checkpoint:
    """What a peer connection was before a local offer, to go back there if it is withdrawn."""

    def __init__(self, pc: RTCPeerConnection) -> None:
        self._pc = pc
        self._pending = cast(Any, pc)._RTCPeerConnection__pendingLocalDescription
        self._mids = {t.mid for t in pc.getTransceivers()}
        self._mids.add(pc.sctp.mid if pc.sctp is not None else None)

    def rollback(self) -> None:
        """Undo the offer, as a browser's `setLocalDescription({type: "rollback"})` does.

        Lines that the offer brought in lose their mid, so that the remote offer can claim
        them, and an ICE transport that has not started takes its role from that offer.
        """
        hidden = cast(Any, self._pc)
        for transceiver in self._pc.getTransceivers():
            if transceiver.mid not in self._mids:
                hidden._RTCPeerConnection__seenMids.discard(transceiver.mid)
                cast(Any, transceiver)._set_mid(None)
                cast(Any, transceiver)._set_mline_index(None)
        if self._pc.sctp is not None and self._pc.sctp.mid not in self._mids:
            hidden._RTCPeerConnection__seenMids.discard(self._pc.sctp.mid)
            cast(Any, self._pc.sctp).mid = None
            hidden._RTCPeerConnection__sctp_mline_index = None
        for transport in hidden._RTCPeerConnection__iceTransports:
            if transport.state == "new":
                transport._role_set = False
        hidden._RTCPeerConnection__pendingLocalDescription = self._pending
        hidden._RTCPeerConnection__setSignalingState("stable")


def learn_ssrcs(pc: RTCPeerConnection) -> None:
    """Route the streams that the remote description names to the receivers of their lines.

    aiortc reads them when a receiver starts and never again.
    """
    if pc.remoteDescription is None:
        return
    description = sdp.SessionDescription.parse(pc.remoteDescription.sdp)
    for media in description.media:
        for transceiver in pc.getTransceivers():
            if transceiver.mid != media.rtp.muxId or not media.ssrc:
                continue
            router = transceiver.receiver.transport._rtp_router
            if transceiver.receiver in router.receivers:
                router.ssrc_table[media.ssrc[0].ssrc] = transceiver.receiver


def set_stream_id(sender: RTCRtpSender, stream: str) -> None:
    """Name the media stream of a sender, so that the other side can tell its lines apart."""
    cast(Any, sender)._stream_id = stream
