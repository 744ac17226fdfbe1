"""What a browser that publishes does, in virtual time: cameras and microphones, sender reports,
and answers to NACK and PLI.

What it sends is written with aiortc's VP8 descriptor and by hand, not with the relay's own
rewriting, so that the two check each other.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from aiortc.codecs.vpx import VpxPayloadDescriptor

from relay.rtp import rtcp
from relay.rtp.packet import is_rtcp
from relay.sdp.capabilities import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    DEPENDENCY_DESCRIPTOR,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
)
from tests.support.network import Simulation
from tests.support.virtual_relay import (
    PUBLISHER_AV1,
    PUBLISHER_AV1_RTX,
    PUBLISHER_EXTENSIONS,
    PUBLISHER_OPUS,
    PUBLISHER_RTX,
    PUBLISHER_VP8,
    Cipher,
    Wire,
)

HISTORY = 600  # packets that can be sent again
KEPT = 200  # of each kind of RTCP that came


@dataclass
class Shape:
    """What a stream looks like."""

    interval: float = 1 / 30  # seconds between frames
    packets: int = 3  # per frame; a key frame has twice as many
    size: int = 120  # bytes of payload, about
    key_interval: int = 10**9  # frames between key frames that nobody asked for


@dataclass
class Stream:
    """One RTP stream of a publisher. `name` is written into every payload."""

    name: str
    kind: str
    ssrc: int
    rtx_ssrc: int | None
    sequence: int
    timestamp: int
    shape: Shape
    clock_rate: int = 90000
    picture_id: int = 0
    tl0: int = 0
    keyidx: int = 0
    frames: int = 0
    key_wanted: bool = True
    running: bool = True
    rid: str | None = None
    av1: bool = False
    descriptor: bytes = b""  # the dependency descriptor of the packet that is made now
    descriptors: dict[int, bytes] = field(default_factory=dict)  # those of `sent`
    history: int = HISTORY
    packets: int = 0
    octets: int = 0
    rtx_sequence: int = 0
    started: float = 0.0
    first_timestamp: int = 0
    plis: list[float] = field(default_factory=list)
    nacked: int = 0
    sent: dict[int, bytes] = field(default_factory=dict)
    payloads: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """Everything that was sent of late, by (frame, packet of the frame)."""


class Publisher:
    """A peer that sends; its clock is `offset` seconds away from the simulation's."""

    def __init__(self, simulation: Simulation, wire: Wire, name: str, offset: float = 0.0) -> None:
        self.simulation = simulation
        self.wire = wire
        self.name = name
        self.streams: dict[int, Stream] = {}
        self.offset = offset
        self.rembs: deque[int] = deque(maxlen=KEPT)
        self.feedback: deque[bytes] = deque(maxlen=KEPT)
        self.reports: deque[rtcp.ReportBlock] = deque(maxlen=KEPT)
        self.extensions = True
        self._rng = simulation.rng(f"publisher/{name}")
        self._tx = Cipher(wire.tx)
        self._rx = Cipher(wire.rx)
        self._transport_sequence = 65530
        self._open = True
        wire.on_data = self._receive
        simulation.every(1.0, self._report, first=0.3)

    def add(
        self,
        kind: str,
        ssrc: int,
        *,
        rtx_ssrc: int | None = None,
        sequence: int | None = None,
        timestamp: int | None = None,
        shape: Shape | None = None,
        picture_id: int = 0,
        rid: str | None = None,
        av1: bool = False,
    ) -> Stream:
        """Start to send a stream; numbers not given are random."""
        rng = self._rng
        stream = Stream(
            f"{self.name}/{kind}/{ssrc}",
            kind,
            ssrc,
            rtx_ssrc,
            rng.getrandbits(15) if sequence is None else sequence,
            rng.getrandbits(32) if timestamp is None else timestamp,
            shape or (Shape() if kind == "video" else Shape(0.02, 1, 60)),
            90000 if kind == "video" else 48000,
            picture_id=picture_id,
            rid=rid,
            av1=av1,
        )
        stream.started = self.simulation.now
        stream.first_timestamp = stream.timestamp
        self.streams[ssrc] = stream
        self.simulation.every(stream.shape.interval, lambda: self._send_frame(stream))
        return stream

    def stop(self, stream: Stream) -> None:
        stream.running = False
        self.streams.pop(stream.ssrc, None)

    def leave(self) -> None:
        self._open = False
        self.wire.close()

    def resume(self, stream: Stream) -> None:
        """Go on with a stream whose `running` was set to False."""
        stream.running = True
        self.simulation.every(stream.shape.interval, lambda: self._send_frame(stream))

    def send_padding(self, stream: Stream, size: int = 200) -> None:
        """A probe on the media's own SSRC: padding alone, which takes a sequence number."""
        packet = self._header(stream, PUBLISHER_VP8, 0, padding=True) + bytes(size - 1)
        self._send(packet + bytes((size,)))
        stream.sequence = stream.sequence + 1 & 0xFFFF

    # -- Frames -----------------------------------------------------------------------------

    def _timestamp(self, stream: Stream) -> int:
        elapsed = self.simulation.now - stream.started
        return stream.first_timestamp + round(elapsed * stream.clock_rate) & 0xFFFFFFFF

    def _send_frame(self, stream: Stream) -> bool:
        if not stream.running:
            return False
        stream.timestamp = self._timestamp(stream)
        key = stream.kind == "video" and (
            stream.key_wanted or stream.frames % stream.shape.key_interval == 0
        )
        stream.key_wanted = False
        count = stream.shape.packets * (2 if key else 1)
        for index in range(count):
            payload = self._build_payload(stream, index, count, key)
            self._send_media(stream, payload, marker=index == count - 1)
            stream.payloads[stream.frames, index] = payload
        if len(stream.payloads) > 2 * stream.history:
            for old in list(stream.payloads)[: stream.history]:
                del stream.payloads[old]
        stream.frames += 1
        stream.picture_id = stream.picture_id + 1 & (0xFFFF if stream.av1 else 0x7FFF)
        stream.tl0 = stream.tl0 + 1 & 0xFF
        return True

    def _build_payload(self, stream: Stream, index: int, count: int, key: bool) -> bytes:
        name = stream.name.encode()
        content = struct.pack("!BIBB", len(name), stream.frames, index, count) + name
        content += self._rng.randbytes(max(0, stream.shape.size - len(content)))
        if stream.kind == "audio":
            return content
        if stream.av1:
            flags = (index == 0) << 7 | (index == count - 1) << 6
            stream.descriptor = struct.pack("!BH", flags, stream.picture_id)
            # Z and Y say that the frame's one OBU goes on; N that a sequence starts.
            aggregation = (index > 0) << 7 | (index < count - 1) << 6 | 0x10
            return bytes((aggregation | (key and index == 0) << 3,)) + content
        if key and index == 0:
            stream.keyidx = stream.keyidx + 1 & 0x1F
        descriptor = VpxPayloadDescriptor(
            partition_start=int(index == 0),
            partition_id=0,
            picture_id=stream.picture_id,
            tl0picidx=stream.tl0,
            tid=(0, 0),
            keyidx=stream.keyidx,
        )
        return bytes(descriptor) + (b"\x00" if key else b"\x01") + content

    def _send_media(self, stream: Stream, payload: bytes, *, marker: bool) -> None:
        payload_type = PUBLISHER_VP8 if stream.kind == "video" else PUBLISHER_OPUS
        if stream.av1:
            payload_type = PUBLISHER_AV1
            stream.descriptors[stream.sequence] = stream.descriptor
        packet = self._header(stream, payload_type, int(marker)) + payload
        stream.sent[stream.sequence] = packet
        if len(stream.sent) > stream.history:
            oldest = next(iter(stream.sent))
            del stream.sent[oldest]
            stream.descriptors.pop(oldest, None)
        stream.sequence = stream.sequence + 1 & 0xFFFF
        stream.packets += 1
        stream.octets += len(payload)
        self._send(packet)

    def _header(
        self, stream: Stream, payload_type: int, marker: int, *, padding: bool = False
    ) -> bytes:
        first = 0x80 | (0x10 if self.extensions else 0) | (0x20 if padding else 0)
        head = struct.pack(
            "!BBHII",
            first,
            marker << 7 | payload_type,
            stream.sequence,
            stream.timestamp,
            stream.ssrc,
        )
        return head + (self._extension(stream) if self.extensions else b"")

    def _extension(self, stream: Stream, *, repair: bool = False) -> bytes:
        """Mid, audio level, transport-wide number and send time under the publisher's ids."""
        self._transport_sequence = self._transport_sequence + 1 & 0xFFFF
        send_time = int(self.simulation.now * (1 << 18)) & 0xFFFFFF
        ids = PUBLISHER_EXTENSIONS
        block = bytes((ids[MID] << 4,)) + (b"0" if stream.kind == "video" else b"1")
        if stream.kind == "audio":
            block += bytes((ids[AUDIO_LEVEL] << 4, 0x80 | 30))
        if stream.rid is not None:
            name = ids[REPAIRED_RID if repair else RID]
            block += bytes((name << 4 | len(stream.rid) - 1,)) + stream.rid.encode()
        if stream.descriptor:
            block += bytes((ids[DEPENDENCY_DESCRIPTOR] << 4 | len(stream.descriptor) - 1,))
            block += stream.descriptor
        block += bytes((ids[ABS_SEND_TIME] << 4 | 2,)) + send_time.to_bytes(3, "big")
        block += struct.pack("!BH", ids[TRANSPORT_CC] << 4 | 1, self._transport_sequence)
        block += bytes(-len(block) % 4)
        return struct.pack("!HH", 0xBEDE, len(block) // 4) + block

    def _send(self, packet: bytes) -> None:
        self.wire.up.send(self._tx.protect(packet))

    # -- RTCP -------------------------------------------------------------------------------

    def ntp(self) -> int:
        """The publisher's own wall clock."""
        return rtcp.to_ntp(1.7e9 + self.simulation.now + self.offset)

    def _report(self) -> bool:
        for stream in self.streams.values():
            report = rtcp.SenderReport(
                stream.ssrc, self.ntp(), self._timestamp(stream), stream.packets, stream.octets
            )
            data = rtcp.build_sender_report(report) + rtcp.build_description(stream.ssrc, "cname")
            self.wire.up.send(self._tx.protect_rtcp(data))
        return self._open

    def _receive(self, data: bytes) -> None:
        plain = self._rx.unprotect(data)
        if plain is None or not is_rtcp(plain, 0):
            return
        for packet in rtcp.parse_compound_untrusted(plain, 0, len(plain)):
            if isinstance(packet, rtcp.Pli) and packet.ssrc in self.streams:
                stream = self.streams[packet.ssrc]
                stream.plis.append(self.simulation.now)
                stream.key_wanted = True
            elif isinstance(packet, rtcp.Nack) and packet.ssrc in self.streams:
                self._resend(self.streams[packet.ssrc], packet.sequences)
            elif isinstance(packet, rtcp.Remb):
                self.rembs.append(packet.bitrate)
            elif isinstance(packet, rtcp.TransportFeedback):
                self.feedback.append(packet.body)
            elif isinstance(packet, rtcp.ReceiverReport):
                self.reports += packet.reports

    def _resend(self, stream: Stream, sequences: tuple[int, ...]) -> None:
        stream.nacked += len(sequences)
        for sequence in sequences:
            packet = stream.sent.get(sequence)
            if packet is None:
                continue
            if stream.rtx_ssrc is not None:
                at = 12
                head = bytearray(packet[:at])
                if packet[0] & 0x10:
                    at += 4 + 4 * struct.unpack_from("!H", packet, 14)[0]
                    stream.descriptor = stream.descriptors.get(sequence, b"")
                    head += self._extension(stream, repair=True)
                head[1] = head[1] & 0x80 | (PUBLISHER_AV1_RTX if stream.av1 else PUBLISHER_RTX)
                struct.pack_into("!H", head, 2, stream.rtx_sequence)
                struct.pack_into("!I", head, 8, stream.rtx_ssrc)
                stream.rtx_sequence = stream.rtx_sequence + 1 & 0xFFFF
                packet = bytes(head) + packet[2:4] + packet[at:]
            self._send(packet)
