"""What a browser that subscribes does, in virtual time: a jitter buffer that asks for what it
misses, and a decoder that wants everything in order and says what it could decode."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtp import unpack_header_extensions

from relay.rtp import rtcp
from relay.rtp.nack import NackGenerator
from relay.rtp.packet import is_rtcp
from relay.rtp.seq import Unwrapper
from relay.sdp.capabilities import DEPENDENCY_DESCRIPTOR, TRANSPORT_CC
from tests.support.network import Simulation
from tests.support.virtual_relay import Cipher, Wire

GIVE_UP = 0.8  # seconds a packet is waited for before the decoder goes on without it


def read_extensions(packet: bytes) -> dict[int, bytes]:
    """A packet's header extensions by their id."""
    if not packet[0] & 0x10:
        return {}
    profile, words = struct.unpack_from("!HH", packet, 12)
    return dict(unpack_header_extensions(profile, packet[16 : 16 + 4 * words]))


@dataclass(frozen=True)
class Frame:
    """A frame that was decoded: which one of which stream, and the numbers it came under."""

    name: str
    number: int
    key: bool
    timestamp: int
    at: float
    picture_id: int | None = None
    tl0: int | None = None
    keyidx: int | None = None
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class _Media:
    sequence: int
    timestamp: int
    marker: int
    payload: bytes
    descriptor: bytes  # the dependency descriptor; empty without one


class Line:
    """One m-line of a subscriber: a jitter buffer and a decoder that wants everything in order."""

    def __init__(self, simulation: Simulation, kind: str, ssrc: int, rtx_ssrc: int | None) -> None:
        self.kind = kind
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.frames: list[Frame] = []
        self.sequences: list[int] = []  # extended, as they came
        self.payload_types: set[int] = set()
        self.reports: list[rtcp.SenderReport] = []
        self.resent = 0
        self.skipped = 0  # packets that it gave up
        self.broken = kind == "video"  # a decoder that needs a key frame
        self.nacks = NackGenerator()
        self.retries = True
        self._simulation = simulation
        self._unwrapper = Unwrapper()
        self._waiting: dict[int, _Media] = {}
        self._next: int | None = None
        self._stuck_since: float | None = None
        self._parts: list[_Media] = []

    def receive(self, data: bytes) -> None:
        _, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        at = 12
        if data[0] & 0x10:
            at += 4 + 4 * struct.unpack_from("!H", data, 14)[0]
        if ssrc == self.rtx_ssrc:
            if data[0] & 0x20:
                return  # padding alone: a probe
            self.resent += 1
            sequence = struct.unpack_from("!H", data, at)[0]
            at += 2
        else:
            self.payload_types.add(second & 0x7F)
        number = self._unwrapper.unwrap(sequence)
        self.sequences.append(number)
        self.nacks.on_packet(number, self._simulation.now)
        if self._next is None:
            self._next = number
        if number >= self._next:
            descriptor = read_extensions(data).get(DEPENDENCY_DESCRIPTOR.id, b"")
            media = _Media(number, timestamp, second >> 7, data[at:], descriptor)
            self._waiting[number] = media
        self.play()

    def play(self) -> None:
        """Decode what is there in order; give up what does not come."""
        while self._next is not None and self._waiting:
            media = self._waiting.pop(self._next, None)
            if media is None:
                now = self._simulation.now
                if self._stuck_since is None:
                    self._stuck_since = now
                if now - self._stuck_since < GIVE_UP:
                    return
                skip_to = self._find_restart()
                for late in [number for number in self._waiting if number < skip_to]:
                    del self._waiting[late]
                self.skipped += skip_to - self._next
                self._next = skip_to
                self._parts.clear()
                self.broken = self.kind == "video"
                self._stuck_since = None
                continue
            self._stuck_since = None
            self._next += 1
            if media.payload:
                self._take(media)

    def _find_restart(self) -> int:
        """Where to go on after a gap: at a key frame if one waits, as browsers do."""
        for number, media in sorted(self._waiting.items()):
            if self.kind == "video" and media.payload and not media.descriptor:
                part = _read_vp8(media)
                if part.starts and part.key and part.content[5:6] == b"\0":
                    return number
        return min(self._waiting)

    def _take(self, media: _Media) -> None:
        if self._parts and self._parts[0].timestamp != media.timestamp:
            # A frame without its end: the source was switched in the middle.
            self._parts.clear()
            self.broken = self.kind == "video"
        self._parts.append(media)
        if self.kind == "video" and not media.marker:
            return
        parts, self._parts = self._parts, []
        frame = _decode(self.kind, parts, self._simulation.now)
        if frame is None:
            self.broken = self.kind == "video"
        elif frame.key or not self.broken:
            self.broken = False
            self.frames.append(frame)


def _decode(kind: str, parts: list[_Media], now: float) -> Frame | None:
    """None: not the whole of one frame."""
    contents: list[bytes] = []
    first = _Part(b"")
    for media in parts:
        part = _Part(media.payload)
        if media.descriptor:
            part = _read_av1(media)
        elif kind == "video":
            part = _read_vp8(media)
        if not contents:
            first = part
        contents.append(part.content)
    if not first.starts:
        return None
    length, number, index, count = struct.unpack_from("!BIBB", contents[0])
    if index != 0 or len(contents) != count:
        return None
    for place, content in enumerate(contents):
        assert struct.unpack_from("!BIBB", content)[1:3] == (number, place)
    return Frame(
        contents[0][7 : 7 + length].decode(),
        number,
        first.key,
        parts[0].timestamp,
        now,
        first.picture_id,
        first.tl0,
        first.keyidx,
        tuple(contents),
    )


@dataclass(frozen=True)
class _Part:
    """One packet's share of a frame."""

    content: bytes
    starts: bool = True
    key: bool = False
    picture_id: int | None = None
    tl0: int | None = None
    keyidx: int | None = None


def _read_vp8(media: _Media) -> _Part:
    found, rest = VpxPayloadDescriptor.parse(media.payload)
    return _Part(
        rest[1:],
        bool(found.partition_start),
        not rest[0] & 1,
        found.picture_id,
        found.tl0picidx,
        found.keyidx,
    )


def _read_av1(media: _Media) -> _Part:
    """The aggregation header's N, and the dependency descriptor's frame number."""
    flags, number = struct.unpack("!BH", media.descriptor)
    return _Part(media.payload[1:], bool(flags & 0x80), bool(media.payload[0] & 8), number)


class Subscriber:
    """A peer that receives."""

    def __init__(self, simulation: Simulation, wire: Wire, name: str) -> None:
        self.simulation = simulation
        self.wire = wire
        self.name = name
        self.lines: dict[int, Line] = {}
        self.received = 0
        self.impatient = False  # asks for a key frame at every tick, needed or not
        self._tx = Cipher(wire.tx)
        self._rx = Cipher(wire.rx)
        self._ssrc = 1
        self._asked: dict[int, float] = {}
        self._last_reports: dict[int, tuple[int, float]] = {}
        self._open = True
        self.transport: deque[int] = deque(maxlen=5000)
        self.on_numbered: Callable[[int, int], None] = lambda number, size: None
        """Called with the transport-wide number and the size of each packet that has one."""
        wire.on_data = self._receive
        simulation.every(0.02, self._tick)
        simulation.every(1.0, self._report, first=0.5)

    def add(self, kind: str, ssrc: int, rtx_ssrc: int | None) -> Line:
        line = Line(self.simulation, kind, ssrc, rtx_ssrc)
        self.lines[ssrc] = line
        if rtx_ssrc is not None:
            self.lines[rtx_ssrc] = line
        return line

    def leave(self) -> None:
        self._open = False
        self.wire.close()

    def send_rtcp(self, data: bytes) -> None:
        self.wire.up.send(self._tx.protect_rtcp(data))

    def _receive(self, data: bytes) -> None:
        plain = self._rx.unprotect(data)
        if plain is None:
            return
        if is_rtcp(plain, 0):
            for packet in rtcp.parse_compound_untrusted(plain, 0, len(plain)):
                if isinstance(packet, rtcp.SenderReport) and packet.ssrc in self.lines:
                    self.lines[packet.ssrc].reports.append(packet)
                    middle = rtcp.middle_of_ntp(packet.ntp)
                    self._last_reports[packet.ssrc] = (middle, self.simulation.now)
            return
        self.received += 1
        line = self.lines.get(int.from_bytes(plain[8:12], "big"))
        assert line is not None, "a packet of an SSRC that was not offered"
        number = read_extensions(plain).get(TRANSPORT_CC.id)
        if number is not None:
            self.transport.append(int.from_bytes(number, "big"))
            self.on_numbered(int.from_bytes(number, "big"), len(data))
        line.receive(plain)

    def _unique(self) -> list[Line]:
        return list({id(line): line for line in self.lines.values()}.values())

    def _tick(self) -> bool:
        now = self.simulation.now
        for line in self._unique():
            line.play()
            missing = line.nacks.nacks_to_send(now) if line.retries else []
            out = b""
            if missing:
                out += rtcp.build_nack(self._ssrc, line.ssrc, [n & 0xFFFF for n in missing])
            wants = line.broken and line.sequences and now - self._asked.get(line.ssrc, 0.0) > 0.5
            if wants or self.impatient:
                self._asked[line.ssrc] = now
                out += rtcp.build_pli(self._ssrc, line.ssrc)
            if out and self._open:
                self.send_rtcp(rtcp.build_receiver_report(self._ssrc, ()) + out)
        return self._open

    def _report(self) -> bool:
        for ssrc, (middle, at) in self._last_reports.items():
            delay = int((self.simulation.now - at) * 65536)
            block = rtcp.ReportBlock(ssrc, 0, 0, 0, 0, middle, delay)
            if self._open:
                self.send_rtcp(rtcp.build_receiver_report(self._ssrc, (block,)))
        return self._open
