"""The m-line of data channels (RFC 8841): UDP/DTLS/SCTP webrtc-datachannel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .description import BadSdp, Media

PROTOCOLS: Final = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP"})
FORMAT: Final = "webrtc-datachannel"
PORT: Final = 5000
MAX_MESSAGE: Final = 256 * 1024
"""Bytes of a message that we take, its frame's header included."""
DEFAULT_MAX_MESSAGE: Final = 64 * 1024
"""RFC 8841, 6: what a peer takes that does not say."""


@dataclass(frozen=True, slots=True)
class DataLine:
    """Data channels as agreed with a peer: its SCTP port, and the most that it takes at once."""

    mid: str
    port: int
    max_message: int


def is_data(media: Media) -> bool:
    """True for an m-line of data channels that is not switched off."""
    live = media.port != 0 or media.bundle_only
    return (
        live
        and media.kind == "application"
        and media.protocol in PROTOCOLS
        and media.other_formats == FORMAT
    )


def read_data(media: Media) -> DataLine:
    """Return what a peer says of its side. Raise BadSdp."""
    port = PORT if media.sctp_port is None else media.sctp_port
    if not port:
        raise BadSdp("a=sctp-port is 0.")
    limit = DEFAULT_MAX_MESSAGE if media.max_message is None else media.max_message
    # "A value of zero indicates that the endpoint can handle messages of any size."
    return DataLine(media.mid, port, min(limit or MAX_MESSAGE, MAX_MESSAGE))


def build_data(mid: str, protocol: str = "UDP/DTLS/SCTP") -> Media:
    """Return our own m-line."""
    media = Media("application", mid, protocol=protocol, other_formats=FORMAT)
    media.sctp_port = PORT
    media.max_message = MAX_MESSAGE
    return media
