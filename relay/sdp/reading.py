"""Session descriptions read from hostile text.

Only what a relay needs is understood; other lines are passed over. Whatever is wrong raises
`BadSdp`, whose text is for people and quotes at most a short piece of the input.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

from .attributes import (
    DIRECTIONS,
    FORMAT_ATTRIBUTES,
    MEDIA_ATTRIBUTES,
    TOKEN,
    URI,
    match,
    quote,
    read_number,
)
from .description import (
    BadSdp,
    Description,
    Direction,
    Fingerprint,
    Format,
    Media,
    Setup,
    TransportDescription,
)

MAX_SDP: Final = 256 * 1024
"""Characters: an answer of a room of 50 has some 150 KiB."""

MAX_LINE: Final = 8 * 1024
"""Characters: the longest line seen is an H265 fmtp with its parameter sets, under 1 KiB."""

MAX_MEDIA: Final = 256
"""M-lines: two for each of 100 participants, and room."""

MAX_OFFERED: Final = 48
"""M-lines of an offer from outside: the most that one may publish, three times."""

MAX_ATTRIBUTES: Final = 512
"""Per section: Chromium writes about 200 for a video m-line."""

MAX_READ: Final = 1200
"""Lines and payload types that are read of one description, less than 3 ms of work in all. M-lines
that are alike are read once: Chromium's offer of a camera and a microphone comes to 160, whatever
number of them there is."""

# Digests that count (RFC 8122 5), by the number of bytes; SHA-1 and MD5 do not.
FINGERPRINT_SIZES: Final[Mapping[str, int]] = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
# RFC 3551 6: payload types that need no a=rtpmap.
STATIC_FORMATS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("PCMU", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: ("CN", 8000),
}

_ICE: Final = re.compile(r"[!-~]{4,256}")
# What tells an m-line, its streams and where it was gathered from others like it.
_OWN_LINE: Final = re.compile(
    r"\n(?:c=|a=(?:mid:|msid:|ssrc|candidate:|end-of-candidates|rtcp:))[^\n]*"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(slots=True)
class _Ice:
    """ICE and DTLS attributes of one section, before the session's fill the gaps."""

    ufrag: str = ""
    pwd: str = ""
    setup: str = ""
    fingerprints: list[Fingerprint] = field(default_factory=list)


class _Budget:
    """The rest that may still be read of a description."""

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
            if key in MEDIA_ATTRIBUTES:
                MEDIA_ATTRIBUTES[key](media, value)
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
        raise BadSdp(f"An m-line is incomplete: {quote(line)}.")
    port = read_number(parts[1].partition("/")[0], 65535, "the port of an m-line")
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
            raise BadSdp(f"A line is too long: {quote(line)}.")
        if line.startswith("a="):
            key, _, value = line[2:].partition(":")
            attributes.append((key, value.strip()))
        elif line and line[1:2] != "=":
            raise BadSdp(f"A line is not of the form x=value: {quote(line)}.")
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
        ice.ufrag = match(_ICE, value, "a=ice-ufrag")
    elif key == "ice-pwd":
        ice.pwd = match(_ICE, value, "a=ice-pwd")
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
        if key in FORMAT_ATTRIBUTES:
            FORMAT_ATTRIBUTES[key](formats, value)
        elif key in MEDIA_ATTRIBUTES:
            MEDIA_ATTRIBUTES[key](media, value)
        elif key in DIRECTIONS:
            media.direction = cast(Direction, key)
        else:
            _read_ice(ice, key, value)
    media.transport = _merge_ice(ice, session, lite)
    return media


def _read_media_line(line: str) -> Media:
    parts = line.split()
    if len(parts) < 4:
        raise BadSdp(f"An m-line is incomplete: {quote(line)}.")
    kind, port, protocol, *formats = parts
    number = read_number(port.partition("/")[0], 65535, "the port of an m-line")
    media = Media(match(TOKEN, kind, "m="), "", number, match(URI, protocol, "m="))
    if kind not in ("audio", "video") or "RTP/" not in protocol:
        media.other_formats = match(TOKEN, formats[0], "m=")
        return media
    if len(formats) > 128:
        raise BadSdp("An m-line has more than 128 payload types.")
    for payload_type in dict.fromkeys(read_number(f, 127, "a payload type") for f in formats):
        name, clock_rate = STATIC_FORMATS.get(payload_type, ("", 0))
        media.formats.append(Format(payload_type, name, clock_rate))
    return media


def _merge_ice(own: _Ice, session: _Ice, lite: bool) -> TransportDescription | None:
    """Fill what the m-line leaves out from the session; None where there is no transport."""
    ufrag, pwd = own.ufrag or session.ufrag, own.pwd or session.pwd
    fingerprints = own.fingerprints or session.fingerprints
    if not ufrag or not pwd or not fingerprints:
        return None
    setup = own.setup or session.setup or "actpass"
    if setup not in ("actpass", "active", "passive"):
        raise BadSdp(f"a=setup is {quote(setup)}.")
    return TransportDescription(ufrag, pwd, tuple(fingerprints), cast(Setup, setup), lite)


def _free_mid(taken: Container[str], index: int) -> str:
    """Name an m-line that has no mid: some WHIP clients leave it out."""
    while str(index) in taken:
        index += 1
    return str(index)
