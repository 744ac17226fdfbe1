"""A publisher's track (`UpTrack`, of one or more `Layer`s), a subscriber's slot (`DownTrack`),
and the `Leg` of a transport that carries them."""

from __future__ import annotations

from collections.abc import Mapping

from relay.sdp.capabilities import Kind
from relay.sdp.negotiation import PublishedMedia
from relay.transport.ice import Address
from relay.transport.srtp import Srtp


class UpTrack:
    """One m-line of a publisher. Owns its key frame requests and its choice of layer."""

    def __init__(self, id: str, media: PublishedMedia) -> None:
        raise NotImplementedError

    id: str
    kind: Kind
    media: PublishedMedia
    muted: bool
    downs: list[DownTrack]

    def update(self, media: PublishedMedia) -> None:
        """What a renegotiation made of the m-line."""
        raise NotImplementedError

    def set_muted(self, muted: bool, now: float) -> None:
        """While muted, nothing is forwarded; afterwards video starts at a key frame."""
        raise NotImplementedError

    def take_level(self) -> int | None:
        """The loudest audio level in dBov (-127..0) since the last call; None: no packet."""
        raise NotImplementedError

    # Read by statistics: codec (str), bitrate (bit/s), loss (fraction), jitter_ms.


class DownTrack:
    """One m-line toward a subscriber: one SSRC for its whole life, sources change behind it.

    `sequence` and `timestamp` are the first ones to be sent (random numbers, given by the
    caller; the sequence number is put in the lower half).
    """

    def __init__(
        self,
        leg: Leg,
        kind: Kind,
        ssrc: int,
        rtx_ssrc: int | None,
        *,
        sequence: int,
        timestamp: int,
    ) -> None:
        raise NotImplementedError

    kind: Kind
    source: UpTrack | None
    paused: bool

    def attach(
        self,
        source: UpTrack | None,
        payload_types: Mapping[int, int],
        now: float,
        *,
        extensions: bool = True,
    ) -> None:
        """Carry `source` from now on (None: nothing).

        `payload_types` is `Slot.payload_types`: the number on the wire by the relay's, RTX
        included; called again with the same source it only takes these. `extensions` False
        sends no header extensions: for a player that numbers them otherwise. Video starts at the
        next key frame, which is asked for.
        """
        raise NotImplementedError

    def set_paused(self, paused: bool, now: float) -> None:
        raise NotImplementedError

    # Read by statistics: rtt_ms (None until known), loss (fraction), packets, octets, resent.


class Leg:
    """The media of one transport, both ways: which SSRC is what, feedback in and out.

    Made by `Forwarder.open_leg`; ends with `close`, which detaches all that is on it.
    """

    def connect(self, rx: Srtp, tx: Srtp) -> None:
        """The transport is connected: decrypt and encrypt with these."""
        raise NotImplementedError

    def set_address(self, address: Address) -> None:
        """Where to send from now on; call it whenever the transport latches another address."""
        raise NotImplementedError

    def add_up(self, track: UpTrack) -> None:
        raise NotImplementedError

    def remove_up(self, track: UpTrack, now: float) -> None:
        """Its DownTracks are detached."""
        raise NotImplementedError

    def add_down(self, track: DownTrack) -> None:
        raise NotImplementedError

    def remove_down(self, track: DownTrack, now: float) -> None:
        raise NotImplementedError

    def close(self, now: float) -> None:
        raise NotImplementedError
