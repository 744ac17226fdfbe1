"""One peer's transport: ICE, DTLS and the keys for SRTP, behind one UDP socket it shares.

Datagrams come in by `receive_*`, go out through the `Network`; a state table says where it
stands. Time is an argument: whoever owns it calls `handle_timer` when `get_timer` says.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from relay.sdp.description import TransportDescription
from relay.stats import Stats
from relay.transport.dtls import Certificate
from relay.transport.ice import Address
from relay.transport.srtp import Srtp


class TransportState(enum.Enum):
    """Values are those of `relay.control.TransportState`, and "new"."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class Network(Protocol):
    """What a transport needs of the socket (`relay.udp.Udp`)."""

    def add(self, username: str, endpoint: Transport[LegT]) -> None: ...
    def remove(self, username: str) -> None: ...
    def latch(self, address: Address, endpoint: Transport[LegT]) -> None: ...
    def unlatch(self, address: Address) -> None: ...
    def send(self, data: bytes, address: Address) -> None: ...


class MediaLeg(Protocol):
    """What a transport needs of the media that it carries (`relay.tracks.Leg`)."""

    def connect(self, rx: Srtp, tx: Srtp) -> None: ...
    def set_address(self, address: Address) -> None: ...


LegT = TypeVar("LegT", bound=MediaLeg)


class Transport(Generic[LegT]):
    """One peer.

    Made with the worker's certificate, the socket, the peer's leg, `token(n)` for random
    text of n characters, `unpack_address` (bytes to host and port), and `on_state`, called
    with each new state after everything else of the change has happened. It registers its
    ufrags and addresses with `network` itself, and takes them back when it ends: `failed`
    and `closed` are final, and after either nothing of it remains but the object.
    """

    def __init__(
        self,
        *,
        certificate: Certificate,
        network: Network,
        leg: LegT,
        stats: Stats,
        token: Callable[[int], str],
        unpack_address: Callable[[Address], tuple[str, int]],
        on_state: Callable[[Transport[LegT], TransportState], None],
        now: float,
        consent_timeout: float = 30.0,
    ) -> None:
        self.leg = leg
        raise NotImplementedError

    state: TransportState
    address: Address | None
    """Where media goes; None before the first verified check."""

    @property
    def local(self) -> TransportDescription:
        """Our side for the next offer or answer, `setup` "actpass": negotiation picks the role."""
        raise NotImplementedError

    def start(self, remote: TransportDescription, now: float) -> None:
        """The peer's description is known: check and shake hands.

        Called again with each later description: an unchanged one is ignored, new ICE
        credentials are taken over; new fingerprints raise BadSdp: DTLS is not done twice.
        `remote.setup` decides our role: their "active" makes us the server, "passive" the client,
        "actpass" (in their offer) the server.
        """
        raise NotImplementedError

    def restart_ice(self, now: float) -> TransportDescription:
        """Make fresh local credentials; the old ones work until the new ones are nominated."""
        raise NotImplementedError

    def receive_stun(self, data: bytes, address: Address, now: float) -> None:
        """One datagram that looks like STUN."""
        raise NotImplementedError

    def receive_dtls(self, data: bytes) -> None:
        """One datagram from a latched address that looks like DTLS."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """When to call `handle_timer` next; None: not at all."""
        raise NotImplementedError

    def handle_timer(self, now: float) -> None:
        """Check consent and the handshake's time limit."""
        raise NotImplementedError

    def close(self) -> None:
        """End it; tells the peer by close_notify. Idempotent."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Wait until the handshake's task has ended too; after `close`, or a failure."""
        raise NotImplementedError
