"""A room in figures, as the hub is told: its transports, its round trips, its tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .. import control
from ..plane.leg import Leg
from ..plane.tracks import DownTrack
from ..transport.transport import Transport, TransportState
from .publisher import Published
from .subscriber import Receiver

LINES: Final = (100_000, 250_000, 600_000, 1_500_000, 4_000_000, 100_000_000)
"""Bit/s: bounds by which lines are counted."""

States = Callable[[str, str], control.ReceptionState]

TOLD: Final[Mapping[TransportState, control.TransportState]] = {
    TransportState.CONNECTING: "connecting",
    TransportState.CONNECTED: "connected",
    TransportState.DISCONNECTED: "disconnected",
    TransportState.FAILED: "failed",
    TransportState.CLOSED: "closed",
}
"""What the hub hears of a transport's states; of others, nothing."""


def count_transports(transports: Iterable[Transport[Leg]]) -> dict[control.TransportState, int]:
    """Count how many are in which state."""
    states: dict[control.TransportState, int] = {}
    for transport in transports:
        told = TOLD.get(transport.state, "connecting")
        states[told] = states.get(told, 0) + 1
    return states


def _name_layer(down: DownTrack) -> str:
    layer = down.layer
    if layer is None:
        return ""
    rids = layer.track.media.rids
    return rids[layer.index] if layer.index < len(rids) else str(layer.index)


def count_lines(receivers: Iterable[Receiver]) -> dict[str, int]:
    """Count lines by what they are estimated to carry: each under the smallest bound above."""
    counts = {str(bound): 0 for bound in LINES}
    for receiver in receivers:
        rate = receiver.transport.leg.bandwidth.rate
        bound = next((one for one in LINES if rate <= one), LINES[-1])
        counts[str(bound)] += 1
    return counts


def list_rtts(receivers: Iterable[Receiver]) -> list[float]:
    """Round trips in ms, of the receivers whose reports told."""
    rtts = (down.round_trip.rtt for receiver in receivers for down in receiver.downs)
    return [1000 * rtt for rtt in rtts if rtt is not None]


def describe_tracks(
    tracks: Iterable[Published], receivers: Mapping[str, Receiver], states: States, now: float
) -> list[control.TrackStats]:
    """`receivers` are those of the room by participant; `states` tells what becomes of a track."""
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
            receivers=[
                control.ReceiverStats(
                    name,
                    _name_layer(down),
                    states(name, track.id),
                    round(receiver.transport.leg.bandwidth.rate),
                )
                for name, receiver in receivers.items()
                for down in receiver.downs
                if down.source is track.up
            ],
        )
        for track in tracks
    ]
