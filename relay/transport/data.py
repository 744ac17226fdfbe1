"""Data channels of one transport: SCTP between DTLS and whoever reads and writes messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ..stats import DropReason, Stats
from .sctp.association import PORT, Association
from .sctp.channels import Channel, ChannelEvent, Channels, Refused
from .sctp.dcep import Open

MAX_MESSAGE: Final = 256 * 1024
"""Bytes of one message, as announced in `a=max-message-size`."""


class Timing(Protocol):
    """The clock, and a timer on it."""

    def now(self) -> float: ...

    def call_at(self, at: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at `at` or a little later; returns what cancels it."""


class DataPath:
    """`send` takes SCTP packets to be encrypted; `on_event` gets what happens to channels.

    `server` is our role in DTLS. Everything is sent at once, and one timer is armed.
    """

    def __init__(
        self,
        *,
        server: bool,
        remote_port: int,
        send: Callable[[bytes], None],
        on_event: Callable[[ChannelEvent], None],
        timing: Timing,
        random: Callable[[int], bytes],
        stats: Stats,
    ) -> None:
        self._association = Association(
            random=random, local_port=PORT, remote_port=remote_port, max_message=MAX_MESSAGE
        )
        self._channels = Channels(self._association, server=server)
        self._send_packet = send
        self._on_event = on_event
        self._timing = timing
        self._stats = stats
        self._cancel: Callable[[], None] | None = None
        self._armed: float | None = None
        self._connected = False

    @property
    def established(self) -> bool:
        return self._channels.established

    def connect(self) -> None:
        """The transport stands: begin."""
        self._connected = True
        self._association.connect(self._timing.now())
        self.flush()

    def receive(self, data: bytes) -> None:
        """One SCTP packet of the peer."""
        self._count(self._association.receive(data, self._timing.now()))
        self.flush()

    def open(self, open: Open) -> Channel:
        """Open a channel; it can be written to at once."""
        return self._channels.open(open)

    def write(self, channel: Channel, payload: bytes, *, text: bool) -> None:
        """Send a message; what is written goes out with `flush`."""
        self._channels.send(channel, payload, text=text)

    def get_unsent(self, channel: Channel) -> int:
        """Bytes that wait for the peer to take what is before them."""
        return self._association.get_unsent(channel.stream)

    def drop_oldest(self, channel: Channel) -> bool:
        """Drop the oldest message of which nothing is sent; whether there was one."""
        return self._association.drop_oldest(channel.stream)

    def keep(self, size: int) -> None:
        """Let the peer send `size` bytes less for now; with a negative one, more again."""
        self._association.keep(size, self._timing.now())

    def abort(self, reason: str) -> None:
        """End the association, and tell the peer why."""
        self._association.abort(reason)
        self.flush()

    def close(self) -> None:
        """The transport is gone; nothing is sent or called any more. Idempotent."""
        self._connected = False
        self._disarm()

    def flush(self) -> None:
        """Pass on what has happened, send what is due, arm the timer."""
        for event in self._channels.next_events():
            if isinstance(event, Refused):
                self._count(DropReason.DATA_CHANNEL)
            else:
                self._on_event(event)
        if not self._connected:
            return
        for packet in self._association.datagrams_to_send(self._timing.now()):
            self._send_packet(packet)
        self._arm()

    def _arm(self) -> None:
        at = self._association.get_timer()
        # A timer that goes off too early looks again: cheaper than a new one for each packet.
        if at is None or (self._armed is not None and self._armed <= at):
            return
        self._disarm()
        self._armed = at
        self._cancel = self._timing.call_at(at, self._handle_timer)

    def _disarm(self) -> None:
        if self._cancel is not None:
            self._cancel()
        self._cancel = self._armed = None

    def _handle_timer(self) -> None:
        self._cancel = self._armed = None
        now = self._timing.now()
        due = self._association.get_timer()
        if due is not None and due <= now:
            self._association.handle_timer(now)
        self.flush()

    def _count(self, reason: DropReason | None) -> None:
        if reason is not None:
            self._stats.drops[reason] += 1
