"""What a subscriber is offered, and what a WHEP player's own offer gets.

A subscriber's m-lines are reused and never rejected; a player brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from .capabilities import (
    CODECS,
    H264_BASELINE,
    OPUS,
    RED,
    SUBSCRIBER_EXTENSIONS,
    VP8,
    Codec,
    Kind,
)
from .data import DataLine, build_data, is_data, read_data
from .description import (
    BadSdp,
    Description,
    Extension,
    Format,
    Media,
    NothingToCarry,
    TransportDescription,
    UnsupportedCodec,
)
from .matching import (
    Local,
    Matches,
    PublishedCodec,
    add_transport,
    agreed_formats,
    build_answer,
    check_transport,
    describe_formats,
    is_live,
    map_payload_types,
    match_answer,
    receives,
    reject,
    rtx_format,
    shared_extensions,
)
from .parameters import MAX_PTIME, carry_parameters
from .reading import parse_description_untrusted
from .writing import build_description

DATA_MID: Final = "data"
# An offer to a room of 50 has 98 m-lines, each codec costs 300 bytes in it and in the answer.
MAX_SLOT_CODECS: Final = 5


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
        """Whether the client takes what is sent in this codec: as it is, or out of RED."""
        accepted = self.payload_types
        return codec.payload_type in accepted or (codec is RED and OPUS.payload_type in accepted)


class Subscription:
    """A subscriber's m-lines: assign tracks to slots, offer, take the answer.

    `session_id` names the session in `o=`, `cname` the relay's side; `ssrc` returns a random
    32-bit number, and the subscription keeps the SSRCs apart from each other. `data` asks for
    data channels, too.
    """

    def __init__(
        self, *, session_id: int, cname: str, ssrc: Callable[[], int], data: bool = False
    ) -> None:
        self.slots: list[Slot] = []
        self.data: DataLine | None = None
        """The client's side of data channels, once it has answered that it takes them."""
        self.wants_data = data
        self.remote: TransportDescription | None = None
        self._session_id = session_id
        self._version = 0
        self._cname = cname
        self._ssrc = ssrc
        self._offered: dict[str, tuple[Codec, ...]] = {}

    def begin_session(self, session_id: int) -> None:
        """Have the next offer be the first one for another peer connection, with the same
        m-lines, on which the client receives nothing before it has answered."""
        self._session_id = session_id
        self._version = 0
        for slot in self.slots:
            slot.payload_types.clear()

    def assign(self, track: Carried) -> Slot:
        """Put a track on a free slot of its kind, or on a new one."""
        kind = track.kind
        slot = next(
            (s for s in self.slots if s.kind == kind and s.track is None and not s.dead), None
        )
        if slot is None:
            slot = _make_slot(str(len(self.slots)), kind, self.slots, self._ssrc)
            self.slots.append(slot)
        slot.carry(track)
        slot.codecs = get_slot_codecs(kind, track.codecs)
        return slot

    def follow(self, track: Carried) -> bool:
        """Have a track's m-line say what the track is now, from the next offer on; whether that
        offer is due: the client has not agreed to the codec that the track is sent in, and was
        not asked, or the sound is described otherwise. An m-line that is full loses the codec
        that it has held longest."""
        slot = self.get_slot(track.track)
        if slot is None:
            return False
        described = (slot.opus, slot.ptime) != (track.opus, track.ptime)
        slot.opus, slot.ptime = track.opus, track.ptime
        codecs = get_slot_codecs(slot.kind, (*track.codecs[:1], *slot.codecs))
        asked, slot.codecs = codecs == slot.codecs, codecs
        return described or not (asked or not track.codecs or slot.takes(track.codecs[0]))

    def is_due(self, track: str) -> bool:
        """Whether the client took another codec than the first of the track's m-line, which was
        not the first in the offer that it answered."""
        slot = self.get_slot(track)
        if slot is None or slot.dead or not slot.payload_types:
            return False
        offered = self._offered.get(slot.mid, slot.codecs)
        return not slot.takes(slot.codecs[0]) and offered[:1] != slot.codecs[:1]

    def release(self, track: str) -> Slot | None:
        """Free the slot of a track; its m-line becomes `inactive` in the next offer."""
        slot = self.get_slot(track)
        if slot is not None:
            slot.participant = slot.track = None
        return slot

    def get_slot(self, track: str) -> Slot | None:
        """Return the slot that carries the track."""
        return next((slot for slot in self.slots if slot.track == track), None)

    def build_offer(self, local: Local) -> str:
        """Write the next offer; the version in `o=` grows by one with each."""
        self._version += 1
        self._offered = {DATA_MID: ()} if self.wants_data else {}
        self._offered.update({slot.mid: slot.codecs for slot in self.slots})
        media = [_offer_slot(slot, self._cname) for slot in self.slots]
        if self.wants_data:
            # In front, where it stays however many slots come after it.
            media.insert(0, build_data(DATA_MID))
        add_transport(media, local, replace(local.transport, setup="actpass"))
        return build_description(
            Description(
                media=media,
                bundle=[m.mid for m in media],
                session_id=self._session_id,
                session_version=self._version,
                lite=True,
                extmap_allow_mixed=True,
            )
        )

    def receive_answer(self, answer: str) -> None:
        """Take the client's answer to the last offer: fills `remote`, and each slot's
        `payload_types` and `extensions`. Raises `BadSdp` and then has changed nothing."""
        description = parse_description_untrusted(answer, len(self._offered))
        if [media.mid for media in description.media] != list(self._offered):
            raise BadSdp("The answer's m-lines are not those of the offer.")
        accepted = [media.mid for media in description.media if media.port]
        remote = check_transport(description, accepted)
        if remote is None:
            raise BadSdp("The answer rejects every m-line.")
        if remote.setup == "actpass":
            raise BadSdp("The answer leaves the DTLS role open: a=setup must be active or passive.")
        lines = description.media
        if self.wants_data:
            self.data = read_data(lines[0]) if is_data(lines[0]) else None
            lines = lines[1:]
        self.remote = remote
        agreed: dict[tuple[int, tuple[Codec, ...]], tuple[dict[int, int], frozenset[int]]] = {}
        for slot, media in zip(self.slots, lines, strict=False):
            slot.dead = slot.dead or not media.port
            offered = self._offered[slot.mid]
            key = media.alike, offered
            if key not in agreed:
                agreed[key] = _agree(media, offered)
            payload_types, slot.extensions = agreed[key]
            slot.payload_types = dict(payload_types)


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


def _agree(media: Media, offered: Sequence[Codec]) -> tuple[dict[int, int], frozenset[int]]:
    """`payload_types` and `extensions` of the slot whose answer this is."""
    if not media.port or not receives(media):
        return {}, frozenset()
    codecs = match_answer(media, {codec.payload_type: codec for codec in offered})
    return map_payload_types(codecs), shared_extensions(media)


def _list_formats(codec: Codec) -> Iterator[Format]:
    yield Format(
        codec.payload_type,
        codec.name,
        codec.clock_rate,
        codec.channels,
        codec.fmtp,
        list(codec.feedback),
    )
    if codec.rtx is not None:
        yield rtx_format(codec.rtx, codec.payload_type, codec.clock_rate)


# Made once: an offer to a room of 50 has a thousand of them.
_FORMATS: Final = {codec.payload_type: tuple(_list_formats(codec)) for codec in CODECS}
_EXTENSIONS: Final = {
    kind: tuple(Extension(e.id, e.uri) for e in extensions)
    for kind, extensions in SUBSCRIBER_EXTENSIONS.items()
}


def _make_slot(mid: str, kind: Kind, slots: Sequence[Slot], random: Callable[[], int]) -> Slot:
    taken = {s.ssrc for s in slots} | {s.rtx_ssrc for s in slots} | {0}

    def draw() -> int:
        while (ssrc := random()) in taken:
            pass
        taken.add(ssrc)
        return ssrc

    return Slot(mid, kind, draw(), draw() if kind == "video" else None)


def _offer_slot(slot: Slot, cname: str) -> Media:
    media = Media(slot.kind, slot.mid, ptime=_get_ptime(slot))
    for codec in slot.codecs:
        media.formats += _FORMATS[codec.payload_type]
    if slot.opus:
        media.formats = [_describe_opus(entry, slot.opus) for entry in media.formats]
    media.extensions = list(_EXTENSIONS[slot.kind])
    media.direction = "inactive"
    # Also while it is free. To libwebrtc a stream that is not announced any more has ended, but
    # a receiver that then gets the same SSRC again believes that it still has it: it decodes a
    # new stream and draws nothing of it (`VideoRtpReceiver::RestartMediaChannel`).
    _announce_ssrcs(media, slot, cname)
    if slot.track is not None and slot.participant is not None and not slot.dead:
        media.direction = "sendonly"
        media.msid = _name_stream(slot)
    return media


def _describe_opus(entry: Format, published: str) -> Format:
    if entry.name.lower() != OPUS.name:
        return entry
    return replace(entry, parameters=carry_parameters(entry.parameters, published))


def _get_ptime(slot: Slot) -> int | None:
    return slot.ptime if slot.ptime is not None and 0 < slot.ptime <= MAX_PTIME else None


def _name_stream(slot: Slot) -> tuple[str, str]:
    """Stream by participant, track by track."""
    return slot.participant or "-", slot.track or f"slot-{slot.mid}"


def _announce_ssrcs(media: Media, slot: Slot, cname: str) -> None:
    """Because aiortc routes by nothing else."""
    media.ssrcs[slot.ssrc] = cname
    if slot.rtx_ssrc is not None:
        media.ssrcs[slot.rtx_ssrc] = cname
        media.fid[slot.ssrc] = slot.rtx_ssrc


# -- Playing (WHEP) -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Playback:
    """What a player's offer came to.

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
    """What would come to half of what was offered does not begin."""
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
            slot = _make_slot(media.mid, cast(Kind, media.kind), slots, ssrc)
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
        answer.msid = _name_stream(slot)
        answer.ptime = _get_ptime(slot)
        _announce_ssrcs(answer, slot, cname)
        # An answer's first codec is the one preferred (RFC 3264, 6.1): the track's own.
        order = list(get_slot_codecs(slot.kind, slot.codecs))
        codecs = sorted(
            codecs, key=lambda c: order.index(c.codec) if c.codec in order else len(order)
        )
        answer.extensions = [
            Extension(e.id, e.uri)
            for e in SUBSCRIBER_EXTENSIONS[slot.kind]
            if e.id in slot.extensions
        ]
    answer.formats = agreed_formats(media, codecs)
    if slot is not None and slot.opus:
        answer.formats = [_describe_opus(entry, slot.opus) for entry in answer.formats]
    if answer.fid and not any(codec.rtx is not None for codec in codecs):
        answer.ssrcs.pop(answer.fid.popitem()[1])
    return answer
