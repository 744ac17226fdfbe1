"""Data between participants: what a frame says, how much each may send, who gets it.

The relay never reads a payload. What waits is bounded at both ends: a sender that is too fast
is slowed down by its own SCTP window, a receiver that is too slow is let go.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ..stats import DropReason, Stats
from ..transport.data import DataPath, Timing
from ..transport.sctp.channels import Arrived, Channel, ChannelEvent, Closed, Opened, Ready
from ..transport.sctp.dcep import Open
from ..transport.sctp.states import Ended

log = logging.getLogger(__name__)

KIB: Final = 1024
MAX_LOSSY: Final = 1200
"""Bytes of a lossy payload: with its frame it is two packets at most."""
MAX_UNSENT: Final = 256 * KIB
"""Bytes that wait for one receiver on one channel."""
FREE: Final = KIB
"""Bytes beside which the largest message is taken, too: while a channel opens, its OPEN waits."""
RATE: Final = 1024 * KIB
"""Bytes a second that one participant may send."""
BURST: Final = 128 * KIB
MAX_RECEIVERS: Final = 64
MAX_TOPIC: Final = 64
OVERHEAD: Final = 128
"""Bytes that each message counts beside its payload."""

RELIABLE: Final = Open("reliable")
LOSSY: Final = Open("lossy", ordered=False, max_retransmits=0)


class BadFrame(ValueError):
    """Not a frame."""


class _Header(msgspec.Struct):
    """What a sender says of a message; without `to` it is for everyone else."""

    to: Annotated[list[str], Meta(min_length=1, max_length=MAX_RECEIVERS)] | None = None
    topic: Annotated[str, Meta(max_length=MAX_TOPIC)] = ""


class _From(msgspec.Struct, rename={"sender": "from"}):
    """What a receiver is told of a message."""

    sender: str
    topic: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A message as its sender framed it."""

    to: list[str] | None
    topic: str
    payload: bytes


_decoder: msgspec.json.Decoder[_Header] = msgspec.json.Decoder(_Header)
_encoder = msgspec.json.Encoder()


# |  version (0)  |      length of the header     | header: JSON, then the payload
def parse_frame_untrusted(data: bytes) -> Frame:
    """Parse what a participant sends. Raise BadFrame."""
    if len(data) < 3 or data[0] != 0:
        raise BadFrame("version")
    end = 3 + int.from_bytes(data[1:3], "big")
    if end > len(data):
        raise BadFrame("length")
    try:
        header = _decoder.decode(data[3:end])
    except (ValueError, RecursionError):
        raise BadFrame("header") from None
    return Frame(header.to, header.topic, data[end:])


def build_frame(sender: str, topic: str, payload: bytes) -> bytes:
    """Return a message as its receivers get it."""
    header = _encoder.encode(_From(sender, topic))
    return b"\x00" + len(header).to_bytes(2, "big") + header + payload


class Sending:
    """A publisher's side. `deliver` gets each message when its turn has come."""

    def __init__(
        self,
        deliver: Callable[[Arrived, bool], None],
        timing: Timing,
        stats: Stats,
    ) -> None:
        self.path: DataPath | None = None
        self._deliver = deliver
        self._timing = timing
        self._stats = stats
        self._allowance = float(BURST)
        self._filled = timing.now()
        self._waiting: deque[Arrived] = deque()
        self._cancel: Callable[[], None] | None = None

    def receive(self, event: ChannelEvent) -> None:
        """What happens on the publisher's channels."""
        if not isinstance(event, Arrived):
            return
        # By its name, since werift forgets to say that 0 retransmissions are none.
        lossy = event.channel.open.label == LOSSY.label
        if event.channel.open.label not in (RELIABLE.label, LOSSY.label):
            self._stats.drops[DropReason.DATA_CHANNEL] += 1
        elif not self._waiting and self._fill() > 0:
            self._pass_on(event)
        elif lossy:
            self._stats.drops[DropReason.DATA_RATE] += 1
        else:
            self._waiting.append(event)
            self._keep(len(event.payload) + OVERHEAD)
            self._arm()

    def close(self) -> None:
        """The publisher is gone. Idempotent."""
        self._waiting.clear()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _pass_on(self, event: Arrived) -> None:
        # It may go into debt, so that a message can be larger than the burst.
        self._allowance -= len(event.payload) + OVERHEAD
        self._deliver(event, event.channel.open.label == LOSSY.label)

    def _fill(self) -> float:
        now = self._timing.now()
        self._allowance = min(BURST, self._allowance + (now - self._filled) * RATE)
        self._filled = now
        return self._allowance

    def _keep(self, size: int) -> None:
        if self.path is not None:
            self.path.keep(size)

    def _arm(self) -> None:
        if self._cancel is None:
            at = self._timing.now() + max(0.0, -self._allowance) / RATE + 0.005
            self._cancel = self._timing.call_at(at, self._go_on)

    def _go_on(self) -> None:
        self._cancel = None
        while self._waiting and self._fill() > 0:
            event = self._waiting.popleft()
            self._keep(-len(event.payload) - OVERHEAD)
            self._pass_on(event)
        if self._waiting:
            self._arm()
        if self.path is not None:
            self.path.flush()


class Receiving:
    """A subscriber's side: two channels, opened by us."""

    def __init__(self, participant: str, stats: Stats) -> None:
        self._participant = participant
        self._stats = stats
        self._path: DataPath | None = None
        self._max_message = 0
        self._channels: dict[bool, Channel] = {}  # by whether lossy

    @property
    def is_open(self) -> bool:
        return self._path is not None

    def begin(self, path: DataPath, max_message: int) -> None:
        """Write to this path from now on."""
        self._path, self._max_message = path, max_message
        self._open(path)

    def end(self) -> None:
        """There is no path."""
        self._path = None
        self._channels.clear()

    def receive(self, event: ChannelEvent) -> None:
        """What happens on the subscriber's channels."""
        match event:
            case Arrived():
                self._stats.drops[DropReason.DATA_CHANNEL] += 1
            case Closed(channel=channel):
                self._channels = {k: c for k, c in self._channels.items() if c is not channel}
            case Ready() if self._path is not None and not self._channels:
                self._open(self._path)  # the client has begun anew
            case Ended(reason=reason):
                self.end()
                fields = {"participant": self._participant, "reason": reason}
                log.info("data channels ended", extra=fields)
            case Ready() | Opened():
                pass

    def send(self, frame: bytes, *, text: bool, lossy: bool) -> None:
        """Send a message; counted where it goes no further."""
        path, channel = self._path, self._channels.get(lossy)
        if path is None or channel is None:
            self._stats.drops[DropReason.DATA_NO_RECEIVER] += 1
            return
        if len(frame) > self._max_message:
            self._stats.drops[DropReason.DATA_TOO_LARGE] += 1
            return
        while (unsent := path.get_unsent(channel)) > FREE and unsent + len(frame) > MAX_UNSENT:
            self._stats.drops[DropReason.DATA_FULL] += 1
            if not lossy:
                path.abort(f"over {MAX_UNSENT // KIB} KiB are waiting")
                return
            if not path.drop_oldest(channel):
                return
        path.write(channel, frame, text=text)
        path.flush()

    def _open(self, path: DataPath) -> None:
        self._channels = {False: path.open(RELIABLE), True: path.open(LOSSY)}


def pass_on(
    sender: str,
    event: Arrived,
    lossy: bool,
    find: Callable[[list[str] | None], Iterable[Receiving | None]],
    stats: Stats,
) -> None:
    """Send what arrived from `sender` to those that `find` says, None for one who is not there."""
    try:
        frame = parse_frame_untrusted(event.payload)
    except BadFrame:
        stats.drops[DropReason.DATA_FRAME] += 1
        return
    if lossy and len(frame.payload) > MAX_LOSSY:
        stats.drops[DropReason.DATA_TOO_LARGE] += 1
        return
    built = build_frame(sender, frame.topic, frame.payload)
    for receiver in find(frame.to):
        if receiver is None:
            stats.drops[DropReason.DATA_NO_RECEIVER] += 1
        else:
            receiver.send(built, text=event.text, lossy=lossy)
