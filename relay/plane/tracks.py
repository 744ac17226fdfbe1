"""A publisher's track and a subscriber's: `UpTrack`, of one or more layers, and `DownTrack`.

No packet passes through here whole: `leg` and `forwarder` move them, these know what each one
means and what becomes of its numbers. Above 400 lines, because the two sides know each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from ..rtp.cache import ResendBudget
from ..rtp.codecs import Inspect, Picture, PictureMap, get_inspector
from ..rtp.packet import Extension, ExtensionMap, Packet
from ..rtp.reports import RoundTrip
from ..rtp.rtcp import ReportBlock
from ..rtp.seq import Segment, SeqMap, TimestampMap
from ..sdp.capabilities import (
    CODEC_BY_PAYLOAD_TYPE,
    EXTENSION_BY_ID,
    SUBSCRIBER_EXTENSIONS,
    Codec,
    Kind,
)
from ..sdp.negotiation import PublishedMedia
from ..sdp.parameters import read_parameters
from .arena import Destination, Pointer
from .cut import Cut, may_move
from .layer import Layer, Rung
from .policing import Allowance, Bitrates, Policer
from .simulcast import LayerChoice

RESEND_RATE: Final = 250_000.0
"""Bytes per second that one slot may have sent again: 2 Mbit/s, its stream once over."""

RESEND_BURST: Final = 250_000.0


class Sender(Protocol):
    """What a DownTrack needs of its leg."""

    destination: Destination
    ready: bool
    index: int
    context: Pointer

    def report_soon(self, at: float) -> None: ...


class Waker(Protocol):
    """What a track needs of the forwarder: its leg's timer is to run at once."""

    def wake(self, at: float) -> None: ...


class UpTrack:
    """One m-line of a publisher. Owns its key frame requests and its choice of layer."""

    def __init__(self, id: str, media: PublishedMedia) -> None:
        self.id = id
        self.kind: Kind = media.kind
        self.muted = False
        self.downs: list[DownTrack] = []
        self.layers: dict[int, Layer] = {}
        """By index; learned from SSRCs or from rid extensions."""
        self.choice = LayerChoice()
        self.leg: Waker | None = None
        self.policer = Policer(Allowance(0), Allowance(0))
        self.codec = ""
        """What arrived last, by name; before that, what was negotiated first."""
        # Whether who receives, or how, has changed since the fan-out was last made.
        self.dirty = True
        self.stale = True
        """Whether what is taken of it may be something else than `refresh` found."""
        self.waiters: list[DownTrack] = []
        """DownTracks without a layer: a packet that a decoder can start with starts them."""
        self.movers: list[DownTrack] = []
        """DownTracks that are to take something else than they do."""
        self._level: int | None = None
        self.update(media)

    def update(self, media: PublishedMedia) -> None:
        """What a renegotiation made of the m-line."""
        self.media = media
        self.payload_types = {
            codec.payload_type: codec.codec.payload_type for codec in media.codecs
        }
        """The relay's payload type by the publisher's; RTX is in `rtx`."""
        self.rtx = {codec.rtx: codec for codec in media.codecs if codec.rtx is not None}
        self.inspectors: dict[int, Inspect] = {
            codec.codec.payload_type: get_inspector(f"{self.kind}/{codec.codec.name}")
            for codec in media.codecs
        }
        self.announced_sets = {
            codec.codec.payload_type: (codec.codec.name, read_parameters(codec.parameters))
            for codec in media.codecs
            if codec.codec.name in ("H264", "H265")
        }
        """By the relay's payload type: the codec, and its `a=fmtp` with its parameter sets."""
        self.clock_rate = media.codecs[0].codec.clock_rate if media.codecs else 90000
        self.codec = self.codec or (media.codecs[0].codec.name if media.codecs else "")
        incoming = {
            EXTENSION_BY_ID[relay_id].uri: identifier
            for identifier, relay_id in media.extensions.items()
            if relay_id in EXTENSION_BY_ID
        }
        outgoing = {extension.uri: extension.id for extension in SUBSCRIBER_EXTENSIONS[self.kind]}
        if self.kind == "audio":
            # Sound is sent again without RTX, as the same packet: see `Forwarder.resend`.
            outgoing.pop(Extension.TRANSPORT_SEQUENCE, None)
        self.extension_map = ExtensionMap(incoming, outgoing)

    def join(self, leg: Waker, allowance: Allowance, bitrates: Bitrates) -> None:
        """It is received on `leg`, and takes its share of what all there may send."""
        self.leg = leg
        sound = self.kind == "audio"
        own = Allowance(bitrates.audio if sound else bitrates.video)
        self.policer = Policer(own, allowance, obeys=not sound)

    def leave(self) -> None:
        """It is received no more."""
        self.leg = None

    def set_muted(self, muted: bool, now: float) -> None:
        """While muted, nothing is forwarded; afterwards video starts at a key frame."""
        if muted == self.muted:
            return
        self.muted = muted
        for down in self.downs:
            down.stop()
        if not muted:
            self.resume(now)

    def cut(self) -> None:
        """Its publisher sends more than it may: nothing goes out until that has passed."""
        for layer in self.layers.values():
            layer.nacks.reset()
        for down in self.downs:
            down.stop()

    def resume(self, now: float) -> None:
        """It goes on: video at a key frame."""
        self.begin()
        self.request_key_frame(now)

    def refresh(self) -> None:
        """Find out which layers are taken, in which cuts, and who waits for what."""
        self.stale = False
        before = {layer for layer in self.layers.values() if layer.taken}
        for layer in self.layers.values():
            layer.taken = False
            layer.active = []
        self.waiters, self.movers = [], []
        for down in self.downs:
            cut, target = down.cut, down.get_target()
            if cut is None:
                self.waiters.append(down)
            else:
                cut.layer.taken = True
                if cut not in cut.layer.active:
                    cut.layer.active.append(cut)
                if target is not None and target is not cut:
                    self.movers.append(down)
            if target is not None:
                target.layer.taken = True
                if cut is None or cut.layer is not target.layer:
                    self._ask(target.layer)
        for layer in self.layers.values():
            if layer.taken and layer not in before:
                layer.begin()

    def _ask(self, layer: Layer) -> None:
        """Somebody is to go on with the layer, and needs its key frame."""
        if self.kind == "video" and not layer.key_frames.wanted and not self.muted:
            layer.key_frames.request()
            if self.leg is not None:
                self.leg.wake(0.0)

    def think_of_layers(self, now: float) -> None:
        """Look which layer is the best, a few times a second; ask again who waits for one."""
        if self.choice.handle_timer(now) or self.movers:
            self.refresh()

    def begin(self) -> None:
        """Somebody wants it after a while without: what was missed meanwhile is of no use."""
        for layer in self.layers.values():
            layer.nacks.reset()
            layer.cache.clear(layer.inserted.apply(layer.unwrapper.newest) + 1)

    def request_key_frame(self, now: float, layer: Layer | None = None) -> None:
        """A subscriber cannot go on without one of the layer, or of the best; asked upstream when
        the time has come."""
        layer = layer or self.get_current()
        if self.kind == "video" and layer is not None and self.downs and not self.muted:
            layer.key_frames.request()
            if self.leg is not None:
                self.leg.wake(now)

    def get_current(self) -> Layer | None:
        """The best layer: what those take who are not given another one."""
        current = self.choice.current
        return None if current is None else self.layers.get(current)

    def get_taken(self) -> Layer | None:
        """A layer that somebody receives, heard last; else the best."""
        taken = [layer for layer in self.layers.values() if layer.taken]
        return max(taken, key=lambda layer: layer.heard_at) if taken else self.get_current()

    def get_room(self) -> float:
        """Bit/s that the best of its receivers could take."""
        return max((down.room for down in self.downs), default=float("inf"))

    def is_wanted(self) -> bool:
        """Whether anybody is to receive it now: if not, it is asked for nothing."""
        return not self.muted and any(not down.is_idle for down in self.downs)

    def on_level(self, level: int) -> None:
        """A packet's audio level (RFC 6464), 0 (loudest) to 127, in -dBov."""
        if self._level is None or -level > self._level:
            self._level = -level

    def take_level(self) -> int | None:
        """The loudest audio level in dBov (-127..0) since the last call; None: no packet."""
        level, self._level = self._level, None
        return level

    def get_codec(self) -> Codec | None:
        """The relay's entry for what was negotiated first."""
        return self.media.codecs[0].codec if self.media.codecs else None

    @property
    def heard_at(self) -> float:
        """When a packet of it came last, whether wanted or not."""
        return max((layer.heard_at for layer in self.layers.values()), default=float("-inf"))

    def get_bitrate(self, now: float) -> float:
        """Bit/s of all its layers."""
        return sum(layer.get_bitrate(now) for layer in self.layers.values())

    @property
    def loss(self) -> float:
        """The share of packets lost on the publisher's way here, 0 to 1, lately."""
        layer = self.get_current()
        return 0.0 if layer is None else layer.received.fraction

    @property
    def jitter(self) -> float:
        """Seconds."""
        layer = self.get_current()
        return 0.0 if layer is None else layer.received.jitter_seconds


class DownTrack:
    """One m-line toward a subscriber: one SSRC for its whole life, sources change behind it.

    `sequence` and `timestamp` are the first ones to be sent (random numbers, given by the
    caller; the sequence number is put in the lower half). A leg carries a source once at most.
    """

    def __init__(
        self,
        leg: Sender,
        kind: Kind,
        ssrc: int,
        rtx_ssrc: int | None,
        *,
        sequence: int,
        timestamp: int,
    ) -> None:
        self.leg = leg
        self.kind = kind
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.source: UpTrack | None = None
        self.cut: Cut | None = None
        """Whose packets go out now."""
        self.target: Rung | None = None
        """What is to go out; None: the best there is."""
        self.room = float("inf")
        """Bit/s of its source that could go out: what the line carries beside all else."""
        self.paused = False
        self.withheld = False
        """Whether nothing goes out because the line does not carry it."""
        self.extensions = True
        self.payload_types: Mapping[int, int] = {}
        self.types_at = 0.0
        """Since when they are what they are."""
        self.round_trip = RoundTrip()
        self.loss = 0.0
        """The share that the subscriber lost, 0 to 1, by its last report."""
        self.resent = 0
        self.map = SeqMap(sequence & 0x7FFF)
        self._timestamps = TimestampMap(48000 if kind == "audio" else 90000, timestamp)
        self._clock_rate = 48000 if kind == "audio" else 90000
        self._pictures = PictureMap()
        self._rtx_sequence = sequence & 0x7FFF
        self._budget: ResendBudget | None = None
        self._first = 0  # packet of the run that goes out now
        # Packets and octets, less what the source has sent in all: see `packets`.
        self._packets = 0
        self._octets = 0

    def attach(
        self,
        source: UpTrack | None,
        payload_types: Mapping[int, int],
        now: float,
        *,
        extensions: bool = True,
    ) -> None:
        """Carry `source` from now on (None: nothing).

        `payload_types` is `Slot.payload_types`: the number on the wire by the relay's, RTX
        included; called again with the same source it only takes these. `extensions` False
        sends no header extensions: for a player that numbers them otherwise. A video slot
        without RTX has none either. Video starts at
        the next key frame, which is asked for.
        """
        if payload_types != self.payload_types:
            self.types_at = now
        self.payload_types = payload_types
        # Without RTX a video packet is sent again as it was, so it holds no number that would
        # be another then: see `Forwarder.resend`.
        self.extensions = extensions and (self.kind == "audio" or self._has_any_rtx())
        if source is self.source:
            if source is not None:
                source.dirty = True
            return
        self.stop()
        if self.source is not None:
            self.source.downs.remove(self)
            self.source.refresh()
        self.source = source
        self.target, self.withheld = None, False
        if source is not None:
            if not source.downs:
                source.begin()
            source.downs.append(self)
            source.stale = True
            source.request_key_frame(now)

    def follow(self, former: DownTrack) -> None:
        """Go on from what one of the same SSRC has reached on a transport that has ended.

        Who receives may have kept its peer connection, and with it what it knows of the SSRC:
        to libwebrtc what is numbered from further back is old, and dropped.
        """
        self.map = SeqMap(former.map.get_restart())
        self._clock_rate = former._clock_rate
        self._timestamps = former._timestamps
        self._pictures = former._pictures
        self._packets, self._octets = former.packets, former.octets

    def set_paused(self, paused: bool, now: float) -> None:
        """While paused nothing goes out; afterwards video starts at a key frame."""
        self._hold(paused, self.withheld, now)

    def set_target(self, rung: Rung | None, now: float) -> None:
        """Take this much of the source; None: nothing, for the line does not carry it."""
        if rung is None:
            self._hold(self.paused, True, now)
            return
        changed, self.target = rung != self.target, rung
        self._hold(self.paused, False, now)
        if changed and self.source is not None:
            self.source.refresh()

    def _hold(self, paused: bool, withheld: bool, now: float) -> None:
        idle, source = self.is_idle, self.source
        if source is not None and idle and not (paused or withheld) and not source.is_wanted():
            source.begin()
        self.paused, self.withheld = paused, withheld
        if self.is_idle == idle:
            return
        self.stop()
        if source is not None:
            source.refresh()
            target = self.get_target()
            if target is not None:
                source.request_key_frame(now, target.layer)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to go out, by anybody's wish."""
        return self.paused or self.withheld

    @property
    def layer(self) -> Layer | None:
        """Whose packets go out now."""
        return None if self.cut is None else self.cut.layer

    def get_target(self) -> Cut | None:
        """What is to go out now; None: nothing, or nothing of it has come yet."""
        if self.source is None or self.is_idle:
            return None
        if self.target is not None:
            layer = self.source.layers.get(self.target.layer)
            if layer is not None:
                return layer.get_cut(self.target.spatial, self.target.temporal)
        layer = self.source.get_current()
        return None if layer is None else layer.whole

    def can_start(self) -> bool:
        """Whether it could send a packet to start with."""
        return not self.is_idle and self.leg.ready and bool(self.payload_types)

    def may_begin(self, layer: Layer, picture: Picture) -> Cut | None:
        """What it is to go on with from this packet of `layer`; None: nothing else than before."""
        target, cut = self.get_target(), self.cut
        if target is None or target.layer is not layer or target is cut:
            return None
        if cut is not None and cut.layer is layer:
            return target if may_move(cut, target, picture) else None
        return target if picture.key_frame and target.passes(picture) else None

    def start(self, cut: Cut, number: int, timestamp: int, picture: Picture, at: float) -> None:
        """Go on with packet `number` of `cut`, which a decoder can start with."""
        track = cut.layer.track
        if track.clock_rate != self._clock_rate:
            # Another codec's clock: time has to start anew, from where it stands.
            self._clock_rate = track.clock_rate
            self._timestamps = TimestampMap(track.clock_rate, self._timestamps.splice(0, at))
        pictures = self._pictures.splice(picture)
        self.map.splice(
            cut.number,
            number,
            timestamp_delta=self._timestamps.splice(timestamp, at),
            picture_delta=pictures[0],
            tl0_delta=pictures[1],
            keyidx_delta=pictures[2],
            frame_delta=pictures[3],
        )
        self.cut = cut
        self._first = number
        self._packets -= cut.sent_packets
        self._octets -= cut.sent_octets
        track.dirty = track.stale = True
        self.leg.report_soon(at)

    def stop(self) -> None:
        """Nothing more of the present layer; the next start carries on from here."""
        cut, segment = self.cut, self.map.current
        if cut is None or segment is None:
            return
        # Of the run, not of its present segment: that begins after a packet that was skipped.
        if cut.newest >= self._first:
            self._timestamps.stop(cut.newest_timestamp + segment.timestamp_delta, cut.newest_at)
            self._pictures.stop(
                cut.picture,
                segment.picture_delta,
                segment.tl0_delta,
                segment.keyidx_delta,
                segment.frame_delta,
            )
        self.map.stop(cut.newest)
        self.cut = None
        self._packets += cut.sent_packets
        self._octets += cut.sent_octets
        track = cut.layer.track
        track.dirty = track.stale = True

    @property
    def packets(self) -> int:
        """RTP packets sent, without those sent again. What all who take a cut got is counted
        once, there; here is only what it had counted when this one started."""
        return self._packets + (self.cut.sent_packets if self.cut is not None else 0)

    @property
    def octets(self) -> int:
        """Payload bytes of `packets`."""
        return self._octets + (self.cut.sent_octets if self.cut is not None else 0)

    def count_missed(self, octets: int) -> None:
        """One packet that its cut counted did not go to this DownTrack."""
        self._packets -= 1
        self._octets -= octets

    def receive_report(self, block: ReportBlock, now: float) -> None:
        """The subscriber's report about this SSRC."""
        self.loss = block.fraction_lost / 256
        self.round_trip.on_report(block, now)

    @property
    def resend_after(self) -> float:
        """Seconds after it went out from which a packet may be asked for again: most of the
        shortest round trip. Those who ask only once must not be refused for the long ones of
        a busy machine: without the packet, aiortc waits until 512 others have come."""
        least = self.round_trip.least
        return 0.0 if least is None else 0.75 * least

    def find_to_resend(self, sequence: int) -> tuple[Segment, int] | None:
        """What was sent under this sequence number: its segment and its number at the source."""
        return self.map.find_sent(sequence, self.cut.newest if self.cut is not None else None)

    def take_budget(self, size: int, now: float) -> bool:
        """Whether `size` bytes may be sent again now."""
        if self._budget is None:
            self._budget = ResendBudget(RESEND_RATE, RESEND_BURST, now)
        return self._budget.take(size, now)

    def _has_any_rtx(self) -> bool:
        return any(self.has_rtx(payload_type) for payload_type in self.payload_types)

    def has_rtx(self, payload_type: int) -> bool:
        """Whether RTX was negotiated for the relay's `payload_type`."""
        codec = CODEC_BY_PAYLOAD_TYPE.get(payload_type)
        return self.rtx_ssrc is not None and codec is not None and codec.rtx in self.payload_types

    def can_probe(self) -> bool:
        """Whether packets of it may be sent that carry nothing new."""
        return self.leg.ready and self.extensions and self._has_any_rtx()

    def take_padding(self) -> tuple[int, int, int]:
        """SSRC, payload type and the next sequence number of a packet of padding alone."""
        payload_type = next(number for number in self.payload_types if self.has_rtx(number))
        taken = self.take_rtx(payload_type)
        assert taken is not None
        return taken

    def take_rtx(self, payload_type: int) -> tuple[int, int, int] | None:
        """SSRC, payload type and the next sequence number of a retransmission of the relay's
        `payload_type`; None where RTX was not negotiated."""
        if self.rtx_ssrc is None or not self.has_rtx(payload_type):
            return None
        number = self.payload_types[CODEC_BY_PAYLOAD_TYPE[payload_type].rtx or 0]
        self._rtx_sequence = self._rtx_sequence + 1 & 0xFFFF
        return self.rtx_ssrc, number, self._rtx_sequence


def inspect(track: UpTrack, view: memoryview, packet: Packet, into: Picture) -> None:
    """What the payload of a packet with the relay's payload type says about its picture."""
    inspector = track.inspectors.get(packet.payload_type)
    if inspector is None:
        into.clear()
    else:
        inspector(view, packet.payload_start, packet.payload_end, into)
