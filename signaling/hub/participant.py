"""One who is in a room, and what follows from an input to that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from msgspec import UNSET, Raw

from relay import control
from relay.control import Source, Track

from ..protocol import messages
from ..protocol.messages import Grant, ServerMessage

NO_METADATA: Final = Raw(b"{}")


class Recipient(Protocol):
    """Whoever gets what a participant is told."""

    @property
    def connected(self) -> bool: ...
    def send(self, body: bytes) -> None: ...


class Participant:
    """One in the room. A guest has no session: WHIP publishes for it, through the relay.

    A hidden one watches (WHEP): nobody is told of it. `watches` names whom, None everyone.
    `ban_key` is what a ban remembers, empty
    where nothing is known.
    """

    __slots__ = (
        "attached",
        "ban_key",
        "connected",
        "data",
        "grant",
        "guest",
        "hidden",
        "id",
        "identity",
        "metadata",
        "name",
        "routes",
        "session",
        "tracks",
        "watches",
    )

    def __init__(
        self,
        id: str,
        name: str,
        grant: Grant,
        *,
        metadata: Raw = NO_METADATA,
        session: Recipient | None = None,
        hidden: bool = False,
        watches: str | None = None,
        identity: str = "",
        ban_key: str = "",
        data: bool = False,
    ) -> None:
        self.id = id
        self.identity = identity  # what the token says, for logs and programs
        self.name = name
        self.grant = grant
        self.metadata = metadata
        self.session = session
        self.guest = session is None
        self.hidden = hidden or grant.hidden is True
        self.watches = watches
        self.ban_key = ban_key
        self.data = data  # whether it takes data through the relay
        self.tracks: dict[str, Track] | None = None
        self.routes: set[str] | None = None  # whom it receives through the relay, in a mesh
        self.connected = False  # whether a guest's media connection ever stood
        self.attached = False  # whether the relay has been told of it

    @property
    def sources(self) -> list[Source] | None:
        """Those it may publish from, None any."""
        return None if self.grant.sources is UNSET else self.grant.sources

    @property
    def restricted(self) -> bool:
        """Whether its grants hold in the relay alone: nothing else looks into what is sent."""
        grant = self.grant
        return self.sources is not None or not (grant.publish and grant.subscribe)

    def needs_relay(self, other: Participant) -> bool:
        """Whether the two may exchange media through the relay only."""
        return self.guest or other.guest or self.restricted or other.restricted

    def describe(self, *, relayed: bool = False) -> messages.ParticipantInfo:
        """What others are told; `relayed` for one to whom its media come by the relay alone."""
        return messages.ParticipantInfo(
            id=self.id,
            name=self.name,
            metadata=self.metadata,
            tracks=list(self.tracks.values()) if self.tracks else [],
            via="relay" if relayed or self.guest or self.restricted else UNSET,
        )


class Effects:
    """What follows from an input, in order: messages to participants, commands to the relay."""

    __slots__ = ("commands", "deliveries")

    def __init__(self) -> None:
        self.deliveries: list[tuple[list[Participant], ServerMessage]] = []
        self.commands: list[control.Command] = []

    def tell(self, to: Iterable[Participant], message: ServerMessage) -> None:
        self.deliveries.append(([p for p in to if not p.guest], message))
