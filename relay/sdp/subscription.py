"""Offers to a subscriber: its m-lines are reused and never rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from .capabilities import (
    CODECS,
    SUBSCRIBER_EXTENSIONS,
    Codec,
)
from .data import DataLine, build_data, is_data, read_data
from .description import (
    BadSdp,
    Description,
    Extension,
    Format,
    Media,
    TransportDescription,
)
from .matching import (
    Local,
    add_transport,
    check_transport,
    map_payload_types,
    match_answer,
    receives,
    rtx_format,
    shared_extensions,
)
from .reading import parse_description_untrusted
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
from .writing import build_description

DATA_MID: Final = "data"


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
            slot = make_slot(str(len(self.slots)), kind, self.slots, self._ssrc)
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
        """True where the client took another codec than the first of the track's m-line, which was
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


def _offer_slot(slot: Slot, cname: str) -> Media:
    media = Media(slot.kind, slot.mid, ptime=get_ptime(slot))
    for codec in slot.codecs:
        media.formats += _FORMATS[codec.payload_type]
    if slot.opus:
        media.formats = [describe_opus(entry, slot.opus) for entry in media.formats]
    media.extensions = list(_EXTENSIONS[slot.kind])
    media.direction = "inactive"
    # Also while it is free. To libwebrtc a stream that is not announced any more has ended, but
    # a receiver that then gets the same SSRC again believes that it still has it: it decodes a
    # new stream and draws nothing of it (`VideoRtpReceiver::RestartMediaChannel`).
    announce_ssrcs(media, slot, cname)
    if slot.track is not None and slot.participant is not None and not slot.dead:
        media.direction = "sendonly"
        media.msid = name_stream(slot)
    return media
