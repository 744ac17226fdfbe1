"""What a hub and a relay worker say to each other.

Plain data, encoded as MessagePack, each message preceded by its length as an
unsigned 32-bit big-endian integer (`relay.process.channel`). A `Command` goes to the
worker, an `Event` comes back. `request` numbers are chosen by the sender of a
command and returned by exactly one `Answer` or `Refused`.

Commands about an unknown room or participant are ignored when they take something
away and refused when they ask for something: the two sides learn of a departure
at different times.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Kind = Literal["audio", "video"]
Source = Literal["camera", "microphone", "screen", "screen-audio", "other"]
Direction = Literal["publish", "subscribe"]
TransportState = Literal["connecting", "connected", "disconnected", "failed", "closed"]
ReceptionState = Literal["full", "reduced", "paused", "unsupported"]
"""`unsupported`: the participant has not agreed to the codec that the track is sent in."""

RefusalCode = Literal[
    "bad-sdp",
    "unsupported-codec",
    "no-media",
    "forbidden",
    "unknown-participant",
    "unknown-track",
    "relay-unavailable",
    "internal",
]


class Message(msgspec.Struct, tag_field="type", tag=str.lower, frozen=True, gc=False):
    """Base of all: a tagged struct; the tag is the class name in lower case."""


class PublishTrack(msgspec.Struct, frozen=True, gc=False):
    """What the publisher says one m-line of its offer carries."""

    mid: str
    source: Source


class Track(msgspec.Struct, frozen=True, gc=False):
    """A published track as the room sees it. `stopped`, there and true: nothing comes of it,
    though it is not muted."""

    id: str
    kind: Kind
    source: Source
    muted: bool = False
    stopped: bool | msgspec.UnsetType = msgspec.UNSET


class SlotTrack(msgspec.Struct, frozen=True, gc=False):
    """Which track of which participant an m-line of a relay's offer carries now."""

    mid: str
    participant: str
    track: str


class Speaker(msgspec.Struct, frozen=True, gc=False):
    """`level` in dBov, -127 (silence) to 0."""

    participant: str
    level: int


MAX_SIDE = 16_384
"""Pixels: no picture is larger."""


class Preference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The size in device pixels at which a track is shown, 0 where it is not, and how much it
    matters: 0 most, 3 least."""

    track: Annotated[str, msgspec.Meta(max_length=64)]
    width: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIDE)]
    height: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIDE)]
    priority: Annotated[int, msgspec.Meta(ge=0, le=3)] = 2


class TrackReception(msgspec.Struct, frozen=True, gc=False):
    """What a subscriber gets of a track: as much as it asked for, less, or nothing for now."""

    track: str
    state: ReceptionState


class ParticipantQuality(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """0 (lost) to 4 (good) for the ways up to the relay and down from it; None: there is none."""

    participant: str
    up: int | None = None
    down: int | None = None


# -- Hub to worker ----------------------------------------------------------------------


class Join(Message, frozen=True):
    """The participant may now publish or subscribe; sent again, it changes the grants.

    `sources` are those it may publish from, None any. `data` asks for others' data through the
    relay; `publish_data` allows to send some.
    """

    room: str
    participant: str
    publish: bool = True
    subscribe: bool = True
    sources: list[Source] | None = None
    data: bool = False
    publish_data: bool = True


class Leave(Message, frozen=True):
    """The participant is gone: its transports close, its tracks are unpublished."""

    room: str
    participant: str


class CloseRoom(Message, frozen=True):
    room: str


class Publish(Message, frozen=True):
    """An SDP offer from a publisher; the first, or a renegotiation. Gets an `Answer`.

    `whole`: it is refused where any of its m-lines cannot be taken (WHIP, RFC 9725, 4.2).
    """

    room: str
    participant: str
    request: int
    sdp: str
    tracks: list[PublishTrack] = []
    whole: bool = False


class Pull(Message, frozen=True):
    """An SDP offer from a WHEP player, which receives what its routes allow. Gets an `Answer`."""

    room: str
    participant: str
    request: int
    sdp: str


class AnswerOffer(Message, frozen=True):
    """A subscriber's SDP answer to the worker's last `Offer`.

    Gets an `Answer` with an empty `sdp`, or `Refused`.
    """

    room: str
    participant: str
    request: int
    sdp: str


class Route(Message, frozen=True):
    """Whose tracks the participant receives through the relay; None: everyone's.

    Before the first one it receives nobody's.
    """

    room: str
    participant: str
    publishers: list[str] | None


class Select(Message, frozen=True):
    """`subscribe` and `unsubscribe`: the participant's own choice among what is routed to it."""

    room: str
    participant: str
    tracks: list[str]
    wanted: bool


class Prefer(Message, frozen=True):
    """What the participant's tiles need; tracks not named keep what was said of them, unless
    `reset`. `default` is what is wanted of those of which nothing was ever said."""

    room: str
    participant: str
    tracks: list[Preference]
    reset: bool = False
    default: Preference | None = None


class Mute(Message, frozen=True):
    room: str
    track: str
    muted: bool


class RestartIce(Message, frozen=True):
    """Offer the participant's subscribing transport anew, with fresh ICE credentials."""

    room: str
    participant: str


class GetStats(Message, frozen=True):
    room: str
    request: int


Command = (
    Join
    | Leave
    | CloseRoom
    | Publish
    | Pull
    | AnswerOffer
    | Route
    | Select
    | Prefer
    | Mute
    | RestartIce
    | GetStats
)


# -- Worker to hub ----------------------------------------------------------------------


class Answer(Message, frozen=True):
    """The reply to a `Publish`, `Pull` or `AnswerOffer`."""

    request: int
    sdp: str
    tracks: list[SlotTrack] = []


class Refused(Message, frozen=True):
    """`reason` is for people and may be shown to the client: it quotes no secret."""

    request: int
    code: RefusalCode
    reason: str


class Offer(Message, frozen=True):
    """The worker's offer for the participant's subscribing peer connection."""

    room: str
    participant: str
    sdp: str
    tracks: list[SlotTrack]


class TrackPublished(Message, frozen=True):
    room: str
    participant: str
    track: Track


class TrackUnpublished(Message, frozen=True):
    room: str
    participant: str
    track: str


class TrackUpdated(Message, frozen=True):
    room: str
    participant: str
    track: Track


class Speakers(Message, frozen=True):
    """Who is talking, loudest first; empty: nobody."""

    room: str
    speakers: list[Speaker]


class Layers(Message, frozen=True):
    """The rids of a simulcast that somebody takes now: the publisher need not send the others."""

    room: str
    participant: str
    track: str
    active: list[str]


class Reception(Message, frozen=True):
    """What of its tracks a subscriber gets has changed."""

    room: str
    participant: str
    tracks: list[TrackReception]


class Unserved(Message, frozen=True):
    """The participant receives nothing for now: the worker has more to do than it can. It gets
    an offer once that has passed."""

    room: str
    participant: str


class Quality(Message, frozen=True):
    """The ways of these participants are better or worse than they were."""

    room: str
    participants: list[ParticipantQuality]


class TransportChanged(Message, frozen=True):
    room: str
    participant: str
    direction: Direction
    state: TransportState


class ReceiverStats(msgspec.Struct, frozen=True, gc=False):
    """What one subscriber gets of a track: `layer` by rid, or its number where it has none, empty
    while nothing goes out; `estimate` is what its line carries, in bit/s."""

    participant: str
    layer: str
    state: ReceptionState
    estimate: int


class TrackStats(msgspec.Struct, frozen=True, gc=False):
    """`bitrate` in bit/s and `loss` as a fraction, both over the last few seconds."""

    participant: str
    track: str
    kind: Kind
    codec: str
    bitrate: float
    loss: float
    jitter_ms: float
    rtt_ms: float | None
    subscribers: int
    receivers: list[ReceiverStats] = []


class RoomStats(Message, frozen=True):
    request: int
    tracks: list[TrackStats]


class WorkerLost(Message, frozen=True):
    """These rooms must publish anew: made by the hub's side when a worker's process ends, and by
    a worker that had to give up a room."""

    rooms: list[str]


class Availability(Message, frozen=True):
    """Made by the hub's side: whether any worker can take rooms now."""

    available: bool


Event = (
    Answer
    | Refused
    | Offer
    | TrackPublished
    | TrackUnpublished
    | TrackUpdated
    | Speakers
    | Layers
    | Reception
    | Unserved
    | Quality
    | TransportChanged
    | RoomStats
    | WorkerLost
    | Availability
)


# -- Worker to node ---------------------------------------------------------------------


class TrackCount(msgspec.Struct, frozen=True, gc=False):
    """Tracks of one kind, as the worker holds them."""

    audio: int = 0
    video: int = 0


class WorkerMetrics(Message, frozen=True):
    """A worker's counts since it started, and its state now; its node keeps the latest.

    `lines` counts subscribers by the most that their line is estimated to carry, in bit/s, and
    `reception` pictures by what becomes of them. `drops` goes by `relay.stats.DropReason` and
    `control_drops` by message type; `rtt_ms` is the mean over transports that know theirs;
    `loop_lag` is in seconds, `cpu` a share of a processor, `overloaded` says that it takes
    nobody new.
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
    failed_handshakes: int = 0
    retransmissions: int = 0
    probes: int = 0
    parameter_sets: int = 0
    rtt_ms: float | None = None
    rooms: int = 0
    participants: int = 0
    tracks: TrackCount = TrackCount()
    lines: dict[str, int] = msgspec.field(default_factory=dict)
    reception: dict[ReceptionState, int] = msgspec.field(default_factory=dict)
    transports: dict[TransportState, int] = msgspec.field(default_factory=dict)
    loop_lag: float = 0.0
    cpu: float = 0.0
    overloaded: bool = False
