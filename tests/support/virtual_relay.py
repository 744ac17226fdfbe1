"""The relay's media plane in virtual time: the real forwarder, legs, tracks and SRTP, between
an inbox that is written to and an outbox that hands its rows to paths of a simulated network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cffi

from relay.plane.arena import HEADROOM, ROW, Arena, Destinations
from relay.plane.forwarder import Forwarder
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp.packet import is_rtcp
from relay.sdp.capabilities import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    CODEC_BY_PAYLOAD_TYPE,
    DEPENDENCY_DESCRIPTOR,
    MID,
    OPUS,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    VP8,
)
from relay.sdp.negotiation import PublishedCodec, PublishedMedia
from relay.stats import Stats
from relay.transport.ice import Address
from relay.transport.srtp import Srtp, protect, unprotect, unprotect_rtcp
from tests.support.network import Conditions, Path, Simulation

PROFILE = "aead-aes-128-gcm"
KEY_SIZE = 28  # key and salt

# A publisher's own numbers, none of them the relay's.
PUBLISHER_VP8, PUBLISHER_RTX, PUBLISHER_OPUS = 120, 121, 122
PUBLISHER_AV1, PUBLISHER_AV1_RTX = 123, 124
PUBLISHER_EXTENSIONS = {
    MID: 8,
    RID: 9,
    REPAIRED_RID: 10,
    AUDIO_LEVEL: 7,
    TRANSPORT_CC: 5,
    ABS_SEND_TIME: 4,
    DEPENDENCY_DESCRIPTOR: 3,
}
# A subscriber's payload types by the relay's.
AV1 = CODEC_BY_PAYLOAD_TYPE[45]
SUBSCRIBER_VIDEO = {number: number for number in (VP8.payload_type, 97, AV1.payload_type, 46)}
SUBSCRIBER_AUDIO = {OPUS.payload_type: OPUS.payload_type}


_ffi = cffi.FFI()


class Cipher:
    """Copies through one SRTP context, as a peer's own library would make them."""

    def __init__(self, srtp: Srtp) -> None:
        self._srtp = srtp
        self._buffer = _ffi.new("char[]", 2048)
        self._length = _ffi.new("int *")

    def protect(self, data: bytes) -> bytes:
        _ffi.memmove(self._buffer, data, len(data))
        self._length[0] = len(data)
        assert protect(self._srtp.context, self._buffer, self._length) == 0
        return bytes(_ffi.buffer(self._buffer, self._length[0]))

    def protect_rtcp(self, data: bytes) -> bytes:
        out = self._srtp.protect_rtcp(data)
        assert out is not None
        return out

    def unprotect(self, data: bytes) -> bytes | None:
        """None: not authentic, or seen before."""
        _ffi.memmove(self._buffer, data, len(data))
        self._length[0] = len(data)
        function = unprotect_rtcp if is_rtcp(data, 0) else unprotect
        if function(self._srtp.context, self._buffer, self._length):
            return None
        return bytes(_ffi.buffer(self._buffer, self._length[0]))


class _Outbox:
    """`arena.Outbox`, with a function for each address in place of a socket."""

    def __init__(self, stats: Stats, rows: int) -> None:
        self.arena = Arena(rows)
        self.receivers: dict[Address, Callable[[bytes], None]] = {}
        self._stats = stats
        self._next = 0
        self._blocks: list[tuple[int, Destinations, int]] = []

    def reserve(self, rows: int) -> int:
        assert rows <= self.arena.rows
        if self._next + rows > self.arena.rows:
            self.send()
        return self._next

    def commit(self, first: int, destinations: Destinations, runs: Sequence[int]) -> None:
        packets = sum(runs)
        self._blocks.append((first, destinations, packets))
        self._next = first + len(destinations.items) * packets

    def send(self) -> None:
        blocks, self._blocks, self._next = self._blocks, [], 0
        lengths, view = self.arena.lengths, self.arena.view
        for first, destinations, packets in blocks:
            for index, destination in enumerate(destinations.items):
                assert destination.address is not None
                receive = self.receivers.get(destination.address)
                for row in range(first + index * packets, first + (index + 1) * packets):
                    self._stats.packets_out += 1
                    if receive is not None:
                        receive(bytes(view[row * ROW : row * ROW + int(lengths[row])]))


class Wire:
    """One transport: a leg of the relay, its paths both ways and the peer's two SRTP contexts."""

    def __init__(self, relay: VirtualRelay, name: str, up: Conditions, down: Conditions) -> None:
        simulation = relay.simulation
        self.leg = relay.forwarder.open_leg(name)
        self.address = Address(relay.rng.randbytes(16))
        self.up = Path(simulation, f"{name}/up", up, self._arrive)
        self.down = Path(simulation, f"{name}/down", down, self._receive)
        self.on_data: Callable[[bytes], None] = _ignore
        self._relay = relay
        inward, outward = relay.rng.randbytes(KEY_SIZE), relay.rng.randbytes(KEY_SIZE)
        self.tx = Srtp.from_key(PROFILE, inward, inbound=False)
        self.rx = Srtp.from_key(PROFILE, outward, inbound=True)
        self._rx = Srtp.from_key(PROFILE, inward, inbound=True)
        self._tx = Srtp.from_key(PROFILE, outward, inbound=False)

    def connect(self) -> None:
        """The transport is up from now on."""
        self._relay.outbox.receivers[self.address] = self.down.send
        self.leg.connect(self._rx, self._tx)
        self.leg.set_address(self.address)

    def close(self) -> None:
        self._relay.outbox.receivers.pop(self.address, None)
        self.leg.close(self._relay.simulation.now)

    def _arrive(self, data: bytes) -> None:
        if not self.leg.closed:
            self._relay.receive(self.leg, data)

    def _receive(self, data: bytes) -> None:
        self.on_data(data)


class VirtualRelay:
    """One worker's forwarder. Datagrams of one instant are one batch."""

    def __init__(self, simulation: Simulation, *, rows: int = 256) -> None:
        self.simulation = simulation
        self.rng = simulation.rng("relay")
        self.stats = Stats()
        self.forwarder = Forwarder(stats=self.stats)
        self.inbox = Arena(64, HEADROOM)
        self.outbox = _Outbox(self.stats, rows)
        self._row = 0
        self._armed = float("inf")
        self.forwarder.bind(self.inbox, self.outbox, self._wake)

    def open(self, name: str, up: Conditions | None = None, down: Conditions | None = None) -> Wire:
        """A new transport, not yet connected."""
        return Wire(self, name, up or Conditions(), down or Conditions())

    def receive(self, leg: Leg, data: bytes) -> None:
        """A datagram from the peer at the other end of the leg."""
        if self._row == 0:
            self.simulation.after(0.0, self._flush)
        elif self._row == self.inbox.rows:
            self._flush()
        row = self._row
        self._row = row + 1
        start = row * ROW + HEADROOM
        self.inbox.view[start : start + len(data)] = data
        self.inbox.lengths[row] = len(data)
        self.forwarder.receive(leg, row, len(data), self.simulation.now)

    def _flush(self) -> None:
        self._row = 0
        self.forwarder.flush(self.simulation.now)

    def _wake(self, at: float) -> None:
        if at < self._armed:
            self._armed = at
            self.simulation.at(at, self._handle_timer)

    def _handle_timer(self) -> None:
        now = self.simulation.now
        if self._armed > now:
            return  # another one was armed for earlier, and has run
        self._armed = float("inf")
        self.forwarder.handle_timer(now)
        self.forwarder.flush(now)

    # -- Tracks -----------------------------------------------------------------------------

    def add_video(
        self,
        wire: Wire,
        id: str,
        ssrc: int | None,
        rtx_ssrc: int | None,
        *,
        rtx: bool = True,
        av1: bool = False,
    ) -> UpTrack:
        """A camera, as negotiation would agree on it."""
        codec = PublishedCodec(PUBLISHER_VP8, PUBLISHER_RTX if rtx else None, VP8)
        if av1:
            codec = PublishedCodec(PUBLISHER_AV1, PUBLISHER_AV1_RTX if rtx else None, AV1)
        ssrcs = () if ssrc is None else (ssrc,)
        pairs = {ssrc: rtx_ssrc} if ssrc is not None and rtx_ssrc is not None else {}
        media = PublishedMedia("0", "video", True, (codec,), _ids(), ssrcs, pairs)
        return self._add(wire, id, media)

    def add_simulcast(self, wire: Wire, id: str, rids: tuple[str, ...]) -> UpTrack:
        """A camera in several layers, told apart by the rids in their packets alone."""
        codec = PublishedCodec(PUBLISHER_VP8, PUBLISHER_RTX, VP8)
        media = PublishedMedia("0", "video", True, (codec,), _ids(), rids=rids)
        return self._add(wire, id, media)

    def add_audio(self, wire: Wire, id: str, ssrc: int) -> UpTrack:
        """A microphone."""
        codec = PublishedCodec(PUBLISHER_OPUS, None, OPUS)
        return self._add(wire, id, PublishedMedia("1", "audio", True, (codec,), _ids(), (ssrc,)))

    def add_slot(self, wire: Wire, kind: str, *, rtx: bool = True) -> DownTrack:
        """An m-line toward a subscriber."""
        ssrc = self.rng.getrandbits(32)
        rtx_ssrc = self.rng.getrandbits(32) if rtx and kind == "video" else None
        sequence, timestamp = self.rng.getrandbits(16), self.rng.getrandbits(32)
        down = DownTrack(
            wire.leg,
            "video" if kind == "video" else "audio",
            ssrc,
            rtx_ssrc,
            sequence=sequence,
            timestamp=timestamp,
        )
        wire.leg.add_down(down)
        return down

    def attach(self, down: DownTrack, track: UpTrack | None) -> None:
        """Have the slot carry the track."""
        payload_types = SUBSCRIBER_VIDEO if down.kind == "video" else SUBSCRIBER_AUDIO
        down.attach(track, payload_types if track else {}, self.simulation.now)

    def _add(self, wire: Wire, id: str, media: PublishedMedia) -> UpTrack:
        track = UpTrack(id, media)
        wire.leg.add_up(track)
        return track


def _ids() -> dict[int, int]:
    return {identifier: e.id for e, identifier in PUBLISHER_EXTENSIONS.items()}


def _ignore(_data: bytes) -> None:
    """Nobody reads yet."""
