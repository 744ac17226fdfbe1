"""What goes wrong with signaling, by name."""

from __future__ import annotations

from typing import Final


class ClientError(Exception):
    """Base of everything that this library raises."""


class ServerUnreachable(ClientError):
    """Nothing answers at the server's address, or it stopped answering for too long."""


class TokenRefused(ClientError):
    """The token is missing, malformed, expired, or not for this room."""


class RoomUnknown(ClientError):
    """There is and can be no room of this name: 1-64 letters, digits, `.`, `_`, `-`."""


class RoomFull(ClientError):
    """The room has as many participants as it may have."""


class RoomLocked(ClientError):
    """A moderator lets nobody in any more."""


class Kicked(ClientError):
    """A moderator removed this participant, or closed the room."""


class Replaced(ClientError):
    """This session was resumed, or its identity joined, on another connection."""


class NotConnected(ClientError):
    """The client has left, or has not joined yet."""


class SessionLost(ClientError):
    """The session expired before the reply came; the client joined anew, nothing was repeated."""


class FellBehind(ClientError):
    """This reader of events did not read for so long that some would be lost."""


class Refused(ClientError):
    """The server answered a request with an error; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str, float | None]]:
        """Exceptions are made anew of their text alone, which is one argument of three."""
        return type(self), (self.code, self.message, self.retry_after)


REFUSALS: Final[dict[str, type[ClientError]]] = {
    "unauthorized": TokenRefused,
    "room-full": RoomFull,
    "room-locked": RoomLocked,
    "kicked": Kicked,
    "replaced": Replaced,
}
"""Errors that end a session or refuse it for good."""
FINAL_CLOSES: Final[dict[int, type[ClientError]]] = {
    4400: ClientError,
    4401: TokenRefused,
    4403: Kicked,
    4409: Replaced,
}
