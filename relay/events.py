"""What a worker and its node say to each other beside `relay.control`: nothing of it
reaches the hub, which sees workers as one relay.
"""

from __future__ import annotations

import msgspec

from relay import control
from relay.control import Message, TransportState


class Ready(Message, frozen=True):
    """The worker's first message: it is bound to `port` and takes rooms."""

    port: int


class Stop(Message, frozen=True):
    """The node asks the worker to close every transport and exit."""


class TrackCount(msgspec.Struct, frozen=True, gc=False):
    """Tracks of one kind, as the worker holds them."""

    audio: int = 0
    video: int = 0


class Metrics(Message, frozen=True):
    """A worker's counts since it started, and its state now.

    `drops` goes by `relay.stats.DropReason` and `control_drops` by message type; `rtt_ms` is the
    mean over transports that know theirs; `loop_lag` is in seconds.
    """

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    drops: dict[str, int] = msgspec.field(default_factory=dict)
    control_drops: dict[str, int] = msgspec.field(default_factory=dict)
    nacks_in: int = 0
    nacks_out: int = 0
    plis_in: int = 0
    plis_out: int = 0
    retransmissions: int = 0
    rtt_ms: float | None = None
    rooms: int = 0
    participants: int = 0
    tracks: TrackCount = TrackCount()
    transports: dict[TransportState, int] = msgspec.field(default_factory=dict)
    loop_lag: float = 0.0


ToWorker = control.Command | Stop
ToNode = control.Event | Ready | Metrics
