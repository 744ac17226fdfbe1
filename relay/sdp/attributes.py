"""The attributes of an m-line, read into it: a table of them, and a reader for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from .description import BadSdp, Extension, Format, Media, Rid

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")

MAX_FEEDBACK: Final = 16
"""Per payload type: browsers write five."""

MAX_SSRCS: Final = 64
"""Per m-line: a simulcast of three, with RTX and FEC, has nine."""

NUMBER: Final = re.compile(r"[0-9]{1,10}")
TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")
URI: Final = re.compile(r"[!-~]{1,256}")

Formats = Mapping[int, Format]


def _read_rtpmap(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    entry = formats.get(read_number(subject, 127, "a=rtpmap"))
    if entry is not None:
        name, _, numbers = rest.strip().partition("/")
        clock_rate, _, channels = numbers.partition("/")
        entry.name = match(TOKEN, name, "a=rtpmap")
        entry.clock_rate = read_number(clock_rate, 2**32 - 1, "a=rtpmap")
        entry.channels = read_number(channels, 255, "a=rtpmap") if channels else 1


def _read_fmtp(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    entry = formats.get(read_number(subject, 127, "a=fmtp"))
    if entry is not None:
        entry.parameters = rest.strip()


def _read_feedback(formats: Formats, value: str) -> None:
    subject, _, rest = value.partition(" ")
    if subject == "*":
        entries = list(formats.values())
        if any(len(entry.feedback) >= MAX_FEEDBACK for entry in entries):
            return
    else:
        known = formats.get(read_number(subject, 127, "a=rtcp-fb"))
        entries = [known] if known is not None else []
    for entry in entries:
        if len(entry.feedback) < MAX_FEEDBACK:
            entry.feedback.append(rest.strip())


FORMAT_ATTRIBUTES: Final[Mapping[str, Callable[[Formats, str], None]]] = {
    "rtpmap": _read_rtpmap,
    "fmtp": _read_fmtp,
    "rtcp-fb": _read_feedback,
}


def _read_extmap(media: Media, value: str) -> None:
    parts = value.split()
    if len(parts) < 2:
        raise BadSdp(f"a=extmap is incomplete: {quote(value)}.")
    number, _, direction = parts[0].partition("/")
    # RFC 8285 7: 1 to 255; from 4096 on, ids are placeholders that an answer may map.
    extension = Extension(read_number(number, 4351, "a=extmap"), match(URI, parts[1], "a=extmap"))
    extension.direction = direction if direction in DIRECTIONS else ""
    media.extensions.append(extension)


def _read_ssrc(media: Media, value: str) -> None:
    number, _, attribute = value.partition(" ")
    ssrc = read_number(number, 2**32 - 1, "a=ssrc")
    if ssrc not in media.ssrcs and len(media.ssrcs) == MAX_SSRCS:
        raise BadSdp(f"An m-line has more than {MAX_SSRCS} SSRCs.")
    cname = attribute.removeprefix("cname:") if attribute.startswith("cname:") else ""
    media.ssrcs[ssrc] = cname or media.ssrcs.get(ssrc, "")


def _read_ssrc_group(media: Media, value: str) -> None:
    semantics, *numbers = value.split()[: MAX_SSRCS + 1] or [""]
    ssrcs = [read_number(n, 2**32 - 1, "a=ssrc-group") for n in numbers]
    if semantics == "FID" and len(ssrcs) == 2 and len(media.fid) < MAX_SSRCS:
        media.fid[ssrcs[0]] = ssrcs[1]
    elif semantics == "SIM":
        media.sim = ssrcs


def _read_rid(media: Media, value: str) -> None:
    parts = value.split(None, 2)
    if len(parts) < 2 or parts[1] not in ("send", "recv") or len(media.rids) == 16:
        raise BadSdp(f"a=rid is malformed, or one too many: {quote(value)}.")
    rid = Rid(match(TOKEN, parts[0], "a=rid"), parts[1], parts[2] if parts[2:] else "")
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
    media.mid = match(TOKEN, value, "a=mid")


def _read_sctp_port(media: Media, value: str) -> None:
    media.sctp_port = read_number(value, 65535, "a=sctp-port")


def _read_max_message(media: Media, value: str) -> None:
    media.max_message = int(match(NUMBER, value, "a=max-message-size"))


def _read_ptime(media: Media, value: str) -> None:
    """RFC 8866, 6.4. What is no whole number of milliseconds is passed over: it is a wish."""
    if NUMBER.fullmatch(value):
        media.ptime = int(value)


def _read_flag(name: str) -> Callable[[Media, str], None]:
    def read(media: Media, _value: str) -> None:
        setattr(media, name, True)

    return read


def _read_candidate(media: Media, value: str) -> None:
    if len(media.candidates) < 64:
        media.candidates.append(value)


MEDIA_ATTRIBUTES: Final[Mapping[str, Callable[[Media, str], None]]] = {
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
    # RFC 8858, 3: with a=rtcp-mux besides, which some leave out.
    "rtcp-mux-only": _read_flag("rtcp_mux"),
    "rtcp-rsize": _read_flag("rtcp_rsize"),
    "extmap-allow-mixed": _read_flag("extmap_allow_mixed"),
    "bundle-only": _read_flag("bundle_only"),
}


def match(pattern: re.Pattern[str], value: str, where: str) -> str:
    if not pattern.fullmatch(value):
        raise BadSdp(f"{where} has a malformed value: {quote(value)}.")
    return value


def read_number(text: str, maximum: int, where: str) -> int:
    if NUMBER.fullmatch(text) and (number := int(text)) <= maximum:
        return number
    raise BadSdp(f"{where} is not a number up to {maximum}: {quote(text)}.")


def quote(text: str) -> str:
    return ascii(text if len(text) <= 32 else text[:32] + "…")
