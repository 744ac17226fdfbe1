"""The relay's settings, made once by the command line and handed to every worker."""

from __future__ import annotations

from typing import Literal

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One relay's settings; worker `i` uses `port + i`, unless `port` is 0."""

    port: int = 8443
    """UDP port of the first worker; 0 lets the system choose one for each."""

    workers: int = 1
    """How many worker processes; 0 switches the relay off."""

    hosts: tuple[str, ...] = ("0.0.0.0",)
    """Addresses to bind. The wildcard `::` takes IPv4 too where the system allows it."""

    public_ips: tuple[str, ...] = ()
    """Addresses that candidates advertise; empty: those of the machine's interfaces."""

    max_tracks: int = 16
    """Tracks that one participant may publish."""

    max_slots: int = 256
    """m-lines that one subscriber's offer may grow to; further tracks wait for a free one."""

    max_video_bitrate: int = 8_000_000
    """Bit/s of one published picture, all its layers together."""

    max_audio_bitrate: int = 512_000
    """Bit/s of one published sound."""

    max_participant_bitrate: int = 20_000_000
    """Bit/s of all that one participant publishes."""

    consent_timeout: float = 30.0
    """Seconds without a STUN check or authentic media after which a transport counts as gone
    (RFC 7675)."""

    log_format: Literal["auto", "text", "json"] = "auto"
    """What a worker's log lines look like; `auto` is text on a terminal and JSON elsewhere."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least of what a worker logs."""

    metrics_interval: float = 1.0
    """Seconds between a worker's metrics."""
