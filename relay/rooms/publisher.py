"""What one participant sends: a transport and the tracks that its offers agreed on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET

from ..control import Join, Kind, Source, Track
from ..plane.leg import Leg
from ..plane.tracks import UpTrack
from ..sdp.capabilities import CODEC_BY_PAYLOAD_TYPE, OPUS, Codec
from ..sdp.description import BadSdp, Description
from ..sdp.negotiation import Publication, PublishedMedia, answer_publisher, is_continuation
from ..sdp.slots import Carried
from ..transport.dtls import Certificate
from ..transport.sctp.channels import Arrived
from ..transport.transport import ENDED, Transport, TransportState
from .data import Sending
from .site import Site

_KINDS: Mapping[Source, Kind] = {
    "microphone": "audio",
    "screen-audio": "audio",
    "camera": "video",
    "screen": "video",
}
_DEFAULT_SOURCE: Mapping[Kind, Source] = {"audio": "microphone", "video": "camera"}


class SourceForbidden(Exception):
    """The offer has a track from a source from which this participant may not publish."""


SILENT_AFTER: Final = 1.2
"""Seconds without a packet after which a track counts as silent: twice what Opus leaves between two
packets of silence (DTX), and what is left of 2 s for another track's key frame."""

HEARD_WITHIN: Final = 1.0
"""Seconds since its last packet in which a track is heard."""

STOPPED_AFTER: Final = 3.0
"""Seconds without a packet after which the room is told: short gaps in a network are none of its
business."""

_STILL: Final[frozenset[Source]] = frozenset({"screen", "screen-audio"})
"""Sources of which nothing may come for long although all is well."""


@dataclass(slots=True, eq=False)
class Published:
    """A track, from the offer that brings it to the offer or failure that takes it away."""

    participant: str
    source: Source
    up: UpTrack
    leg: Leg
    since: float
    stopped: bool = False
    """Whether the room was told that nothing comes of it."""
    _sent: Codec | None = None
    _wanted_at: float | None = None

    @property
    def id(self) -> str:
        return self.up.id

    @property
    def kind(self) -> Kind:
        return self.up.kind

    @property
    def carried(self) -> Carried:
        """What its receivers are told: first of its codecs the one that it is sent in, or will be
        by the order agreed on."""
        media = self.up.media
        codecs = [published.codec for published in media.codecs]
        opus = next((p.parameters for p in media.codecs if p.codec is OPUS), "")
        return Carried(
            self.kind,
            self.participant,
            self.id,
            sorted(codecs, key=lambda codec: codec is not self._sent),
            opus,
            media.ptime,
        )

    def is_heard(self, now: float) -> bool:
        """Whether packets of it come, for somebody to see or hear."""
        return not self.up.muted and now - self.up.heard_at < HEARD_WITHIN

    def get_silence(self, now: float) -> float:
        """Seconds since a packet of it came; where none need come, since anything came from who
        publishes it."""
        heard_at = self.up.heard_at
        if self.up.muted or self.source in _STILL:
            heard_at = max(heard_at, self.leg.heard_at)
        return now - max(self.since, heard_at)

    def note_stop(self, now: float) -> bool:
        """Look whether it has stopped, or goes on; True where that is news. What nobody receives
        need not come."""
        if not self.up.is_wanted():
            self._wanted_at = None
        elif self._wanted_at is None:
            self._wanted_at = now
        wanted = 0.0 if self._wanted_at is None else now - self._wanted_at
        silence = self.get_silence(now)
        stopped = silence > STOPPED_AFTER and (self.stopped or wanted > STOPPED_AFTER)
        news, self.stopped = stopped != self.stopped, stopped
        return news

    def note_codec(self, now: float) -> bool:
        """Look at what arrived last; whether its codec is another one than was known."""
        layer = self.up.get_taken()
        newest = None if layer is None else layer.cache.get(layer.newest, now)
        codec = None if newest is None else CODEC_BY_PAYLOAD_TYPE.get(newest.data[1] & 0x7F)
        if codec is None or codec is self._sent:
            return False
        self._sent = codec
        self.up.codec = codec.name
        return True

    def forget_codec(self) -> None:
        """Others were agreed on: the first of them is what will be sent, until another comes."""
        self._sent = None

    def describe(self) -> Track:
        return Track(self.id, self.kind, self.source, self.up.muted, self.stopped or UNSET)


@dataclass(slots=True)
class Changes:
    """What an offer did to the tracks."""

    added: list[Published] = field(default_factory=list)
    removed: list[Published] = field(default_factory=list)
    updated: list[Published] = field(default_factory=list)
    recoded: list[Published] = field(default_factory=list)
    """Other codecs were agreed on."""


class Publisher:
    """One publishing peer connection; `on_state` gets what becomes of its transport."""

    def __init__(
        self,
        participant: str,
        site: Site,
        *,
        on_state: Callable[[Publisher, TransportState], None],
        deliver: Callable[[Publisher, Arrived, bool], None],
        former: Publisher | None = None,
    ) -> None:
        """`former` is the participant's last one, whose transport has ended.

        The peer connection may be the same, with its ICE restarted: then another certificate
        tells it to shake hands again (RFC 8842, 5), and SSRCs are what they were.
        """
        self.participant = participant
        self.tracks: dict[str, Published] = {}
        """By mid."""
        self._site = site
        self._publication: Publication | None = None
        self._on_state: Callable[[Publisher, TransportState], None] | None = on_state
        self._sending = Sending(
            lambda event, lossy: deliver(self, event, lossy), site.timing, site.stats
        )
        self.transport: Transport[Leg] = site.open_transport(
            f"{participant}/publish", self._receive_state, Certificate() if former else None
        )
        if former is not None:
            self.transport.leg.follow(former.transport.leg)

    @property
    def state(self) -> TransportState:
        return self.transport.state

    def is_allowed(self, grants: Join) -> bool:
        """Whether all that is published here still may be."""
        allowed = grants.sources if grants.publish else []
        return allowed is None or all(track.source in allowed for track in self.tracks.values())

    def is_continued_by(self, offer: Description) -> bool:
        """Whether the offer is of this same peer connection.

        Another certificate, or other m-lines where ours were, is another peer connection:
        it gets a publisher of its own.
        """
        previous = self._publication
        if previous is None:
            return True
        return is_continuation(offer, previous) and self.state not in ENDED

    def receive_offer(
        self,
        offer: Description,
        sources: Mapping[str, Source],
        now: float,
        allowed: Collection[Source] | None = None,
        *,
        whole: bool = False,
    ) -> tuple[str, Changes]:
        """The answer, and what it changed. `allowed` are sources, None any; `whole` refuses what
        cannot be taken as a whole.

        Raises BadSdp or SourceForbidden, and then has changed no track.
        """
        previous = self._publication
        local = self._site.describe(self.transport.local)
        publication = answer_publisher(offer, local, previous, whole=whole)
        active = sum(media.active for media in publication.media)
        if active > self._site.config.max_tracks:
            raise BadSdp(f"{active} tracks are more than {self._site.config.max_tracks}.")
        if allowed is not None:
            self._check_sources(publication, sources, allowed)
        if publication.ice_restarted:
            # Only now: what a refused offer had begun, the next answer would go on with.
            local = self._site.describe(self.transport.restart_ice())
            publication = answer_publisher(offer, local, previous)
        data = publication.data
        if data is not None and self.transport.data is None:
            self._sending.path = self.transport.open_data(
                publication.remote, data.port, self._sending.receive
            )
        self.transport.start(publication.remote, now)
        self._publication = publication
        return publication.answer, self._apply(publication, sources, now)

    def close(self, now: float) -> list[Published]:
        """End it; returns the tracks that it had. Idempotent."""
        self._on_state = None
        removed = list(self.tracks.values())
        self.tracks.clear()
        self._sending.close()
        self.transport.close()
        self.transport.leg.close(now)
        return removed

    def _check_sources(
        self, publication: Publication, sources: Mapping[str, Source], allowed: Collection[Source]
    ) -> None:
        """What a client calls a microphone has to be sound at least."""
        for media in publication.media:
            if media.active:
                known = self.tracks.get(media.mid)
                default = _DEFAULT_SOURCE[media.kind] if known is None else known.source
                source = sources.get(media.mid, default)
                if source not in allowed or _KINDS.get(source, media.kind) != media.kind:
                    raise SourceForbidden

    def _receive_state(self, _transport: Transport[Leg], state: TransportState) -> None:
        if self._on_state is not None:
            self._on_state(self, state)

    def _apply(
        self, publication: Publication, sources: Mapping[str, Source], now: float
    ) -> Changes:
        changes = Changes()
        for media in publication.media:
            track = self.tracks.get(media.mid)
            source = sources.get(media.mid)
            if not media.active:
                if track is not None:
                    del self.tracks[media.mid]
                    self.transport.leg.remove_up(track.up, now)
                    changes.removed.append(track)
            elif track is None:
                changes.added.append(self._add(media, source or _DEFAULT_SOURCE[media.kind], now))
            else:
                known = track.up.media
                self.transport.leg.update_up(track.up, media)
                if (media.codecs, media.ptime) != (known.codecs, known.ptime):
                    track.forget_codec()
                    changes.recoded.append(track)
                if source is not None and source != track.source:
                    track.source = source
                    changes.updated.append(track)
        return changes

    def _add(self, media: PublishedMedia, source: Source, now: float) -> Published:
        up = UpTrack("t_" + self._site.token(16), media)
        leg = self.transport.leg
        track = self.tracks[media.mid] = Published(self.participant, source, up, leg, now)
        leg.add_up(up)
        return track
