"""One peer's transport: ICE, DTLS and the keys for SRTP, behind one UDP socket it shares.

Datagrams come in by `receive_*`, go out through the `Network`; a state table says where it
stands. Time is an argument: whoever owns it calls `handle_timer` when `get_timer` says.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from ..sdp.description import BadSdp, TransportDescription
from ..stats import DropReason, Stats
from . import ice
from .data import DataPath, Timing
from .dtls import Certificate, Dtls, Role, is_application_data
from .ice import Address, Credentials, IceLite
from .sctp.channels import ChannelEvent
from .srtp import Srtp

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT: Final = 20.0  # seconds from the first check on; OpenSSL resends at 1, 2, 4, 8

MAX_DATA_RATE: Final = 5000.0
"""Datagrams of SCTP that a peer may send in a second, and at once: what fills 1 MiB/s both ways
takes some 2000."""


class TransportState(enum.Enum):
    """Values are those of `relay.control.TransportState`, and "new"."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


_S = TransportState
TRANSITIONS: Final[Mapping[TransportState, frozenset[TransportState]]] = {
    _S.NEW: frozenset({_S.CONNECTING, _S.FAILED, _S.CLOSED}),
    _S.CONNECTING: frozenset({_S.CONNECTED, _S.FAILED, _S.CLOSED}),
    _S.CONNECTED: frozenset({_S.DISCONNECTED, _S.FAILED, _S.CLOSED}),
    _S.DISCONNECTED: frozenset({_S.CONNECTED, _S.FAILED, _S.CLOSED}),
    _S.FAILED: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
}
ENDED: Final = frozenset({_S.FAILED, _S.CLOSED})


class Network(Protocol):
    """The socket, as a transport needs it (`relay.plane.udp.Udp`)."""

    def add(self, username: str, endpoint: Any) -> None: ...
    def remove(self, username: str) -> None: ...
    def latch(self, address: Address, endpoint: Any) -> None: ...
    def unlatch(self, address: Address, endpoint: Any) -> None: ...
    def send(self, data: bytes, address: Address) -> None: ...


class MediaLeg(Protocol):
    """The media that a transport carries, as it needs them (`relay.plane.leg.Leg`)."""

    @property
    def name(self) -> str:
        """Whose it is, for people."""
        ...

    @property
    def heard_at(self) -> float:
        """The time at which an authentic packet came last, from an address that was latched."""
        ...

    def connect(self, rx: Srtp, tx: Srtp) -> None: ...
    def set_address(self, address: Address) -> None: ...


LegT = TypeVar("LegT", bound=MediaLeg)


def ignore_timer(_transport: Any, _at: float | None) -> None:
    """For an owner that asks `get_timer` itself."""


class Transport(Generic[LegT]):
    """One peer.

    Made with the worker's certificate, the socket, the peer's leg, `token(n)` for random
    text of n letters and digits, `unpack_address` (bytes to host and port), `on_state`, called
    with each new state after everything else of the change has happened, and `on_timer`, called
    when `get_timer` has become earlier (or None: there is nothing to wait for). It registers
    its ufrags and addresses with `network` itself, and takes them back when it ends: after
    `failed` or `closed` nothing of it remains but the object.
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
        timing: Timing,
        random: Callable[[int], bytes],
        on_timer: Callable[[Transport[LegT], float | None], None] = ignore_timer,
        consent_timeout: float = 30.0,
    ) -> None:
        self.leg = leg
        self.state = TransportState.NEW
        self.remote: TransportDescription | None = None
        self._certificate = certificate
        self._network = network
        self._stats = stats
        self._token = token
        self._on_state = on_state
        self._on_timer = on_timer
        self._armed = float("inf")
        self._handshake_by: float | None = None
        self._alive = True
        self._ice = IceLite(
            self._make_credentials(),
            unpack_address=unpack_address,
            consent_timeout=consent_timeout,
        )
        self._dtls = Dtls(
            certificate,
            send=self._send,
            on_connected=self._receive_keys,
            on_closed=self._receive_end,
            on_data=self._receive_data,
        )
        self.data: DataPath | None = None
        """Where the peer has data channels."""
        self._timing = timing
        self._random = random
        self._data_allowance, self._data_counted = MAX_DATA_RATE, timing.now()
        network.add(self._ice.credentials.ufrag, self)

    @property
    def address(self) -> Address | None:
        """The address that media go to; None before the first verified check."""
        return self._ice.address

    @property
    def local(self) -> TransportDescription:
        """Our side for the next offer or answer; negotiation picks the role."""
        credentials = self._ice.credentials
        return TransportDescription(
            ufrag=credentials.ufrag,
            pwd=credentials.pwd,
            fingerprints=(self._certificate.fingerprint,),
            setup="actpass",
            lite=True,
        )

    def start(self, remote: TransportDescription, now: float) -> None:
        """The peer's description is known: expect checks and shake hands.

        To be called with each later description too: new ICE credentials are noted, another
        certificate raises `BadSdp`, for DTLS is not done twice. `remote.setup` is the peer's
        own word: "passive" makes us the client, all else the server.
        """
        if self.state in ENDED:
            return
        previous, self.remote = self.remote, remote
        if previous is not None:
            if set(previous.fingerprints) != set(remote.fingerprints):
                self.remote = previous
                raise BadSdp("The certificate's fingerprint changed: open a new connection.")
            return
        self._set_state(TransportState.CONNECTING)
        self._ice.start(now)
        self._start_dtls(now)
        self._arm()

    def open_data(
        self, remote: TransportDescription, port: int, on_event: Callable[[ChannelEvent], None]
    ) -> DataPath:
        """Have data channels with a peer that this describes; before it is started."""
        self.data = DataPath(
            server=_choose_role(remote) == "server",
            remote_port=port,
            send=self._dtls.send,
            on_event=on_event,
            timing=self._timing,
            random=self._random,
            stats=self._stats,
        )
        if self.state in (TransportState.CONNECTED, TransportState.DISCONNECTED):
            self.data.connect()
        return self.data

    def restart_ice(self) -> TransportDescription:
        """Make fresh local credentials; the old ones work until the new ones are nominated."""
        if self.state not in ENDED:
            self._ice.restart(self._make_credentials())
            self._network.add(self._ice.credentials.ufrag, self)
            self._take_events(None)
        return self.local

    def receive_stun(self, data: bytes, address: Address, now: float) -> None:
        """One datagram that looks like STUN, from anywhere."""
        if self.state in ENDED:
            return
        self._count(self._ice.receive_datagram(data, address, now))
        for datagram, to in self._ice.datagrams_to_send():
            self._network.send(datagram, to)
        self._take_events(now)
        self._arm()

    def receive_dtls(self, data: bytes) -> None:
        """One datagram from a latched address that looks like DTLS."""
        if self.state in ENDED:
            return
        if is_application_data(data) and not self._may_send_data():
            self._count(DropReason.FLOOD)
            return
        self._count(self._dtls.receive(data))

    def _may_send_data(self) -> bool:
        """Count a datagram of SCTP, before anything is spent on it."""
        now = self._timing.now()
        grown = (now - self._data_counted) * MAX_DATA_RATE
        self._data_allowance = min(MAX_DATA_RATE, self._data_allowance + grown)
        self._data_counted = now
        if self._data_allowance < 1:
            return False
        self._data_allowance -= 1
        return True

    def get_timer(self) -> float | None:
        """Return when to call `handle_timer` next; None: not at all."""
        if self.state in ENDED:
            return None
        times = [t for t in (self._ice.get_timer(), self._handshake_by) if t is not None]
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Check consent, and the handshake's time limit."""
        self._armed = float("inf")
        if self.state in ENDED:
            return
        if self._handshake_by is not None and now >= self._handshake_by:
            fault = self._dtls.fault
            self._fail(f"handshake: {fault or 'not done in time'}")
            return
        self._ice.receive_proof(self.leg.heard_at)
        self._ice.handle_timer(now)
        self._take_events(now)
        self._arm()

    def close(self) -> None:
        """End it; tells the peer by close_notify. Idempotent."""
        if self.state is TransportState.FAILED:
            self._set_state(TransportState.CLOSED)
        elif self.state is not TransportState.CLOSED:
            self._end(TransportState.CLOSED)

    async def wait_closed(self) -> None:
        """Wait until the handshake's tasks have ended too; after `close`, or a failure."""
        await self._dtls.wait_closed()

    # -- Within ------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have `handle_timer` called when it is due. That it has become later is seen then."""
        timer = self.get_timer()
        if timer is not None and timer < self._armed:
            self._armed = timer
            self._on_timer(self, timer)

    def _take_events(self, now: float | None) -> None:
        while self.state not in ENDED and (event := self._ice.next_event()) is not None:
            match event:
                case ice.Verified(address):
                    self._network.latch(address, self)
                case ice.Forgotten(address):
                    self._network.unlatch(address, self)
                case ice.Selected(address):
                    self.leg.set_address(address)
                    if now is not None:
                        self._start_dtls(now)
                case ice.Retired(ufrag):
                    self._network.remove(ufrag)
                case ice.ConsentChanged(alive):
                    self._alive = alive
                    self._show_consent()
                case ice.ConsentExpired():
                    if self.state is TransportState.CONNECTING:
                        self._fail("ICE: checks ended" if self.address else "ICE: no check came")
                    else:
                        self._end(TransportState.FAILED)

    def _start_dtls(self, now: float) -> None:
        """Shake hands once both are known: whom to expect, and where it is."""
        if self.remote is None or self.address is None or self._dtls.started:
            return
        self._handshake_by = now + HANDSHAKE_TIMEOUT
        self._dtls.start(_choose_role(self.remote), self.remote.fingerprints)

    def _receive_keys(self, rx: Srtp | None, tx: Srtp | None) -> None:
        self._handshake_by = None
        if rx is not None and tx is not None:
            self.leg.connect(rx, tx)
        elif self.data is None:
            self._fail("no SRTP profile in common")
            return
        self._set_state(TransportState.CONNECTED)
        if self.data is not None:
            self.data.connect()
        self._show_consent()

    def _receive_data(self, data: bytes) -> None:
        if self.data is not None:
            self.data.receive(data)
        else:
            self._count(DropReason.DATA_CHANNEL)

    def _receive_end(self, reason: str) -> None:
        if self.state is TransportState.CONNECTING:
            self._fail(f"handshake: {reason}")
        else:
            self._end(TransportState.CLOSED)

    def _fail(self, reason: str) -> None:
        """End it before it was connected."""
        self._stats.failed_handshakes += 1
        logger.info("no connection", extra={"transport": self.leg.name, "reason": reason})
        self._end(TransportState.FAILED)

    def _show_consent(self) -> None:
        if self.state is TransportState.CONNECTED and not self._alive:
            self._set_state(TransportState.DISCONNECTED)
        elif self.state is TransportState.DISCONNECTED and self._alive:
            self._set_state(TransportState.CONNECTED)

    def _end(self, state: TransportState) -> None:
        self._handshake_by = None
        if self.data is not None:
            self.data.close()
        self._dtls.close()
        for ufrag in self._ice.ufrags:
            self._network.remove(ufrag)
        for address in self._ice.addresses:
            self._network.unlatch(address, self)
        self._on_timer(self, None)
        self._set_state(state)

    def _set_state(self, state: TransportState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"transport: {self.state.value} to {state.value}")
        self.state = state
        self._on_state(self, state)

    def _send(self, data: bytes) -> None:
        if self.address is not None:
            self._network.send(data, self.address)

    def _count(self, reason: DropReason | None) -> None:
        if reason is not None:
            self._stats.drops[reason] += 1

    def _make_credentials(self) -> Credentials:
        return Credentials(self._token(ice.UFRAG_LENGTH), self._token(ice.PWD_LENGTH))


def _choose_role(remote: TransportDescription) -> Role:
    return "client" if remote.setup == "passive" else "server"
