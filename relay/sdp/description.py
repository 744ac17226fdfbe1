"""Session descriptions as plain data. `reading` makes them of hostile text, `writing` the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..control import RefusalCode

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive"]


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
    """One side's ICE and DTLS (RFC 8839, RFC 8842).

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
