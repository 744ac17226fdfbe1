"""Fuzz targets of `relay.sdp`: descriptions, and the three talks that read them."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

from relay.sdp.capabilities import OPUS, VP8
from relay.sdp.description import BadSdp, Fingerprint, TransportDescription
from relay.sdp.negotiation import Local, Publication
from relay.sdp.reading import parse_description_untrusted
from relay.sdp.slots import Carried
from relay.sdp.subscription import Subscription
from relay.sdp.writing import build_description
from tests.unit.relay.sdp.offers import answer_player, answer_publisher, is_continuation

MAX_SIZE = 16384
DIGEST = ":".join(["AB"] * 32)
LOCAL = Local(
    TransportDescription("u" * 16, "p" * 32, (Fingerprint("sha-256", DIGEST),), "actpass", True),
    (("192.0.2.1", 8443),),
)


def description(data: bytes) -> None:
    """What is read can be written, and is then read as the same."""
    try:
        read = parse_description_untrusted(data.decode(errors="replace"))
    except BadSdp:
        return
    for media in read.media:
        media.simulcast_send = []  # a description has one direction of simulcast when written
        if not all(entry.name for entry in media.formats):
            return  # the relay writes no payload type that has no name
    written = build_description(read)
    assert build_description(parse_description_untrusted(written)) == written


def publisher(data: bytes) -> None:
    """An offer is refused with a reason, or answered: the same lines, and it can be repeated."""
    text = data.decode(errors="replace")
    try:
        first = answer_publisher(text, LOCAL)
    except BadSdp as refused:
        reason = str(refused)
    else:
        check_answer(text, first)
        return
    assert 0 < len(reason) < 250


def check_answer(text: str, first: Publication) -> None:
    offer = parse_description_untrusted(text)
    answer = parse_description_untrusted(first.answer)
    assert [m.mid for m in answer.media] == [m.mid for m in offer.media]
    assert [m.kind for m in answer.media] == [m.kind for m in offer.media]
    assert is_continuation(text, first)
    second = answer_publisher(text, LOCAL, first)
    assert second.media == first.media
    assert not second.ice_restarted


def subscriber(data: bytes) -> None:
    """An answer is refused and changes nothing, or fits the lines that were offered."""
    numbers = count(1)
    subscription = Subscription(session_id=1, cname="c", ssrc=lambda: next(numbers))
    subscription.assign(Carried("audio", "p_1", "t_1", [OPUS]))
    subscription.assign(Carried("video", "p_1", "t_2", [VP8]))
    subscription.build_offer(LOCAL)
    try:
        subscription.receive_answer(data.decode(errors="replace"))
    except BadSdp:
        assert subscription.remote is None
        assert not any(slot.payload_types or slot.dead for slot in subscription.slots)
        return
    assert subscription.remote is not None
    for slot in subscription.slots:
        assert all(0 <= number <= 127 for number in slot.payload_types.values())
    subscription.build_offer(LOCAL)


def player(data: bytes) -> None:
    """A player's offer is refused or answered."""
    numbers = count(1)
    with suppress(BadSdp):
        playback = answer_player(
            data.decode(errors="replace"),
            LOCAL,
            [Carried("audio", "p_1", "t_1", [OPUS]), Carried("video", "p_1", "t_2", [VP8])],
            session_id=1,
            cname="c",
            ssrc=lambda: next(numbers),
        )
        parse_description_untrusted(playback.answer)
