"""Tables of what the relay can carry: codecs, and RTP header extensions.

The payload types and extension ids here are the relay's own, the same toward every
subscriber, so that a packet is normalised once on the way in and then fits all.
They are Chromium's default numbers where it has one, so that most packets need no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["audio", "video"]


# -- Header extensions (RFC 8285) -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """One RTP header extension.

    `id` is the relay's, 1 to 14 so that it fits the one-byte form. `kinds` says where it
    belongs. `forwarded` is False for what describes the publisher's own session (mid, rid,
    the transport-wide number of its link): that must not reach a subscriber as it came.
    """

    id: int
    uri: str
    kinds: tuple[Kind, ...]
    forwarded: bool


AUDIO_LEVEL: Final = HeaderExtension(
    1, "urn:ietf:params:rtp-hdrext:ssrc-audio-level", ("audio",), True
)
ABS_SEND_TIME: Final = HeaderExtension(
    2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", ("audio", "video"), False
)
TRANSPORT_CC: Final = HeaderExtension(
    3,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ("audio", "video"),
    False,
)
MID: Final = HeaderExtension(4, "urn:ietf:params:rtp-hdrext:sdes:mid", ("audio", "video"), False)
PLAYOUT_DELAY: Final = HeaderExtension(
    5, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", ("video",), True
)
VIDEO_CONTENT_TYPE: Final = HeaderExtension(
    6, "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type", ("video",), True
)
VIDEO_TIMING: Final = HeaderExtension(
    7, "http://www.webrtc.org/experiments/rtp-hdrext/video-timing", ("video",), False
)
COLOR_SPACE: Final = HeaderExtension(
    8, "http://www.webrtc.org/experiments/rtp-hdrext/color-space", ("video",), True
)
ABS_CAPTURE_TIME: Final = HeaderExtension(
    9,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    ("audio", "video"),
    True,
)
RID: Final = HeaderExtension(
    10, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", ("audio", "video"), False
)
REPAIRED_RID: Final = HeaderExtension(
    11, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", ("audio", "video"), False
)
DEPENDENCY_DESCRIPTOR: Final = HeaderExtension(
    12,
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    ("video",),
    True,
)
# Neither taken nor offered: who may not send it turns the picture itself, and Firefox, aiortc
# and recorders would show that of a telephone on its side.
VIDEO_ORIENTATION: Final = HeaderExtension(13, "urn:3gpp:video-orientation", ("video",), False)
TIME_OFFSET: Final = HeaderExtension(14, "urn:ietf:params:rtp-hdrext:toffset", ("video",), False)

HEADER_EXTENSIONS: Final[tuple[HeaderExtension, ...]] = (
    AUDIO_LEVEL,
    ABS_SEND_TIME,
    TRANSPORT_CC,
    MID,
    PLAYOUT_DELAY,
    VIDEO_CONTENT_TYPE,
    VIDEO_TIMING,
    COLOR_SPACE,
    ABS_CAPTURE_TIME,
    RID,
    REPAIRED_RID,
    DEPENDENCY_DESCRIPTOR,
    VIDEO_ORIENTATION,
    TIME_OFFSET,
)
EXTENSION_BY_URI: Final[Mapping[str, HeaderExtension]] = {e.uri: e for e in HEADER_EXTENSIONS}
EXTENSION_BY_ID: Final[Mapping[int, HeaderExtension]] = {e.id: e for e in HEADER_EXTENSIONS}

# What a subscriber is offered: what is forwarded, and the two that the relay fills in itself.
SUBSCRIBER_EXTENSIONS: Final[Mapping[Kind, tuple[HeaderExtension, ...]]] = {
    "audio": (AUDIO_LEVEL, ABS_SEND_TIME, TRANSPORT_CC),
    "video": (
        ABS_SEND_TIME,
        TRANSPORT_CC,
        PLAYOUT_DELAY,
        VIDEO_CONTENT_TYPE,
        COLOR_SPACE,
        DEPENDENCY_DESCRIPTOR,
    ),
}


# -- Codecs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec in one configuration, under the relay's own payload type.

    `profile` tells configurations of one codec apart (see `get_profile`); `fmtp` is what the
    relay writes when it offers it; `feedback` are its `a=rtcp-fb` values; `rtx` is the
    payload type of its retransmissions (RFC 4588), None where there are none.
    """

    kind: Kind
    name: str
    clock_rate: int
    channels: int
    payload_type: int
    profile: str = ""
    fmtp: str = ""
    feedback: tuple[str, ...] = ()
    rtx: int | None = None


AUDIO_FEEDBACK: Final = ("transport-cc", "nack")
VIDEO_FEEDBACK: Final = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


def _audio(name: str, clock_rate: int, channels: int, payload_type: int, fmtp: str = "") -> Codec:
    return Codec("audio", name, clock_rate, channels, payload_type, "", fmtp, AUDIO_FEEDBACK)


def _video(name: str, payload_type: int, rtx: int, profile: str = "", fmtp: str = "") -> Codec:
    return Codec("video", name, 90000, 1, payload_type, profile, fmtp, VIDEO_FEEDBACK, rtx)


def _h264(payload_type: int, rtx: int, profile: str, level_id: str, mode: int) -> Codec:
    fmtp = f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={level_id}"
    return _video("H264", payload_type, rtx, f"{profile}/{mode}", fmtp)


OPUS: Final = _audio("opus", 48000, 2, 111, "minptime=10;useinbandfec=1")
RED: Final = _audio("red", 48000, 2, 63, "111/111")
VP8: Final = _video("VP8", 96, 97)
H264_BASELINE: Final = _h264(108, 109, "constrained-baseline", "42e01f", 1)

# Order is preference: what every browser and every aiortc peer decodes comes first.
# Payload types 64 to 95 are left out: they look like RTCP on a shared port (RFC 5761 4).
CODECS: Final[tuple[Codec, ...]] = (
    OPUS,
    RED,
    _audio("G722", 8000, 1, 9),
    _audio("PCMU", 8000, 1, 0),
    _audio("PCMA", 8000, 1, 8),
    VP8,
    H264_BASELINE,
    _video("VP9", 98, 99, "0", "profile-id=0"),
    _video("AV1", 45, 46, "0", "level-idx=5;profile=0;tier=0"),
    _h264(125, 107, "constrained-baseline", "42e01f", 0),
    _h264(102, 103, "baseline", "42001f", 1),
    _h264(104, 105, "baseline", "42001f", 0),
    _h264(127, 106, "main", "4d001f", 1),
    _h264(39, 40, "main", "4d001f", 0),
    _h264(112, 113, "high", "64001f", 1),
    _h264(114, 115, "high", "64001f", 0),
    _h264(116, 117, "constrained-high", "640c1f", 1),
    _h264(118, 119, "constrained-high", "640c1f", 0),
    _h264(41, 42, "high-444", "f4001f", 1),
    _h264(43, 44, "high-444", "f4001f", 0),
    _video("VP9", 100, 101, "2", "profile-id=2"),
    _video("VP9", 35, 36, "1", "profile-id=1"),
    _video("VP9", 37, 38, "3", "profile-id=3"),
    _video("AV1", 47, 48, "1", "level-idx=5;profile=1;tier=0"),
    _video("H265", 49, 50, "1", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
    _video("H265", 51, 52, "2", "level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST"),
)
CODEC_BY_PAYLOAD_TYPE: Final[Mapping[int, Codec]] = {c.payload_type: c for c in CODECS}
_CODEC_BY_CONFIGURATION: Final[Mapping[tuple[str, str, int, int, str], Codec]] = {
    (c.kind, c.name.lower(), c.clock_rate, c.channels, c.profile): c for c in CODECS
}


# What a decoder of an H264 profile decodes besides (H.264, annex A.2).
_WITHIN: Final[Mapping[str, frozenset[str]]] = {
    "baseline": frozenset({"constrained-baseline"}),
    "main": frozenset({"constrained-baseline"}),
    "constrained-high": frozenset({"constrained-baseline"}),
    "high": frozenset({"constrained-baseline", "constrained-high", "main"}),
    "high-444": frozenset({"constrained-baseline", "constrained-high", "main", "high"}),
}


def covers(accepted: Codec, sent: Codec) -> bool:
    """True where who takes the one codec can have what is sent in the other, as it is.

    RFC 6184, 6.2 and 6.3: whoever takes packetization mode 1 takes mode 0's packets, too.
    """
    if accepted is sent:
        return True
    if not accepted.name == sent.name == "H264":
        return False
    (profile, mode), (narrower, simpler) = accepted.profile.split("/"), sent.profile.split("/")
    within = narrower == profile or narrower in _WITHIN.get(profile, ())
    return within and simpler <= mode


def find_codec(
    kind: str, name: str, clock_rate: int, channels: int, parameters: Mapping[str, str]
) -> Codec | None:
    """Return the relay's entry for what an `a=rtpmap` and its `a=fmtp` describe, if any.

    Levels are not compared: the relay decodes nothing, and every decoder in question takes
    more than it announces.
    """
    profile = get_profile(name, parameters)
    name = name.lower()
    if name == "opus":
        # RFC 7587, 7: always 2. GStreamer leaves it out where its caps do.
        channels = OPUS.channels
    return _CODEC_BY_CONFIGURATION.get((kind, name, clock_rate, channels, profile))


def get_profile(name: str, parameters: Mapping[str, str]) -> str:
    """Return what tells two configurations of the codec `name` apart; "" where nothing does.

    `parameters` are those of `a=fmtp`, keys in lower case.
    """
    match name.lower():
        case "h264":
            profile = _h264_profile(parameters.get("profile-level-id", "42e01f"))
            # RFC 6184 8.1: "If packetization-mode is not present, its value is 0."
            return f"{profile}/{parameters.get('packetization-mode', '0')}"
        case "vp9":
            return parameters.get("profile-id", "0")
        case "av1":
            return parameters.get("profile", "0")
        case "h265":
            return parameters.get("profile-id", "1")
        case _:
            return ""


def _h264_profile(level_id: str) -> str:
    """Name the profile in a `profile-level-id` (RFC 6184 8.1, table 5); "" if unknown."""
    try:
        value = int(level_id, 16)
    except ValueError:
        return ""
    if len(level_id) != 6:
        return ""
    idc, iop = value >> 16, value >> 8 & 0xFF
    if idc == 0x42:
        return "constrained-baseline" if iop & 0x40 else "baseline"
    if idc == 0x4D:
        return "constrained-baseline" if iop & 0x80 else "main"
    if idc == 0x58:
        return "constrained-baseline" if iop & 0xC0 == 0xC0 else ""
    if idc == 0x64:
        return "constrained-high" if iop & 0x0C == 0x0C else "high"
    return "high-444" if idc == 0xF4 else ""
