"""The four-way handshake: tags, INIT and cookies (RFC 9260, 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from . import packet
from .cookie import Cookie, parse_cookie_untrusted, sign
from .inbound import MAX_STREAMS, WINDOW
from .packet import MTU, MalformedSctp, Packet, build_chunk, build_packet
from .parameters import Init, build_init, parse_init_untrusted

MAX_COOKIE: Final = MTU - 100
"""Bytes of a peer's cookie; it has to fit a packet. They use some 300."""
_FORWARD: Final = 1
_RESET: Final = 2


class Unexpected(Exception):
    """A cookie for another association."""


class Opening:
    """Both tags, and everything that is said until they are known."""

    def __init__(self, random: Callable[[int], bytes], ports: tuple[int, int]) -> None:
        self._random = random
        self._key = random(32)
        self.ports = ports
        self.tag = self._make_tag()
        self.peer_tag = 0
        self.first_tsn = self._make_number()

    def build(self, type: int, value: bytes = b"") -> bytes:
        """Return a packet of one chunk for the peer."""
        return build_packet(*self.ports, self.peer_tag, [build_chunk(type, value)])

    def expects(self, parsed: Packet) -> bool:
        """Whether a packet is for this association (RFC 9260, 8.5)."""
        first = parsed.chunks[0]
        if (parsed.destination, parsed.source) != self.ports:
            return False
        if first.type == packet.INIT:
            # "INIT ... MUST be the only chunk in the packet", and its tag 0.
            return parsed.tag == 0 and len(parsed.chunks) == 1
        if first.type in (packet.ABORT, packet.SHUTDOWN_COMPLETE):
            reflected = first.flags & packet.TAG_REFLECTED
            return parsed.tag == (self.peer_tag if reflected else self.tag)
        # A cookie says itself for which tag it was made.
        return parsed.tag == self.tag or first.type == packet.COOKIE_ECHO

    def ask(self) -> bytes:
        """Return an INIT, as a whole packet."""
        init = Init(self.tag, WINDOW, MAX_STREAMS, MAX_STREAMS, self.first_tsn)
        return build_packet(*self.ports, 0, [build_chunk(packet.INIT, build_init(init))])

    def answer(self, value: bytes, now: float, *, restart: bool) -> bytes:
        """Return the INIT ACK for an INIT; what is agreed is in its cookie alone.

        `restart`: there is an association, so the new one gets new tags, and the cookie the
        old ones as ties. Else, also where both ask at once, they are ours. Raise MalformedSctp.
        """
        init = parse_init_untrusted(value)
        tag, first, ties = self.tag, self.first_tsn, (0, 0)
        if restart:
            tag, first, ties = self._make_tag(), self._make_number(), (self.tag, self.peer_tag)
        features = init.forward * _FORWARD + init.reset * _RESET
        streams = min(init.inbound, MAX_STREAMS), min(init.outbound, MAX_STREAMS)
        cookie = Cookie(now, tag, init.tag, first, init.tsn, init.window, *streams, features, *ties)
        answer = Init(
            tag,
            WINDOW,
            MAX_STREAMS,
            MAX_STREAMS,
            first,
            init.forward,
            init.reset,
            sign(cookie, self._key),
        )
        chunk = build_chunk(packet.INIT_ACK, build_init(answer))
        return build_packet(*self.ports, init.tag, [chunk])

    def echo(self, value: bytes) -> tuple[bytes, Init]:
        """Take an INIT ACK; return the packet with its cookie. Raise MalformedSctp."""
        init = parse_init_untrusted(value)
        if not 0 < len(init.cookie) <= MAX_COOKIE:
            raise MalformedSctp("cookie length")
        self.peer_tag = init.tag
        return self.build(packet.COOKIE_ECHO, init.cookie), replace(init, cookie=b"")

    def open(self, value: bytes, tag: int, now: float) -> Cookie:
        """Take the cookie that comes back, under `tag`. Raise MalformedSctp or Unexpected."""
        cookie = parse_cookie_untrusted(value, self._key, now)
        if tag != cookie.local_tag:
            raise Unexpected
        return cookie

    def is_ours(self, cookie: Cookie) -> bool:
        """Whether a cookie was made with our tag."""
        return cookie.local_tag == self.tag

    def is_same(self, cookie: Cookie) -> bool:
        """Whether a cookie is of the association that there is (RFC 9260, 5.2.4, D)."""
        return (cookie.local_tag, cookie.remote_tag) == (self.tag, self.peer_tag)

    def is_restart(self, cookie: Cookie) -> bool:
        """Whether a cookie replaces the association that there is (RFC 9260, 5.2.4, A)."""
        ties = cookie.local_tie, cookie.remote_tie
        return ties == (self.tag, self.peer_tag) and cookie.remote_tag != self.peer_tag

    def adopt(self, cookie: Cookie) -> Init:
        """Go by a cookie from now on; return what the peer said of itself."""
        self.tag, self.peer_tag = cookie.local_tag, cookie.remote_tag
        self.first_tsn = cookie.local_tsn
        return Init(
            cookie.remote_tag,
            cookie.window,
            cookie.inbound,
            cookie.outbound,
            cookie.remote_tsn,
            bool(cookie.features & _FORWARD),
            bool(cookie.features & _RESET),
        )

    def _make_tag(self) -> int:
        return self._make_number() or 1

    def _make_number(self) -> int:
        return int.from_bytes(self._random(4), "big")
