"""RTCP: compound packets parsed and built (RFC 3550, 4585, 5104, 5506; REMB).

Transport-wide feedback has a file of its own (`twcc`). What the relay has no use for
(APP, XR, SLI, RPSI and what is not known) is skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .packet import ReadBuffer

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = range(200, 208)
FMT_NACK, FMT_TWCC = 1, 15  # of RTPFB
FMT_PLI, FMT_FIR, FMT_AFB = 1, 4, 15  # of PSFB
MAX_NACKED = 1000  # of one packet: as many as libwebrtc ever asks for at once
MAX_REPORTS = 31  # the count field has five bits
MAX_BITRATE = 1 << 50  # bit/s; REMB could say more than any number is good for
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970

_HEAD = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_REPORT = struct.Struct("!IIIIII")
_FEEDBACK = struct.Struct("!II")


class RtcpError(ValueError):
    """The bytes are no RTCP; the message says why, and quotes none of them."""


class ReportBlock(NamedTuple):
    """RFC 3550, 6.4.1: what a receiver says of the stream `ssrc`."""

    ssrc: int
    fraction_lost: int  # of 256, since the last report
    lost: int  # cumulative, -2**23 to 2**23 - 1
    highest: int  # 16 bits of cycles, 16 of the highest sequence number
    jitter: int  # in timestamp units
    last_sr: int  # the middle 32 bits of the last sender report's NTP time; 0: none
    delay: int  # since that report, in 1/65536 s


class SenderReport(NamedTuple):
    ssrc: int
    ntp: int  # 64 bits, seconds since 1900 and their fraction
    timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


class ReceiverReport(NamedTuple):
    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


class Description(NamedTuple):
    """One SDES chunk; `cname` is empty where there is none."""

    ssrc: int
    cname: str


class Bye(NamedTuple):
    ssrcs: tuple[int, ...]


class Nack(NamedTuple):
    sender: int
    ssrc: int
    sequences: tuple[int, ...]


class Pli(NamedTuple):
    sender: int
    ssrc: int


class Fir(NamedTuple):
    """`entries`: (ssrc, command sequence number)."""

    sender: int
    entries: tuple[tuple[int, int], ...]


class Remb(NamedTuple):
    sender: int
    bitrate: int  # bit/s
    ssrcs: tuple[int, ...]


class TransportFeedback(NamedTuple):
    """Transport-wide feedback, its body unread: see `twcc.parse_feedback_untrusted`."""

    sender: int
    ssrc: int
    body: bytes


Rtcp = (
    SenderReport | ReceiverReport | Description | Bye | Nack | Pli | Fir | Remb | TransportFeedback
)


#   0                   1                   2                   3
#   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#  |V=2|P| count/FMT|     PT        |  length in words, minus one   |
#  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
def parse_compound_untrusted(buf: ReadBuffer, start: int, end: int) -> list[Rtcp]:
    """Everything the relay understands of the RTCP packets in buf[start:end].

    RFC 5506: a reduced-size packet, which starts with any type, is as good as a compound
    one. Raises RtcpError, and nothing else, if any part of it is malformed.
    """
    data = bytes(buf[start:end])
    if len(data) < 4:
        raise RtcpError("shorter than an RTCP header")
    found: list[Rtcp] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise RtcpError("bytes after the last packet")
        first, kind, words = _HEAD.unpack_from(data, at)
        if first >> 6 != 2:
            raise RtcpError("RTCP version is not 2")
        stop = at + 4 + 4 * words
        if stop > len(data):
            raise RtcpError("longer than its datagram")
        body_end = stop
        if first & 0x20:
            # RFC 3550, 6.4.1: "In a compound RTCP packet, padding is only required on one
            # individual packet": the last; elsewhere it is taken as it comes.
            padding = data[stop - 1]
            if padding == 0 or padding > stop - at - 4:
                raise RtcpError("padding is longer than its packet, or zero")
            body_end = stop - padding
        _parse_one(data[at + 4 : body_end], kind, first & 0x1F, found)
        at = stop
    return found


def _parse_one(body: bytes, kind: int, count: int, found: list[Rtcp]) -> None:
    if kind in (RTPFB, PSFB):
        _parse_feedback(body, kind, count, found)
    elif kind == RR:
        _need(body, 4)
        ssrc = int.from_bytes(body[:4], "big")
        found.append(ReceiverReport(ssrc, _parse_reports(body, 4, count)))
    elif kind == SR:
        _need(body, 24)
        ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
        reports = _parse_reports(body, 24, count)
        found.append(SenderReport(ssrc, ntp, timestamp, packets, octets, reports))
    elif kind == SDES:
        _parse_sdes(body, count, found)
    elif kind == BYE:
        _need(body, 4 * count)
        found.append(Bye(struct.unpack_from(f"!{count}I", body)))


def _need(body: bytes, size: int) -> None:
    if len(body) < size:
        raise RtcpError("shorter than its fields")


#  |                            SSRC                               |
#  | fraction lost |       cumulative number of packets lost       |
#  |           extended highest sequence number received           |
#  |                      interarrival jitter                      |
#  |                         last SR (LSR)                         |
#  |                   delay since last SR (DLSR)                  |
def _parse_reports(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    _need(body, at + 24 * count)
    return tuple(
        ReportBlock(ssrc, loss >> 24, _signed24(loss & 0xFFFFFF), highest, jitter, lsr, delay)
        for ssrc, loss, highest, jitter, lsr, delay in (
            _REPORT.unpack_from(body, at + 24 * index) for index in range(count)
        )
    )


def _signed24(number: int) -> int:
    return number - (1 << 24) if number & 0x800000 else number


#  chunk:  | SSRC (4) | type (1) | length (1) | text ... | 0 ... to a multiple of 4 |
def _parse_sdes(body: bytes, count: int, found: list[Rtcp]) -> None:
    at = 0
    for _ in range(count):
        _need(body, at + 4)
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        cname = ""
        while True:
            _need(body, at + 1)
            if body[at] == 0:
                # RFC 3550, 6.5: "The list of items in each chunk MUST be terminated by one
                # or more null octets [...] until the next 32-bit boundary".
                at = at // 4 * 4 + 4
                break
            _need(body, at + 2)
            text_end = at + 2 + body[at + 1]
            _need(body, text_end)
            if body[at] == 1:
                cname = body[at + 2 : text_end].decode("utf-8", "replace")
            at = text_end
        found.append(Description(ssrc, cname))


#  |                  SSRC of packet sender                        |
#  |                  SSRC of media source                         |
#  :            Feedback Control Information (FCI)                 :
def _parse_feedback(body: bytes, kind: int, fmt: int, found: list[Rtcp]) -> None:
    _need(body, 8)
    sender, ssrc = _FEEDBACK.unpack_from(body)
    if kind == RTPFB:
        if fmt == FMT_NACK:
            found.append(Nack(sender, ssrc, _parse_nack(body)))
        elif fmt == FMT_TWCC:
            found.append(TransportFeedback(sender, ssrc, body[8:]))
    elif fmt == FMT_PLI:
        found.append(Pli(sender, ssrc))
    elif fmt == FMT_FIR:
        # RFC 5104, 4.3.1.1: | SSRC (4) | sequence number (1) | reserved (3) |, once or more.
        if len(body) % 8:
            raise RtcpError("FIR entries are cut off")
        found.append(
            Fir(
                sender,
                tuple(
                    (int.from_bytes(body[at : at + 4], "big"), body[at + 4])
                    for at in range(8, len(body), 8)
                ),
            )
        )
    elif fmt == FMT_AFB and body[8:12] == b"REMB":
        found.append(_parse_remb(sender, body))


#  |            PID                |             BLP               |
def _parse_nack(body: bytes) -> tuple[int, ...]:
    """The first MAX_NACKED, or a few more."""
    if len(body) % 4:
        raise RtcpError("NACK entries are cut off")
    sequences: list[int] = []
    for at in range(8, len(body), 4):
        if len(sequences) >= MAX_NACKED:
            break
        first = body[at] << 8 | body[at + 1]
        mask = body[at + 2] << 8 | body[at + 3]
        sequences.append(first)
        # RFC 4585, 6.2.1: "bit i of the bit mask is set to 1 if the receiver has not
        # received RTP packet number (PID+i) (modulo 2^16)", the least significant being 1.
        while mask:
            bit = mask & -mask
            sequences.append(first + bit.bit_length() & 0xFFFF)
            mask ^= bit
    return tuple(sequences)


#  |  'R'  'E'  'M'  'B'                                           |
#  |  Num SSRC     | BR Exp    |  BR Mantissa (18 bits)            |
#  |   SSRC feedback, once or more                                 |
def _parse_remb(sender: int, body: bytes) -> Remb:
    _need(body, 16)
    count = body[12]
    _need(body, 16 + 4 * count)
    mantissa = (body[13] & 0x03) << 16 | body[14] << 8 | body[15]
    bitrate = min(mantissa << (body[13] >> 2), MAX_BITRATE)
    return Remb(sender, bitrate, struct.unpack_from(f"!{count}I", body, 16))


# -- Building ---------------------------------------------------------------------------


def _build(kind: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body


def _build_reports(reports: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _REPORT.pack(
            report.ssrc,
            report.fraction_lost << 24 | report.lost & 0xFFFFFF,
            report.highest,
            report.jitter,
            report.last_sr,
            report.delay,
        )
        for report in reports
    )


def build_sender_report(report: SenderReport) -> bytes:
    """At most MAX_REPORTS blocks. A whole RTCP packet, as of all builders here."""
    body = _SENDER.pack(report.ssrc, report.ntp, report.timestamp, report.packets, report.octets)
    return _build(SR, len(report.reports), body + _build_reports(report.reports))


def build_receiver_report(ssrc: int, reports: Sequence[ReportBlock]) -> bytes:
    """At most MAX_REPORTS blocks."""
    return _build(RR, len(reports), struct.pack("!I", ssrc) + _build_reports(reports))


def build_description(ssrc: int, cname: str) -> bytes:
    """SDES with a CNAME of at most 255 bytes, which every compound packet carries."""
    name = cname.encode()
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name
    return _build(SDES, 1, chunk + bytes(4 - len(chunk) % 4))


def build_bye(ssrcs: Sequence[int]) -> bytes:
    return _build(BYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs))


def build_nack(sender: int, ssrc: int, sequences: Iterable[int]) -> bytes:
    """Any 16-bit numbers in the order they were sent; neighbours share an entry."""
    entries: list[list[int]] = []
    for sequence in sequences:
        if entries:
            distance = sequence - entries[-1][0] & 0xFFFF
            if distance == 0:
                continue
            if distance <= 16:
                entries[-1][1] |= 1 << (distance - 1)
                continue
        entries.append([sequence, 0])
    fci = b"".join(struct.pack("!HH", first, mask) for first, mask in entries)
    return _build(RTPFB, FMT_NACK, _FEEDBACK.pack(sender, ssrc) + fci)


def build_pli(sender: int, ssrc: int) -> bytes:
    return _build(PSFB, FMT_PLI, _FEEDBACK.pack(sender, ssrc))


def build_fir(sender: int, ssrc: int, command: int) -> bytes:
    """`command`: RFC 5104, 4.3.1.1, "incremented by one modulo 256 for each new command"."""
    # RFC 5104, 4.3.1.2: "the 'SSRC of media source' field is not used and SHALL be set to 0".
    return _build(
        PSFB, FMT_FIR, _FEEDBACK.pack(sender, 0) + struct.pack("!IBBH", ssrc, command & 0xFF, 0, 0)
    )


def build_remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """`bitrate` in bit/s, rounded down to 18 significant bits; at most 255 SSRCs."""
    exponent = max(0, bitrate.bit_length() - 18)
    mantissa = bitrate >> exponent
    fci = b"REMB" + struct.pack("!I", len(ssrcs) << 24 | exponent << 18 | mantissa)
    # draft-alvestrand-rmcat-remb, 2.2: "SSRC of media source [...] Always 0".
    body = _FEEDBACK.pack(sender, 0) + fci + struct.pack(f"!{len(ssrcs)}I", *ssrcs)
    return _build(PSFB, FMT_AFB, body)


def build_transport_feedback(sender: int, ssrc: int, body: bytes) -> bytes:
    """`body` from `twcc`, of any length: padded here."""
    padding = -len(body) % 4
    # RFC 3550, 6.4.1: P says that the packet ends with padding, whose last octet counts it.
    tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
    packet = _FEEDBACK.pack(sender, ssrc) + body + tail
    flags = 0xA0 if padding else 0x80
    return _HEAD.pack(flags | FMT_TWCC, RTPFB, len(packet) // 4) + packet


def to_ntp(wall: float) -> int:
    """Seconds since 1970 as a 64-bit NTP time."""
    seconds = int(wall)
    return (seconds + NTP_EPOCH << 32) + int((wall - seconds) * (1 << 32))


def middle_of_ntp(ntp: int) -> int:
    """RFC 3550, 6.4.1, LSR: "The middle 32 bits out of 64 in the NTP timestamp"."""
    return ntp >> 16 & 0xFFFFFFFF
