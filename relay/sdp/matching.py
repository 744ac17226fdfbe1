"""Codecs, header extensions and transports of two sides, matched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from .capabilities import (
    CODECS,
    EXTENSION_BY_URI,
    OPUS,
    RED,
    SUBSCRIBER_EXTENSIONS,
    Codec,
    HeaderExtension,
    Kind,
    find_codec,
)
from .data import is_data
from .description import BadSdp, Description, Format, Media, TransportDescription
from .parameters import ask_for_stereo, check_parameters, read_parameters
from .writing import build_candidates, build_description


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's side of one transport as SDP needs it. `addresses` are its candidates."""

    transport: TransportDescription
    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PublishedCodec:
    """A codec that the publisher may send: its payload types, and the relay's entry for it.

    `rtx` is the publisher's payload type for retransmissions, None without RTX; `feedback`
    are the `a=rtcp-fb` values agreed on; `parameters` is its `a=fmtp`.
    """

    payload_type: int
    rtx: int | None
    codec: Codec
    feedback: tuple[str, ...] = ()
    parameters: str = ""


def is_live(media: Media) -> bool:
    """True for audio and video that is not switched off.

    RFC 9143, 7.2.1: a bundle-only m-line has port 0 and is not rejected by it.
    """
    return media.kind in ("audio", "video") and (media.port != 0 or media.bundle_only)


def is_usable(media: Media) -> bool:
    """True for what is live, and over DTLS-SRTP."""
    return is_live(media) and media.protocol in _PROTOCOLS


def sends(media: Media) -> bool:
    return media.direction in ("sendonly", "sendrecv")


def receives(media: Media) -> bool:
    return media.direction in ("recvonly", "sendrecv")


def describe_formats(media: Media) -> str:
    """The m-line in words for people: its kind, and its codecs or what is wrong with it."""
    if media.protocol not in _PROTOCOLS:
        return f"{media.kind} over {media.protocol[:32]}: it takes UDP/TLS/RTP/SAVPF"
    names = dict.fromkeys(f.name for f in media.formats if f.name and f.name.lower() != "rtx")
    return f"{media.kind} in {', '.join(list(names)[:6])[:100] or 'no named codec'}"


# RFC 8829, 5.1.2: whatever of these a peer writes, what it means is DTLS-SRTP.
_PROTOCOLS: Final = frozenset(
    f"{transport}RTP/SAVP{feedback}"
    for transport in ("UDP/TLS/", "TCP/TLS/", "TCP/DTLS/", "")
    for feedback in ("F", "")
)


def reject(media: Media) -> Media:
    """RFC 3264 6: "To reject an offered stream, the port number [...] MUST be set to zero"."""
    answer = Media(media.kind, media.mid, port=0, protocol=media.protocol)
    answer.formats = [Format(f.payload_type) for f in media.formats[:1]]
    answer.other_formats = media.other_formats
    return answer


MAX_CODECS: Final = 24
"""Payload types of one m-line that are agreed on, RTX not counted: Chromium offers 15."""


class Matches:
    """The codecs of a description's m-lines: looked for once in those that are alike."""

    def __init__(self) -> None:
        self._codecs: dict[int, list[PublishedCodec]] = {}

    def find(self, media: Media) -> list[PublishedCodec]:
        """The codecs that both sides know, in the m-line's order; none where it cannot be used."""
        if not is_usable(media):
            return []
        codecs = self._codecs.get(media.alike)
        if codecs is None:
            codecs = self._codecs[media.alike] = match_codecs(media)
        return codecs


def match_codecs(media: Media) -> list[PublishedCodec]:
    """Return what both sides know, in the order of the m-line, cut to `MAX_CODECS`.

    Raises `BadSdp` where a known codec has malformed parameters.
    """
    repairs = _find_repairs(media)
    matched: list[PublishedCodec] = []
    for entry in media.formats:
        if len(matched) == MAX_CODECS:
            break
        parameters = read_parameters(entry.parameters)
        check_parameters(entry.name, parameters)
        codec = find_codec(media.kind, entry.name, entry.clock_rate, entry.channels, parameters)
        if codec is not None and (codec is not RED or _is_opus_red(entry, media)):
            matched.append(_agree(entry, codec, repairs))
    return matched


def match_answer(media: Media, offered: Mapping[int, Codec]) -> list[PublishedCodec]:
    """Return what an answer to the relay's own offer takes; `offered` is by payload type.

    RFC 3264, 6.1: the number of a codec in the offer is that of the same codec in the answer,
    whatever `a=fmtp` has lost on the way. A number that means something else here is the
    client's own, and goes by name.
    """
    repairs = _find_repairs(media)
    matched: list[PublishedCodec] = []
    for entry in media.formats:
        codec = offered.get(entry.payload_type)
        if codec is None or (entry.name and entry.name.lower() != codec.name.lower()):
            parameters = read_parameters(entry.parameters)
            codec = find_codec(media.kind, entry.name, entry.clock_rate, entry.channels, parameters)
        if codec is not None and codec in offered.values():
            matched.append(_agree(entry, codec, repairs))
    return matched


def _find_repairs(media: Media) -> dict[int, int]:
    """The payload types of RTX, by those of what they repeat."""
    repairs: dict[int, int] = {}
    for entry in media.formats:
        if entry.name.lower() == "rtx":
            original = read_parameters(entry.parameters).get("apt", "")
            if original.isascii() and original.isdigit() and len(original) <= 3:
                repairs.setdefault(int(original), entry.payload_type)
    return repairs


def _agree(entry: Format, codec: Codec, repairs: Mapping[int, int]) -> PublishedCodec:
    return PublishedCodec(
        entry.payload_type,
        repairs.get(entry.payload_type) if codec.rtx else None,
        codec,
        tuple(f for f in entry.feedback if f in codec.feedback),
        entry.parameters,
    )


def prefer_common(codecs: Sequence[PublishedCodec]) -> list[PublishedCodec]:
    """Order an answer to a publisher: of each codec first the configuration that most decode.

    A publisher sends the first of the answer. The choice between codecs stays its own, but for
    sound: everybody decodes Opus, and it is better than what telephones have.
    """
    families = list(dict.fromkeys(_name_family(entry) for entry in codecs))
    if OPUS.name in families:
        families.insert(0, OPUS.name)

    def rank(entry: PublishedCodec) -> tuple[int, int]:
        sound = entry.codec.kind == "audio"
        return families.index(_name_family(entry)), 0 if sound else CODECS.index(entry.codec)

    return sorted(codecs, key=rank)


def _name_family(entry: PublishedCodec) -> str:
    return OPUS.name if entry.codec is RED else entry.codec.name


def _is_opus_red(entry: Format, media: Media) -> bool:
    """RFC 2198: `a=fmtp` of RED lists the payload types that it wraps; all must be Opus."""
    names = {str(f.payload_type): f.name.lower() for f in media.formats}
    wrapped = entry.parameters.split("/")
    return all(names.get(payload_type.strip()) == "opus" for payload_type in wrapped)


def match_extensions(
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


def shared_extensions(media: Media) -> frozenset[int]:
    """Return the ids that both sides give the same meaning, of those a subscriber gets."""
    offered = SUBSCRIBER_EXTENSIONS[cast(Kind, media.kind)]
    matched = match_extensions(media, lambda e: e in offered, towards_us=False)
    return frozenset(id for id, (_, relay_id) in matched.items() if id == relay_id)


def map_payload_types(codecs: Sequence[PublishedCodec]) -> dict[int, int]:
    """Return the other side's payload type by the relay's, RTX included, first come first."""
    mapping: dict[int, int] = {}
    for entry in codecs:
        if entry.codec.payload_type not in mapping:
            mapping[entry.codec.payload_type] = entry.payload_type
            if entry.rtx is not None and entry.codec.rtx is not None:
                mapping[entry.codec.rtx] = entry.rtx
    return mapping


def agreed_formats(media: Media, codecs: Sequence[PublishedCodec]) -> list[Format]:
    """Write the matched codecs back as they were offered."""
    offered = {entry.payload_type: entry for entry in media.formats}
    formats: list[Format] = []
    for codec in codecs:
        entry = offered[codec.payload_type]
        formats.append(
            Format(
                entry.payload_type,
                entry.name,
                entry.clock_rate,
                entry.channels,
                ask_for_stereo(entry.parameters) if codec.codec is OPUS else entry.parameters,
                list(codec.feedback),
            )
        )
        if codec.rtx is not None:
            formats.append(rtx_format(codec.rtx, codec.payload_type, entry.clock_rate))
    return formats


def rtx_format(payload_type: int, original: int, clock_rate: int) -> Format:
    return Format(payload_type, "rtx", clock_rate, parameters=f"apt={original}")


def find_transport(description: Description) -> TransportDescription | None:
    """Return the transport that an offer's answer will rest on."""
    accepted = (m for m in description.media if is_data(m) or (is_usable(m) and match_codecs(m)))
    return next((m.transport for m in accepted if m.transport is not None), None)


def restarts(remote: TransportDescription, previous: TransportDescription) -> bool:
    return (remote.ufrag, remote.pwd) != (previous.ufrag, previous.pwd)


def check_transport(
    description: Description, accepted: Sequence[str]
) -> TransportDescription | None:
    """Return the one transport under the accepted m-lines; None if there are none."""
    mids, bundle = set(accepted), set(description.bundle)
    media = [m for m in description.media if m.mid in mids]
    if not media:
        return None
    if len(media) > 1 and not all(m.mid in bundle for m in media):
        raise BadSdp("The m-lines are not in one BUNDLE group: use the bundle policy max-bundle.")
    # A bundle-only m-line may leave to the first one what they share (RFC 9143 7.1.3).
    if not all(m.rtcp_mux or m.bundle_only or is_data(m) for m in media):
        raise BadSdp("An m-line lacks a=rtcp-mux: RTP and RTCP must share the port.")
    remote = next((m.transport for m in media if m.transport is not None), None)
    if remote is None:
        raise BadSdp("ICE credentials or a certificate fingerprint (SHA-256 at least) are missing.")
    if remote.lite:
        raise BadSdp("Both sides are ICE-lite: nobody would check the connection.")
    return remote


def build_answer(
    offer: Description,
    answers: list[Media],
    local: Local,
    remote: TransportDescription,
    session_id: int,
    version: int,
) -> str:
    # Theirs "actpass" leaves it to us; a client knows our address at once, we learn its later.
    setup: Literal["active", "passive"] = "active" if remote.setup == "passive" else "passive"
    add_transport(answers, local, replace(local.transport, setup=setup))
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


def add_transport(media: Sequence[Media], local: Local, own: TransportDescription) -> None:
    """Put our ICE and DTLS side on each m-line in use, the candidates on the first: the others
    are bundled with it."""
    first = True
    for entry in media:
        if not entry.port:
            continue
        entry.transport = own
        entry.rtcp_mux = entry.rtcp_rsize = entry.sctp_port is None
        if first:
            entry.candidates = build_candidates(local.addresses)
            entry.end_of_candidates = True
            first = False
