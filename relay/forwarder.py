"""The hot path: packets of a batch to every DownTrack, nothing else."""

from __future__ import annotations

from relay.stats import Stats
from relay.tracks import Leg


class Forwarder:
    """One per worker. Rules only: it is given packets in an arena and fills an outbox."""

    def __init__(self, *, stats: Stats) -> None:
        raise NotImplementedError

    def open_leg(self, name: str) -> Leg:
        """The media side of a new transport; `name` is for logs."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called next (monotonic), None: nothing to do."""
        raise NotImplementedError

    def handle_timer(self, now: float, wall: float) -> None:
        """Reports, NACKs, transport-wide feedback and so on that are due, for all legs."""
        raise NotImplementedError
