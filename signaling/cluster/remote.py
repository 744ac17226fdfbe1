"""Clients in this hub's rooms whose WebSockets are at other hubs: one hub link for each channel.

To the hub they are connections like any other. Rules only: a link between hubs is what has `send`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..protocol.errors import GOING_AWAY_CLOSE
from . import wire
from .front import MAX_HELD, Hub, Way

MAX_CHANNELS: Final = 50_000
"""Clients of one other hub; that hub has a bound of its own, which is lower."""


class Channel:
    """What the hub sends to one such client through; an `Outlet`."""

    __slots__ = ("closed", "joined", "link", "number", "way")

    def __init__(self, way: Way, number: int) -> None:
        self.way = way
        self.number = number
        self.link: Any = None
        self.joined = False
        self.closed = False

    def send(self, data: bytes) -> None:
        if not self.closed:
            self.way.send(wire.Data(self.number, data))

    def send_soon(self, data: bytes) -> None:
        if not self.closed:
            self.way.send(wire.Data(self.number, data, soon=True))

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.way.send(wire.Closed(self.number, code, reason))


class RemoteClients:
    """All of them, by link and channel."""

    def __init__(
        self, hub: Hub, *, owns: Callable[[str], bool], may_speak: Callable[[], bool]
    ) -> None:
        self._hub = hub
        self._owns = owns
        self._may_speak = may_speak
        self._channels: dict[Way, dict[int, Channel]] = {}
        self._held: list[tuple[Way, Any]] = []

    def __len__(self) -> int:
        return sum(map(len, self._channels.values()))

    def receive(self, way: Way, message: Any) -> None:
        """A message of another hub about one of its clients. Never raises."""
        if not self._may_speak():
            self._hold(way, message)
            return
        if isinstance(message, wire.Open):
            self._open(way, message)
            return
        channel = self._channels.get(way, {}).get(message.channel)
        if channel is None:
            return
        match message:
            case wire.Data():
                self._hub.receive(channel.link, message.frame)
                self._tell_joined(channel)
            case wire.Reject():
                self._hub.reject(channel.link, message.code)
            case wire.Gone():
                self._end(way, channel)

    def _hold(self, way: Way, message: Any) -> None:
        if len(self._held) < MAX_HELD:
            self._held.append((way, message))
        elif not isinstance(message, wire.Gone):
            way.send(wire.Closed(message.channel, GOING_AWAY_CLOSE, "draining"))

    def resume_speaking(self) -> None:
        """Carry out what came while this hub asked for its leases."""
        held, self._held = self._held, []
        for way, message in held:
            self.receive(way, message)

    def lose(self, way: Way) -> None:
        """The link is gone, and all its clients with it; their sessions wait for them."""
        for channel in list(self._channels.get(way, {}).values()):
            self._end(way, channel)
        self._channels.pop(way, None)

    def _open(self, way: Way, message: wire.Open) -> None:
        channels = self._channels.setdefault(way, {})
        if message.channel in channels or len(channels) >= MAX_CHANNELS:
            way.send(wire.Closed(message.channel, 4503, "overloaded"))
        elif not self._owns(message.room):
            way.send(wire.Moved(message.channel))
        else:
            channel = channels[message.channel] = Channel(way, message.channel)
            channel.link = self._hub.connect(channel, address=message.address)

    def _tell_joined(self, channel: Channel) -> None:
        joined = channel.link.session is not None
        if joined != channel.joined:
            channel.joined = joined
            channel.way.send(wire.Joined(channel.number, joined))

    def _end(self, way: Way, channel: Channel) -> None:
        channel.closed = True
        del self._channels[way][channel.number]
        self._hub.disconnect(channel.link)
