"""The ground that a room's media stands on: the worker's socket, hot path, certificate and dice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..config import Config
from ..plane.forwarder import Forwarder
from ..plane.leg import Leg
from ..sdp.description import TransportDescription
from ..sdp.negotiation import Local
from ..stats import Stats
from ..transport.data import Timing
from ..transport.dtls import Certificate
from ..transport.ice import Address
from ..transport.transport import Network, Transport, TransportState, ignore_timer
from .load import Load


@dataclass(frozen=True, slots=True)
class Site:
    """Made once by the worker; `addresses` are the candidates, `token(n)` is n random
    characters, `number()` a random 32-bit integer, `random(n)` n random bytes."""

    config: Config
    forwarder: Forwarder
    network: Network
    certificate: Certificate
    addresses: tuple[tuple[str, int], ...]
    stats: Stats
    token: Callable[[int], str]
    number: Callable[[], int]
    unpack_address: Callable[[Address], tuple[str, int]]
    timing: Timing
    random: Callable[[int], bytes]
    load: Load = field(default_factory=Load)
    on_timer: Callable[[Transport[Leg], float | None], None] = ignore_timer
    """Told when a transport's `handle_timer` is to be called; each room has its own."""

    def open_transport(
        self,
        name: str,
        on_state: Callable[[Transport[Leg], TransportState], None],
        certificate: Certificate | None = None,
        credentials: Sequence[str] = (),
    ) -> Transport[Leg]:
        """A transport with a leg of its own; whoever opens it closes both.

        `credentials` are its first ICE ufrag and password where they were told already.
        """
        told = list(credentials)

        def make_token(length: int) -> str:
            return told.pop(0) if told else self.token(length)

        return Transport(
            certificate=certificate or self.certificate,
            network=self.network,
            leg=self.forwarder.open_leg(name),
            stats=self.stats,
            token=make_token,
            unpack_address=self.unpack_address,
            on_state=on_state,
            timing=self.timing,
            random=self.random,
            on_timer=self.on_timer,
            consent_timeout=self.config.consent_timeout,
        )

    def describe(self, transport: TransportDescription) -> Local:
        """Our side of a transport, for an SDP."""
        return Local(transport, self.addresses)
