"""What the hub is told of a room in figures: its transports, its round trips, its tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .. import control
from ..plane.leg import Leg
from ..transport.transport import Transport, TransportState
from .publisher import Published
from .subscriber import Receiver

TOLD: Final[Mapping[TransportState, control.TransportState]] = {
    TransportState.CONNECTING: "connecting",
    TransportState.CONNECTED: "connected",
    TransportState.DISCONNECTED: "disconnected",
    TransportState.FAILED: "failed",
    TransportState.CLOSED: "closed",
}
"""What the hub hears of a transport's states; of others, nothing."""


def count_transports(transports: Iterable[Transport[Leg]]) -> dict[control.TransportState, int]:
    """How many are in which state."""
    states: dict[control.TransportState, int] = {}
    for transport in transports:
        told = TOLD.get(transport.state, "connecting")
        states[told] = states.get(told, 0) + 1
    return states


def list_rtts(receivers: Iterable[Receiver]) -> list[float]:
    """Round trips in ms, of the receivers whose reports told."""
    rtts = (down.round_trip.rtt for receiver in receivers for down in receiver.downs)
    return [1000 * rtt for rtt in rtts if rtt is not None]


def describe_tracks(tracks: Iterable[Published], now: float) -> list[control.TrackStats]:
    return [
        control.TrackStats(
            participant=track.participant,
            track=track.id,
            kind=track.kind,
            codec=track.up.codec,
            bitrate=track.up.get_bitrate(now),
            loss=track.up.loss,
            jitter_ms=1000 * track.up.jitter,
            rtt_ms=None,
            subscribers=len(track.up.downs),
        )
        for track in tracks
    ]
