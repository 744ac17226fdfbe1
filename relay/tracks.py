"""A publisher's track (`UpTrack`, of one or more `Layer`s), a subscriber's slot (`DownTrack`),
and the `Leg` of a transport that carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from relay.stats import Stats

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload type of a publisher's m-line. `codec` is the lower-case encoding name."""

    codec: str
    clock_rate: int
    rtx: int | None = None
    """The payload type of this one's retransmissions (RFC 4588)."""
    nack: bool = False
    pli: bool = False


@dataclass(frozen=True, slots=True)
class Encoding:
    """One stream of a publisher's m-line. Without an `ssrc` it is found by mid and rid."""

    rid: str | None = None
    ssrc: int | None = None
    rtx_ssrc: int | None = None


@dataclass(frozen=True, slots=True)
class UpParams:
    """What negotiation agreed for one m-line of a publisher."""

    kind: Kind
    mid: str
    payloads: Mapping[int, Payload]
    """By payload type, those of RTX left out."""
    extensions: Mapping[int, str]
    """Header extension URI by the id that the publisher uses."""
    encodings: tuple[Encoding, ...] = (Encoding(),)
    """Best first."""
    twcc: bool = False
    remb: bool = False


@dataclass(frozen=True, slots=True)
class DownParams:
    """What negotiation agreed for one m-line (slot) toward a subscriber."""

    kind: Kind
    mid: str
    ssrc: int
    rtx_ssrc: int | None = None
    extensions: Mapping[str, int] | None = None
    """Id by URI, of those that the subscriber accepted."""


class UpTrack:
    """One m-line of a publisher.

    `request_key_frame(track, now)` is called whenever a DownTrack wants a key frame, however
    often; it throttles and then calls `send_pli`.
    """

    def __init__(
        self,
        id: str,
        params: UpParams,
        *,
        request_key_frame: Callable[[UpTrack, float], None],
    ) -> None:
        raise NotImplementedError

    id: str
    params: UpParams
    muted: bool
    downs: set[DownTrack]

    def set_muted(self, muted: bool, now: float) -> None:
        """While muted, nothing is forwarded; afterwards video starts at a key frame."""
        raise NotImplementedError

    def send_pli(self, now: float) -> None:
        """Ask the publisher for a key frame at once."""
        raise NotImplementedError

    def take_level(self) -> int | None:
        """The loudest audio level in dBov (-127..0) since the last call; None: no packet."""
        raise NotImplementedError

    # Read by statistics: bitrate (bit/s), loss (fraction), jitter_ms, codec.


class DownTrack:
    """One m-line toward a subscriber: one SSRC for its whole life, sources change behind it.

    `sequence` and `timestamp` are the first ones to be sent (random, given by the caller;
    the sequence number is put in the lower half).
    """

    def __init__(self, leg: Leg, params: DownParams, *, sequence: int, timestamp: int) -> None:
        raise NotImplementedError

    params: DownParams
    source: UpTrack | None
    paused: bool

    def attach(self, source: UpTrack | None, payloads: Mapping[int, int], now: float) -> None:
        """Carry `source` from now on (None: nothing). `payloads`: the subscriber's payload type
        by the publisher's, RTX included. Video starts at the next key frame, which this asks for.
        """
        raise NotImplementedError

    def set_paused(self, paused: bool, now: float) -> None:
        raise NotImplementedError

    # Read by statistics: rtt_ms (None until known), loss (fraction), packets, bytes, resent.


class Leg:
    """The media of one transport, both ways: which SSRC is what, feedback in and out.

    Made by `Forwarder.open_leg`; ends with `close`.
    """

    def connect(self, rx: object, tx: object) -> None:
        """The transport is connected: `rx`, `tx` are `transport.srtp.Srtp`."""
        raise NotImplementedError

    def set_address(self, address: bytes) -> None:
        """Where to send from now on; call it whenever the transport latches another address."""
        raise NotImplementedError

    def add_up(self, track: UpTrack) -> None:
        raise NotImplementedError

    def remove_up(self, track: UpTrack) -> None:
        """Its DownTracks are detached."""
        raise NotImplementedError

    def add_down(self, track: DownTrack) -> None:
        raise NotImplementedError

    def remove_down(self, track: DownTrack) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    stats: Stats
