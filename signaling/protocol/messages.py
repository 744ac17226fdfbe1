"""The wire messages of protocol version 1, typed and validated.

Session descriptions, candidates and metadata stay `msgspec.Raw`: the bytes that came in go out.
A message's *body* is its JSON object without the leading brace, so that one encoding serves
every receiver and each one's `seq` is put in front. Long, for the whole protocol is in one place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType, field

from relay.control import (
    Direction,
    Kind,
    ParticipantQuality,
    Preference,
    PublishTrack,
    ReceptionState,
    SlotTrack,
    Source,
    Speaker,
    Track,
    TrackReception,
)

from .errors import ProtocolError

__all__ = [
    "Direction",
    "IceServer",
    "Kind",
    "ParticipantQuality",
    "Preference",
    "PublishTrack",
    "ReceptionState",
    "SlotTrack",
    "Source",
    "Track",
    "TrackReception",
]

PROTOCOL: Final = 1
RELAY: Final = "relay"
"""The participant name under which clients address the relay."""

MAX_ID: Final = 64
MAX_PREFERENCES: Final = 512
"""Tracks that one `prefer` names at most: more than anybody receives."""

MAX_ERROR_TEXT: Final = 200
"""Characters; longer texts would only repeat what the client sent."""
MAX_TOPIC: Final = 64
MAX_RECEIVERS: Final = 64
"""Of one `data` message by name; whoever wants more leaves `to` out."""
MAX_DEPTH: Final = 64
"""Of a `data` message's content; deeper ones exhaust the stacks of some receivers' parsers."""

QUOTE: Final = ord('"')
ABSENT: Final = (b"", b"null")

Id = Annotated[str, Meta(max_length=MAX_ID)]
# \Z and not $: the latter lets a trailing newline pass.
RoomName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
Name = Annotated[str, Meta(min_length=1)]
Sequence = Annotated[int, Meta(ge=0)]
Topic = Annotated[str, Meta(max_length=MAX_TOPIC)]
Receivers = Annotated[list[str], Meta(min_length=1, max_length=MAX_RECEIVERS)]
Topology = Literal["mesh", "relay"]
Via = Literal["relay", "direct"]
LeaveReason = Literal["left", "timeout", "kicked", "room-closed"]
KnockEndReason = Literal["admitted", "declined", "left", "timeout"]


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What a participant may do.

    Additions: `sources`, the only ones it may publish from; `update`, false where it may not
    change its name and metadata; `hidden`, true for one whom the others are not told of.
    """

    publish: bool = True
    subscribe: bool = True
    chat: bool = True
    moderate: bool = False
    data: bool = True
    sources: list[Source] | UnsetType = UNSET
    update: bool | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET


class IceServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `RTCConfiguration.iceServers` (W3C WebRTC, section 4.2.4)."""

    urls: list[str]
    username: str = ""
    credential: str = ""


# -- Client to server -------------------------------------------------------------------


class ClientMessage(msgspec.Struct, tag_field="type", gc=False, kw_only=True, omit_defaults=True):
    """Base of all; null counts as absent for each optional key."""

    id: Id | None = None


class Join(ClientMessage, tag="join", kw_only=True):
    """`data`, an addition: it takes data channels through the relay."""

    room: RoomName
    name: Name
    token: str | None = None
    metadata: Raw = Raw()
    data: bool = False


class Resume(ClientMessage, tag="resume", kw_only=True):
    session: str
    seq: Sequence


class Leave(ClientMessage, tag="leave", kw_only=True):
    pass


class Update(ClientMessage, tag="update", kw_only=True):
    name: Name | None = None
    metadata: Raw = Raw()


class Heartbeat(ClientMessage, tag="heartbeat", kw_only=True):
    """`seq`, an addition: everything up to it has arrived and need not be kept."""

    timestamp: int | float
    seq: Sequence | None = None


class Offer(ClientMessage, tag="offer", kw_only=True):
    """`tracks` is read only where `to` is the relay."""

    to: str
    sdp: Raw
    tracks: Raw = Raw()


class Answer(ClientMessage, tag="answer", kw_only=True):
    to: str
    sdp: Raw


class Candidate(ClientMessage, tag="candidate", kw_only=True):
    to: str
    candidate: Raw


class P2pFailed(ClientMessage, tag="p2p-failed", kw_only=True):
    participant: str
    reason: str = ""


class Chat(ClientMessage, tag="chat", kw_only=True):
    content: str
    to: str | None = None


class Data(ClientMessage, tag="data", kw_only=True):
    """An addition: any JSON for everyone else in the room, or for some."""

    content: Raw
    topic: Topic = ""
    to: Receivers | None = None


class Kick(ClientMessage, tag="kick", kw_only=True):
    """`ban`, an addition: as long as the room lasts they do not come in again."""

    participant: str
    ban: bool = False


class Mute(ClientMessage, tag="mute", kw_only=True):
    track: str
    muted: bool


class Silence(ClientMessage, tag="silence", kw_only=True):
    """An addition: what `mute` is for media that no relay could stop."""

    participant: str


class Lock(ClientMessage, tag="lock", kw_only=True):
    locked: bool


class SetLobby(ClientMessage, tag="lobby", kw_only=True):
    """An addition: whether newcomers wait until a moderator lets them in."""

    enabled: bool


class Admit(ClientMessage, tag="admit", kw_only=True):
    """An addition."""

    knock: str


class Decline(ClientMessage, tag="decline", kw_only=True):
    """An addition."""

    knock: str


class Invite(ClientMessage, tag="invite", kw_only=True):
    """An addition: ask for a token with which somebody else may join this room."""


class CloseRoom(ClientMessage, tag="close-room", kw_only=True):
    pass


class Subscribe(ClientMessage, tag="subscribe", kw_only=True):
    tracks: list[str]


class Unsubscribe(ClientMessage, tag="unsubscribe", kw_only=True):
    tracks: list[str]


class Prefer(ClientMessage, tag="prefer", kw_only=True):
    """An addition: the sizes at which tracks are shown. `reset` forgets what was said before."""

    tracks: Annotated[list[Preference], Meta(max_length=MAX_PREFERENCES)] = []
    reset: bool = False


class RestartIce(ClientMessage, tag="restart-ice", kw_only=True):
    """An addition: the relay is to offer anew, with fresh ICE credentials."""


AnyClientMessage = (
    Join
    | Resume
    | Leave
    | Update
    | Heartbeat
    | Offer
    | Answer
    | Candidate
    | P2pFailed
    | Chat
    | Data
    | Kick
    | Mute
    | Silence
    | Lock
    | SetLobby
    | Admit
    | Decline
    | Invite
    | CloseRoom
    | Subscribe
    | Unsubscribe
    | Prefer
    | RestartIce
)


# -- Server to client -------------------------------------------------------------------


class ParticipantInfo(msgspec.Struct, kw_only=True):
    """A participant as others see it. `via`, an addition, is there when media always take it."""

    id: str
    name: str
    metadata: Raw
    tracks: list[Track] = []
    via: Via | UnsetType = UNSET


class RoomInfo(msgspec.Struct):
    """`lobby`, an addition, is there and true where newcomers have to wait."""

    name: str
    topology: Topology
    locked: bool
    lobby: bool | UnsetType = UNSET


class ServerMessage(msgspec.Struct, tag_field="type", kw_only=True):
    """Base of all. `seq` is left unset here and put in front of the body for each receiver."""

    seq: int | UnsetType = UNSET


class Reply(ServerMessage):
    id: str | UnsetType = UNSET


class Ok(Reply, tag="ok", kw_only=True):
    pass


class Error(Reply, tag="error", kw_only=True):
    code: str
    message: str
    retry_after: float | UnsetType = UNSET


class HeartbeatReply(Reply, tag="heartbeat", kw_only=True):
    """Never has a `seq`. `server_time` in ms since the epoch."""

    timestamp: int | float
    server_time: int


class ChatLine(msgspec.Struct, kw_only=True):
    """What was written to everyone before; `timestamp` in ms since the epoch."""

    from_: str = field(name="from")
    user: str
    content: str
    timestamp: int


class Joined(Reply, tag="joined", kw_only=True):
    """`history`, an addition, holds the last chat messages, the oldest first."""

    protocol: int
    participant: str
    session: str
    room: RoomInfo
    participants: list[ParticipantInfo]
    ice_servers: list[IceServer]
    grants: Grant
    relay: bool
    heartbeat: float
    resume_within: float
    history: list[ChatLine] | UnsetType = UNSET


class Knocking(Reply, tag="knocking", kw_only=True):
    """An addition: a join is neither let in nor refused yet. Never has a `seq`."""


class Resumed(Reply, tag="resumed", kw_only=True):
    """Never has a `seq`."""

    participant: str


class ParticipantJoined(ServerMessage, tag="participant-joined", kw_only=True):
    participant: ParticipantInfo


class ParticipantUpdated(ServerMessage, tag="participant-updated", kw_only=True):
    participant: ParticipantInfo


class ParticipantLeft(ServerMessage, tag="participant-left", kw_only=True):
    participant: str
    reason: LeaveReason


class RoomUpdated(ServerMessage, tag="room-updated", kw_only=True):
    """`relay`, an addition: whether a media relay is there now."""

    room: RoomInfo
    relay: bool


class GrantsUpdated(ServerMessage, tag="grants-updated", kw_only=True):
    """An addition: what this client may do has changed."""

    grants: Grant


class KnockInfo(ServerMessage, tag="knock", kw_only=True):
    """An addition: somebody waits to be let in."""

    knock: str
    name: str


class KnockEnded(ServerMessage, tag="knock-ended", kw_only=True):
    """An addition: this one waits no longer."""

    knock: str
    reason: KnockEndReason


class Invitation(Reply, tag="invitation", kw_only=True):
    """An addition. Without a token: none is needed. `expires` in ms since the epoch."""

    token: str | UnsetType = UNSET
    expires: int | UnsetType = UNSET


class Silenced(ServerMessage, tag="silenced", kw_only=True):
    """An addition: a moderator has this client turn its microphone off."""

    by: str


class OfferFrom(Reply, tag="offer", kw_only=True):
    """`tracks` is there only from the relay."""

    from_: str = field(name="from")
    sdp: str
    tracks: list[SlotTrack] | UnsetType = UNSET


class AnswerFrom(Reply, tag="answer", kw_only=True):
    """From the relay it is the reply to an offer and carries that one's `id`."""

    from_: str = field(name="from")
    sdp: str


class CandidateFrom(ServerMessage, tag="candidate", kw_only=True):
    from_: str = field(name="from")
    candidate: Raw


class RouteChanged(ServerMessage, tag="route", kw_only=True):
    participant: str
    via: Via
    reason: str


class TopologyChanged(ServerMessage, tag="topology", kw_only=True):
    topology: Topology
    reason: str


class TrackPublished(ServerMessage, tag="track-published", kw_only=True):
    participant: str
    track: Track


class TrackUnpublished(ServerMessage, tag="track-unpublished", kw_only=True):
    participant: str
    track: str


class TrackUpdated(ServerMessage, tag="track-updated", kw_only=True):
    participant: str
    track: Track


class SpeakersChanged(ServerMessage, tag="speakers", kw_only=True):
    speakers: list[Speaker]


class LayersWanted(ServerMessage, tag="layers", kw_only=True):
    """An addition: the rids of one's own simulcast that somebody takes now."""

    track: str
    active: list[str]


class ReceptionChanged(ServerMessage, tag="reception", kw_only=True):
    """An addition: whether tracks come as they were asked for, smaller, or not for now."""

    tracks: list[TrackReception]


class QualityChanged(ServerMessage, tag="quality", kw_only=True):
    """An addition: how well participants' ways to the relay and from it do, 0 to 4."""

    participants: list[ParticipantQuality]


class RelayRestarted(ServerMessage, tag="relay-restarted", kw_only=True):
    """An addition: what this client published through the relay is gone; publish anew."""


class ChatFrom(ServerMessage, tag="chat", kw_only=True):
    """`timestamp` in ms since the epoch. `to`, an addition, is there in private messages."""

    from_: str = field(name="from")
    user: str
    content: str
    timestamp: int
    to: str | UnsetType = UNSET


class DataFrom(ServerMessage, tag="data", kw_only=True):
    """An addition."""

    from_: str = field(name="from")
    topic: str
    content: Raw


AnyServerMessage = (
    Ok
    | Error
    | HeartbeatReply
    | Joined
    | Knocking
    | Resumed
    | ParticipantJoined
    | ParticipantUpdated
    | ParticipantLeft
    | RoomUpdated
    | GrantsUpdated
    | KnockInfo
    | KnockEnded
    | Invitation
    | Silenced
    | OfferFrom
    | AnswerFrom
    | CandidateFrom
    | RouteChanged
    | TopologyChanged
    | TrackPublished
    | TrackUnpublished
    | TrackUpdated
    | SpeakersChanged
    | LayersWanted
    | ReceptionChanged
    | QualityChanged
    | RelayRestarted
    | ChatFrom
    | DataFrom
)

TYPES: Final[Mapping[type[ClientMessage], str]] = {
    kind: str(kind.__struct_config__.tag) for kind in get_args(AnyClientMessage)
}
"""The `type` of each client message."""

_encoder = msgspec.json.Encoder()
_client_decoder: msgspec.json.Decoder[AnyClientMessage] = msgspec.json.Decoder(AnyClientMessage)
_server_decoder: msgspec.json.Decoder[AnyServerMessage] = msgspec.json.Decoder(AnyServerMessage)
_publish_tracks: msgspec.json.Decoder[list[PublishTrack]] = msgspec.json.Decoder(list[PublishTrack])
_string: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


class _CandidateInit(msgspec.Struct, gc=False):
    """RTCIceCandidateInit as far as it is checked; what else there is passes through."""

    candidate: str
    sdpMid: str | None = None
    sdpMLineIndex: int | None = None


_candidate: msgspec.json.Decoder[_CandidateInit | None] = msgspec.json.Decoder(
    _CandidateInit | None
)

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
"""Strings, to be passed over, and brackets."""

# -- Parsing ----------------------------------------------------------------------------


def parse_client_message_untrusted(data: bytes) -> AnyClientMessage:
    """Parse one text frame from a client. Raise ProtocolError `bad-request`, nothing else."""
    try:
        # Raw parts are not looked into here, and a byte that is not UTF-8 would make the
        # receiver close its connection (RFC 6455, section 8.1).
        if not data.isascii():
            data.decode()
        return _client_decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ProtocolError("bad-request", str(error)[:MAX_ERROR_TEXT]) from None
    except (ValueError, RecursionError):
        raise ProtocolError("bad-request", "The frame is not JSON in UTF-8.") from None


def parse_server_message(data: bytes | str) -> AnyServerMessage:
    """Parse one text frame from a hub, on the client's side. Raise msgspec.DecodeError."""
    return _server_decoder.decode(data)


class _Address(msgspec.Struct, gc=False):
    type: Literal["offer", "answer"]
    to: Literal["relay"]


_address: msgspec.json.Decoder[_Address] = msgspec.json.Decoder(_Address)


def is_for_relay_untrusted(data: bytes) -> bool:
    """Whether a frame is a description for the relay, whatever else is right or wrong with it."""
    try:
        _address.decode(data)
    except (ValueError, RecursionError):
        return False
    return True


def find_id_untrusted(data: bytes) -> str | None:
    """Return the `id` of a frame that was refused, if it has a usable one."""
    try:
        # The standard parser takes what msgspec refuses, lone surrogates for one.
        id = json.loads(data).get("id")
        id.encode()
    except (ValueError, RecursionError, AttributeError):
        return None
    return id if len(id) <= MAX_ID else None


def check_sdp_untrusted(raw: Raw) -> None:
    """Raise ProtocolError unless `raw` is a string with something in it.

    The frame's decoder has checked that `raw` is JSON, so that its ends tell what it is.
    """
    text = memoryview(raw)
    if text[0] != QUOTE:
        raise ProtocolError("bad-request", "`sdp` is not a string.")
    if len(text) == len(b'""'):
        raise ProtocolError("bad-sdp", "`sdp` is empty.")


def parse_sdp_untrusted(raw: Raw) -> str:
    """Return the string that `raw` holds. Raise ProtocolError."""
    check_sdp_untrusted(raw)
    try:
        return _string.decode(raw)
    except ValueError:
        raise ProtocolError("bad-request", "`sdp` is not a string.") from None


def check_candidate_untrusted(raw: Raw) -> None:
    """Raise ProtocolError unless `raw` is an RTCIceCandidateInit or null."""
    try:
        _candidate.decode(raw)
    except (ValueError, RecursionError):
        raise ProtocolError(
            "bad-request", "`candidate` is neither an RTCIceCandidateInit nor null."
        ) from None


def parse_publish_tracks_untrusted(raw: Raw) -> list[PublishTrack]:
    """Return the `tracks` of an offer to the relay; none where the key is absent."""
    if bytes(raw) in ABSENT:
        return []
    try:
        return _publish_tracks.decode(raw)
    except (ValueError, RecursionError):
        raise ProtocolError("bad-request", "`tracks` is not a list of mid and source.") from None


def check_content_untrusted(raw: Raw, limit: int) -> None:
    """Raise ProtocolError if a `data` message's content is too large or too deep."""
    text = bytes(raw)
    if len(text) > limit:
        raise ProtocolError("bad-request", f"`content` is over {limit} bytes of JSON.")
    # An upper bound first, since nearly all are flat.
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _measure_depth(text) > MAX_DEPTH:
        raise ProtocolError("bad-request", f"`content` is nested over {MAX_DEPTH} deep.")


def _measure_depth(text: bytes) -> int:
    """Return how deep brackets are nested outside of strings, in JSON that has been checked."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        if bracket in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in (b"]", b"}"):
            depth -= 1
    return deepest


def parse_metadata_untrusted(raw: Raw, limit: int) -> Raw | None:
    """Return an object's JSON without white space, at most `limit` bytes; None where absent."""
    if bytes(raw) in ABSENT:
        return None
    try:
        value = msgspec.json.decode(raw)
        compact = msgspec.json.format(bytes(raw), indent=-1)
    except (ValueError, RecursionError):
        raise ProtocolError("bad-request", "`metadata` is not valid.") from None
    if not isinstance(value, dict):
        raise ProtocolError("bad-request", "`metadata` is not an object.")
    if len(compact) > limit:
        raise ProtocolError("bad-request", f"`metadata` is over {limit} bytes of JSON.")
    return Raw(compact)


# -- Building ---------------------------------------------------------------------------


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """Return a whole frame."""
    return _encoder.encode(message)


def encode_body(message: ServerMessage) -> bytes:
    """Return the frame without its leading brace."""
    return _encoder.encode(message)[1:]


def build_frame(body: bytes, seq: int | None = None) -> bytes:
    """Return the frame of a body, numbered unless `seq` is None."""
    return b"{" + body if seq is None else b'{"seq":%d,%b' % (seq, body)


OK_BODY: Final = encode_body(Ok())


def build_ok(id: str | None) -> bytes:
    """Return the body of an `ok`."""
    return OK_BODY if id is None else b'"type":"ok","id":%b}' % _encoder.encode(id)


def build_error(error: ProtocolError, id: str | None) -> bytes:
    """Return the body of an `error`."""
    message = Error(code=error.code, message=error.message)
    if id is not None:
        message.id = id
    if error.retry_after is not None:
        # Up, for who comes back earlier is refused again.
        message.retry_after = math.ceil(error.retry_after * 1000 - 1e-6) / 1000
    return encode_body(message)


def build_forward(kind: str, sender: str, key: str, raw: Raw) -> bytes:
    """Return the body of an offer, answer or candidate on its way to another participant.

    The hot path: plain joining of bytes, since `sender` is an id of our own making and `raw`
    is checked JSON. A test compares it with the encoder's result.
    """
    return b'"type":"%b","from":"%b","%b":%b}' % (
        kind.encode(),
        sender.encode(),
        key.encode(),
        raw,
    )


def build_data(sender: str, topic: str, content: Raw) -> bytes:
    """Return the body of a `data` message on its way to its receivers."""
    return b'"type":"data","from":"%b","topic":%b,"content":%b}' % (
        sender.encode(),
        _encoder.encode(topic),
        content,
    )
