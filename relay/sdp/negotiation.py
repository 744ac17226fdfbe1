"""Offer and answer: what a publisher's offer gets, what a subscriber is offered.

Three talks: a publisher's offer is answered by `answer_publisher`; a subscriber is offered
what a `Subscription` holds, on m-lines that are reused and never rejected; a WHEP player's
offer is answered by `answer_player`. No socket, clock or random source in here. Longer than
other files because the three share how codecs and transports are matched.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast

from .capabilities import (
    ABS_SEND_TIME,
    EXTENSION_BY_URI,
    H264_BASELINE,
    MID,
    OPUS,
    REPAIRED_RID,
    RID,
    SUBSCRIBER_EXTENSIONS,
    TRANSPORT_CC,
    VP8,
    Codec,
    HeaderExtension,
    Kind,
    find_codec,
)
from .description import (
    BadSdp,
    Description,
    Extension,
    Format,
    Media,
    Rid,
    TransportDescription,
    build_candidates,
    build_description,
    parse_description_untrusted,
)

# What of the publisher's own session the relay needs: where a packet belongs, and timing
# for both kinds of bandwidth estimation. Other extensions are accepted if forwarded.
PUBLISHER_NEEDS: Final = frozenset({MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME})
# An offer to a room of 50 has 98 m-lines, each codec costs 300 bytes in it and in the answer.
MAX_SLOT_CODECS: Final = 5
MAX_SIMULCAST: Final = 4  # layers; browsers send three at most


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's side of one transport as SDP needs it. `addresses` are its candidates."""

    transport: TransportDescription
    addresses: tuple[tuple[str, int], ...]


# -- Publishing -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedCodec:
    """A codec that the publisher may send: its payload types, and the relay's entry for it.

    `rtx` is the publisher's payload type for retransmissions, None without RTX; `feedback`
    are the `a=rtcp-fb` values agreed on.
    """

    payload_type: int
    rtx: int | None
    codec: Codec
    feedback: tuple[str, ...] = ()


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
    `remote` is the publisher's transport; `ice_restarted` is True when its ICE credentials
    differ from the previous offer's. `mids` are those of all m-lines, `rejected` those that
    were refused or removed: a later offer may reuse their places.
    """

    answer: str
    media: tuple[PublishedMedia, ...]
    remote: TransportDescription
    ice_restarted: bool
    mids: tuple[str, ...]
    rejected: frozenset[str]
    session_id: int
    version: int


def answer_publisher(offer: str, local: Local, previous: Publication | None = None) -> Publication:
    """Answer a publisher's offer, the first or a renegotiation of `previous`.

    `local.transport.setup` is ignored: the answer takes the role that the offer leaves.
    For an ICE restart pass a `local` with fresh credentials; whether the offer asks for one
    is told beforehand by `is_ice_restart`. Raises `BadSdp`.
    """
    description = parse_description_untrusted(offer)
    if previous is not None and not _continues(description, previous):
        raise BadSdp("The offer's m-lines are not those of the offer before, and new ones.")
    answers: list[Media] = []
    agreed: list[PublishedMedia] = []
    for media in description.media:
        answer, result = _answer_published_media(media)
        answers.append(answer)
        if result is not None:
            agreed.append(result)
    accepted = [media.mid for media in answers if media.port]
    if previous is None and not accepted:
        raise BadSdp("Nothing in the offer can be received: no audio or video in a known codec.")
    remote = _check_transport(description, accepted)
    if remote is None:
        assert previous is not None
        remote = previous.remote
    session_id = previous.session_id if previous else zlib.crc32(local.transport.ufrag.encode())
    version = previous.version + 1 if previous else 1
    return Publication(
        answer=_build_answer(description, answers, local, remote, session_id, version),
        media=tuple(agreed),
        remote=remote,
        ice_restarted=previous is not None and _restarts(remote, previous.remote),
        mids=tuple(media.mid for media in answers),
        rejected=frozenset(media.mid for media in answers if not media.port),
        session_id=session_id,
        version=version,
    )


def is_ice_restart(offer: str, previous: TransportDescription) -> bool:
    """Whether the offer's ICE credentials differ from `previous` (RFC 8839 4.4.1.1.1).

    Raises `BadSdp`.
    """
    remote = _find_transport(parse_description_untrusted(offer))
    return remote is not None and _restarts(remote, previous)


def is_continuation(offer: str, previous: Publication) -> bool:
    """Whether the offer can be of the same peer connection as `previous`: the same
    certificate, and the same m-lines in front. Raises `BadSdp`."""
    description = parse_description_untrusted(offer)
    remote = _find_transport(description)
    if remote is not None and set(remote.fingerprints) != set(previous.remote.fingerprints):
        return False
    return _continues(description, previous)


def _continues(description: Description, previous: Publication) -> bool:
    """RFC 3264 8: m-lines stay in place; JSEP lets a new one take the place of a rejected one."""
    mids = [media.mid for media in description.media]
    return len(mids) >= len(previous.mids) and all(
        old == new or (old in previous.rejected and new not in previous.mids)
        for old, new in zip(previous.mids, mids, strict=False)
    )


def _answer_published_media(media: Media) -> tuple[Media, PublishedMedia | None]:
    """Answer one m-line; without the second for those that are neither audio nor video."""
    if media.kind not in ("audio", "video"):
        return _reject(media), None
    kind = cast(Kind, media.kind)
    codecs = _match_codecs(media) if _is_usable(media) else []
    if not codecs:
        return _reject(media), PublishedMedia(media.mid, kind, active=False)
    sends = media.direction in ("sendonly", "sendrecv")
    extensions = _match_extensions(
        media, lambda e: e.forwarded or e in PUBLISHER_NEEDS, towards_us=True
    )
    # RFC 8285 7: what is offered sendonly is answered recvonly.
    one_way = {e.id for e in media.extensions if e.direction == "sendonly"}
    rids = _simulcast_rids(media) if sends else []
    answer = Media(kind, media.mid, protocol=media.protocol)
    answer.formats = _agreed_formats(media, codecs)
    answer.direction = "recvonly" if sends else "inactive"
    answer.extensions = [
        Extension(id, uri, "recvonly" if id in one_way else "")
        for id, (uri, _) in extensions.items()
    ]
    answer.rids = [Rid(rid, "recv") for rid in rids]
    answer.simulcast_receive = rids if media.simulcast_send else []
    repairs = set(media.fid.values())
    ssrcs = tuple(ssrc for ssrc in media.ssrcs if ssrc not in repairs)
    return answer, PublishedMedia(
        mid=media.mid,
        kind=kind,
        active=sends,
        codecs=tuple(codecs),
        extensions={id: relay_id for id, (_, relay_id) in extensions.items()},
        ssrcs=ssrcs,
        rtx_ssrcs=dict(media.fid),
        rids=tuple(rids),
        simulcast_ssrcs=tuple(ssrc for ssrc in media.sim if ssrc in ssrcs),
    )


def _simulcast_rids(media: Media) -> list[str]:
    """The layers on offer that can be told apart: announced by a=rid, listed to be sent."""
    announced = [rid.id for rid in media.rids if rid.direction == "send"]
    listed = [rid for rid in media.simulcast_send if rid in announced]
    return list(dict.fromkeys(listed or announced))[:MAX_SIMULCAST]


# -- Subscribing ----------------------------------------------------------------------------


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
    32-bit number, and the subscription keeps the SSRCs apart from each other.
    """

    def __init__(self, *, session_id: int, cname: str, ssrc: Callable[[], int]) -> None:
        self.slots: list[Slot] = []
        self.remote: TransportDescription | None = None
        self._session_id = session_id
        self._version = 0
        self._cname = cname
        self._ssrc = ssrc
        self._offered: tuple[str, ...] = ()

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
        media = [_offer_slot(slot, self._cname) for slot in self.slots]
        _add_transport(media, local, replace(local.transport, setup="actpass"))
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
        description = parse_description_untrusted(answer)
        if tuple(media.mid for media in description.media) != self._offered:
            raise BadSdp("The answer's m-lines are not those of the offer.")
        accepted = [media.mid for media in description.media if media.port]
        remote = _check_transport(description, accepted)
        if remote is None:
            raise BadSdp("The answer rejects every m-line.")
        if remote.setup == "actpass":
            raise BadSdp("The answer leaves the DTLS role open: a=setup must be active or passive.")
        self.remote = remote
        for slot, media in zip(self.slots, description.media, strict=False):
            slot.dead = slot.dead or not media.port
            slot.payload_types, slot.extensions = {}, frozenset()
            if media.port and media.direction in ("recvonly", "sendrecv"):
                slot.payload_types = _map_payload_types(_match_codecs(media))
                slot.extensions = _shared_extensions(media)


def get_slot_codecs(kind: Kind, published: Sequence[Codec]) -> tuple[Codec, ...]:
    """Return what an m-line for a track is offered with: first what everyone decodes, then
    what the publisher negotiated, in its order, cut to a few so that offers of large rooms
    stay small. A publisher that sends another codec than its first: put that one first."""
    basics = (OPUS,) if kind == "audio" else (VP8, H264_BASELINE)
    return tuple(dict.fromkeys((*basics, *published)))[:MAX_SLOT_CODECS]


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
        media.formats.append(
            Format(
                codec.payload_type,
                codec.name,
                codec.clock_rate,
                codec.channels,
                codec.fmtp,
                list(codec.feedback),
            )
        )
        if codec.rtx is not None:
            media.formats.append(_rtx_format(codec.rtx, codec.payload_type, codec.clock_rate))
    media.extensions = [Extension(e.id, e.uri) for e in SUBSCRIBER_EXTENSIONS[slot.kind]]
    media.direction = "inactive"
    if slot.track is not None and slot.participant is not None and not slot.dead:
        media.direction = "sendonly"
        _announce_stream(media, slot, cname)
    return media


def _announce_stream(media: Media, slot: Slot, cname: str) -> None:
    """Stream by participant, track by track; SSRCs because aiortc routes by nothing else."""
    media.msid = (slot.participant or "-", slot.track or f"slot-{slot.mid}")
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
    offer: str,
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
    description = parse_description_untrusted(offer)
    slots = list(previous.slots) if previous is not None else []
    answers: list[Media] = []
    waiting = list(tracks) if previous is None else []
    for media in description.media:
        codecs = _match_codecs(media) if _is_usable(media) else []
        if not codecs:
            answers.append(_reject(media))
            continue
        slot = None
        if media.direction in ("recvonly", "sendrecv"):
            slot = next((s for s in slots if s.mid == media.mid), None)
            if slot is None:
                slot = _make_slot(media.mid, cast(Kind, media.kind), slots, ssrc)
                slots.append(slot)
                slot.payload_types = _map_payload_types(codecs)
                slot.extensions = _shared_extensions(media)
                _fill_slot(slot, waiting)
        answers.append(_answer_player_media(media, codecs, slot, cname))
    accepted = [media.mid for media in answers if media.port]
    remote = _check_transport(description, accepted)
    if remote is None or not slots:
        raise BadSdp("The offer can receive nothing: no audio or video in a known codec.")
    version = previous.version + 1 if previous is not None else 1
    answer = _build_answer(description, answers, local, remote, session_id, version)
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
        _announce_stream(answer, slot, cname)
        # An answer's first codec is the one preferred (RFC 3264 6.1): the track's own.
        codecs = sorted(codecs, key=lambda c: c.codec not in slot.codecs)
        answer.extensions = [
            Extension(e.id, e.uri)
            for e in SUBSCRIBER_EXTENSIONS[slot.kind]
            if e.id in slot.extensions
        ]
    answer.formats = _agreed_formats(media, codecs)
    if answer.fid and not any(codec.rtx is not None for codec in codecs):
        answer.ssrcs.pop(answer.fid.popitem()[1])
    return answer


# -- What the three share -------------------------------------------------------------------


def _is_usable(media: Media) -> bool:
    """Whether the m-line is audio or video over DTLS-SRTP, and not switched off.

    RFC 9143 7.2.1: a bundle-only m-line has port 0 and is not rejected by it.
    """
    live = media.port != 0 or media.bundle_only
    return live and media.kind in ("audio", "video") and media.protocol in _PROTOCOLS


_PROTOCOLS: Final = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"})


def _reject(media: Media) -> Media:
    """RFC 3264 6: "To reject an offered stream, the port number [...] MUST be set to zero"."""
    answer = Media(media.kind, media.mid, port=0, protocol=media.protocol)
    answer.formats = [Format(f.payload_type) for f in media.formats[:1]]
    answer.other_formats = media.other_formats
    return answer


def _match_codecs(media: Media) -> list[PublishedCodec]:
    """Return what both sides know, in the order of the m-line."""
    repairs: dict[int, int] = {}
    matched: list[PublishedCodec] = []
    for entry in media.formats:
        if entry.name.lower() == "rtx":
            original = read_parameters(entry.parameters).get("apt", "")
            if original.isascii() and original.isdigit() and len(original) <= 3:
                repairs.setdefault(int(original), entry.payload_type)
    offered = {entry.payload_type for entry in media.formats}
    for entry in media.formats:
        parameters = read_parameters(entry.parameters)
        codec = find_codec(media.kind, entry.name, entry.clock_rate, entry.channels, parameters)
        if codec is None or (codec.name == "red" and not _is_opus_red(entry, media)):
            continue
        rtx = repairs.get(entry.payload_type)
        feedback = tuple(f for f in entry.feedback if f in codec.feedback)
        matched.append(
            PublishedCodec(
                entry.payload_type, rtx if rtx in offered and codec.rtx else None, codec, feedback
            )
        )
    return matched


def _is_opus_red(entry: Format, media: Media) -> bool:
    """RFC 2198: `a=fmtp` of RED lists the payload types that it wraps; all must be Opus."""
    names = {str(f.payload_type): f.name.lower() for f in media.formats}
    wrapped = entry.parameters.split("/")
    return all(names.get(payload_type.strip()) == "opus" for payload_type in wrapped)


def read_parameters(fmtp: str) -> dict[str, str]:
    """Split the value of `a=fmtp` at its semicolons; keys in lower case."""
    parameters = {}
    for part in fmtp.split(";"):
        key, _, value = part.partition("=")
        parameters[key.strip().lower()] = value.strip()
    return parameters


def _match_extensions(
    media: Media, wanted: Callable[[HeaderExtension], bool], *, towards_us: bool
) -> dict[int, tuple[str, int]]:
    """Return URI and the relay's id by the other side's id, of those that it has this way."""
    other_way = ("inactive", "recvonly" if towards_us else "sendonly")
    matched: dict[int, tuple[str, int]] = {}
    for offered in media.extensions:
        known = EXTENSION_BY_URI.get(offered.uri)
        if known is None or media.kind not in known.kinds or not wanted(known):
            continue
        if offered.direction in other_way:
            continue
        taken = any(known.id == relay_id for _, relay_id in matched.values())
        if 1 <= offered.id <= 255 and offered.id not in matched and not taken:
            matched[offered.id] = (offered.uri, known.id)
    return matched


def _shared_extensions(media: Media) -> frozenset[int]:
    """Return the ids that both sides give the same meaning, of those a subscriber gets."""
    offered = SUBSCRIBER_EXTENSIONS[cast(Kind, media.kind)]
    matched = _match_extensions(media, lambda e: e in offered, towards_us=False)
    return frozenset(id for id, (_, relay_id) in matched.items() if id == relay_id)


def _map_payload_types(codecs: Sequence[PublishedCodec]) -> dict[int, int]:
    """Return the other side's payload type by the relay's, RTX included, first come first."""
    mapping: dict[int, int] = {}
    for entry in codecs:
        if entry.codec.payload_type not in mapping:
            mapping[entry.codec.payload_type] = entry.payload_type
            if entry.rtx is not None and entry.codec.rtx is not None:
                mapping[entry.codec.rtx] = entry.rtx
    return mapping


def _agreed_formats(media: Media, codecs: Sequence[PublishedCodec]) -> list[Format]:
    """Write the matched codecs back as they were offered, `a=fmtp` untouched."""
    offered = {entry.payload_type: entry for entry in media.formats}
    formats: list[Format] = []
    for codec in codecs:
        formats.append(replace(offered[codec.payload_type], feedback=list(codec.feedback)))
        if codec.rtx is not None:
            clock_rate = offered[codec.payload_type].clock_rate
            formats.append(_rtx_format(codec.rtx, codec.payload_type, clock_rate))
    return formats


def _rtx_format(payload_type: int, original: int, clock_rate: int) -> Format:
    return Format(payload_type, "rtx", clock_rate, parameters=f"apt={original}")


def _find_transport(description: Description) -> TransportDescription | None:
    """Return the transport that an offer's answer will rest on."""
    accepted = (m for m in description.media if _is_usable(m) and _match_codecs(m))
    return next((m.transport for m in accepted if m.transport is not None), None)


def _restarts(remote: TransportDescription, previous: TransportDescription) -> bool:
    return (remote.ufrag, remote.pwd) != (previous.ufrag, previous.pwd)


def _check_transport(
    description: Description, accepted: Sequence[str]
) -> TransportDescription | None:
    """Return the one transport under the accepted m-lines; None if there are none."""
    media = [m for m in description.media if m.mid in accepted]
    if not media:
        return None
    if len(media) > 1 and not all(m.mid in description.bundle for m in media):
        raise BadSdp("The m-lines are not in one BUNDLE group: use the bundle policy max-bundle.")
    # A bundle-only m-line may leave to the first one what they share (RFC 9143 7.1.3).
    if not all(m.rtcp_mux or m.bundle_only for m in media):
        raise BadSdp("An m-line lacks a=rtcp-mux: RTP and RTCP must share the port.")
    remote = next((m.transport for m in media if m.transport is not None), None)
    if remote is None:
        raise BadSdp("ICE credentials or a certificate fingerprint (SHA-256 at least) are missing.")
    if remote.lite:
        raise BadSdp("Both sides are ICE-lite: nobody would check the connection.")
    return remote


def _build_answer(
    offer: Description,
    answers: list[Media],
    local: Local,
    remote: TransportDescription,
    session_id: int,
    version: int,
) -> str:
    # Theirs "actpass" leaves it to us; a client knows our address at once, we learn its later.
    setup: Literal["active", "passive"] = "active" if remote.setup == "passive" else "passive"
    _add_transport(answers, local, replace(local.transport, setup=setup))
    offered = {media.mid: media for media in offer.media}
    for media in answers:
        media.rtcp_rsize = bool(media.port) and offered[media.mid].rtcp_rsize
    accepted = [media.mid for media in answers if media.port]
    mixed = offer.extmap_allow_mixed or all(offered[mid].extmap_allow_mixed for mid in accepted)
    return build_description(
        Description(
            media=answers,
            bundle=accepted if offer.bundle else [],
            session_id=session_id,
            session_version=version,
            lite=True,
            extmap_allow_mixed=mixed and bool(accepted),
        )
    )


def _add_transport(media: Sequence[Media], local: Local, own: TransportDescription) -> None:
    """Put our ICE and DTLS side on each m-line in use, the candidates on the first: the others
    are bundled with it."""
    first = True
    for entry in media:
        if not entry.port:
            continue
        entry.transport = own
        entry.rtcp_mux = True
        entry.rtcp_rsize = True
        if first:
            entry.candidates = build_candidates(local.addresses)
            entry.end_of_candidates = True
            first = False
