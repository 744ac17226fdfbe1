"""Data channels on an association (RFC 8831, RFC 8832): opened, acknowledged, closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .association import Association
from .dcep import ACK, Open, build_open, parse_open_untrusted
from .packet import MalformedSctp
from .reassembly import Received
from .states import Ended, Established, Event, ResetDone, State, StreamsReset

DCEP: Final = 50
TEXT: Final = 51
BINARY: Final = 53
EMPTY_TEXT: Final = 56
EMPTY_BINARY: Final = 57
_TEXTS: Final = frozenset({TEXT, EMPTY_TEXT, 54})
"""54 and 52 are what RFC 8831 deprecates, parts of messages."""
_PAYLOADS: Final = frozenset({TEXT, BINARY, EMPTY_TEXT, EMPTY_BINARY, 52, 54})
MAX_CHANNELS: Final = 64


class Channel:
    """One data channel, with what its OPEN said."""

    __slots__ = ("closing", "open", "stream")

    def __init__(self, stream: int, open: Open) -> None:
        self.stream = stream
        self.open = open
        self.closing = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A channel stands: the peer has opened it, or has acknowledged that we did."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a channel."""

    channel: Channel
    payload: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has closed a channel, or lost it by beginning anew."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Refused:
    """What the peer sent was for no channel, made none, or was one too many."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The association stands; every channel is new."""


ChannelEvent = Ready | Opened | Arrived | Closed | Refused | Ended


class Channels:
    """`server`: our role in DTLS, which tells whose streams are odd (RFC 8832, 6)."""

    def __init__(self, association: Association, *, server: bool) -> None:
        self.association = association
        self._channels: dict[int, Channel] = {}
        self._resetting: set[int] = set()
        self._next = 1 if server else 0

    def open(self, open: Open) -> Channel:
        """Open a channel; it can be sent on at once."""
        while self._next in self._channels or self._next in self._resetting:
            self._next += 2
        channel = Channel(self._next, open)
        self._channels[channel.stream] = channel
        self._next += 2
        self.association.send(channel.stream, DCEP, build_open(open))
        return channel

    def send(self, channel: Channel, payload: bytes, *, text: bool) -> None:
        """Send a message with the channel's reliability."""
        if channel.closing:
            return
        ppid = TEXT if text else BINARY
        if not payload:
            # "the sender MUST send one byte", which the receiver throws away
            ppid, payload = (EMPTY_TEXT if text else EMPTY_BINARY), b"\x00"
        properties = channel.open
        self.association.send(
            channel.stream,
            ppid,
            payload,
            ordered=properties.ordered,
            max_retransmits=properties.max_retransmits,
        )

    def close(self, channel: Channel) -> None:
        """Close a channel once everything is sent."""
        if not channel.closing and self._channels.get(channel.stream) is channel:
            channel.closing = True
            self._reset(channel.stream)

    def next_events(self) -> Iterator[ChannelEvent]:
        """What has happened since the last call."""
        while (event := self.association.next_event()) is not None:
            if isinstance(event, Received):
                yield self._receive(event)
            else:
                yield from self._follow(event)

    def _receive(self, message: Received) -> ChannelEvent:
        if message.ppid == DCEP:
            return self._receive_control(message)
        channel = self._channels.get(message.stream)
        if channel is None or message.ppid not in _PAYLOADS:
            return Refused()
        empty = message.ppid in (EMPTY_TEXT, EMPTY_BINARY)
        return Arrived(channel, b"" if empty else message.payload, message.ppid in _TEXTS)

    def _receive_control(self, message: Received) -> ChannelEvent:
        stream = message.stream
        channel = self._channels.get(stream)
        if message.payload == ACK:
            return Refused() if channel is None else Opened(channel)
        try:
            open = parse_open_untrusted(message.payload)
        except MalformedSctp:
            return Refused()
        if channel is not None or stream in self._resetting:
            return Refused()
        if len(self._channels) + len(self._resetting) >= MAX_CHANNELS:
            self._reset(stream)
            return Refused()
        channel = self._channels[stream] = Channel(stream, open)
        self.association.send(stream, DCEP, ACK)
        return Opened(channel)

    def _reset(self, stream: int) -> None:
        self._resetting.add(stream)
        self.association.reset(stream)

    def _follow(self, event: Event) -> Iterator[ChannelEvent]:
        match event:
            case Established(restarted=restarted):
                if restarted:
                    yield from self._close_all()
                yield Ready()
            case StreamsReset(streams=streams):
                for stream in streams or tuple(self._channels):
                    channel = self._channels.pop(stream, None)
                    if channel is None:
                        continue
                    if not channel.closing:
                        channel.closing = True
                        self._reset(stream)
                    yield Closed(channel)
            case ResetDone(streams=streams):
                self._resetting.difference_update(streams)
            case Ended():
                yield from self._close_all()
                yield event

    def _close_all(self) -> Iterator[Closed]:
        channels, self._channels = self._channels, {}
        self._resetting.clear()
        self._next &= 1
        for channel in channels.values():
            channel.closing = True
            yield Closed(channel)

    @property
    def established(self) -> bool:
        return self.association.state is State.ESTABLISHED
