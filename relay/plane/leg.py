"""The media of one transport, both ways: which SSRC is what, and the RTCP that goes with it.

Above 400 lines, because a compound packet holds what both directions have to say at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from ..rtp import rtcp
from ..rtp.cache import Cached
from ..rtp.loss import LossRate
from ..rtp.packet import Packet, read_extensions
from ..rtp.reports import build_translated
from ..rtp.seq import Segment
from ..rtp.twcc import ArrivalRecord
from ..sdp.negotiation import PublishedMedia
from ..stats import DropReason, Stats
from ..transport.ice import Address
from .arena import Destination, Destinations, Pointer
from .bandwidth import Bandwidth
from .cut import Cut, Cuts
from .history import SendHistory
from .intake import Intake
from .layer import Layer
from .policing import Allowance, Bitrates
from .tracks import DownTrack, UpTrack

REPORT_INTERVAL: Final = 1.0
"""Seconds between sender or receiver reports."""

REPORT_GRACE: Final = 0.05
"""Seconds that a report waits for packets to come: it goes out in their turn of the event loop,
and a turn of its own, through cold code, would cost as much as ten packets do."""

HOLD: Final = 0.012
"""Seconds that a packet waits for its frame at most (`hold`): more than the 5 ms between two turns
of a browser's pacer, and what a link of 10 Mbit/s takes for 7 kB. Transport-wide feedback waits as
long: what is held has come, but is not counted yet, and would be told as lost."""

FIRST_REPORT: Final = 0.1
"""Seconds until the first one: a subscriber needs it to play sound and picture together."""

CHOICE_INTERVAL: Final = 0.25
"""Seconds between two looks at which layer of a simulcast is the best."""

MAX_COMPOUND: Final = 1100
"""Bytes of one RTCP datagram."""

MAX_SSRCS: Final = 256
"""SSRCs that a peer may use without having announced them: SRTP keeps state for each."""

MAX_MISSING: Final = 250
"""Packets that one NACK asks for: scattered, they take four bytes each, and it has to fit a
datagram."""

REPLACE_AFTER: Final = 0.25
"""Seconds of silence after which another SSRC may take a stream's place."""

MIN_PUBLISHED: Final = 150_000
"""Bit/s that a publisher of one layer is asked for at least: a picture that one can recognise."""

RELAY_SSRC: Final = 1
"""The sender of reports about publishers' streams."""


class Keys(Protocol):
    """One direction of a transport's keys (`transport.srtp.Srtp`)."""

    @property
    def context(self) -> Any: ...
    def protect_rtcp(self, packet: bytes) -> bytes | None: ...


class Plane(Protocol):
    """What a leg needs of the forwarder."""

    stats: Stats
    history: SendHistory
    layers: dict[int, Layer]
    cuts: Cuts
    publish_bitrate: int
    bitrates: Bitrates

    def resend(
        self, down: DownTrack, segment: Segment, cached: Cached, cut: Cut, number: int
    ) -> None: ...
    def probe(self, downs: Iterable[DownTrack], octets: int, now: float) -> int: ...
    def wake(self, leg: Leg, at: float) -> None: ...
    def send(self, data: bytes, destinations: Destinations) -> None: ...
    def forget_track(self, track: UpTrack) -> None: ...
    def close_leg(self, leg: Leg) -> None: ...


class Leg:
    """The media of one transport. Made by `Forwarder.open_leg`; ends with `close`."""

    def __init__(self, plane: Plane, name: str, cname: str, index: int) -> None:
        self.name = name
        self.index = index
        """Its place among the worker's legs."""
        self.destination = Destination()
        self._destinations = Destinations([self.destination])
        self.ready = False
        """Whether it has keys and an address, so that packets can be sent."""
        self.context: Pointer = None
        self.rx_context: Pointer = None
        self.streams: dict[int, Layer] = {}
        """By SSRC, that of retransmissions too."""
        self.ups: list[UpTrack] = []
        self.downs: dict[int, DownTrack] = {}
        """By SSRC."""
        self.arrivals = ArrivalRecord()
        self.due = float("inf")
        """When `handle_timer` has something to do that cannot wait."""
        self.report_due = float("inf")
        """When it has a report to send, if it is called anyhow."""
        self.held = 0
        """Frames of it that are held until they are whole."""
        self.heard_at = float("-inf")
        """When an authentic packet came last."""
        self.intake = Intake()
        self.dormant = False
        """Whether it has nothing to report until media come or go."""
        self.bandwidth = Bandwidth(plane.history, index, plane.stats)
        """What the line to this peer carries."""
        self._rate = LossRate(plane.publish_bitrate)
        self._plane = plane
        self._cname = cname
        self._keys: tuple[Keys, Keys] | None = None
        self._unknown: set[int] = set()
        self._former: dict[int, tuple[str, str | None]] = {}
        """Mid and rid of SSRCs whose track has ended."""
        self._report_at = 0.0
        self._choice_at = 0.0
        self._allowance = Allowance(plane.bitrates.participant)
        self.closed = False

    # -- Coming and going -------------------------------------------------------------------

    def connect(self, rx: Keys, tx: Keys) -> None:
        """The transport is connected: decrypt and encrypt with these."""
        self._keys = rx, tx
        self.rx_context = rx.context
        self.context = tx.context
        self._update_ready()

    def set_address(self, address: Address) -> None:
        """Where to send from now on."""
        self.destination.set(address)
        self._update_ready()

    def _update_ready(self) -> None:
        if self.ready or self._keys is None or self.destination.address is None or self.closed:
            return
        self.ready = True
        self.wake(0.0)
        for down in self.downs.values():
            if down.source is not None:
                # Asked for at the next timer, which is now.
                down.source.request_key_frame(0.0)

    def add_up(self, track: UpTrack) -> None:
        """Receive this track here."""
        track.join(self, self._allowance, self._plane.bitrates)
        self.ups.append(track)
        self.update_up(track, track.media)
        self.wake(0.0)

    def update_up(self, track: UpTrack, media: PublishedMedia) -> None:
        """What a renegotiation made of the track."""
        track.update(media)
        announced = media.simulcast_ssrcs or media.ssrcs[:1]
        for index, ssrc in enumerate(announced):
            self._bind(track, index, ssrc, None)
        for ssrc, rtx_ssrc in media.rtx_ssrcs.items():
            layer = self.streams.get(ssrc)
            if layer is not None:
                self._bind_rtx(layer, rtx_ssrc)

    def remove_up(self, track: UpTrack, now: float) -> None:
        """Its DownTracks are detached."""
        for down in list(track.downs):
            down.attach(None, {}, now)
        for layer in list(track.layers.values()):
            self._unbind(layer)
            self._remember(layer)
        track.layers.clear()
        track.leave()
        self.ups.remove(track)
        self._plane.forget_track(track)

    def add_down(self, track: DownTrack) -> None:
        self.downs[track.ssrc] = track

    def remove_down(self, track: DownTrack, now: float) -> None:
        track.attach(None, {}, now)
        del self.downs[track.ssrc]

    def close(self, now: float) -> None:
        """Takes all tracks off it. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.ready = False
        for up in list(self.ups):
            self.remove_up(up, now)
        for down in list(self.downs.values()):
            self.remove_down(down, now)
        self._plane.close_leg(self)

    # -- SSRCs ------------------------------------------------------------------------------

    def _bind(self, track: UpTrack, index: int, ssrc: int, rid: str | None) -> Layer:
        layer = track.layers.get(index)
        if layer is not None:
            if layer.ssrc == ssrc:
                return layer
            # The publisher began anew: another stream, with numbers of its own.
            self._unbind(layer)
            for down in track.downs:
                if down.layer is layer:
                    down.stop()
        layer = Layer(track, index, self._plane.cuts, ssrc, rid, track.clock_rate)
        track.layers[index] = layer
        track.stale = True
        self.streams[ssrc] = layer
        self._plane.layers[layer.number] = layer
        track.request_key_frame(0.0)
        return layer

    def _bind_rtx(self, layer: Layer, ssrc: int) -> None:
        if layer.rtx_ssrc is not None and layer.rtx_ssrc != ssrc:
            self.streams.pop(layer.rtx_ssrc, None)
        layer.rtx_ssrc = ssrc
        self.streams[ssrc] = layer

    def _unbind(self, layer: Layer) -> None:
        for ssrc in (layer.ssrc, layer.rtx_ssrc):
            if ssrc is not None and self.streams.get(ssrc) is layer:
                del self.streams[ssrc]
        self._plane.layers.pop(layer.number, None)
        layer.close()

    def _remember(self, layer: Layer) -> None:
        """What of it is under way belongs to no other track, and should its m-line be used
        again, its packets may not name mid and rid any more: browsers do until they are
        reported on, once for the life of an SSRC."""
        for ssrc in (layer.ssrc, layer.rtx_ssrc):
            if ssrc is not None:
                self._former.pop(ssrc, None)
                self._former[ssrc] = layer.track.media.mid, layer.rid
        while len(self._former) > MAX_SSRCS:
            del self._former[next(iter(self._former))]

    def follow(self, former: Leg) -> None:
        """Know the SSRCs of a leg that has ended."""
        self._former.update(former._former)

    def may_learn(self, ssrc: int, now: float) -> DropReason | None:
        """Why a packet with an SSRC that nobody announced is not worth decrypting; None: it is."""
        if self.intake.doubts(now):
            return DropReason.FORGED
        if not self.ups or (len(self._unknown) >= MAX_SSRCS and ssrc not in self._unknown):
            return DropReason.UNKNOWN_SSRC
        return None

    def learn(self, view: memoryview, packet: Packet, now: float) -> Layer | None:
        """Find out what an authentic packet of an unknown SSRC belongs to, and remember it.

        It takes no stream's place while that one is still heard: two SSRCs in turn would be
        a new stream with every packet.

        RFC 8843, 9.2: by its mid; without one, by its payload type if only one m-line has it.
        """
        self._unknown.add(packet.ssrc)
        payload_type = packet.payload_type
        mid, former_rid = self._former.get(packet.ssrc, (None, None))
        # Ids are the same in all bundled m-lines, but not each line has every extension.
        for extensions in {track.kind: track.extension_map for track in self.ups}.values():
            read_extensions(view, packet, extensions)
            if packet.mid is not None:
                mid = packet.mid.decode("ascii", "replace")
                break
        tracks = [
            track
            for track in self.ups
            if (track.media.mid == mid if mid is not None else True)
            and (payload_type in track.payload_types or payload_type in track.rtx)
        ]
        if len(tracks) != 1:
            return None
        track = tracks[0]
        read_extensions(view, packet, track.extension_map)
        rid = packet.rid or packet.repaired_rid
        index = 0
        name = former_rid if rid is None else rid.decode("ascii", "replace")
        if name is not None:
            if name not in track.media.rids:
                return None
            index = track.media.rids.index(name)
        elif len(track.media.rids) > 1:
            return None
        layer = track.layers.get(index)
        if payload_type not in track.rtx:
            if layer is not None and now - layer.heard_at < REPLACE_AFTER:
                return None
            return self._bind(track, index, packet.ssrc, name)
        if layer is not None:
            self._bind_rtx(layer, packet.ssrc)
        return layer

    # -- RTCP in ----------------------------------------------------------------------------

    def receive_rtcp(self, packets: list[rtcp.Rtcp], now: float) -> None:
        """A compound packet, decrypted and parsed. Sound is sent again before pictures are."""
        for packet in sorted(packets, key=self._asks_for_picture):
            if isinstance(packet, rtcp.SenderReport):
                layer = self.streams.get(packet.ssrc)
                if layer is not None and packet.ssrc == layer.ssrc:
                    self._receive_sender_report(layer, packet, now)
                self._receive_reports(packet.reports, now)
            elif isinstance(packet, rtcp.ReceiverReport):
                self._receive_reports(packet.reports, now)
            elif isinstance(packet, rtcp.Nack):
                self._receive_nack(packet, now)
            elif isinstance(packet, rtcp.Pli):
                self._receive_key_frame_request(packet.ssrc, now)
            elif isinstance(packet, rtcp.Fir):
                for ssrc, _ in packet.entries:
                    self._receive_key_frame_request(ssrc, now)
            elif isinstance(packet, rtcp.TransportFeedback):
                self._receive_feedback(packet.body, now)
            elif isinstance(packet, rtcp.Remb):
                octets = self._count_octets()
                self.bandwidth.receive_remb(packet.bitrate, packet.ssrcs, octets, now)

    def _asks_for_picture(self, packet: rtcp.Rtcp) -> bool:
        if not isinstance(packet, rtcp.Nack):
            return False
        down = self.downs.get(packet.ssrc)
        return down is None or down.kind == "video"

    def _receive_sender_report(self, layer: Layer, report: rtcp.SenderReport, now: float) -> None:
        if layer.clock.at(now) is None:
            # Subscribers have waited for this to play sound and picture together.
            for down in layer.track.downs:
                down.leg.report_soon(now)
        layer.received.on_sender_report(report.ntp, now)
        layer.clock.on_sender_report(report.ntp, report.timestamp, now)

    def _receive_feedback(self, body: bytes, now: float) -> None:
        try:
            self.bandwidth.receive_feedback_untrusted(body, now)
        except rtcp.RtcpError:
            self._plane.stats.drops[DropReason.MALFORMED] += 1
            return
        timer = self.bandwidth.get_timer()
        if timer is not None:
            self.wake(timer)

    def _receive_reports(self, blocks: tuple[rtcp.ReportBlock, ...], now: float) -> None:
        for block in blocks:
            down = self.downs.get(block.ssrc)
            if down is not None:
                down.receive_report(block, now)
        lost = [down.loss for down in self.downs.values() if down.kind == "video" and down.layer]
        if lost:
            self.bandwidth.receive_loss(max(lost), now)

    def _receive_key_frame_request(self, ssrc: int, now: float) -> None:
        down = self.downs.get(ssrc)
        if down is not None and down.source is not None:
            self._plane.stats.plis_in += 1
            target = down.get_target()
            down.source.request_key_frame(now, down.layer or (target.layer if target else None))

    def _receive_nack(self, nack: rtcp.Nack, now: float) -> None:
        down = self.downs.get(nack.ssrc)
        if down is None or not self.ready or down.withheld:
            return
        stats = self._plane.stats
        if not self.intake.take_nacks(len(nack.sequences), now):
            stats.drops[DropReason.NACK_RATE] += 1
            return
        stats.nacks_in += len(nack.sequences)
        for sequence in nack.sequences:
            found = down.find_to_resend(sequence)
            cut = self._plane.cuts.by_number.get(found[0].source) if found is not None else None
            source = cut.find_source(found[1]) if found is not None and cut is not None else None
            cached = cut.layer.cache.get(source[0], now) if cut is not None and source else None
            if found is None or cut is None or cached is None:
                stats.drops[DropReason.NACK_NOT_CACHED] += 1
            elif now - cached.at < down.resend_after:
                # It went out less than a round trip ago: asked for before it could arrive,
                # as what the relay itself missed and got again always is.
                stats.drops[DropReason.NACK_EARLY] += 1
            elif not down.take_budget(len(cached.data), now) or (
                down.kind == "video" and not self.bandwidth.take_repair(len(cached.data), now)
            ):
                stats.drops[DropReason.NACK_RATE] += 1
            else:
                self._plane.resend(down, found[0], cached, cut, found[1])

    # -- Timers and RTCP out ----------------------------------------------------------------

    def wake(self, at: float) -> None:
        """Run `handle_timer` at `at`, or sooner."""
        if at < self.due:
            self.due = at
            self._plane.wake(self, at)

    def report_soon(self, at: float) -> None:
        """Media start at `at`: report them sooner than in turn."""
        self.dormant = False
        if at + FIRST_REPORT < self._report_at:
            self._report_at = at + FIRST_REPORT
            self.wake(self._report_at)

    def handle_timer(self, now: float) -> None:
        """Send the reports, requests and feedback that are due; sets `due` anew."""
        self.due = self.report_due = float("inf")
        if not self.ready:
            # Looked at again when keys and address have come: see `_update_ready`.
            return
        out: list[bytes] = []
        timers: list[float] = []
        if now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL
            out += self._build_reports(now)
            if not out and all(down.layer is None for down in self.downs.values()):
                self.dormant = True
                self._report_at = float("inf")
        if not self.dormant:
            self.report_due = self._report_at
            timers.append(self._report_at + REPORT_GRACE)
        if self.ups:
            self._think_of_layers(now, timers)
            out += self._build_requests(now, timers)
        out += self._build_feedback(now, timers)
        self._send(out)
        self._probe(now, timers)
        if timers:
            self.wake(max(min(timers), now))

    def _probe(self, now: float, timers: list[float]) -> None:
        """Send what is to show that the line carries more."""
        bandwidth = self.bandwidth
        if bandwidth.get_timer() is None:
            return
        asked = bandwidth.take_probe(self._count_octets(), now)
        probed = self._plane.probe(self.downs.values(), asked, now) if asked else 0
        bandwidth.end_step(asked, probed, now)
        timer = bandwidth.get_timer()
        if timer is not None:
            timers.append(timer)

    def _count_octets(self) -> int:
        """Payload bytes that were sent here in all, but for sound's."""
        return sum(down.octets for down in self.downs.values() if down.kind == "video")

    def _think_of_layers(self, now: float, timers: list[float]) -> None:
        if all(len(track.layers) < 2 and not track.movers for track in self.ups):
            return
        if now >= self._choice_at:
            self._choice_at = now + CHOICE_INTERVAL
            for track in self.ups:
                track.think_of_layers(now)
        timers.append(self._choice_at)

    def _build_requests(self, now: float, timers: list[float]) -> list[bytes]:
        """What is missing and who wants a key frame: only of tracks that somebody receives."""
        out: list[bytes] = []
        stats = self._plane.stats
        for track in self.ups:
            if not track.is_wanted():
                continue
            for layer in track.layers.values():
                missing = layer.nacks.nacks_to_send(now)
                stats.nacks_out += len(missing)
                for start in range(0, len(missing), MAX_MISSING):
                    part = [number & 0xFFFF for number in missing[start : start + MAX_MISSING]]
                    out.append(rtcp.build_nack(RELAY_SSRC, layer.ssrc, part))
                if layer.key_frames.take(now):
                    stats.plis_out += 1
                    out.append(rtcp.build_pli(RELAY_SSRC, layer.ssrc))
                for timer in (layer.nacks.timer, layer.key_frames.get_timer()):
                    if timer is not None:
                        timers.append(timer)
        return out

    def _build_feedback(self, now: float, timers: list[float]) -> list[bytes]:
        timer = self.arrivals.get_timer()
        if timer is not None and self.held and now < timer + HOLD:
            timers.append(timer + HOLD)
            return []
        bodies = self.arrivals.feedback_to_send(now)
        timer = self.arrivals.get_timer()
        if timer is not None:
            timers.append(timer)
        media = next(iter(self.streams), 0)
        return [rtcp.build_transport_feedback(RELAY_SSRC, media, body) for body in bodies]

    def _build_reports(self, now: float) -> list[bytes]:
        out: list[bytes] = []
        if self.downs:
            self.bandwidth.begin(now)
            self.bandwidth.measure(self._count_octets(), now)
        for down in self.downs.values():
            segment = down.map.current
            if down.layer is None or segment is None or not down.packets:
                continue
            report = build_translated(
                down.layer.clock,
                now,
                down.ssrc,
                segment.timestamp_delta,
                down.packets,
                down.octets,
            )
            if report is not None:
                down.round_trip.on_sent(report.ntp, now)
                out.append(rtcp.build_sender_report(report))
                out.append(rtcp.build_description(down.ssrc, self._cname))
        layers = set(self.streams.values())
        for layer in layers:
            layer.measure(now)
        blocks = [block for layer in layers if (block := layer.received.report(layer.ssrc, now))]
        for start in range(0, len(blocks), rtcp.MAX_REPORTS):
            part = blocks[start : start + rtcp.MAX_REPORTS]
            out.append(rtcp.build_receiver_report(RELAY_SSRC, part))
        if blocks:
            # aiortc obeys nothing else; for Chrome, which follows the transport-wide feedback,
            # it is a limit.
            video = [layer for layer in layers if layer.track.kind == "video"]
            if video:
                bitrate = self._rate.on_loss(max(layer.received.fraction for layer in video))
                bitrate = min(bitrate, self._get_room())
                ssrcs = [layer.ssrc for layer in video][:255]
                out.append(rtcp.build_remb(RELAY_SSRC, bitrate, ssrcs))
        return out

    def _get_room(self) -> int:
        """Bit/s that are of use to anybody: of a picture in one layer, what the best of its
        receivers can take, so that with one receiver the call is adaptive from end to end."""
        total = 0.0
        for track in self.ups:
            if track.kind == "video" and track.layers and not track.muted:
                single = len(track.layers) == 1 and not any(
                    layer.top[0] for layer in track.layers.values()
                )
                room = track.get_room() if single else float("inf")
                total += max(room, MIN_PUBLISHED)
        return int(min(total or float("inf"), self._plane.publish_bitrate))

    def _send(self, packets: list[bytes]) -> None:
        """Send them in as few datagrams as they fit into, each of them a compound packet.

        RFC 3550, 6.1: "The first RTCP packet in the compound packet MUST always be a report
        packet", "even if [...] an empty RR".
        """
        if not packets:
            return
        empty = rtcp.build_receiver_report(RELAY_SSRC, ())
        compound = b""
        for packet in packets:
            if compound and len(compound) + len(packet) > MAX_COMPOUND:
                self._send_compound(compound)
                compound = b""
            if not compound and packet[1] not in (rtcp.SR, rtcp.RR):
                compound = empty
            compound += packet
        if compound:
            self._send_compound(compound)

    def _send_compound(self, compound: bytes) -> None:
        if self._keys is None or self.destination.address is None:
            return
        data = self._keys[1].protect_rtcp(compound)
        if data is None:
            self._plane.stats.drops[DropReason.SRTP] += 1
            return
        self._plane.stats.rtcp_out += 1
        self._plane.send(data, self._destinations)
