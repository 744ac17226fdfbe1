"""An m-line toward somebody who receives, for the life of its peer connection: a `Slot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .capabilities import (
    CODECS,
    H264_BASELINE,
    OPUS,
    RED,
    VP8,
    Codec,
    Kind,
    covers,
)
from .description import (
    Format,
    Media,
)
from .parameters import MAX_PTIME, carry_parameters

MAX_SLOT_CODECS: Final = 5
"""An offer to a room of 50 has 98 m-lines; each codec costs 300 bytes in it and in the answer."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A track as those who receive it are told of it.

    `codecs` are what it may be sent in, first what it is sent in. `opus` is its publisher's
    `a=fmtp` of Opus, `ptime` the milliseconds of sound in a packet.
    """

    kind: Kind
    participant: str
    track: str
    codecs: Sequence[Codec]
    opus: str = ""
    ptime: int | None = None


@dataclass(slots=True)
class Slot:
    """One m-line toward a subscriber, for the life of its peer connection.

    `ssrc` and `rtx_ssrc` never change. `participant` and `track` are None while it is free.
    `codecs` is what it is offered with, `opus` and `ptime` are as in `Carried`. After an answer,
    `payload_types` maps the relay's payload types (RTX included) that the client accepted to
    the number it wants on the wire
    (the same, in our own offers); empty: the client receives nothing on it. `extensions` are
    the relay's header extension ids that the client accepted under that same number.
    `dead`: the client rejected the m-line for good.
    """

    mid: str
    kind: Kind
    ssrc: int
    rtx_ssrc: int | None
    participant: str | None = None
    track: str | None = None
    codecs: tuple[Codec, ...] = ()
    opus: str = ""
    ptime: int | None = None
    payload_types: dict[int, int] = field(default_factory=dict)
    extensions: frozenset[int] = frozenset()
    dead: bool = False

    def carry(self, track: Carried) -> None:
        """Have the m-line be for this track."""
        self.participant, self.track = track.participant, track.track
        self.codecs, self.opus, self.ptime = tuple(track.codecs), track.opus, track.ptime

    def takes(self, codec: Codec) -> bool:
        """True where the client takes what is sent in this codec: as it is, or out of RED."""
        return codec.payload_type in self.get_numbers() or (
            codec is RED and OPUS.payload_type in self.payload_types
        )

    def get_numbers(self) -> dict[int, int]:
        """`payload_types`, and those of what a decoder of an accepted codec decodes besides."""
        numbers = dict(self.payload_types)
        for codec in _OF_MANY_PROFILES if self.kind == "video" else ():
            if codec.payload_type in numbers:
                continue
            cover = next((c for c in _list_accepted(self) if covers(c, codec)), None)
            if cover is not None:
                numbers[codec.payload_type] = self.payload_types[cover.payload_type]
                if codec.rtx is not None and cover.rtx in self.payload_types:
                    numbers[codec.rtx] = self.payload_types[cover.rtx]
        return numbers


_OF_MANY_PROFILES: Final = tuple(codec for codec in CODECS if codec.name == "H264")


def _list_accepted(slot: Slot) -> list[Codec]:
    return [codec for codec in _OF_MANY_PROFILES if codec.payload_type in slot.payload_types]


def get_slot_codecs(kind: Kind, published: Sequence[Codec]) -> tuple[Codec, ...]:
    """Return what an m-line for a track is offered with: first what the track is sent in, the
    first of `published`, since some clients take one codec only; then what everyone decodes,
    and the others, cut to a few so that offers of large rooms stay small."""
    first = published[:1]
    if kind == "audio":
        # Whoever does not take RED is sent what is in it.
        first = tuple(OPUS if codec is RED else codec for codec in first)
    basics = (OPUS,) if kind == "audio" else (VP8, H264_BASELINE)
    return tuple(dict.fromkeys((*first, *basics, *published)))[:MAX_SLOT_CODECS]


def make_slot(mid: str, kind: Kind, slots: Sequence[Slot], random: Callable[[], int]) -> Slot:
    taken = {s.ssrc for s in slots} | {s.rtx_ssrc for s in slots} | {0}

    def draw() -> int:
        while (ssrc := random()) in taken:
            pass
        taken.add(ssrc)
        return ssrc

    return Slot(mid, kind, draw(), draw() if kind == "video" else None)


def describe_opus(entry: Format, published: str) -> Format:
    if entry.name.lower() != OPUS.name:
        return entry
    return replace(entry, parameters=carry_parameters(entry.parameters, published))


def get_ptime(slot: Slot) -> int | None:
    return slot.ptime if slot.ptime is not None and 0 < slot.ptime <= MAX_PTIME else None


def name_stream(slot: Slot) -> tuple[str, str]:
    """Stream by participant, track by track."""
    return slot.participant or "-", slot.track or f"slot-{slot.mid}"


def announce_ssrcs(media: Media, slot: Slot, cname: str) -> None:
    """Because aiortc routes by nothing else."""
    media.ssrcs[slot.ssrc] = cname
    if slot.rtx_ssrc is not None:
        media.ssrcs[slot.rtx_ssrc] = cname
        media.fid[slot.ssrc] = slot.rtx_ssrc
