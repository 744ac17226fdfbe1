"""What direct connections and those to the relay have in common: how a connection and its lines
are made, and what they need of the bot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InternalError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamTrack
from msgspec import Raw

from ..client import Client
from .internals import (
    bound_inboxes,
    connect_quietly,
    encode_apart,
    hook_key_frames,
    is_started,
    negotiated_codec,
    prefer_codec,
    set_stream_id,
)
from .sdp import ask_for_resilient_sound, spread_candidates
from .sources import Kind, Label, SenderTrack, Source
from .tap import Tap
from .threads import finish

SDP_ERRORS = (
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    InternalError,
    InvalidStateError,
    OperationError,
)
"""What aiortc raises on descriptions that it does not understand or that come out of turn."""


class Room(Protocol):
    """What connections need of the bot."""

    client: Client
    sources: list[Source]
    receiving: bool
    jitter: tuple[float, float]
    """Seconds that a gap in sound is held open at least and at most."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...
    def receive_track(self, participant: str, kind: Kind, label: Label, tap: Tap) -> None: ...
    def lose_tap(self, tap: Tap) -> None: ...
    def receive_data(self, participant: str, data: bytes | str) -> None: ...
    def hear(self, key: Hashable) -> None: ...
    def forget(self, key: Hashable) -> None: ...
    def sync(self) -> None: ...


def make_connection(client: Client) -> RTCPeerConnection:
    """Always with a list of ICE servers: with None aiortc would ask a public one."""
    servers = [
        RTCIceServer(urls=s.urls, username=s.username or None, credential=s.credential or None)
        for s in client.ice_servers
    ]
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    connect_quietly(pc)
    return pc


def remote_description(text: str, kind: str) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=spread_candidates(text), type=kind)


async def set_local_description(pc: RTCPeerConnection, description: RTCSessionDescription) -> None:
    """Cancelled, it still opens all sockets that it began to, so that `pc.close` finds them."""
    bound_inboxes(pc)
    await finish(pc.setLocalDescription(description))


def local_sdp(pc: RTCPeerConnection) -> Raw:
    """The local description as it is signalled."""
    return Raw(msgspec.json.encode(ask_for_resilient_sound(pc.localDescription.sdp)))


async def close_connection(pc: RTCPeerConnection) -> None:
    """To the end, even if cancelled: aiortc does not go on with a close that was broken off."""
    pc.remove_all_listeners()
    await finish(pc.close())


@dataclass(eq=False)
class Line:
    """An m-line that this side sends on, or may send on."""

    transceiver: RTCRtpTransceiver
    track: SenderTrack
    label: Label

    def release(self, sources: list[Source]) -> None:
        """Send none of these any more."""
        if self.track.source in sources:
            self.track.attach(None)

    def attach(self, source: Source | None) -> bool:
        """Send `source` here; False where the line's codec cannot carry it."""
        if source is not None and source.codec is not None:
            settled = negotiated_codec(self.transceiver)
            if settled is None and not is_started(self.transceiver.sender):
                prefer_codec(self.transceiver, source.codec)
            elif settled != source.codec:
                return False
        if self.track.source is not source:
            self.track.attach(source)
        return True


def add_line(pc: RTCPeerConnection, label: Label, kind: Kind, direction: str) -> Line:
    track = SenderTrack(kind)
    transceiver = pc.addTransceiver(track, direction)
    line = Line(transceiver, track, label)

    def request_key_frame() -> None:
        if track.source is not None:
            track.source.request_key_frame()

    hook_key_frames(transceiver.sender, request_key_frame)
    encode_apart(transceiver.sender)
    if label.startswith("screen"):
        set_stream_id(transceiver.sender, "screen")
    return line


def tap_new_tracks(
    pc: RTCPeerConnection,
    jitter: tuple[float, float],
    on_tap: Callable[[Tap, RTCRtpTransceiver], None],
) -> None:
    """Call `on_tap(tap, transceiver)` for each receiver that begins to receive."""

    def on_track(track: MediaStreamTrack) -> None:
        for transceiver in pc.getTransceivers():
            if transceiver.receiver.track is track:
                on_tap(Tap(transceiver.receiver, jitter), transceiver)

    pc.on("track", on_track)
