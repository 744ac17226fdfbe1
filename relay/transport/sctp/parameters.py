"""The insides of chunks: INIT and its parameters, SACK, FORWARD-TSN, RE-CONFIG, causes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct, pack, unpack
from typing import Final, NamedTuple

from .packet import FORWARD_TSN, RECONFIG, MalformedSctp

# -- Type, length, value -----------------------------------------------------------------

COOKIE: Final = 7
SUPPORTED_EXTENSIONS: Final = 0x8008
FORWARD_TSN_SUPPORTED: Final = 0xC000
OUTGOING_RESET: Final = 13
INCOMING_RESET: Final = 14
TSN_RESET: Final = 15
RESPONSE: Final = 16
ADD_OUTGOING: Final = 17
ADD_INCOMING: Final = 18

USER_ABORT: Final = 12
PROTOCOL_VIOLATION: Final = 13
MAX_PARAMETERS: Final = 32
"""Of one chunk; peers send some six."""
MAX_REASON: Final = 200
"""Bytes of an ABORT's text that are read or written."""

_TLV: Final = Struct("!HH")


class Parameter(NamedTuple):
    type: int
    value: bytes


def parse_parameters_untrusted(data: bytes) -> list[Parameter]:
    """Parse what is in a row in INIT, RE-CONFIG, ABORT or ERROR. Raise MalformedSctp."""
    found: list[Parameter] = []
    at = 0
    while at + 4 <= len(data):
        type, length = _TLV.unpack_from(data, at)
        if length < 4 or at + length > len(data) or len(found) == MAX_PARAMETERS:
            raise MalformedSctp("parameter length")
        found.append(Parameter(type, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    if at < len(data):
        raise MalformedSctp("trailing bytes")
    return found


def build_parameter(type: int, value: bytes) -> bytes:
    """Return a parameter with its padding."""
    return _TLV.pack(type, 4 + len(value)) + value + bytes(-len(value) % 4)


# -- INIT and INIT ACK -------------------------------------------------------------------

_INIT: Final = Struct("!IIHHI")


@dataclass(frozen=True, slots=True)
class Init:
    """INIT and INIT ACK (RFC 9260, 3.3.2); `cookie` is empty in the former."""

    tag: int
    window: int
    outbound: int
    inbound: int
    tsn: int
    forward: bool = True
    """Whether the peer takes FORWARD-TSN."""
    reset: bool = True
    """Whether the peer takes RE-CONFIG."""
    cookie: bytes = b""


def parse_init_untrusted(value: bytes) -> Init:
    """Parse INIT or INIT ACK. Raise MalformedSctp."""
    if len(value) < _INIT.size:
        raise MalformedSctp("short INIT")
    tag, window, outbound, inbound, tsn = _INIT.unpack_from(value)
    if not (tag and outbound and inbound):
        raise MalformedSctp("INIT with a zero")
    forward = reset = False
    cookie = b""
    for type, content in parse_parameters_untrusted(value[_INIT.size :]):
        if type == FORWARD_TSN_SUPPORTED:
            forward = True
        elif type == SUPPORTED_EXTENSIONS:
            forward = forward or FORWARD_TSN in content
            reset = RECONFIG in content
        elif type == COOKIE:
            cookie = content
        elif not type & 0x8000 and type not in _ADDRESSES:
            # "00 - Stop processing this parameter; do not process any further parameters"
            break
    return Init(tag, window, outbound, inbound, tsn, forward, reset, cookie)


# Known, and without use here: addresses, cookie preservative, host name, address types.
_ADDRESSES: Final = frozenset({5, 6, 8, 9, 11, 12})


def build_init(init: Init) -> bytes:
    """Return the value of INIT, or with a cookie of INIT ACK."""
    extensions = bytes([RECONFIG] * init.reset + [FORWARD_TSN] * init.forward)
    parts = [_INIT.pack(init.tag, init.window, init.outbound, init.inbound, init.tsn)]
    if init.cookie:
        parts.append(build_parameter(COOKIE, init.cookie))
    if init.forward:
        parts.append(build_parameter(FORWARD_TSN_SUPPORTED, b""))
    parts.append(build_parameter(SUPPORTED_EXTENSIONS, extensions))
    return b"".join(parts)


# -- SACK --------------------------------------------------------------------------------

_SACK: Final = Struct("!IIHH")
MAX_GAPS: Final = 200
MAX_DUPLICATES: Final = 20


class Sack(NamedTuple):
    """`gaps` are offsets from `cumulative`, first and last, ascending and apart."""

    cumulative: int
    window: int
    gaps: list[tuple[int, int]]


def parse_sack_untrusted(value: bytes) -> Sack:
    """Parse a SACK; duplicates are not looked at. Raise MalformedSctp."""
    if len(value) < _SACK.size:
        raise MalformedSctp("short SACK")
    cumulative, window, count, duplicates = _SACK.unpack_from(value)
    if len(value) < _SACK.size + 4 * (count + duplicates):
        raise MalformedSctp("SACK length")
    if not count:
        return Sack(cumulative, window, [])
    ends = unpack(f"!{2 * count}H", value[_SACK.size : _SACK.size + 4 * count])
    gaps = list(zip(ends[::2], ends[1::2], strict=True))
    before = 0
    for first, last in gaps:
        if not before < first <= last:
            raise MalformedSctp("SACK order")
        before = last
    return Sack(cumulative, window, gaps)


def build_sack(
    cumulative: int, window: int, gaps: Sequence[tuple[int, int]], duplicates: Sequence[int]
) -> bytes:
    """Return the value of a SACK."""
    head = _SACK.pack(cumulative & 0xFFFFFFFF, window, len(gaps), len(duplicates))
    if not gaps and not duplicates:
        return head
    ends = [end for gap in gaps for end in gap]
    again = [tsn & 0xFFFFFFFF for tsn in duplicates]
    return head + pack(f"!{len(ends)}H{len(again)}I", *ends, *again)


# -- FORWARD-TSN -------------------------------------------------------------------------


def parse_forward_untrusted(value: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Return the new cumulative TSN, and stream and SSN of what is skipped. Raise MalformedSctp."""
    if len(value) < 4 or len(value) % 4:
        raise MalformedSctp("FORWARD-TSN length")
    tsn, *numbers = unpack(f"!I{len(value) // 2 - 2}H", value)
    return tsn, list(zip(numbers[::2], numbers[1::2], strict=True))


def build_forward(tsn: int, skipped: Iterable[tuple[int, int]]) -> bytes:
    """Return the value of a FORWARD-TSN."""
    numbers = [number for pair in skipped for number in pair]
    return pack(f"!I{len(numbers)}H", tsn & 0xFFFFFFFF, *numbers)


# -- RE-CONFIG ---------------------------------------------------------------------------

PERFORMED: Final = 1
DENIED: Final = 2
BAD_SEQUENCE: Final = 5
IN_PROGRESS: Final = 6


class ResetRequest(NamedTuple):
    """An Outgoing SSN Reset Request (RFC 6525, 4.1); no streams stand for all."""

    number: int
    response: int
    last_tsn: int
    streams: tuple[int, ...]


def parse_reset_untrusted(value: bytes) -> ResetRequest:
    """Parse an Outgoing SSN Reset Request. Raise MalformedSctp."""
    if len(value) < 12 or len(value) % 2:
        raise MalformedSctp("reset length")
    number, response, last, *streams = unpack(f"!III{(len(value) - 12) // 2}H", value)
    return ResetRequest(number, response, last, tuple(streams))


def build_reset(request: ResetRequest) -> bytes:
    """Return the parameter of an Outgoing SSN Reset Request."""
    streams = request.streams
    value = pack(f"!III{len(streams)}H", request[0], request[1], request[2], *streams)
    return build_parameter(OUTGOING_RESET, value)


def parse_response_untrusted(value: bytes) -> tuple[int, int]:
    """Return the number and the result of a Re-configuration Response. Raise MalformedSctp."""
    if len(value) < 8:
        raise MalformedSctp("response length")
    number, result = unpack("!II", value[:8])
    return number, result


def build_response(number: int, result: int) -> bytes:
    """Return the parameter of a Re-configuration Response."""
    return build_parameter(RESPONSE, pack("!II", number, result))


# -- ABORT -------------------------------------------------------------------------------


def build_cause(code: int, reason: str) -> bytes:
    """Return an error cause with text for whoever reads the peer's log."""
    return build_parameter(code, reason.encode()[:MAX_REASON])


def read_reason_untrusted(value: bytes) -> str:
    """Return what an ABORT says in words, for a log; empty where it says nothing."""
    try:
        causes = parse_parameters_untrusted(value)
    except MalformedSctp:
        return ""
    for code, text in causes:
        if code in (USER_ABORT, PROTOCOL_VIOLATION) and text:
            printable = text[:MAX_REASON].decode("utf-8", "replace")
            return "".join(c if c.isprintable() else "?" for c in printable)
    return ""
