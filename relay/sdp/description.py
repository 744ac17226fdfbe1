"""Session descriptions as plain data: read from hostile text, written back in order.

Only what a relay needs is understood; other lines are passed over. Whatever is wrong
raises `BadSdp`, whose text is for people and quotes at most a short piece of the input.
Longer than other files because reading and writing belong side by side: what one
understands, the other writes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast

from ..control import RefusalCode

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive"]

MAX_SDP = 256 * 1024  # characters; an answer of a 50-participant room is about 150 KiB
MAX_LINE = 8 * 1024  # bytes; the longest line seen is an H265 fmtp with sprop, under 1 KiB
MAX_MEDIA = 256  # m-lines: two for each of 100 participants, and room
MAX_OFFERED = 48  # m-lines of an offer from outside: the most that one may publish, three times
MAX_ATTRIBUTES = 512  # per section; Chromium writes about 200 for a video m-line
# Lines and payload types that are read of one description, less than 3 ms of work in all.
# M-lines that are alike are read once: Chromium's offer of a camera and a microphone comes to 160,
# whatever number of them there is.
MAX_READ = 1200


class BadSdp(ValueError):
    """The description cannot be used; the text says why and may be shown to its sender."""

    code: RefusalCode = "bad-sdp"


class UnsupportedCodec(BadSdp):
    """The two sides have no codec in common where they have to."""

    code = "unsupported-codec"


class NothingToCarry(BadSdp):
    """The description is sound, but no media would flow by it."""

    code = "no-media"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A certificate's digest: `algorithm` like "sha-256", `value` in upper-case hex with colons."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class TransportDescription:
    """What one side says about ICE and DTLS (RFC 8839, RFC 8842).

    `setup` is that side's own word. `lite` is True where it is ICE-lite.
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    lite: bool = False


@dataclass(slots=True)
class Format:
    """One payload type of an m-line. `parameters` is the text of `a=fmtp`, untouched."""

    payload_type: int
    name: str = ""
    clock_rate: int = 0
    channels: int = 1
    parameters: str = ""
    feedback: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Extension:
    """One `a=extmap`. `direction` is "" when the line names none."""

    id: int
    uri: str
    direction: str = ""


@dataclass(slots=True)
class Rid:
    """One `a=rid` (RFC 8851): `direction` is "send" or "recv"."""

    id: str
    direction: str
    restrictions: str = ""


@dataclass(slots=True)
class Media:
    """One m-line and what belongs to it, in the order of the description.

    `ssrcs` maps each SSRC to its cname (maybe ""), `fid` each media SSRC to its RTX SSRC.
    `simulcast_send` and `simulcast_receive` hold rids, best written order kept, each
    alternative list flattened to its first. `ptime` is in milliseconds; `note` is text for
    people (`i=`), written only. `alike` is the index of the first m-line read that
    says the same but for mid and streams; the two share their lists.
    """

    kind: str
    mid: str
    port: int = 9
    protocol: str = "UDP/TLS/RTP/SAVPF"
    formats: list[Format] = field(default_factory=list)
    other_formats: str = ""
    direction: Direction = "sendrecv"
    transport: TransportDescription | None = None
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    extensions: list[Extension] = field(default_factory=list)
    extmap_allow_mixed: bool = False
    msid: tuple[str, str] | None = None
    ssrcs: dict[int, str] = field(default_factory=dict)
    fid: dict[int, int] = field(default_factory=dict)
    sim: list[int] = field(default_factory=list)
    rids: list[Rid] = field(default_factory=list)
    simulcast_send: list[str] = field(default_factory=list)
    simulcast_receive: list[str] = field(default_factory=list)
    sctp_port: int | None = None
    max_message: int | None = None
    bundle_only: bool = False
    ptime: int | None = None
    note: str = ""
    alike: int = field(default=-1, compare=False)


@dataclass(slots=True)
class Description:
    """A whole session description. `bundle` is the mids of the first BUNDLE group."""

    media: list[Media] = field(default_factory=list)
    bundle: list[str] = field(default_factory=list)
    session_id: int = 0
    session_version: int = 1
    lite: bool = False
    ice_options: list[str] = field(default_factory=list)
    extmap_allow_mixed: bool = False


# -- Reading ---------------------------------------------------------------------------------

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
# Digests that count (RFC 8122 5), by the number of bytes; SHA-1 and MD5 do not.
FINGERPRINT_SIZES: Final[Mapping[str, int]] = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
# RFC 3551 6: payload types that need no a=rtpmap.
STATIC_FORMATS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("PCMU", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: ("CN", 8000),
}
MAX_FEEDBACK: Final = 16  # per payload type; browsers write five
MAX_SSRCS: Final = 64  # per m-line: simulcast of three, with RTX and FEC, has nine

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")
_ICE: Final = re.compile(r"[!-~]{4,256}")
_URI: Final = re.compile(r"[!-~]{1,256}")
# What tells an m-line, its streams and where it was gathered from others like it.
_OWN_LINE: Final = re.compile(
    r"\n(?:c=|a=(?:mid:|msid:|ssrc|candidate:|end-of-candidates|rtcp:))[^\n]*"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


Formats = Mapping[int, Format]


@dataclass(slots=True)
class _Ice:
    """ICE and DTLS attributes of one section, before the session's fill the gaps."""

    ufrag: str = ""
    pwd: str = ""
    setup: str = ""
    fingerprints: list[Fingerprint] = field(default_factory=list)


class _Budget:
    """What may still be read of a description."""

    def __init__(self) -> None:
        self._left = MAX_READ

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise BadSdp("The description says too much: its m-lines differ in too many lines.")


def parse_offer_untrusted(text: str) -> Description:
    """Read an offer; raises `BadSdp` and nothing else."""
    return parse_description_untrusted(text, MAX_OFFERED)


def parse_description_untrusted(text: str, max_media: int = MAX_MEDIA) -> Description:
    """Read a session description; raises `BadSdp` and nothing else."""
    head, *sections = _split_sections(text, max_media)
    budget = _Budget()
    description = Description()
    session = _Ice()
    direction: Direction = "sendrecv"
    budget.spend(head.count("\n"))
    for key, value in _read_attributes(head):
        if key in DIRECTIONS:
            direction = cast(Direction, key)
        elif not _read_ice(session, key, value):
            _read_session_attribute(description, key, value)
    # The m-lines of a large answer are alike but for the mids: what they share is read once.
    known: dict[str, Media] = {}
    mids: set[str] = set()
    for index, section in enumerate(sections):
        port, shared = _take_port(_OWN_LINE.sub("", section))
        first = known.get(shared)
        if first is None:
            _spend_section(budget, shared)
            first = known[shared] = _read_media(shared, session, direction, description.lite)
            first.alike = index
        media = replace(first, port=port, ssrcs={}, fid={}, candidates=[])
        own = _OWN_LINE.findall(section)
        budget.spend(len(own) // 2)  # these are read quickly
        for key, value in _read_attributes("".join(own)):
            if key in _MEDIA_ATTRIBUTES:
                _MEDIA_ATTRIBUTES[key](media, value)
        media.mid = media.mid or _free_mid(mids, index)
        if media.mid in mids:
            raise BadSdp("Two m-lines have the same mid.")
        mids.add(media.mid)
        description.media.append(media)
    return description


def _split_sections(text: str, max_media: int) -> list[str]:
    """The session's lines, and each m-line's, without their "m="."""
    if len(text) > MAX_SDP:
        raise BadSdp(f"The description is longer than {MAX_SDP} characters.")
    if text.count("\nm=") > max_media:
        raise BadSdp(f"More than {max_media} m-lines.")
    text = text.replace("\r\n", "\n").removesuffix("\r").rstrip("\n")
    if text.partition("\n")[0].strip() != "v=0":
        raise BadSdp("The description does not begin with v=0.")
    return text.split("\nm=")


def _take_port(section: str) -> tuple[int, str]:
    """An m-line's port, and its section without it: only whether it is 0 makes a difference."""
    line, newline, rest = section.partition("\n")
    parts = line.split(None, 2)
    if len(parts) < 3:
        raise BadSdp(f"An m-line is incomplete: {_quote(line)}.")
    port = _number(parts[1].partition("/")[0], 65535, "the port of an m-line")
    return port, f"{parts[0]} {min(port, 1)} {parts[2]}{newline}{rest}"


def _spend_section(budget: _Budget, section: str) -> None:
    lines = section.count("\n")
    if lines > MAX_ATTRIBUTES:
        raise BadSdp(f"A section has more than {MAX_ATTRIBUTES} attributes.")
    formats = section.partition("\n")[0].count(" ")
    # What is said of all payload types is noted with each of them.
    budget.spend(lines + formats * (1 + section.count("\na=rtcp-fb:*")))


def _read_attributes(text: str) -> list[tuple[str, str]]:
    """Check lines' form and size; names and values of those that are attributes."""
    if text.count("\n") > MAX_ATTRIBUTES:
        raise BadSdp(f"A section has more than {MAX_ATTRIBUTES} attributes.")
    if _CONTROL.search(text):
        raise BadSdp("A line has control characters.")
    attributes: list[tuple[str, str]] = []
    for line in text.split("\n"):
        if len(line) > MAX_LINE:
            raise BadSdp(f"A line is too long: {_quote(line)}.")
        if line.startswith("a="):
            key, _, value = line[2:].partition(":")
            attributes.append((key, value.strip()))
        elif line and line[1:2] != "=":
            raise BadSdp(f"A line is not of the form x=value: {_quote(line)}.")
    return attributes


def _read_session_attribute(description: Description, key: str, value: str) -> None:
    if key == "group" and not description.bundle:
        semantics, *mids = value.split()[: MAX_MEDIA + 1] or [""]
        if semantics == "BUNDLE":
            description.bundle = mids
    elif key == "ice-lite":
        description.lite = True
    elif key == "ice-options":
        description.ice_options = value.split()[:16]
    elif key == "extmap-allow-mixed":
        description.extmap_allow_mixed = True


def _read_ice(ice: _Ice, key: str, value: str) -> bool:
    """Take an attribute of ICE or DTLS; False if it is none."""
    if key == "ice-ufrag":
        ice.ufrag = _match(_ICE, value, "a=ice-ufrag")
    elif key == "ice-pwd":
        ice.pwd = _match(_ICE, value, "a=ice-pwd")
    elif key == "setup":
        ice.setup = value.lower()
    elif key == "fingerprint":
        algorithm, _, digest = value.partition(" ")
        size = FINGERPRINT_SIZES.get(algorithm.lower())
        if size is not None and len(ice.fingerprints) < 8:
            digest = digest.strip().upper()
            if not re.fullmatch(rf"(?:[0-9A-F]{{2}}:){{{size - 1}}}[0-9A-F]{{2}}", digest):
                raise BadSdp(f"The {algorithm.lower()} fingerprint is malformed.")
            ice.fingerprints.append(Fingerprint(algorithm.lower(), digest))
    else:
        return False
    return True


def _read_media(section: str, session: _Ice, direction: Direction, lite: bool) -> Media:
    attributes = _read_attributes("m=" + section)
    media = _read_media_line(section.partition("\n")[0])
    media.direction = direction
    ice = _Ice()
    formats = {f.payload_type: f for f in media.formats}
    for key, value in attributes:
        if key in _FORMAT_ATTRIBUTES:
            _FORMAT_ATTRIBUTES[key](formats, value)
        elif key in _MEDIA_ATTRIBUTES:
            _MEDIA_ATTRIBUTES[key](media, value)
        elif key in DIRECTIONS:
            media.direction = cast(Direction, key)
        else:
            _read_ice(ice, key, value)
    media.transport = _merge_ice(ice, session, lite)
    return media


def _read_media_line(line: str) -> Media:
    parts = line.split()
    if len(parts) < 4:
        raise BadSdp(f"An m-line is incomplete: {_quote(line)}.")
    kind, port, protocol, *formats = parts
    number = _number(port.partition("/")[0], 65535, "the port of an m-line")
    media = Media(_match(_TOKEN, kind, "m="), "", number, _match(_URI, protocol, "m="))
    if kind not in ("audio", "video") or "RTP/" not in protocol:
        media.other_formats = _match(_TOKEN, formats[0], "m=")
        return media
    if len(formats) > 128:
        raise BadSdp("An m-line has more than 128 payload types.")
    for payload_type in dict.fromkeys(_number(f, 127, "a payload type") for f in formats):
        name, clock_rate = STATIC_FORMATS.get(payload_type, ("", 0))
        media.formats.append(Format(payload_type, name, clock_rate))
    return media


def _read_rtpmap(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    entry = formats.get(_number(subject, 127, "a=rtpmap"))
    if entry is not None:
        name, _, numbers = rest.strip().partition("/")
        clock_rate, _, channels = numbers.partition("/")
        entry.name = _match(_TOKEN, name, "a=rtpmap")
        entry.clock_rate = _number(clock_rate, 2**32 - 1, "a=rtpmap")
        entry.channels = _number(channels, 255, "a=rtpmap") if channels else 1


def _read_fmtp(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    entry = formats.get(_number(subject, 127, "a=fmtp"))
    if entry is not None:
        entry.parameters = rest.strip()


def _read_feedback(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    if subject == "*":
        entries = list(formats.values())
        if any(len(entry.feedback) >= MAX_FEEDBACK for entry in entries):
            return
    else:
        known = formats.get(_number(subject, 127, "a=rtcp-fb"))
        entries = [known] if known is not None else []
    for entry in entries:
        if len(entry.feedback) < MAX_FEEDBACK:
            entry.feedback.append(rest.strip())


_FORMAT_ATTRIBUTES: Final[Mapping[str, Callable[[Formats, str], None]]] = {
    "rtpmap": _read_rtpmap,
    "fmtp": _read_fmtp,
    "rtcp-fb": _read_feedback,
}


def _read_extmap(media: Media, value: str) -> None:
    parts = value.split()
    if len(parts) < 2:
        raise BadSdp(f"a=extmap is incomplete: {_quote(value)}.")
    number, _, direction = parts[0].partition("/")
    # RFC 8285 7: 1 to 255; from 4096 on, ids are placeholders that an answer may map.
    extension = Extension(_number(number, 4351, "a=extmap"), _match(_URI, parts[1], "a=extmap"))
    extension.direction = direction if direction in DIRECTIONS else ""
    media.extensions.append(extension)


def _read_ssrc(media: Media, value: str) -> None:
    number, _, attribute = value.partition(" ")
    ssrc = _number(number, 2**32 - 1, "a=ssrc")
    if ssrc not in media.ssrcs and len(media.ssrcs) == MAX_SSRCS:
        raise BadSdp(f"An m-line has more than {MAX_SSRCS} SSRCs.")
    cname = attribute.removeprefix("cname:") if attribute.startswith("cname:") else ""
    media.ssrcs[ssrc] = cname or media.ssrcs.get(ssrc, "")


def _read_ssrc_group(media: Media, value: str) -> None:
    semantics, *numbers = value.split()[: MAX_SSRCS + 1] or [""]
    ssrcs = [_number(n, 2**32 - 1, "a=ssrc-group") for n in numbers]
    if semantics == "FID" and len(ssrcs) == 2 and len(media.fid) < MAX_SSRCS:
        media.fid[ssrcs[0]] = ssrcs[1]
    elif semantics == "SIM":
        media.sim = ssrcs


def _read_rid(media: Media, value: str) -> None:
    parts = value.split(None, 2)
    if len(parts) < 2 or parts[1] not in ("send", "recv") or len(media.rids) == 16:
        raise BadSdp(f"a=rid is malformed, or one too many: {_quote(value)}.")
    rid = Rid(_match(_TOKEN, parts[0], "a=rid"), parts[1], parts[2] if parts[2:] else "")
    media.rids.append(rid)


def _read_simulcast(media: Media, value: str) -> None:
    """RFC 8853 5.1: direction and rids, ";" between streams, "," between alternatives."""
    parts = value.split()
    for direction, streams in zip(parts[::2], parts[1::2], strict=False):
        rids = [s.partition(",")[0].lstrip("~") for s in streams.split(";")[:16]]
        if direction == "send":
            media.simulcast_send = rids
        elif direction == "recv":
            media.simulcast_receive = rids


def _read_msid(media: Media, value: str) -> None:
    stream, _, track = value.partition(" ")
    media.msid = (stream, track)


def _read_mid(media: Media, value: str) -> None:
    media.mid = _match(_TOKEN, value, "a=mid")


def _read_sctp_port(media: Media, value: str) -> None:
    media.sctp_port = _number(value, 65535, "a=sctp-port")


def _read_max_message(media: Media, value: str) -> None:
    media.max_message = int(_match(_NUMBER, value, "a=max-message-size"))


def _read_ptime(media: Media, value: str) -> None:
    """RFC 8866, 6.4. What is no whole number of milliseconds is passed over: it is a wish."""
    if _NUMBER.fullmatch(value):
        media.ptime = int(value)


def _read_flag(name: str) -> Callable[[Media, str], None]:
    def read(media: Media, _value: str) -> None:
        setattr(media, name, True)

    return read


def _read_candidate(media: Media, value: str) -> None:
    if len(media.candidates) < 64:
        media.candidates.append(value)


_MEDIA_ATTRIBUTES: Final[Mapping[str, Callable[[Media, str], None]]] = {
    "mid": _read_mid,
    "extmap": _read_extmap,
    "ssrc": _read_ssrc,
    "ssrc-group": _read_ssrc_group,
    "rid": _read_rid,
    "simulcast": _read_simulcast,
    "msid": _read_msid,
    "candidate": _read_candidate,
    "sctp-port": _read_sctp_port,
    "max-message-size": _read_max_message,
    "ptime": _read_ptime,
    "end-of-candidates": _read_flag("end_of_candidates"),
    "rtcp-mux": _read_flag("rtcp_mux"),
    "rtcp-rsize": _read_flag("rtcp_rsize"),
    "extmap-allow-mixed": _read_flag("extmap_allow_mixed"),
    "bundle-only": _read_flag("bundle_only"),
}


def _merge_ice(own: _Ice, session: _Ice, lite: bool) -> TransportDescription | None:
    """Fill what the m-line leaves out from the session; None where there is no transport."""
    ufrag, pwd = own.ufrag or session.ufrag, own.pwd or session.pwd
    fingerprints = own.fingerprints or session.fingerprints
    if not ufrag or not pwd or not fingerprints:
        return None
    setup = own.setup or session.setup or "actpass"
    if setup not in ("actpass", "active", "passive"):
        raise BadSdp(f"a=setup is {_quote(setup)}.")
    return TransportDescription(ufrag, pwd, tuple(fingerprints), cast(Setup, setup), lite)


def _free_mid(taken: Container[str], index: int) -> str:
    """Name an m-line that has no mid: some WHIP clients leave it out."""
    while str(index) in taken:
        index += 1
    return str(index)


def _match(pattern: re.Pattern[str], value: str, where: str) -> str:
    if not pattern.fullmatch(value):
        raise BadSdp(f"{where} has a malformed value: {_quote(value)}.")
    return value


def _number(text: str, maximum: int, where: str) -> int:
    if _NUMBER.fullmatch(text) and (number := int(text)) <= maximum:
        return number
    raise BadSdp(f"{where} is not a number up to {maximum}: {_quote(text)}.")


def _quote(text: str) -> str:
    return ascii(text if len(text) <= 32 else text[:32] + "…")


# -- Writing ---------------------------------------------------------------------------------


def build_description(description: Description) -> str:
    """Write a description, lines ended by CRLF (RFC 8866)."""
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.session_version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ]
    if description.bundle:
        lines.append("a=group:BUNDLE " + " ".join(description.bundle))
    if description.lite:
        lines.append("a=ice-lite")
    if description.ice_options:
        lines.append("a=ice-options:" + " ".join(description.ice_options))
    if description.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    if description.media:
        lines.append("a=msid-semantic:WMS *")
    for media in description.media:
        lines += _media_lines(media)
    return "\r\n".join(lines) + "\r\n"


def _media_lines(media: Media) -> list[str]:
    formats = [str(f.payload_type) for f in media.formats] or [media.other_formats or "0"]
    lines = [f"m={media.kind} {media.port} {media.protocol} {' '.join(formats)}"]
    if media.note:
        lines.append(f"i={media.note}")
    lines.append("c=IN IP4 0.0.0.0")
    if media.port == 0:
        return [*lines, "a=inactive", f"a=mid:{media.mid}"]
    lines.append(f"a=mid:{media.mid}")
    if media.sctp_port is None:
        lines.append(f"a={media.direction}")
    if media.transport is not None:
        lines += _transport_lines(media.transport)
    lines += [f"a=candidate:{candidate}" for candidate in media.candidates]
    if media.end_of_candidates:
        lines.append("a=end-of-candidates")
    if media.rtcp_mux:
        lines.append("a=rtcp-mux")
    if media.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    for extension in media.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        lines.append(f"a=extmap:{extension.id}{direction} {extension.uri}")
    for entry in media.formats:
        lines += _format_lines(entry)
    if media.ptime is not None:
        lines.append(f"a=ptime:{media.ptime}")
    lines += _stream_lines(media)
    if media.sctp_port is not None:
        lines.append(f"a=sctp-port:{media.sctp_port}")
    if media.max_message is not None:
        lines.append(f"a=max-message-size:{media.max_message}")
    return lines


def _transport_lines(transport: TransportDescription) -> list[str]:
    return [
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.pwd}",
        *(f"a=fingerprint:{f.algorithm} {f.value}" for f in transport.fingerprints),
        f"a=setup:{transport.setup}",
    ]


def _format_lines(entry: Format) -> list[str]:
    channels = f"/{entry.channels}" if entry.channels != 1 else ""
    lines = [f"a=rtpmap:{entry.payload_type} {entry.name}/{entry.clock_rate}{channels}"]
    if entry.parameters:
        lines.append(f"a=fmtp:{entry.payload_type} {entry.parameters}")
    lines += [f"a=rtcp-fb:{entry.payload_type} {feedback}" for feedback in entry.feedback]
    return lines


def _stream_lines(media: Media) -> list[str]:
    lines = []
    if media.msid is not None:
        lines.append(f"a=msid:{media.msid[0]} {media.msid[1]}")
    for rid in media.rids:
        restrictions = f" {rid.restrictions}" if rid.restrictions else ""
        lines.append(f"a=rid:{rid.id} {rid.direction}{restrictions}")
    if media.simulcast_receive:
        lines.append("a=simulcast:recv " + ";".join(media.simulcast_receive))
    elif media.simulcast_send:
        lines.append("a=simulcast:send " + ";".join(media.simulcast_send))
    lines += [f"a=ssrc-group:FID {ssrc} {rtx}" for ssrc, rtx in media.fid.items()]
    lines += [f"a=ssrc:{ssrc} cname:{cname}" for ssrc, cname in media.ssrcs.items()]
    return lines


def build_candidates(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """Return `a=candidate` values of host candidates (RFC 8839 5.1); the list's order is the
    preference."""
    candidates = []
    for index, (host, port) in enumerate(addresses):
        version = ipaddress.ip_address(host).version
        # RFC 8445 5.1.2.1: type preference 126 for host candidates, component 1.
        priority = (126 << 24) + ((65535 - index) << 8) + 255
        foundation = f"{version}{index}"
        candidates.append(f"{foundation} 1 udp {priority} {host} {port} typ host")
    return candidates
