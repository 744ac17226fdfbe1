"""Synthetic media for tests of the relay: RTP packets as a publisher makes them, and a
forwarding plane without sockets."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relay.plane.arena import HEADROOM, ROW, Arena, Destinations
from relay.plane.forwarder import Crypto, Forwarder
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp import rtcp
from relay.sdp.capabilities import MID, OPUS, VP8, Kind
from relay.sdp.negotiation import PublishedCodec, PublishedMedia
from relay.stats import Stats
from relay.transport.ice import Address

PLAIN = Crypto(
    protect=lambda context, packet, length: 0,
    unprotect=lambda context, packet, length: 0,
    unprotect_rtcp=lambda context, packet, length: 0,
)


class PlainKeys:
    """Keys that encrypt nothing, for `PLAIN`."""

    context: object = "no key"

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        return packet


def build_rtp(
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    marker: bool = False,
    extensions: Mapping[int, bytes] | None = None,
) -> bytes:
    """A packet; `extensions` by id, in the one-byte form."""
    extension = b""
    if extensions:
        elements = b"".join(
            bytes((identifier << 4 | len(value) - 1,)) + value
            for identifier, value in extensions.items()
        )
        elements += bytes(-len(elements) % 4)
        extension = struct.pack("!HH", 0xBEDE, len(elements) // 4) + elements
    return (
        struct.pack(
            "!BBHII",
            0x90 if extension else 0x80,
            marker << 7 | payload_type,
            sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + extension
        + payload
    )


def build_vp8(picture: int, *, key_frame: bool, first: bool = True, data: bytes = b"") -> bytes:
    """A VP8 payload with a 15-bit picture id."""
    head = bytes((0x90 if first else 0x80, 0x80, 0x80 | picture >> 8 & 0x7F, picture & 0xFF))
    return head + (bytes((0 if key_frame else 1,)) if first else b"") + data


def video_media(
    ssrc: int = 0x1001, *, rtx_ssrc: int | None = None, mid: str = "0", **changes: Any
) -> PublishedMedia:
    fields: dict[str, Any] = {
        "mid": mid,
        "kind": "video",
        "active": True,
        "codecs": (PublishedCodec(120, 121, VP8),),
        "extensions": {9: MID.id, 5: 3, 6: 2, 7: 13},
        "ssrcs": (ssrc,),
        "rtx_ssrcs": {} if rtx_ssrc is None else {ssrc: rtx_ssrc},
    }
    return PublishedMedia(**{**fields, **changes})


def audio_media(ssrc: int = 0x2001, *, mid: str = "1", **changes: Any) -> PublishedMedia:
    fields: dict[str, Any] = {
        "mid": mid,
        "kind": "audio",
        "active": True,
        "codecs": (PublishedCodec(109, None, OPUS),),
        "extensions": {9: MID.id, 5: 3, 1: 1},
        "ssrcs": (ssrc,),
    }
    return PublishedMedia(**{**fields, **changes})


class MemoryOutbox:
    """An `Outbox` that hands each datagram to `deliver(data, address)`."""

    def __init__(self, deliver: Callable[[bytes, Address], None], rows: int = 64) -> None:
        self.arena = Arena(rows)
        self.sends = 0
        """How often there was something to send."""
        self._deliver = deliver
        self._next = 0
        self._blocks: list[tuple[int, Destinations, int]] = []

    def reserve(self, rows: int) -> int:
        if self._next + rows > self.arena.rows:
            self.send()
        return self._next

    def commit(self, first: int, destinations: Destinations, runs: Sequence[int]) -> None:
        packets = sum(runs)
        self._blocks.append((first, destinations, packets))
        self._next = first + packets * len(destinations.items)

    def send(self) -> None:
        blocks, self._blocks, self._next = self._blocks, [], 0
        self.sends += bool(blocks)
        for first, destinations, packets in blocks:
            for k, destination in enumerate(destinations.items):
                assert destination.address is not None
                for row in range(first + k * packets, first + (k + 1) * packets):
                    size = int(self.arena.lengths[row])
                    data = bytes(self.arena.view[row * ROW : row * ROW + size])
                    self._deliver(data, destination.address)


class Plane:
    """A `Forwarder` without sockets: packets in by `receive`, out into `sent` by address.

    The timer is the caller's: `forwarder.get_timer`, `forwarder.handle_timer`.
    """

    def __init__(self, *, rows: int = 64, crypto: Crypto = PLAIN) -> None:
        self.stats = Stats()
        self.forwarder = Forwarder(stats=self.stats, crypto=crypto)
        self.inbox = Arena(64, HEADROOM)
        self.sent: dict[Address, list[bytes]] = {}
        self.order: list[Address] = []
        """To whom each datagram went, in order."""
        self.outbox = MemoryOutbox(self.deliver, rows)
        self.forwarder.bind(self.inbox, self.outbox, lambda at: None)

    def deliver(self, data: bytes, address: Address) -> None:
        self.sent.setdefault(address, []).append(data)
        self.order.append(address)

    def open_leg(self, name: str) -> Leg:
        """A leg that is connected; its address is its name."""
        leg = self.forwarder.open_leg(name)
        leg.connect(PlainKeys(), PlainKeys())
        leg.set_address(Address(name.encode().ljust(16, b".")))
        return leg

    def receive(self, leg: Leg, packets: Sequence[bytes], now: float) -> None:
        """One batch."""
        for row, data in enumerate(packets):
            start = row * ROW + HEADROOM
            self.inbox.view[start : start + len(data)] = data
            self.inbox.lengths[row] = len(data)
            self.forwarder.receive(leg, row, len(data), now)
        self.forwarder.flush(now)

    def publish(self, leg: Leg, id: str, media: PublishedMedia) -> UpTrack:
        track = UpTrack(id, media)
        leg.add_up(track)
        return track

    def subscribe(
        self,
        leg: Leg,
        source: UpTrack | None,
        ssrc: int,
        now: float = 0.0,
        *,
        kind: Kind = "video",
        payload_types: Mapping[int, int] | None = None,
        rtx_ssrc: int | None = None,
        sequence: int = 1000,
        timestamp: int = 5000,
        extensions: bool = True,
    ) -> DownTrack:
        down = DownTrack(leg, kind, ssrc, rtx_ssrc, sequence=sequence, timestamp=timestamp)
        leg.add_down(down)
        types = payload_types or {96: 96, 97: 97, 111: 111}
        down.attach(source, types, now, extensions=extensions)
        return down

    def take(self, leg: Leg) -> list[bytes]:
        """What was sent to the leg since the last time."""
        address = leg.destination.address
        assert address is not None
        return self.sent.pop(address, [])

    def take_rtp(self, leg: Leg) -> list[bytes]:
        """The RTP packets among it."""
        return [data for data in self.take(leg) if not 64 <= data[1] & 0x7F <= 95]

    def take_rtcp(self, leg: Leg) -> list[rtcp.Rtcp]:
        """The RTCP packets among it, parsed."""
        return [
            packet
            for data in self.take(leg)
            if 64 <= data[1] & 0x7F <= 95
            for packet in rtcp.parse_compound_untrusted(data, 0, len(data))
        ]
