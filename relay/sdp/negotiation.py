"""Offer and answer: what a publisher's offer gets, what a subscriber is offered.

Three talks: a publisher's offer is answered by `answer_publisher`; a subscriber is offered
what a `Subscription` holds, on m-lines that are reused and never rejected; a WHEP player's
offer is answered by `answer_player`. No socket, clock or random source in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .capabilities import Codec, Kind
from .description import TransportDescription


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's side of one transport as SDP needs it. `addresses` are its candidates."""

    transport: TransportDescription
    addresses: tuple[tuple[str, int], ...]


# -- Publishing -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedCodec:
    """A codec that the publisher may send: its payload types, and the relay's entry for it.

    `rtx` is the publisher's payload type for retransmissions, None without RTX.
    """

    payload_type: int
    rtx: int | None
    codec: Codec


@dataclass(frozen=True, slots=True)
class PublishedMedia:
    """One m-line of a publisher, as agreed.

    `active` says whether it may send now (its m-line is sendonly or sendrecv and not
    rejected). `codecs` are in the publisher's order. `extensions` maps the publisher's
    header extension ids to the relay's. `ssrcs` are those announced for media, without RTX;
    `rtx_ssrcs` maps media SSRC to RTX SSRC. Both are empty for senders that use mid and rid
    extensions instead. `rids` are the simulcast layers accepted, in the publisher's order.
    `simulcast_ssrcs` lists the layers of a sender that announces them by SIM group.
    """

    mid: str
    kind: Kind
    active: bool
    codecs: tuple[PublishedCodec, ...] = ()
    extensions: Mapping[int, int] = field(default_factory=dict)
    ssrcs: tuple[int, ...] = ()
    rtx_ssrcs: Mapping[int, int] = field(default_factory=dict)
    rids: tuple[str, ...] = ()
    simulcast_ssrcs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publisher's offer came to. `answer` is the SDP to send back.

    `media` has an entry for every audio or video m-line, rejected ones inactive, in order.
    `remote` is the publisher's transport, `None` when no m-line was accepted at all;
    `ice_restarted` is True when its ICE credentials differ from the previous offer's.
    """

    answer: str
    media: tuple[PublishedMedia, ...]
    remote: TransportDescription
    ice_restarted: bool
    mids: tuple[str, ...]
    version: int


def answer_publisher(offer: str, local: Local, previous: Publication | None = None) -> Publication:
    """Answer a publisher's offer, the first or a renegotiation of `previous`.

    `local.transport.setup` is ignored: the answer takes the role that the offer leaves.
    For an ICE restart pass a `local` with fresh credentials; whether the offer asks for one
    is told beforehand by `is_ice_restart`. Raises `BadSdp`.
    """
    raise NotImplementedError


def is_ice_restart(offer: str, previous: TransportDescription) -> bool:
    """Whether the offer's ICE credentials differ from `previous` (RFC 8839 4.4.1.1.1).

    Raises `BadSdp`.
    """
    raise NotImplementedError


# -- Subscribing ----------------------------------------------------------------------------


@dataclass(slots=True)
class Slot:
    """One m-line toward a subscriber, for the life of its peer connection.

    `ssrc` and `rtx_ssrc` never change. `participant` and `track` are None while it is free.
    `codecs` is what it is offered with. After an answer, `payload_types` maps the relay's
    payload types (RTX included) that the client accepted to the number it wants on the wire
    (the same, in our own offers); empty: the client refused the m-line.
    """

    mid: str
    kind: Kind
    ssrc: int
    rtx_ssrc: int | None
    participant: str | None = None
    track: str | None = None
    codecs: tuple[Codec, ...] = ()
    payload_types: dict[int, int] = field(default_factory=dict)
    extensions: frozenset[int] = frozenset()


class Subscription:
    """A subscriber's m-lines: assign tracks to slots, offer, take the answer.

    `ssrc` returns a random 32-bit number; the subscription keeps them apart from each other.
    `stream` names the session in `o=`.
    """

    def __init__(self, *, session_id: int, cname: str, ssrc: Callable[[], int]) -> None:
        self.slots: list[Slot] = []
        self.remote: TransportDescription | None = None

    def assign(self, kind: Kind, participant: str, track: str, codecs: Sequence[Codec]) -> Slot:
        """Put a track on a free slot of its kind, or on a new one.

        `codecs` are the relay's entries the publisher negotiated; see `get_slot_codecs`.
        """
        raise NotImplementedError

    def release(self, track: str) -> Slot | None:
        """Free the slot of a track; its m-line becomes `inactive` in the next offer."""
        raise NotImplementedError

    def get_slot(self, track: str) -> Slot | None:
        """Return the slot that carries the track."""
        raise NotImplementedError

    def build_offer(self, local: Local) -> str:
        """Write the next offer; the version in `o=` grows by one with each."""
        raise NotImplementedError

    def receive_answer(self, answer: str) -> None:
        """Take the client's answer to the last offer: fills `remote` and each slot's
        `payload_types` and `extensions`. Raises `BadSdp` and then changes nothing."""
        raise NotImplementedError


def get_slot_codecs(kind: Kind, published: Sequence[Codec]) -> tuple[Codec, ...]:
    """Return what an m-line for a track is offered with: first what everyone decodes, then
    what the publisher negotiated, cut to a few so that offers of large rooms stay small."""
    raise NotImplementedError


# -- Playing (WHEP) -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Playback:
    """What a player's offer came to. `slots` has one entry per audio or video m-line that it
    can receive on; the caller fills them with tracks by `Slot.participant` and `Slot.track`."""

    answer: str
    slots: tuple[Slot, ...]
    remote: TransportDescription
    version: int


def answer_player(
    offer: str,
    local: Local,
    tracks: Sequence[tuple[Kind, str, str, Sequence[Codec]]],
    *,
    session_id: int,
    cname: str,
    ssrc: Callable[[], int],
) -> Playback:
    """Answer a WHEP player's offer with `tracks` (kind, participant, track, codecs), each on
    the first m-line of its kind that can decode it; lines left over are `inactive`.

    Raises `BadSdp`.
    """
    raise NotImplementedError
