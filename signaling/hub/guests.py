"""Those who have no WebSocket: they publish by WHIP or watch by WHEP, through the relay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from msgspec import Raw

from relay import control

from ..access.tokens import Access
from ..logs import Log
from ..protocol.errors import ProtocolError
from ..protocol.messages import Grant, LeaveReason
from ..settings.config import Limits
from .delivery import Delivery
from .members import Departure, Members, make_ban_key
from .participant import NO_METADATA, Participant
from .relayrequests import Receive, RelayRequests

log = Log(__name__)


class Guests:
    """All WHIP and WHEP participants of one hub."""

    def __init__(
        self,
        limits: Limits,
        members: Members,
        delivery: Delivery,
        requests: RelayRequests,
        token: Callable[[], str],
    ) -> None:
        self._limits = limits
        self._members = members
        self._delivery = delivery
        self._requests = requests
        self._token = token
        self._unconnected: deque[tuple[float, Participant]] = deque()  # in order of time

    def join(
        self,
        room: str,
        now: float,
        *,
        name: str,
        grant: Grant,
        metadata: Raw = NO_METADATA,
        hidden: bool = False,
        watches: str | None = None,
        access: Access | None = None,
        address: str = "",
    ) -> str:
        """Let one in, and return its participant id. Raise ProtocolError."""
        identity = access.identity if access else ""
        ban_key = make_ban_key(identity, address) if identity or address else ""
        former = self._members.find_former(room, identity, guest=True, hidden=hidden)
        entered = self._members.enter(room, ban_key, replaces=former is not None)
        if watches is not None:
            entered.find(watches)
        if former is not None:
            self.leave(former.id, "left", now, keep=True)
        guest = Participant(
            "p_" + self._token(),
            name[: self._limits.max_name],
            grant,
            metadata=metadata,
            hidden=hidden,
            watches=watches,
            identity=identity,
            ban_key=ban_key,
        )
        self._unconnected.append((now + self._limits.media_timeout, guest))
        effects = entered.add(guest, now)
        self._members.add(entered, guest)
        self._delivery.apply(entered, effects)
        log.info("guest joined", extra={"room": room, "participant": guest.id, "hidden": hidden})
        return guest.id

    def leave(
        self, participant: str, reason: LeaveReason, now: float, *, keep: bool = False
    ) -> Departure | None:
        """Take a guest out; None for one that is out already."""
        found = self._members.find_guest(participant)
        if found is None:
            return None
        room, guest = found
        departure = self._members.remove(room, guest, reason, now, keep=keep)
        fields = {"room": room.name, "participant": participant, "reason": reason}
        log.info("guest left", extra=fields)
        return departure

    def ask(
        self,
        kind: Literal["publish", "play"],
        participant: str,
        sdp: str,
        receiver: Receive,
        address: str,
        now: float,
    ) -> None:
        """Have `receiver` called with the relay's answer to an offer. Raise ProtocolError."""
        found = self._members.find_guest(participant)
        if found is None:
            raise ProtocolError("session-expired", "The session is over.")
        room = found[0]

        def build(number: int) -> control.Command:
            if kind == "publish":
                # RFC 9725, 4.2: WHIP's offer is taken as a whole, or not at all.
                return control.Publish(room.name, participant, number, sdp, whole=True)
            return control.Pull(room.name, participant, number, sdp)

        self._requests.describe(
            room.name,
            participant,
            address,
            len(sdp),
            build,
            receiver,
            now,
        )

    def get_timer(self) -> float | None:
        return self._unconnected[0][0] if self._unconnected else None

    def handle_timer(self, now: float) -> list[Departure]:
        """End those whose media connection has not come about in time."""
        departures = []
        while self._unconnected and self._unconnected[0][0] <= now:
            guest = self._unconnected.popleft()[1]
            if not guest.connected and (left := self.leave(guest.id, "timeout", now)):
                departures.append(left)
        return departures
