"""Session descriptions as plain data: read from hostile text, written back in order.

Only what a relay needs is understood; other lines are passed over. Whatever is wrong
raises `BadSdp`, whose text is for people and quotes at most a short piece of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive"]

MAX_SDP = 512 * 1024  # bytes; an answer of a 50-participant room is about 150 KiB
MAX_LINE = 8 * 1024  # bytes; the longest line seen is an H265 fmtp with sprop, under 1 KiB
MAX_MEDIA = 256  # m-lines: two for each of 100 participants, and room
MAX_ATTRIBUTES = 512  # per section; Chromium writes about 200 for a video m-line


class BadSdp(ValueError):
    """The description cannot be used; the text says why and may be shown to its sender."""


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
    alternative list flattened to its first.
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
    bundle_only: bool = False


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


def parse_description_untrusted(text: str) -> Description:
    """Read a session description; raises `BadSdp` and nothing else."""
    raise BadSdp("not yet")


def build_description(description: Description) -> str:
    """Write a description, lines ended by CRLF (RFC 8866)."""
    raise NotImplementedError


def build_candidates(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """Return `a=candidate` values of host candidates (RFC 8839 5.1), most preferred first.

    IPv6 goes before IPv4 only where the list says so: its order is the preference.
    """
    raise NotImplementedError
