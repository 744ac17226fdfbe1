"""Descriptions for the tests of this folder: those of the fuzz corpus, and small ones made here."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from relay.sdp import negotiation, player
from relay.sdp.description import Fingerprint, TransportDescription
from relay.sdp.negotiation import Local, Publication
from relay.sdp.player import Playback
from relay.sdp.reading import parse_offer_untrusted

CORPUS = Path(__file__).parents[3] / "fuzz" / "corpus" / "sdp"
DIGEST = ":".join(["AB"] * 32)
LOCAL = Local(
    TransportDescription("u" * 16, "p" * 32, (Fingerprint("sha-256", DIGEST),), "actpass", True),
    (("192.0.2.1", 8443), ("2001:db8::1", 8443)),
)
RESTARTED = Local(
    TransportDescription("v" * 16, "q" * 32, (Fingerprint("sha-256", DIGEST),), "actpass", True),
    LOCAL.addresses,
)

AUDIO = ("audio", "111", ["rtpmap:111 opus/48000/2", "fmtp:111 minptime=10;usedtx=1"])
VIDEO = (
    "video",
    "96 97",
    ["rtpmap:96 VP8/90000", "rtcp-fb:96 nack pli", "rtpmap:97 rtx/90000", "fmtp:97 apt=96"],
)
AV1 = (
    "video",
    "45 46",
    ["rtpmap:45 AV1/90000", "rtcp-fb:45 nack pli", "rtpmap:46 rtx/90000", "fmtp:46 apt=45"],
)


def read_corpus(name: str) -> str:
    return (CORPUS / f"{name}.sdp").read_bytes().decode()


def make_offer(
    *media: tuple[str, str, list[str]],
    direction: str = "sendonly",
    ufrag: str = "abcd",
    setup: str = "actpass",
    bundle: bool = True,
    extra: list[str] | None = None,
) -> str:
    """An offer of m-lines (kind, formats, attributes), mids counted from 0."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bundle:
        lines.append("a=group:BUNDLE " + " ".join(str(i) for i in range(len(media))))
    lines += [f"a=ice-ufrag:{ufrag}", "a=ice-pwd:" + "w" * 24]
    lines += [f"a=fingerprint:sha-256 {DIGEST}", f"a=setup:{setup}", *(extra or [])]
    for index, (kind, formats, attributes) in enumerate(media):
        protocol = "UDP/DTLS/SCTP" if kind == "application" else "UDP/TLS/RTP/SAVPF"
        lines += [f"m={kind} 9 {protocol} {formats}", "c=IN IP4 0.0.0.0", f"a=mid:{index}"]
        lines += [f"a={direction}", "a=rtcp-mux", *(f"a={line}" for line in attributes)]
    return "\r\n".join(lines) + "\r\n"


def make_answer(offer: str, *, accept: Callable[[str], bool] = bool) -> str:
    """A client's answer to an offer of the relay's: the same lines, turned round; `accept` may
    leave out some."""
    turned = {
        "a=sendonly": "a=recvonly",
        "a=setup:actpass": "a=setup:active",
        "a=ice-lite": None,
        "a=end-of-candidates": None,
    }
    lines = []
    for offered in offer.split("\r\n"):
        line = turned.get(offered, offered)
        if line is None or line.startswith(("a=candidate", "a=ssrc", "a=msid")):
            continue
        if accept(line):
            lines.append(line)
    return "\r\n".join(lines)


def answer_publisher(
    offer: str, local: Local, previous: Publication | None = None, *, whole: bool = False
) -> Publication:
    """What an offer's text comes to."""
    return negotiation.answer_publisher(parse_offer_untrusted(offer), local, previous, whole=whole)


def is_continuation(offer: str, previous: Publication) -> bool:
    return negotiation.is_continuation(parse_offer_untrusted(offer), previous)


def answer_player(offer: str, *arguments: Any, **named: Any) -> Playback:
    return player.answer_player(parse_offer_untrusted(offer), *arguments, **named)


def count_ssrcs(first: int = 1000) -> Callable[[], int]:
    numbers = count(first)
    return lambda: next(numbers)
