"""The hot path: from a batch of datagrams to the packets of every DownTrack, nothing else.

No await, no log call, no object per destination; an exception only for a malformed packet.
What differs between subscribers is written by `fanout`, what a packet means is known to `tracks`,
feedback goes through `leg`.

Above 400 lines, because a packet's whole way is read from top to bottom here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..rtp.cache import Cached
from ..rtp.codecs import Picture, inspect_descriptor
from ..rtp.packet import (
    Packet,
    PacketError,
    ReadBuffer,
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
from ..timers import Timers
from ..transport import srtp
from . import red
from .arena import HEADROOM, ROW, Arena, Destinations, Outbox, Pointer
from .cut import Cut, Cuts
from .fanout import MAX_LENGTH, FanOut, build_fan_outs, render
from .history import OVERHEAD, SendHistory
from .item import Item
from .layer import Layer
from .leg import REPORT_GRACE, Leg
from .policing import Bitrates
from .tracks import DownTrack, UpTrack

PUBLISH_BITRATE = 4_000_000
"""Bit/s that a publisher is told to send at most (REMB)."""

SEND_TIME_FRACTION = 1 << 18
"""abs-send-time: 24 bits, 6.18 fixed point seconds."""

MAX_RUN = 40
"""Packets that are written for one subscriber at once: more than a frame that was held has, and
as many as one UDP_SEGMENT send takes (`batch.SAFE_RUN`)."""

MAX_OLD = 32
"""Packets that may be sent once more to probe a line, before padding does."""

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
        self.cuts = Cuts()
        self._crypto = crypto or Crypto()
        self.history = SendHistory()
        self._timers: Timers[Leg] = Timers()
        self._reports: Timers[Leg] = Timers()
        """When a leg has a report to send, should there be a turn for it before its timer."""
        self._due = float("inf")
        self.report_due = float("inf")
        """From when on a `handle_timer` between packets would have reports to send."""
        self._pending: dict[Cut, list[Item]] = {}
        self._fans: dict[UpTrack, dict[Cut, list[FanOut]]] = {}

    def bind(
        self,
        inbox: Arena,
        outbox: Outbox,
        wake: Callable[[float], None],
    ) -> None:
        """Where packets come from and go to. `wake(at)` asks for a `handle_timer` at that time,
        which is earlier than any asked for before."""
        self._inbox = inbox
        self._view = inbox.view
        self._source: npt.NDArray[np.uint8] = inbox.data.reshape(-1)
        self._outbox = outbox
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
        if leg.dormant:
            leg.report_soon(now)
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
        arrived = item.arrived = layer.unwrapper.unwrap(packet.sequence)
        number = item.number = layer.inserted.apply(arrived)
        if not repeated:
            layer.received.on_packet(arrived, packet.timestamp, now)
        announced = track.announced_sets.get(packet.payload_type)
        if announced is not None:
            layer.note_sets(view, packet, announced)
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
        """A packet that is new: if its layer is taken, keep it and put it with those to forward."""
        packet, picture = item.packet, item.picture
        item.marker = packet.marker
        track, view = layer.track, self._view
        is_red = packet.payload_type == red.RED_TYPE
        if is_red and not red.normalise(view, packet, track.payload_types):
            # It would be forwarded to no use, or unwrapped to noise.
            self.stats.drops[DropReason.MALFORMED] += 1
            return
        inspector = track.inspectors[packet.payload_type]
        inspector(view, packet.payload_start, packet.payload_end, picture)
        size = packet.end - packet.start
        if packet.descriptor_at >= 0:
            layer.read_descriptor(view, packet, picture)
        layer.count(picture, size)
        choice = track.choice
        if choice.current is None or len(track.layers) > 1:
            if choice.current is None:
                track.stale = True
            choice.receive_packet(layer.index, size, now)
        if track.stale:
            track.refresh()
        if picture.key_frame:
            layer.key_frames.receive_key_frame()
        if not layer.taken:
            return
        if size > MAX_LENGTH - HEADROOM:
            self.stats.drops[DropReason.TOO_LARGE] += 1
            return
        if not layer.nacks.on_packet(item.arrived, now):
            track.request_key_frame(now, layer)
        timer = layer.nacks.timer
        if timer is not None and timer < leg.due:
            leg.wake(timer)
        missing = layer.find_missing_sets(item, now) if layer.sets else None
        if missing:
            layer.inserted.insert(item.arrived, len(missing))
            item.number = layer.inserted.apply(item.arrived)
        self._normalise(layer, item, now)
        if missing:
            self._insert(layer, item, missing, now)
        layer.cache.add(item.number, bytes(view[packet.start : packet.end]), now)
        layer.newest = max(layer.newest, item.number)
        if track.waiters or track.movers:
            self._start(layer, item, now)
        if track.stale:
            track.refresh()
        for cut in layer.active:
            out = cut.admit(item)
            if out is None:
                continue
            pending = self._pending.get(cut)
            if pending is None:
                self._pending[cut] = [out]
            else:
                pending.append(out)

    def _insert(self, layer: Layer, item: Item, units: list[bytes], now: float) -> None:
        """Send what a decoder needs before the key frame that begins with `item`: packets of their
        own (RFC 6184, 5.6), numbered before it, to be had again like any other."""
        self.flush(now)
        packet, track = item.packet, layer.track
        header = bytearray(self._view[packet.start : packet.payload_start])
        header[1] &= 0x7F
        item.number -= len(units)
        self._start(layer, item, now)
        if track.stale:
            track.refresh()
        for unit in units:
            data = bytes(header) + unit
            layer.cache.add(item.number, data, now)
            for cut in layer.active:
                for fan in self._get_fans(cut):
                    self._send_apart(fan, cut, item, data, Picture(), 0)
                cut.note(item, now)
                cut.sent_packets += 1
                cut.sent_octets += len(unit)
            item.number += 1
        self.stats.inserted += len(units)

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

    def _start(self, layer: Layer, item: Item, now: float) -> None:
        """Whoever waits, or is to take something else, goes on from here if a decoder can."""
        track, picture = layer.track, item.picture
        waiting = 0
        for down in track.waiters:
            if not down.can_start():
                continue
            cut = down.may_begin(layer, picture)
            if cut is not None:
                self._begin(down, cut, item, now)
            else:
                target = down.get_target()
                waiting += target is not None and target.layer is layer
        moves = [(down, down.may_begin(layer, picture)) for down in track.movers]
        if any(cut is not None for _, cut in moves):
            # What is pending goes out as what they took until now.
            self.flush(now)
        for down, cut in moves:
            if cut is not None:
                down.stop()
                self._begin(down, cut, item, now)
        if waiting:
            self.stats.drops[DropReason.WAITING_KEY_FRAME] += waiting
            if not layer.key_frames.wanted:
                track.request_key_frame(now, layer)

    def _begin(self, down: DownTrack, cut: Cut, item: Item, now: float) -> None:
        out = cut.admit(item)
        if out is not None and down.can_start():
            down.start(cut, out.number, item.packet.timestamp, out.picture, now)

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
            for cut, items in self._pending.items():
                self._forward(cut, items, now)
            self._pending.clear()
        self._outbox.send()

    def _forward(self, cut: Cut, items: list[Item], now: float) -> None:
        track, fans = cut.layer.track, self._get_fans(cut)
        if red.RED_TYPE in track.inspectors:
            calls = [(fan.wrapped, partial(self._forward_to, fan, cut, items)) for fan in fans]
            red.forward(self._view, items, calls)
        else:
            for fan in fans:
                self._forward_to(fan, cut, items)
        octets = 0
        for item in items:
            octets += item.packet.end - item.packet.payload_start
            if item.number > cut.newest:
                cut.note(item, now)
                if item.packet.end > item.packet.payload_start:
                    # A probe shows no picture. Handed over, not copied: the item takes the old
                    # one for its next packet.
                    cut.picture, item.picture = item.picture, cut.picture
        if fans:
            cut.sent_packets += len(items)
            cut.sent_octets += octets

    def _get_fans(self, cut: Cut) -> Sequence[FanOut]:
        track = cut.layer.track
        if track.dirty:
            track.dirty = False
            self._fans[track] = build_fan_outs(track)
        return self._fans[track].get(cut, ()) if track in self._fans else ()

    def _forward_to(self, fan: FanOut, cut: Cut, items: list[Item]) -> None:
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
                packet = item.packet
                data = self._view[packet.start : packet.end]
                self._send_apart(fan, cut, item, data, item.picture, packet.start)
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

    def _send_apart(
        self, fan: FanOut, cut: Cut, item: Item, data: ReadBuffer, picture: Picture, base: int
    ) -> None:
        """A packet that is not for all, or not numbered alike for all; `picture` and `base` are as
        for `render`."""
        number = item.number
        for down in fan.downs:
            segment = down.map.find(cut.number, number)
            out = None
            if segment is None:
                self.stats.drops[DropReason.BEFORE_SWITCH] += 1
            else:
                out = render(down, segment, data, number, picture, base, self.history)
                if out is None:
                    self.stats.drops[DropReason.UNKNOWN_PAYLOAD_TYPE] += 1
                    if number > cut.newest:
                        down.map.skip(number)
                        fan.outdated = True
            if out is None:
                down.count_missed(len(data) - header_size(data, 0))
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

    def resend(
        self, down: DownTrack, segment: Segment, cached: Cached, cut: Cut, number: int
    ) -> None:
        """Send a packet again, which is `number` in the cut, as a retransmission where that was
        negotiated. Goes out with the next `flush`."""
        if not self._may_resend(down, cached, cut.layer):
            self.stats.drops[DropReason.NACK_NO_RTX] += 1
            return
        out = self._render_again(down, segment, cached, cut, number)
        if out is not None:
            self.stats.resent += 1
            down.resent += 1
            self._send_one(down, out)

    def _render_again(
        self, down: DownTrack, segment: Segment, cached: Cached, cut: Cut, number: int
    ) -> bytearray | None:
        picture, source = Picture(), cut.find_source(number)
        if source is None:
            return None
        if segment.renumbers_pictures or source[1]:
            self._inspect_cached(cut.layer, cached, picture)
            picture.picture_id += source[1]
        data = cached.data
        if source[2] and not data[1] & 0x80:
            data = data[:1] + bytes((data[1] | 0x80,)) + data[2:]
        out = render(down, segment, data, number, picture, 0, self.history)
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
            sent += len(out) + OVERHEAD
            self.stats.probed += 1
            self._send_one(down, out)
        self._outbox.send()
        return sent

    def _take_old(self, down: DownTrack, back: int, now: float) -> bytearray | None:
        """The packet that went out `back` packets ago, as a retransmission."""
        cut, segment = down.cut, down.map.current
        if cut is None or segment is None or back >= MAX_OLD:
            return None
        number = cut.newest - back
        source = cut.find_source(number)
        cached = None if source is None else cut.layer.cache.get(source[0], now)
        if number < segment.first or cached is None or not down.has_rtx(cached.data[1] & 0x7F):
            return None
        return self._render_again(down, segment, cached, cut, number)

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

    def send(self, data: bytes, destinations: Destinations) -> None:
        """RTCP of a leg, from within its `handle_timer`: that of a turn goes out together."""
        row = self._outbox.reserve(1)
        arena = self._outbox.arena
        start = row * ROW
        arena.view[start : start + len(data)] = data
        arena.lengths[row] = len(data)
        self._outbox.commit(row, destinations, [1])

    def wake(self, leg: Leg, at: float) -> None:
        """A leg's timer moved to an earlier time."""
        self._timers.set(leg, at)
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
        for leg in dict.fromkeys(self._timers.take_due(now) + self._reports.take_due(now)):
            self._timers.discard(leg)
            leg.handle_timer(now)
            if leg.report_due < float("inf"):
                self._reports.set(leg, leg.report_due)
        self._outbox.send()
        # Not with every packet: those of several legs together.
        report_due = self._reports.get_timer()
        self.report_due = float("inf")
        if report_due is not None:
            self.report_due = max(report_due, now + REPORT_GRACE / 2)
        due = self._timers.get_timer()
        self._due = float("inf") if due is None else due
        if due is not None:
            self._wake(due)

    def forget_track(self, track: UpTrack) -> None:
        """It is not published any more."""
        self._fans.pop(track, None)

    def close_leg(self, leg: Leg) -> None:
        self._timers.discard(leg)
        self._reports.discard(leg)
        if self.legs.pop(leg.index, None) is not None:
            self.history.close(leg.index)
