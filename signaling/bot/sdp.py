"""Session descriptions as text: what aiortc reads or writes otherwise than browsers do."""

from __future__ import annotations

import re
from typing import Any

from aiortc import RTCIceCandidate, sdp

from .sources import Kind, Label


def spread_candidates(description: str) -> str:
    """Give every m-line the candidates of the first that has any.

    In a bundle they stand on one line only; aiortc reads those of the last.
    """
    head, *media = description.replace("\r\n", "\n").split("\nm=")
    marks = ("a=candidate:", "a=end-of-candidates")
    found: list[str] = []
    for part in media:
        found = found or [line for line in part.split("\n") if line.startswith(marks)]
    for index, part in enumerate(media):
        lines = part.rstrip("\n").split("\n")
        if found and not any(line.startswith(marks) for line in lines):
            media[index] = "\n".join(lines + found)
        else:
            media[index] = "\n".join(lines)
    return "\r\n".join("\nm=".join([head, *media]).split("\n")) + "\r\n"


def extension_ids(description: str) -> dict[str, str]:
    """The ids of header extensions in a description, by URI."""
    pairs = re.findall(r"^a=extmap:(\d+)(?:/\w+)? (\S+)", description, re.M)
    return {uri: id for id, uri in pairs}


def keep_extension_ids(description: str, ids: dict[str, str]) -> str:
    """An offer with header extensions under the ids that they had before: browsers refuse
    other ones for as long as their connection lives, and they keep it when we make ours anew."""
    taken = set(ids.values())

    def replace(match: re.Match[str]) -> str:
        id, uri = match.groups()
        if uri in ids:
            return f"a=extmap:{ids[uri]} {uri}"
        while id in taken:
            id = str(int(id) + 1)
        taken.add(id)
        ids[uri] = id
        return f"a=extmap:{id} {uri}"

    return re.sub(r"a=extmap:(\d+) (\S+)", replace, description)


def session_of(description: str) -> tuple[str, ...]:
    """What changes when the other side began anew: ICE user names and certificate."""
    marks = ("a=ice-ufrag:", "a=fingerprint:")
    return tuple(sorted({line for line in description.splitlines() if line.startswith(marks)}))


def ask_for_resilient_sound(description: str) -> str:
    """Say of Opus that what is lost may be repeated in later packets, and is asked for again:
    browsers send neither to those who do not say so."""

    def add(match: re.Match[str]) -> str:
        said, number = match.groups()
        if not re.search(rf"^a=fmtp:{number} ", description, re.M):
            said += f"\r\na=fmtp:{number} minptime=10;useinbandfec=1"
        if not re.search(rf"^a=rtcp-fb:{number} nack\r?$", description, re.M):
            said += f"\r\na=rtcp-fb:{number} nack"
        return said

    return re.sub(r"(?im)^(a=rtpmap:(\d+) opus/48000/2)(?=\r?$)", add, description)


def find_label(description: str, mid: str | None, kind: Kind, screen: Any) -> Label:
    """What the line `mid` carries: the first of a kind is camera or microphone; `screen` is the
    name of a screen's stream, as the participant's metadata say."""
    place = 0
    for media in sdp.SessionDescription.parse(description).media:
        if media.kind != kind:
            continue
        if media.rtp.muxId == mid:
            if screen and (media.msid or "").split(" ")[0] == screen:
                return "screen" if kind == "video" else "screen-audio"
            break
        place += 1
    if place == 0:
        return "camera" if kind == "video" else "microphone"
    return "other"


def parse_candidate_untrusted(init: Any) -> RTCIceCandidate | None:
    """A browser's RTCIceCandidateInit; None says that no more come. Raises ValueError."""
    try:
        text = (init or {}).get("candidate") or ""
        if not text:
            return None
        candidate = sdp.candidate_from_sdp(text.removeprefix("candidate:"))
        candidate.sdpMid = init.get("sdpMid")
        candidate.sdpMLineIndex = init.get("sdpMLineIndex")
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return candidate
