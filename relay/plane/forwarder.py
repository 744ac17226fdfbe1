"""The hot path: from a batch of datagrams to the packets of every DownTrack, nothing else.

No await, no log call, no object per destination; an exception only for a malformed packet.
What differs between subscribers is written by `fanout`, what a packet means is known to `tracks`,
feedback goes through `leg`.

Above 400 lines, because a packet's whole way is read from top to bottom here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..rtp.cache import Cached
from ..rtp.codecs import Picture, inspect_descriptor
from ..rtp.packet import (
    Packet,
    PacketError,
    build_padding,
    build_rtx,
    find_extension,
    header_size,
    normalise_header,
    parse_packet_untrusted,
    read_extensions,
    unwrap_rtx,
)
from ..rtp.rtcp import RtcpError, parse_compound_untrusted
from ..rtp.seq import Segment
from ..sdp.capabilities import DEPENDENCY_DESCRIPTOR, TRANSPORT_CC
from ..stats import DropReason, Stats
from ..transport import srtp
from ..transport.ice import Address
from .arena import HEADROOM, ROW, Arena, Destinations, Outbox, Pointer
from .fanout import MAX_LENGTH, FanOut, Item, build_fan_outs, render
from .history import SendHistory
from .leg import REPORT_GRACE, Leg
from .policing import Bitrates
from .tracks import DownTrack, Layer, UpTrack

PUBLISH_BITRATE = 4_000_000
"""Bit/s that a publisher is told to send at most (REMB)."""

SEND_TIME_FRACTION = 1 << 18
"""abs-send-time: 24 bits, 6.18 fixed point seconds."""

MAX_RUN = 40
"""Packets that are written for one subscriber at once: more than a frame that was held has, and
as many as one UDP_SEGMENT send takes (`batch.SAFE_RUN`)."""

MAX_PADDING = 255
"""Bytes: RFC 3550, 5.1: padding's last octet counts it."""

Cipher = Callable[[Pointer, Pointer, Pointer], int]
"""(context, packet, length) → status, in place; 0 is success. `length` is read and written."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """libsrtp's functions, or others where nothing is encrypted."""

    protect: Cipher = srtp.protect
    unprotect: Cipher = srtp.unprotect
    unprotect_rtcp: Cipher = srtp.unprotect_rtcp


class Forwarder:
    """One per worker. It is given rows of an arena and fills an outbox; it has no socket.

    Per batch: `receive` for each datagram of media, then `flush`.
    """

    def __init__(
        self,
        *,
        stats: Stats,
        crypto: Crypto | None = None,
        bitrates: Bitrates | None = None,
    ) -> None:
        self.stats = stats
        self.bitrates = bitrates or Bitrates()
        self.publish_bitrate = min(PUBLISH_BITRATE, self.bitrates.video)
        self.legs: dict[int, Leg] = {}
        self.layers: dict[int, Layer] = {}
        """By number: every stream that is published now."""
        self._crypto = crypto or Crypto()
        self.history = SendHistory()
        self._next_layer = 0
        self._due = float("inf")
        self.report_due = float("inf")
        """From when on a `handle_timer` between packets would have reports to send."""
        self._pending: dict[Layer, list[Item]] = {}
        self._fans: dict[UpTrack, list[FanOut]] = {}

    def bind(
        self,
        inbox: Arena,
        outbox: Outbox,
        send: Callable[[bytes, Address], None],
        wake: Callable[[float], None],
    ) -> None:
        """Where packets come from and go to. `send` takes RTCP; `wake(at)` asks for a
        `handle_timer` at that time, which is earlier than any asked for before."""
        self._inbox = inbox
        self._view = inbox.view
        self._source: npt.NDArray[np.uint8] = inbox.data.reshape(-1)
        self._outbox = outbox
        self._send = send
        self._wake = wake
        # One item per row of the inbox, used again for each batch.
        self._items = [Item() for _ in range(inbox.rows)]

    def open_leg(self, name: str, cname: str = "relay") -> Leg:
        """The media side of a new transport; `name` is for people, `cname` for RTCP."""
        leg = Leg(self, name, cname, self.history.open())
        self.legs[leg.index] = leg
        return leg

    # -- In ---------------------------------------------------------------------------------

    def receive(self, leg: Leg, row: int, size: int, now: float) -> None:
        """One datagram of `size` bytes that looks like RTP or RTCP, in a row of the inbox."""
        stats, view = self.stats, self._view
        start = row * ROW + HEADROOM
        if size < 12:
            # RTCP that says anything is at least as long as an RTP header, once protected.
            stats.drops[DropReason.MALFORMED] += 1
            return
        context = leg.rx_context
        if context is None:
            stats.drops[DropReason.NO_KEYS] += 1
            return
        if 64 <= view[start + 1] & 0x7F <= 95:
            self._receive_rtcp(leg, row, size, now)
            return
        stats.rtp_in += 1
        ssrc = int.from_bytes(view[start + 8 : start + 12], "big")
        layer = leg.streams.get(ssrc)
        if layer is None and (refusal := leg.may_learn(ssrc, now)) is not None:
            stats.drops[refusal] += 1
            return
        inbox = self._inbox
        length = inbox.length_pointers[row]
        length[0] = size
        status = self._crypto.unprotect(context, inbox.pointers[row], length)
        if status:
            self._drop_unread(leg, status, now)
            return
        leg.heard_at = now
        if not leg.intake.take_packet(now):
            stats.drops[DropReason.FLOOD] += 1
            return
        item = self._items[row]
        packet = item.packet
        try:
            parse_packet_untrusted(view, start, start + length[0], packet)
        except PacketError:
            stats.drops[DropReason.MALFORMED] += 1
            return
        if layer is None:
            layer = leg.learn(view, packet, now)
            if layer is None:
                stats.drops[DropReason.UNKNOWN_SSRC] += 1
                return
        self._receive_packet(leg, layer, item, now)

    def _drop_unread(self, leg: Leg, status: int, now: float) -> None:
        """Count what libsrtp refused."""
        reason = srtp.get_drop_reason(status)
        self.stats.drops[reason] += 1
        if reason is DropReason.AUTHENTICATION:
            leg.intake.count_forged(now)

    def _receive_packet(self, leg: Leg, layer: Layer, item: Item, now: float) -> None:
        """A packet of a known stream: count it, and keep it if somebody wants it."""
        packet, track = item.packet, layer.track
        view = self._view
        read_extensions(view, packet, track.extension_map)
        if packet.transport_sequence >= 0:
            self._note_arrival(leg, packet.transport_sequence, now)
        layer.heard_at = now
        size = packet.end - packet.start
        layer.octets += size
        repeated = False
        payload_type = track.payload_types.get(packet.payload_type)
        if payload_type is None:
            codec = track.rtx.get(packet.payload_type)
            if codec is None:
                self.stats.drops[DropReason.UNKNOWN_PAYLOAD_TYPE] += 1
                return
            repeated = True
            if not unwrap_rtx(view, packet, layer.ssrc, codec.codec.payload_type):
                self._police(layer, packet, size, repeated, now)
                return  # a probe: padding alone
        else:
            packet.payload_type = payload_type
        number = item.number = layer.unwrapper.unwrap(packet.sequence)
        if not repeated:
            layer.received.on_packet(number, packet.timestamp, now)
        if packet.audio_level >= 0:
            track.on_level(packet.audio_level)
        if not self._police(layer, packet, size, repeated, now) or not track.downs:
            return
        if track.muted:
            self.stats.drops[DropReason.MUTED] += 1
            return
        if not layer.cache.is_new(number):
            # Twice under one number with other bytes, if only in the header, must not be:
            # RFC 7714, 9.1: "the (key, IV) pair [...] MUST NOT be reused".
            self.stats.drops[DropReason.DUPLICATE] += 1
            return
        self._take(leg, layer, item, now)

    def _police(self, layer: Layer, packet: Packet, size: int, repeated: bool, now: float) -> bool:
        """Count a packet as part of what its publisher may send; False: that is used up."""
        track = layer.track
        stopped = track.policer.stopped
        begins_frame = packet.timestamp != layer.frame and not repeated
        if track.policer.take(size, begins_frame, now):
            if stopped:
                track.resume(now)
            if begins_frame:
                layer.frame = packet.timestamp
            return True
        if not stopped:
            self.flush(now)
            track.cut()
        self.stats.drops[DropReason.BITRATE] += 1
        return False

    def _note_arrival(self, leg: Leg, number: int, now: float) -> None:
        leg.arrivals.on_packet(number, now)
        timer = leg.arrivals.get_timer()
        if timer is not None and timer < leg.due:
            leg.wake(timer)

    def _take(self, leg: Leg, layer: Layer, item: Item, now: float) -> None:
        """A packet that is new: if its layer goes out, keep it and put it with those to forward."""
        packet, picture = item.packet, item.picture
        track, view = layer.track, self._view
        inspector = track.inspectors[packet.payload_type]
        inspector(view, packet.payload_start, packet.payload_end, picture)
        choice = track.choice
        if choice.current is None or len(track.layers) > 1:
            choice.receive_packet(layer.index, packet.end - packet.start, now)
        if picture.key_frame:
            layer.key_frames.receive_key_frame()
            if choice.receive_key_frame(layer.index):
                self._change_layer(layer, now)
        if layer.index != choice.current:
            return
        if packet.end - packet.start > MAX_LENGTH - HEADROOM:
            self.stats.drops[DropReason.TOO_LARGE] += 1
            return
        if not layer.nacks.on_packet(item.number, now):
            track.request_key_frame(now)
        timer = layer.nacks.timer
        if timer is not None and timer < leg.due:
            leg.wake(timer)
        self._normalise(layer, item, now)
        if track.waiters:
            self._start(layer, item, now)
        pending = self._pending.get(layer)
        if pending is None:
            self._pending[layer] = [item]
        else:
            pending.append(item)

    def _normalise(self, layer: Layer, item: Item, now: float) -> None:
        packet, view = item.packet, self._view
        normalise_header(view, packet, layer.track.extension_map)
        start = packet.start
        if packet.descriptor_at >= 0:
            inspect_descriptor(view, packet.descriptor_at, item.picture)
        if packet.send_time_at >= 0:
            send_time = int(now * SEND_TIME_FRACTION) & 0xFFFFFF
            at = start + packet.send_time_at
            view[at : at + 3] = send_time.to_bytes(3, "big")
        layer.cache.add(item.number, bytes(view[start : packet.end]), now)

    def _change_layer(self, layer: Layer, now: float) -> None:
        """Another layer goes out from its packet on that comes next."""
        self.flush(now)
        layer.nacks.reset()
        for down in layer.track.downs:
            down.stop()

    def _start(self, layer: Layer, item: Item, now: float) -> None:
        """Whoever waits and can goes on from here, if a decoder can."""
        track = layer.track
        able = [down for down in track.waiters if down.can_start()]
        if item.picture.key_frame:
            for down in able:
                down.start(layer, item.number, item.packet.timestamp, item.picture, now)
        elif able:
            self.stats.drops[DropReason.WAITING_KEY_FRAME] += len(able)
            if not layer.key_frames.wanted:
                track.request_key_frame(now)

    def _receive_rtcp(self, leg: Leg, row: int, size: int, now: float) -> None:
        stats = self.stats
        start = row * ROW + HEADROOM
        stats.rtcp_in += 1
        # RFC 3711, 3.4: "the first 8 octets" of a compound packet, its sender's SSRC in the second
        # half, are never encrypted.
        sender = int.from_bytes(self._view[start + 4 : start + 8], "big")
        if leg.intake.doubts(now) and not leg.intake.knows_reporter(sender):
            stats.drops[DropReason.FORGED] += 1
            return
        inbox = self._inbox
        length = inbox.length_pointers[row]
        length[0] = size
        status = self._crypto.unprotect_rtcp(leg.rx_context, inbox.pointers[row], length)
        if status:
            self._drop_unread(leg, status, now)
            return
        leg.heard_at = now
        if not leg.intake.take_control(sender, now):
            stats.drops[DropReason.FLOOD] += 1
            return
        try:
            packets = parse_compound_untrusted(self._view, start, start + length[0])
        except RtcpError:
            stats.drops[DropReason.MALFORMED] += 1
            return
        leg.receive_rtcp(packets, now)

    # -- Out --------------------------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Forward what was received since the last time, and send it."""
        self.history.now = now
        if self._pending:
            for layer, items in self._pending.items():
                self._forward(layer, items, now)
            self._pending.clear()
        self._outbox.send()

    def _forward(self, layer: Layer, items: list[Item], now: float) -> None:
        track = layer.track
        if track.dirty:
            track.dirty = False
            self._fans[track] = build_fan_outs(track)
        fans = self._fans.get(track, ())
        for fan in fans:
            self._forward_to(fan, layer, items)
        octets = 0
        for item in items:
            octets += item.packet.end - item.packet.payload_start
            if item.number > layer.newest:
                layer.newest = item.number
                layer.newest_timestamp = item.packet.timestamp
                layer.newest_at = now
                if item.packet.end > item.packet.payload_start:
                    # A probe shows no picture. Handed over, not copied: the item takes the old
                    # one for its next packet.
                    layer.picture, item.picture = item.picture, layer.picture
        if fans:
            track.sent_packets += len(items)
            track.sent_octets += octets

    def _forward_to(self, fan: FanOut, layer: Layer, items: list[Item]) -> None:
        """In runs of whole frames, broken by packets that go apart."""
        limit = min(MAX_RUN, self._outbox.arena.rows)
        run: list[Item] = []
        for item in items:
            takes = fan.takes(item)
            if takes and fan.outdated:
                fan.read_segments()
                takes = fan.takes(item)
            if takes:
                run.append(item)
            if run and (not takes or len(run) == limit):
                self._fan_out(fan, run)
                run = []
            if not takes:
                self._forward_apart(fan, layer, item)
        if run:
            self._fan_out(fan, run)

    def _fan_out(self, fan: FanOut, items: Sequence[Item]) -> None:
        """To as many subscribers at a time as the outbox has rows for: so each of them gets
        the whole run in one send, however many there are."""
        outbox, packets = self._outbox, len(items)
        arena, runs = outbox.arena, fan.get_runs(items)
        for group in fan.get_groups(arena.rows // packets):
            first, end = fan.write(group, outbox, self._source, self._view, items, self.history)
            # A map keeps the loop over the rows out of the interpreter.
            statuses = list(
                map(
                    self._crypto.protect,
                    fan.get_contexts(group, packets),
                    arena.pointers[first:end],
                    arena.length_pointers[first:end],
                )
            )
            if any(statuses):
                self._commit_some(group.destinations, packets, first, statuses)
            else:
                outbox.commit(first, group.destinations, runs)

    def _commit_some(
        self, destinations: Destinations, packets: int, first: int, statuses: list[int]
    ) -> None:
        """Some rows could not be encrypted: send the others."""
        arena = self._outbox.arena
        row = first
        for offset, status in enumerate(statuses):
            if status:
                self.stats.drops[DropReason.SRTP] += 1
                continue
            arena.data[row] = arena.data[first + offset]
            arena.lengths[row] = arena.lengths[first + offset]
            destination = destinations.items[offset // packets]
            self._outbox.commit(row, Destinations([destination]), [1])
            row += 1

    def _forward_apart(self, fan: FanOut, layer: Layer, item: Item) -> None:
        """A packet that is not for all, or not numbered alike for all."""
        packet = item.packet
        data = self._view[packet.start : packet.end]
        for down in fan.downs:
            segment = down.map.find(layer.number, item.number)
            out = None
            if segment is None:
                self.stats.drops[DropReason.BEFORE_SWITCH] += 1
            else:
                out = render(
                    down, segment, data, item.number, item.picture, packet.start, self.history
                )
                if out is None:
                    self.stats.drops[DropReason.UNKNOWN_PAYLOAD_TYPE] += 1
                    if item.number > layer.newest:
                        down.map.skip(item.number)
                        fan.outdated = True
            if out is None:
                down.count_missed(packet.end - packet.payload_start)
            else:
                self._send_one(down, out)

    def _send_one(self, down: DownTrack, data: bytes | bytearray) -> None:
        outbox = self._outbox
        row = outbox.reserve(1)
        arena = outbox.arena
        start = row * ROW
        arena.view[start : start + len(data)] = data
        arena.lengths[row] = len(data)
        if self._crypto.protect(down.leg.context, arena.pointers[row], arena.length_pointers[row]):
            self.stats.drops[DropReason.SRTP] += 1
        else:
            outbox.commit(row, Destinations([down.leg.destination]), [1])

    def resend(self, down: DownTrack, segment: Segment, cached: Cached, layer: Layer) -> None:
        """Send a packet again, as a retransmission where that was negotiated. Goes out with
        the next `flush`."""
        if not self._may_resend(down, cached, layer):
            self.stats.drops[DropReason.NACK_NO_RTX] += 1
            return
        out = self._render_again(down, segment, cached, layer)
        if out is not None:
            self.stats.resent += 1
            down.resent += 1
            self._send_one(down, out)

    def _render_again(
        self, down: DownTrack, segment: Segment, cached: Cached, layer: Layer
    ) -> bytearray | None:
        picture = Picture()
        if segment.renumbers_pictures:
            self._inspect_cached(layer, cached, picture)
        out = render(down, segment, cached.data, cached.number, picture, 0, self.history)
        rtx = None if out is None else down.take_rtx(cached.data[1] & 0x7F)
        return out if out is None or rtx is None else build_rtx(out, rtx[0], rtx[1], rtx[2])

    def probe(self, downs: Iterable[DownTrack], octets: int, now: float) -> int:
        """Send about `octets` bytes to one leg that tell a receiver nothing new: the newest packets
        of one of its pictures once more, else padding. Returns how many were."""
        self.history.now = now
        able = [down for down in downs if down.can_probe()]
        if not able:
            return 0
        down = max(able, key=lambda down: down.layer is not None)
        sent, back = 0, 0
        while sent < octets:
            out = self._take_old(down, back, now) or self._build_padding(down, octets - sent)
            back += 1
            sent += len(out)
            self.stats.probed += 1
            self._send_one(down, out)
        self._outbox.send()
        return sent

    def _take_old(self, down: DownTrack, back: int, now: float) -> bytearray | None:
        """The packet that went out `back` packets ago, as a retransmission."""
        layer, segment = down.layer, down.map.current
        if layer is None or segment is None or layer.newest - back < segment.first or back >= 32:
            return None
        cached = layer.cache.get(layer.newest - back, now)
        if cached is None or not down.has_rtx(cached.data[1] & 0x7F):
            return None
        return self._render_again(down, segment, cached, layer)

    def _build_padding(self, down: DownTrack, octets: int) -> bytearray:
        number = self.history.take(down.leg.index, min(octets, MAX_PADDING) + 20)
        ssrc, payload_type, sequence = down.take_padding()
        size = max(1, min(octets, MAX_PADDING))
        return build_padding(payload_type, sequence, 0, ssrc, (TRANSPORT_CC.id, number), size)

    def _may_resend(self, down: DownTrack, cached: Cached, layer: Layer) -> bool:
        """Without RTX it has to be the same packet to the last bit (RFC 7714, 9.1): it is unless
        it has a transport-wide number, which is not kept, or was sent under another type."""
        if down.has_rtx(cached.data[1] & 0x7F):
            return True
        numbered = layer.track.extension_map.places[0].transport_sequence_at >= 0
        return cached.at >= down.types_at and not (down.extensions and numbered)

    def _inspect_cached(self, layer: Layer, cached: Cached, picture: Picture) -> None:
        inspector = layer.track.inspectors.get(cached.data[1] & 0x7F)
        if inspector is None:
            return
        data = cached.data
        inspector(data, header_size(data, 0), len(data), picture)
        descriptor_at = find_extension(data, DEPENDENCY_DESCRIPTOR.id)
        if descriptor_at >= 0:
            inspect_descriptor(data, descriptor_at, picture)

    # -- Timers -----------------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> None:
        """RTCP of a leg."""
        self._send(data, address)

    def wake(self, at: float) -> None:
        """A leg's timer moved to an earlier time."""
        if at < self._due:
            self._due = at
            self._wake(at)

    def get_timer(self) -> float | None:
        """When to call `handle_timer` next; None: nothing is to be done."""
        return None if self._due == float("inf") else self._due

    def handle_timer(self, now: float) -> None:
        """Reports, NACKs, key frame requests and feedback that are due, of all legs."""
        # Until all have had their turn, `wake` has nothing to tell.
        self._due = float("-inf")
        for leg in list(self.legs.values()):
            if leg.due <= now or leg.report_due <= now:
                leg.handle_timer(now)
        self._due = report_due = float("inf")
        for leg in self.legs.values():
            if leg.due < self._due:
                self._due = leg.due
            if leg.report_due < report_due:
                report_due = leg.report_due
        # Not with every packet: those of several legs together.
        self.report_due = max(report_due, now + REPORT_GRACE / 2)
        if self._due != float("inf"):
            self._wake(self._due)

    def take_layer_number(self) -> int:
        self._next_layer += 1
        return self._next_layer

    def forget_track(self, track: UpTrack) -> None:
        """It is not published any more."""
        self._fans.pop(track, None)

    def close_leg(self, leg: Leg) -> None:
        if self.legs.pop(leg.index, None) is not None:
            self.history.close(leg.index)
