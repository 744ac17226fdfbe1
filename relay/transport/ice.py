"""ICE-lite (RFC 8445 2.5): who may talk to us, from where, and until when.

The client checks, we answer. Media goes to the address that it nominated last; a client
that changes network is followed as soon as it nominates its new address. What is not
verified is dropped without a word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NewType

from ..stats import DropReason
from .stun import MalformedStun, build_response, parse_request_untrusted

Address = NewType("Address", bytes)
"""A peer's socket address as the kernel writes it: compared bytewise, never parsed here."""

UFRAG_LENGTH: Final = 16  # keeps every response within the size of its request: see stun
PWD_LENGTH: Final = 32  # RFC 8445 5.3 asks for at least 128 random bits
MAX_ADDRESSES: Final = 8  # verified at once; a client has a few networks, IPv4 and IPv6
MAX_CREDENTIALS: Final = 3  # the one in use, and restarts that are not nominated yet
MAX_TRANSACTIONS: Final = 256  # remembered against replay: some ten minutes of checks
DISCONNECTED_AFTER: Final = 10.0  # seconds; browsers check every 2.5, aiortc every 4 to 6
ASK_EVERY: Final = 1.0  # seconds between two looks whether media have come, once disconnected
SILENT_AFTER: Final = 5.0  # seconds; then a check moves us though it does not nominate


@dataclass(frozen=True, slots=True)
class Credentials:
    """Our ufrag and password of one ICE generation."""

    ufrag: str
    pwd: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Datagrams from `address` are the peer's from now on."""

    address: Address


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Datagrams from `address` are no longer taken to be the peer's."""

    address: Address


@dataclass(frozen=True, slots=True)
class Selected:
    """Send to `address` from now on."""

    address: Address


@dataclass(frozen=True, slots=True)
class Retired:
    """A ufrag of an earlier generation works no longer."""

    ufrag: str


@dataclass(frozen=True, slots=True)
class ConsentChanged:
    """Checks stopped coming (`alive` False), or came again."""

    alive: bool


@dataclass(frozen=True, slots=True)
class ConsentExpired:
    """RFC 7675 5.1: "MUST cease transmission" on this path. Nothing follows it."""


Event = Verified | Forgotten | Selected | Retired | ConsentChanged | ConsentExpired


class IceLite:
    """One peer's ICE. Feed it datagrams and time, then take what to send and what happened.

    `unpack_address` gives host and port of an `Address`, for XOR-MAPPED-ADDRESS.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        unpack_address: Callable[[Address], tuple[str, int]],
        consent_timeout: float = 30.0,
    ) -> None:
        self.address: Address | None = None
        self._credentials = [credentials]
        self._unpack_address = unpack_address
        self._consent_timeout = consent_timeout
        self._heard: dict[Address, float] = {}  # verified addresses, by their last check
        self._transactions: dict[bytes, Address] = {}  # oldest first
        self._checked_at: float | None = None  # last check, or since when we wait for one
        self._asked_at = 0.0  # when the timer ran last
        self._alive = True
        self._expired = False
        self._out: deque[tuple[bytes, Address]] = deque()
        self._events: deque[Event] = deque()

    @property
    def credentials(self) -> Credentials:
        """Those of the newest generation, for the next description."""
        return self._credentials[-1]

    @property
    def ufrags(self) -> list[str]:
        """All that work now."""
        return [c.ufrag for c in self._credentials]

    @property
    def addresses(self) -> list[Address]:
        """All that are verified now."""
        return list(self._heard)

    def start(self, now: float) -> None:
        """Expect checks from now on: without any, consent expires."""
        if self._checked_at is None:
            self._checked_at = now

    def restart(self, credentials: Credentials) -> None:
        """Begin a new generation; the old one works until the new one is nominated."""
        if len(self._credentials) == MAX_CREDENTIALS:
            # The first is in use, the last may be on its way to the client.
            self._events.append(Retired(self._credentials.pop(1).ufrag))
        self._credentials.append(credentials)

    # -- The five verbs --------------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: Address, now: float) -> DropReason | None:
        """Take a datagram that looks like STUN; returns why it was dropped, if it was."""
        if self._expired:
            return DropReason.UNKNOWN_USERNAME
        try:
            request = parse_request_untrusted(data)
        except MalformedStun:
            return DropReason.MALFORMED
        generation = self._find_generation(request.local)
        if generation is None:
            return DropReason.UNKNOWN_USERNAME
        pwd = self._credentials[generation].pwd
        if not request.verify(pwd):
            return DropReason.AUTHENTICATION
        first_from = self._transactions.get(request.transaction_id)
        if first_from is not None and first_from != address:
            return DropReason.REPLAYED

        host, port = self._unpack_address(address)
        self._out.append((build_response(request, pwd, host, port), address))
        # Sent twice (by a lost response, or by someone who recorded it): answered, no more.
        if first_from is None:
            self._remember(request.transaction_id, address)
            self._verify(address, now)
            self._select(address, generation, request.use_candidate, now)
            self._refresh_consent(now)
        return None

    def receive_proof(self, now: float) -> None:
        """Something authentic came at `now` from a verified address, as only the peer can send it.

        RFC 7675, 5.1 is about one's own right to send; some clients answer checks and never make
        any once their media flow. SRTP proves more than a Binding request does: it counts.
        """
        if self._checked_at is None or self._expired or now <= self._checked_at:
            return
        self._refresh_consent(now)

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Return and forget the responses that wait."""
        datagrams = list(self._out)
        self._out.clear()
        return datagrams

    def next_event(self) -> Event | None:
        """Return the next thing that happened, in order."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """Return when consent changes unless a check or a proof comes before, or when to ask again
        for a proof while consent is fading."""
        if self._checked_at is None or self._expired:
            return None
        expiry = self._checked_at + self._consent_timeout
        if self._alive and self.address is not None:
            return min(self._checked_at + DISCONNECTED_AFTER, expiry)
        return expiry if self._alive else min(self._asked_at + ASK_EVERY, expiry)

    def handle_timer(self, now: float) -> None:
        """Let consent fade, and addresses that went silent."""
        if self._checked_at is None or self._expired:
            return
        self._asked_at = now
        silence = now - self._checked_at
        if silence >= self._consent_timeout:
            self._expired = True
            self._events.append(ConsentExpired())
            return
        if self._alive and self.address is not None and silence >= DISCONNECTED_AFTER:
            self._alive = False
            self._events.append(ConsentChanged(False))

    # -- Parts of a check ------------------------------------------------------------------

    def _find_generation(self, ufrag: str) -> int | None:
        for index, credentials in enumerate(self._credentials):
            if credentials.ufrag == ufrag:
                return index
        return None

    def _remember(self, transaction_id: bytes, address: Address) -> None:
        if len(self._transactions) == MAX_TRANSACTIONS:
            del self._transactions[next(iter(self._transactions))]
        self._transactions[transaction_id] = address

    def _verify(self, address: Address, now: float) -> None:
        """Note that the peer is at `address`; forget those it has left."""
        known = self._heard.pop(address, None) is not None
        self._heard[address] = now  # newest last
        for other in list(self._heard):
            stale = now - self._heard[other] > self._consent_timeout
            if other not in (address, self.address) and (stale or len(self._heard) > MAX_ADDRESSES):
                del self._heard[other]
                self._events.append(Forgotten(other))
        if not known:
            self._events.append(Verified(address))

    def _select(self, address: Address, generation: int, nominated: bool, now: float) -> None:
        selected = self.address
        # Some clients never nominate: follow them once the old address is silent.
        silent = selected is None or now - self._heard[selected] > SILENT_AFTER
        if not nominated and not silent:
            return
        for credentials in self._credentials[:generation]:
            self._events.append(Retired(credentials.ufrag))
        del self._credentials[:generation]
        if address != selected:
            self.address = address
            self._events.append(Selected(address))

    def _refresh_consent(self, now: float) -> None:
        self._checked_at = now
        if not self._alive:
            self._alive = True
            self._events.append(ConsentChanged(True))
