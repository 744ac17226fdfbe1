"""What a subscriber is offered, and what a WHEP player's own offer gets.

A subscriber's m-lines are reused and never rejected; a player brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from .capabilities import CODECS, H264_BASELINE, OPUS, SUBSCRIBER_EXTENSIONS, VP8, Codec, Kind
from .data import DataLine, build_data, is_data, read_data
from .description import (
    BadSdp,
    Description,
    Extension,
    Format,
    Media,
    TransportDescription,
    build_description,
    parse_description_untrusted,
)
from .matching import (
    Local,
    Matches,
    PublishedCodec,
    add_transport,
    agreed_formats,
    build_answer,
    check_transport,
    map_payload_types,
    match_codecs,
    reject,
    rtx_format,
    shared_extensions,
)

DATA_MID: Final = "data"
# An offer to a room of 50 has 98 m-lines, each codec costs 300 bytes in it and in the answer.
MAX_SLOT_CODECS: Final = 5


@dataclass(slots=True)
class Slot:
    """One m-line toward a subscriber, for the life of its peer connection.

    `ssrc` and `rtx_ssrc` never change. `participant` and `track` are None while it is free.
    `codecs` is what it is offered with. After an answer, `payload_types` maps the relay's
    payload types (RTX included) that the client accepted to the number it wants on the wire
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
    payload_types: dict[int, int] = field(default_factory=dict)
    extensions: frozenset[int] = frozenset()
    dead: bool = False


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
        self._offered: tuple[str, ...] = ()

    def begin_session(self, session_id: int) -> None:
        """Have the next offer be the first one for another peer connection, with the same
        m-lines, on which the client receives nothing before it has answered."""
        self._session_id = session_id
        self._version = 0
        for slot in self.slots:
            slot.payload_types.clear()

    def assign(self, kind: Kind, participant: str, track: str, codecs: Sequence[Codec]) -> Slot:
        """Put a track on a free slot of its kind, or on a new one.

        `codecs` is what the m-line is offered with: see `get_slot_codecs`.
        """
        slot = next(
            (s for s in self.slots if s.kind == kind and s.track is None and not s.dead), None
        )
        if slot is None:
            slot = _make_slot(str(len(self.slots)), kind, self.slots, self._ssrc)
            self.slots.append(slot)
        slot.participant, slot.track, slot.codecs = participant, track, tuple(codecs)
        return slot

    def widen(self, track: str, codec: Codec) -> bool:
        """Have the m-line of a track hold this codec, too, from the next offer on; False: it
        does, or there is none. One that is full loses what it has held longest."""
        slot = self.get_slot(track)
        if slot is None or codec in slot.codecs:
            return False
        slot.codecs = get_slot_codecs(slot.kind, (codec, *slot.codecs))
        return True

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
        self._offered = tuple(slot.mid for slot in self.slots)
        if self.wants_data:
            self._offered = (DATA_MID, *self._offered)
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
        if tuple(media.mid for media in description.media) != self._offered:
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
        agreed: dict[int, tuple[dict[int, int], frozenset[int]]] = {}
        for slot, media in zip(self.slots, lines, strict=False):
            slot.dead = slot.dead or not media.port
            if media.alike not in agreed:
                agreed[media.alike] = _agree(media)
            payload_types, slot.extensions = agreed[media.alike]
            slot.payload_types = dict(payload_types)


def get_slot_codecs(kind: Kind, published: Sequence[Codec]) -> tuple[Codec, ...]:
    """Return what an m-line for a track is offered with: first what everyone decodes, then
    what the publisher negotiated, in its order, cut to a few so that offers of large rooms
    stay small. A publisher that sends another codec than its first: put that one first."""
    basics = (OPUS,) if kind == "audio" else (VP8, H264_BASELINE)
    return tuple(dict.fromkeys((*basics, *published)))[:MAX_SLOT_CODECS]


def _agree(media: Media) -> tuple[dict[int, int], frozenset[int]]:
    """`payload_types` and `extensions` of the slot whose answer this is."""
    if not media.port or media.direction not in ("recvonly", "sendrecv"):
        return {}, frozenset()
    return map_payload_types(match_codecs(media)), shared_extensions(media)


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
    media = Media(slot.kind, slot.mid)
    for codec in slot.codecs:
        media.formats += _FORMATS[codec.payload_type]
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
    know, so that a track may be put on them later.
    """

    answer: str
    slots: tuple[Slot, ...]
    remote: TransportDescription
    version: int


def answer_player(
    offer: Description,
    local: Local,
    tracks: Sequence[tuple[Kind, str, str, Sequence[Codec]]],
    *,
    session_id: int,
    cname: str,
    ssrc: Callable[[], int],
    previous: Playback | None = None,
) -> Playback:
    """Answer a WHEP player's offer with `tracks` (kind, participant, track, codecs), each on
    the first free m-line of its kind that can decode it.

    With `previous`, an ICE restart: its slots stay as they are. Raises `BadSdp`.
    """
    slots = list(previous.slots) if previous is not None else []
    answers: list[Media] = []
    waiting = list(tracks) if previous is None else []
    matches = Matches()
    for media in offer.media:
        codecs = matches.find(media)
        if not codecs:
            answers.append(reject(media))
            continue
        slot = None
        if media.direction in ("recvonly", "sendrecv"):
            slot = next((s for s in slots if s.mid == media.mid), None)
            if slot is None:
                slot = _make_slot(media.mid, cast(Kind, media.kind), slots, ssrc)
                slots.append(slot)
                slot.payload_types = map_payload_types(codecs)
                slot.extensions = shared_extensions(media)
                _fill_slot(slot, waiting)
        answers.append(_answer_player_media(media, codecs, slot, cname))
    accepted = [media.mid for media in answers if media.port]
    remote = check_transport(offer, accepted)
    if remote is None or not slots:
        raise BadSdp("The offer can receive nothing: no audio or video in a known codec.")
    version = previous.version + 1 if previous is not None else 1
    answer = build_answer(offer, answers, local, remote, session_id, version)
    return Playback(answer, tuple(slots), remote, version)


def _fill_slot(slot: Slot, waiting: list[tuple[Kind, str, str, Sequence[Codec]]]) -> None:
    for entry in waiting:
        kind, participant, track, codecs = entry
        if kind == slot.kind and any(c.payload_type in slot.payload_types for c in codecs):
            slot.participant, slot.track = participant, track
            slot.codecs = tuple(codecs)
            waiting.remove(entry)
            return


def _answer_player_media(
    media: Media, codecs: Sequence[PublishedCodec], slot: Slot | None, cname: str
) -> Media:
    answer = Media(media.kind, media.mid, protocol=media.protocol)
    answer.direction = "inactive"
    if slot is not None:
        answer.direction = "sendonly"
        answer.msid = _name_stream(slot)
        _announce_ssrcs(answer, slot, cname)
        # An answer's first codec is the one preferred (RFC 3264 6.1): the track's own.
        codecs = sorted(codecs, key=lambda c: c.codec not in slot.codecs)
        answer.extensions = [
            Extension(e.id, e.uri)
            for e in SUBSCRIBER_EXTENSIONS[slot.kind]
            if e.id in slot.extensions
        ]
    answer.formats = agreed_formats(media, codecs)
    if answer.fid and not any(codec.rtx is not None for codec in codecs):
        answer.ssrcs.pop(answer.fid.popitem()[1])
    return answer
