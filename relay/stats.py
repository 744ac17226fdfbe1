"""One worker's counts: plain integers, raised in the hot path and read by the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class DropReason(StrEnum):
    """Reasons why a datagram or a packet went no further; each drop counts under one of them."""

    # A str's own hash makes `drops[reason] += 1` cheap enough for the hot path.
    UNKNOWN_ADDRESS = "unknown-address"
    UNKNOWN_USERNAME = "unknown-username"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    NO_KEYS = "no-keys"
    AUTHENTICATION = "authentication"
    FORGED = "forged"
    REPLAYED = "replayed"
    SRTP = "srtp"
    UNKNOWN_SSRC = "unknown-ssrc"
    UNKNOWN_PAYLOAD_TYPE = "unknown-payload-type"
    DUPLICATE = "duplicate"
    TOO_OLD = "too-old"
    FLOOD = "flood"
    BITRATE = "bitrate"
    MUTED = "muted"
    WAITING_KEY_FRAME = "waiting-key-frame"
    BEFORE_SWITCH = "before-switch"
    TOO_LARGE = "too-large"
    RECEIVE_FULL = "receive-full"
    SOCKET_FULL = "socket-full"
    SEND_FAILED = "send-failed"
    UNREQUESTED_ANSWER = "unrequested-answer"
    NACK_NOT_CACHED = "nack-not-cached"
    NACK_RATE = "nack-rate"
    NACK_EARLY = "nack-early"
    NACK_NO_RTX = "nack-no-rtx"
    FEEDBACK_RATE = "feedback-rate"
    FEEDBACK_UNSENT = "feedback-unsent"
    SCTP_TAG = "sctp-tag"
    SCTP_DUPLICATE = "sctp-duplicate"
    SCTP_WINDOW = "sctp-window"
    SCTP_UNEXPECTED = "sctp-unexpected"
    DATA_CHANNEL = "data-channel"
    DATA_FRAME = "data-frame"
    DATA_FORBIDDEN = "data-forbidden"
    DATA_RATE = "data-rate"
    DATA_FULL = "data-full"
    DATA_TOO_LARGE = "data-too-large"
    DATA_NO_RECEIVER = "data-no-receiver"


@dataclass(slots=True)
class Stats:
    """Totals since the worker started. `bytes_*` are datagram payloads, without IP and UDP."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    rtp_in: int = 0
    rtcp_in: int = 0
    rtcp_out: int = 0
    stun_in: int = 0
    dtls_in: int = 0
    nacks_in: int = 0
    """Sequence numbers that subscribers asked for again."""
    nacks_out: int = 0
    """Sequence numbers asked of publishers again."""
    resent: int = 0
    inserted: int = 0
    """Packets with parameter sets that a key frame had come without."""
    probed: int = 0
    """Packets sent to learn whether a line carries more."""
    plis_in: int = 0
    """PLI and FIR from subscribers."""
    plis_out: int = 0
    failed_handshakes: int = 0
    """Transports that never were connected: no check came, or DTLS failed."""
    drops: dict[DropReason, int] = field(default_factory=lambda: dict.fromkeys(DropReason, 0))
