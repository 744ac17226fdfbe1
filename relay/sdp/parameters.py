"""Codec parameters (`a=fmtp`): read, checked, and carried from who sends to who receives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .description import BadSdp

MAX_AVERAGE_BITRATE: Final = 510_000
"""Bit/s: RFC 7587, 6.1 names no more for Opus."""

MAX_PTIME: Final = 120
"""Milliseconds: the longest packet of Opus (RFC 7587, 4.2)."""

_FLAG: Final = re.compile(r"[01]")
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_HEX_24: Final = re.compile(r"[0-9A-Fa-f]{6}")
_BASE64_LIST: Final = re.compile(r"[A-Za-z0-9+/=,]*")

# Of the codecs that the relay knows: what it reads itself, and what is wrong in any hands.
_FORMS: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "opus": {
        "stereo": _FLAG,
        "sprop-stereo": _FLAG,
        "useinbandfec": _FLAG,
        "usedtx": _FLAG,
        "cbr": _FLAG,
        "maxaveragebitrate": _COUNT,
        "maxplaybackrate": _COUNT,
        "minptime": _COUNT,
    },
    "h264": {
        "profile-level-id": _HEX_24,
        "packetization-mode": re.compile(r"[012]"),
        "level-asymmetry-allowed": _FLAG,
        "sprop-parameter-sets": _BASE64_LIST,
    },
    "h265": {
        "profile-id": _COUNT,
        "level-id": _COUNT,
        "tier-flag": _FLAG,
        "sprop-vps": _BASE64_LIST,
        "sprop-sps": _BASE64_LIST,
        "sprop-pps": _BASE64_LIST,
    },
    "vp9": {"profile-id": _COUNT},
    "av1": {"profile": _COUNT, "level-idx": _COUNT, "tier": _FLAG},
    "rtx": {"apt": re.compile(r"[0-9]{1,3}")},
}

# What a publisher says of its Opus that its receivers are told (RFC 7587, 6.1).
_CARRIED: Final = ("maxaveragebitrate", "stereo", "sprop-stereo", "useinbandfec", "usedtx")


def read_parameters(fmtp: str) -> dict[str, str]:
    """Split the value of `a=fmtp` at its semicolons; keys in lower case."""
    parameters = {}
    for part in fmtp.split(";"):
        key, _, value = part.partition("=")
        parameters[key.strip().lower()] = value.strip()
    return parameters


def check_parameters(codec: str, parameters: Mapping[str, str]) -> None:
    """Raises `BadSdp` where a codec that the relay knows is described by what means nothing."""
    for name, form in _FORMS.get(codec.lower(), {}).items():
        value = parameters.get(name)
        if value is not None and not form.fullmatch(value):
            shown = ascii(value if len(value) <= 32 else value[:32] + "…")
            raise BadSdp(f"The parameter {name} of {codec[:16]} is malformed: {shown}.")


def ask_for_stereo(fmtp: str) -> str:
    """Return the answer to a publisher of Opus: stereo is welcome where it has any."""
    parameters = read_parameters(fmtp)
    if parameters.get("sprop-stereo") == "1" and "stereo" not in parameters:
        return fmtp + ";stereo=1"
    return fmtp


def carry_parameters(own: str, published: str) -> str:
    """Describe Opus to a receiver: the relay's `own` parameters, and of the publisher's those
    that say how it sends."""
    parameters = read_parameters(own)
    theirs = read_parameters(published)
    for name in _CARRIED:
        if name in theirs:
            parameters[name] = theirs[name]
    if "1" in (theirs.get("stereo"), theirs.get("sprop-stereo")):
        # To receive in stereo is `stereo`, to send it `sprop-stereo`: who has either has both.
        parameters["stereo"] = parameters["sprop-stereo"] = "1"
    bitrate = parameters.get("maxaveragebitrate", "")
    if bitrate and int(bitrate) > MAX_AVERAGE_BITRATE:
        parameters["maxaveragebitrate"] = str(MAX_AVERAGE_BITRATE)
    return ";".join(f"{name}={value}" for name, value in parameters.items() if name)
