"""A publisher's offer, answered: what it may send, and in which numbers.

`subscription` has the other direction. No socket, clock or random source in either.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from .capabilities import ABS_SEND_TIME, MID, REPAIRED_RID, RID, TRANSPORT_CC, Kind
from .data import DataLine, build_data, is_data, read_data
from .description import (
    BadSdp,
    Description,
    Extension,
    Media,
    NothingToCarry,
    Rid,
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
    find_transport,
    is_live,
    match_extensions,
    prefer_common,
    reject,
    restarts,
    sends,
)

__all__ = [
    "Local",
    "Publication",
    "PublishedCodec",
    "PublishedMedia",
    "answer_publisher",
    "is_continuation",
]

# What of the publisher's own session the relay needs: where a packet belongs, and timing
# for both kinds of bandwidth estimation. Other extensions are accepted if forwarded.
PUBLISHER_NEEDS: Final = frozenset({MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME})
MAX_SIMULCAST: Final = 4  # layers; browsers send three at most


@dataclass(frozen=True, slots=True)
class PublishedMedia:
    """One m-line of a publisher, as agreed.

    `active` says whether it may send now (its m-line is sendonly or sendrecv and not
    rejected). `codecs` are in the order of the answer: the first is what it is expected to send.
    `ptime` is the length of its packets in milliseconds, if it says one. `extensions` maps the
    publisher's header extension ids to the relay's. `ssrcs` are those announced for media,
    without RTX; `rtx_ssrcs` maps media SSRC to RTX SSRC. Both are empty for senders that use mid
    and rid extensions instead. `rids` are the simulcast layers accepted, in the publisher's order.
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
    ptime: int | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The outcome of a publisher's offer. `answer` is the SDP to send back.

    `media` has an entry for every audio or video m-line, rejected ones inactive, in order.
    `remote` is the publisher's transport; `ice_restarted` is True when its ICE credentials
    differ from the previous offer's. `mids` are those of all m-lines, `rejected` those that
    were refused or removed: a later offer may reuse their places. `data` is there where the
    publisher has data channels.
    """

    answer: str
    media: tuple[PublishedMedia, ...]
    remote: TransportDescription
    ice_restarted: bool
    mids: tuple[str, ...]
    rejected: frozenset[str]
    session_id: int
    version: int
    data: DataLine | None = None


def answer_publisher(
    offer: Description,
    local: Local,
    previous: Publication | None = None,
    *,
    whole: bool = False,
) -> Publication:
    """Answer a publisher's offer, the first or a renegotiation of `previous`.

    `local.transport.setup` is ignored: the answer takes the role that the offer leaves.
    `ice_restarted` tells whether the offer asks for an ICE restart: then it is to be answered
    again, with a `local` of fresh credentials. `whole` refuses an offer of which something could
    not be taken. Raises `BadSdp`.
    """
    if previous is not None and not _continues(offer, previous):
        raise BadSdp("The offer's m-lines are not those of the offer before, and new ones.")
    answers: list[Media] = []
    agreed: list[PublishedMedia] = []
    matches = Matches()
    data: DataLine | None = None
    if whole:
        _check_whole(offer, matches)
    for media in offer.media:
        if data is None and is_data(media):
            data = read_data(media)
            answers.append(build_data(media.mid, media.protocol))
            continue
        answer, result = _answer_published_media(media, matches)
        answers.append(answer)
        if result is not None:
            agreed.append(result)
    accepted = [media.mid for media in answers if media.port]
    if previous is None and not accepted:
        raise BadSdp(
            "Nothing in the offer can be received: no audio or video in a known codec, no data."
        )
    remote = check_transport(offer, accepted)
    if remote is None:
        assert previous is not None
        remote = previous.remote
    session_id = previous.session_id if previous else zlib.crc32(local.transport.ufrag.encode())
    version = previous.version + 1 if previous else 1
    return Publication(
        answer=build_answer(offer, answers, local, remote, session_id, version),
        media=tuple(agreed),
        remote=remote,
        ice_restarted=previous is not None and restarts(remote, previous.remote),
        mids=tuple(media.mid for media in answers),
        rejected=frozenset(media.mid for media in answers if not media.port),
        session_id=session_id,
        version=version,
        data=data,
    )


def _check_whole(offer: Description, matches: Matches) -> None:
    """RFC 9725, 4.2: a session that would come to half of what was offered does not begin."""
    sending = [media for media in offer.media if is_live(media) and sends(media)]
    if not sending:
        raise NothingToCarry("The offer sends nothing: no m-line is sendonly or sendrecv.")
    for media in sending:
        if not matches.find(media):
            raise UnsupportedCodec(f"The relay cannot take {describe_formats(media)}.")


def is_continuation(offer: Description, previous: Publication) -> bool:
    """True where the offer can be of the same peer connection as `previous`: the same
    certificate, and the same m-lines in front."""
    remote = find_transport(offer)
    if remote is not None and set(remote.fingerprints) != set(previous.remote.fingerprints):
        return False
    return _continues(offer, previous)


def _continues(description: Description, previous: Publication) -> bool:
    """RFC 3264 8: m-lines stay in place; JSEP lets a new one take the place of a rejected one."""
    mids = [media.mid for media in description.media]
    return len(mids) >= len(previous.mids) and all(
        old == new or (old in previous.rejected and new not in previous.mids)
        for old, new in zip(previous.mids, mids, strict=False)
    )


def _answer_published_media(media: Media, matches: Matches) -> tuple[Media, PublishedMedia | None]:
    """Answer one m-line; without the second for those that are neither audio nor video."""
    if media.kind not in ("audio", "video"):
        return reject(media), None
    kind = cast(Kind, media.kind)
    codecs = matches.find(media)
    if not codecs:
        return reject(media), PublishedMedia(media.mid, kind, active=False)
    active = sends(media)
    codecs = prefer_common(codecs)
    extensions = match_extensions(
        media, lambda e: e.forwarded or e in PUBLISHER_NEEDS, towards_us=True
    )
    # RFC 8285 7: what is offered sendonly is answered recvonly.
    one_way = {e.id for e in media.extensions if e.direction == "sendonly"}
    rids = _simulcast_rids(media) if active else []
    answer = Media(kind, media.mid, protocol=media.protocol)
    answer.formats = agreed_formats(media, codecs)
    answer.direction = "recvonly" if active else "inactive"
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
        active=active,
        codecs=tuple(codecs),
        extensions={id: relay_id for id, (_, relay_id) in extensions.items()},
        ssrcs=ssrcs,
        rtx_ssrcs=dict(media.fid),
        rids=tuple(rids),
        simulcast_ssrcs=tuple(ssrc for ssrc in media.sim if ssrc in ssrcs),
        ptime=media.ptime if kind == "audio" else None,
    )


def _simulcast_rids(media: Media) -> list[str]:
    """The layers on offer that can be told apart: announced by a=rid, listed to be sent."""
    announced = [rid.id for rid in media.rids if rid.direction == "send"]
    listed = [rid for rid in media.simulcast_send if rid in announced]
    return list(dict.fromkeys(listed or announced))[:MAX_SIMULCAST]
