"""Answers to WHEP players, who bring an offer of their own: its m-lines are all they ever have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from .capabilities import (
    SUBSCRIBER_EXTENSIONS,
    Kind,
)
from .description import (
    Description,
    Extension,
    Media,
    NothingToCarry,
    TransportDescription,
    UnsupportedCodec,
)
from .matching import (
    Local,
    Matches,
    PublishedCodec,
    agreed_formats,
    build_answer,
    check_transport,
    describe_formats,
    is_live,
    map_payload_types,
    receives,
    reject,
    shared_extensions,
)
from .slots import (
    Carried,
    Slot,
    announce_ssrcs,
    describe_opus,
    get_ptime,
    get_slot_codecs,
    make_slot,
    name_stream,
)


@dataclass(frozen=True, slots=True)
class Playback:
    """The outcome of a player's offer.

    `slots` has one entry for each audio or video m-line that it can receive on. Those that
    got no track are free: they are answered `sendonly` too, with all codecs that both sides
    know, so that a track may be put on them later. But where there is a track in a codec that
    the player did not offer, an m-line for it is answered `inactive`, with the reason in `i=`.
    """

    answer: str
    slots: tuple[Slot, ...]
    remote: TransportDescription
    version: int


def answer_player(
    offer: Description,
    local: Local,
    tracks: Sequence[Carried],
    *,
    session_id: int,
    cname: str,
    ssrc: Callable[[], int],
    previous: Playback | None = None,
) -> Playback:
    """Answer a WHEP player's offer with `tracks`, each on the first free m-line of its kind that
    can decode it.

    With `previous`, an ICE restart: its slots stay as they are. Raises `BadSdp`.
    """
    matches = Matches()
    _check_player(offer, matches)
    if previous is None:
        slots, refused = _assign_player(offer, matches, tracks, ssrc)
    else:
        slots, refused = list(previous.slots), {}
    by_mid = {slot.mid: slot for slot in slots}
    answers: list[Media] = []
    for media in offer.media:
        codecs = matches.find(media)
        if not codecs:
            answers.append(reject(media))
            continue
        answer = _answer_player_media(media, codecs, by_mid.get(media.mid), cname)
        answer.note = refused.get(media.mid, "")
        answers.append(answer)
    accepted = [media.mid for media in answers if media.port]
    remote = check_transport(offer, accepted)
    if remote is None:
        raise NothingToCarry("The offer can receive nothing.")
    version = previous.version + 1 if previous is not None else 1
    answer_text = build_answer(offer, answers, local, remote, session_id, version)
    return Playback(answer_text, tuple(slots), remote, version)


def _check_player(offer: Description, matches: Matches) -> None:
    """Raises `BadSdp` where only half of what was offered could be had."""
    receiving = [media for media in offer.media if is_live(media) and receives(media)]
    if not receiving:
        raise NothingToCarry("The offer can receive nothing: no m-line is recvonly or sendrecv.")
    for media in receiving:
        if not matches.find(media):
            raise UnsupportedCodec(f"The relay cannot send {describe_formats(media)}.")


def _assign_player(
    offer: Description, matches: Matches, tracks: Sequence[Carried], ssrc: Callable[[], int]
) -> tuple[list[Slot], dict[str, str]]:
    """The player's slots; and why it has none, by mid, for as many m-lines as there are tracks
    that no m-line can take. Raises `UnsupportedCodec` where it could take no track at all."""
    slots: list[Slot] = []
    waiting = list(tracks)
    for media in offer.media:
        codecs = matches.find(media)
        if codecs and receives(media):
            slot = make_slot(media.mid, cast(Kind, media.kind), slots, ssrc)
            slots.append(slot)
            slot.payload_types = map_payload_types(codecs)
            slot.extensions = shared_extensions(media)
            _fill_slot(slot, waiting)
    kinds = {slot.kind for slot in slots}
    lost = [
        track
        for track in waiting
        if track.kind in kinds and not any(_fits(slot, track) for slot in slots)
    ]
    if lost and not any(slot.track for slot in slots):
        raise UnsupportedCodec(f"The offer lacks what is sent here: {_describe_tracks(lost)}.")
    refused: dict[str, str] = {}
    for track in lost:
        free = next((s for s in slots if s.kind == track.kind and s.track is None), None)
        if free is not None:
            slots.remove(free)
            refused[free.mid] = f"The offer lacks what is sent here: {_describe_tracks([track])}."
    return slots, refused


def _describe_tracks(tracks: Sequence[Carried]) -> str:
    """In words, such as "video in H264 (baseline/1)"."""
    parts = []
    for track in tracks[:4]:
        codec = track.codecs[0]
        profile = f" ({codec.profile})" if codec.profile else ""
        parts.append(f"{track.kind} in {codec.name}{profile}")
    return ", ".join(dict.fromkeys(parts))


def _fits(slot: Slot, track: Carried) -> bool:
    return slot.kind == track.kind and any(slot.takes(codec) for codec in track.codecs[:1])


def _fill_slot(slot: Slot, waiting: list[Carried]) -> None:
    for track in waiting:
        if _fits(slot, track):
            slot.carry(track)
            waiting.remove(track)
            return


def _answer_player_media(
    media: Media, codecs: Sequence[PublishedCodec], slot: Slot | None, cname: str
) -> Media:
    answer = Media(media.kind, media.mid, protocol=media.protocol)
    answer.direction = "inactive"
    if slot is not None:
        answer.direction = "sendonly"
        answer.msid = name_stream(slot)
        answer.ptime = get_ptime(slot)
        announce_ssrcs(answer, slot, cname)
        # An answer's first codec is the one preferred (RFC 3264, 6.1): the track's own.
        numbers = slot.get_numbers()
        order = [numbers.get(c.payload_type) for c in get_slot_codecs(slot.kind, slot.codecs)]
        codecs = sorted(
            codecs,
            key=lambda c: order.index(c.payload_type) if c.payload_type in order else len(order),
        )
        answer.extensions = [
            Extension(e.id, e.uri)
            for e in SUBSCRIBER_EXTENSIONS[slot.kind]
            if e.id in slot.extensions
        ]
    answer.formats = agreed_formats(media, codecs)
    if slot is not None and slot.opus:
        answer.formats = [describe_opus(entry, slot.opus) for entry in answer.formats]
    if answer.fid and not any(codec.rtx is not None for codec in codecs):
        answer.ssrcs.pop(answer.fid.popitem()[1])
    return answer
