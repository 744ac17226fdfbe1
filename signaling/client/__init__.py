"""The client library: a participant without media. See `Client`."""

from .client import Client
from .data import CallError, Message, ReaderTooSlow
from .errors import (
    ClientError,
    FellBehind,
    Kicked,
    NotConnected,
    Refused,
    Replaced,
    RoomFull,
    RoomLocked,
    RoomUnknown,
    ServerUnreachable,
    SessionLost,
    TokenRefused,
)
from .events import Disconnected, Event, Reconnected, Rejoined
from .room import Participant

__all__ = [
    "CallError",
    "Client",
    "ClientError",
    "Disconnected",
    "Event",
    "FellBehind",
    "Kicked",
    "Message",
    "NotConnected",
    "Participant",
    "ReaderTooSlow",
    "Reconnected",
    "Refused",
    "Rejoined",
    "Replaced",
    "RoomFull",
    "RoomLocked",
    "RoomUnknown",
    "ServerUnreachable",
    "SessionLost",
    "TokenRefused",
]
