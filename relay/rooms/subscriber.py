"""What one participant receives: a transport whose m-lines are slots for other people's tracks.

A `Subscriber` is offered what there is, again whenever that changes; a `Player` (WHEP) brought
an offer of its own, and what it has room for is all it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..control import ReceptionState, SlotTrack
from ..plane.leg import Leg
from ..plane.tracks import DownTrack
from ..sdp.description import BadSdp, Description, TransportDescription
from ..sdp.player import Playback, answer_player
from ..sdp.slots import Slot
from ..sdp.subscription import Subscription
from ..transport.dtls import Certificate
from ..transport.transport import ENDED, Transport, TransportState
from .data import Receiving
from .publisher import SILENT_AFTER, Published
from .site import Site

_CNAME_LENGTH: Final = 16

LEFT_OUT_AFTER: Final = 2.0
"""Seconds after which a player that can take nothing of what there is learns that by the end of its
session: a publisher may only try another codec."""


class Receiver:
    """What subscribers and players share: one transport, and a DownTrack for each slot in use."""

    def __init__(
        self,
        participant: str,
        site: Site,
        *,
        on_state: Callable[[Receiver, TransportState], None],
    ) -> None:
        self.participant = participant
        self._site = site
        self._downs: dict[str, DownTrack] = {}
        self._former: dict[str, DownTrack] = {}
        """Those of transports that have ended, by mid: what comes next goes on from there."""
        self._on_state: Callable[[Receiver, TransportState], None] | None = on_state
        self._certificate = site.certificate
        self.transport: Transport[Leg] = self._open_transport()

    @property
    def state(self) -> TransportState:
        return self.transport.state

    @property
    def downs(self) -> Sequence[DownTrack]:
        return list(self._downs.values())

    def close(self, now: float) -> None:
        """End it; idempotent."""
        self._on_state = None
        self._close_transport(now)

    def _open_transport(self, credentials: Sequence[str] = ()) -> Transport[Leg]:
        name = f"{self.participant}/subscribe"
        return self._site.open_transport(name, self._receive_state, self._certificate, credentials)

    def _close_transport(self, now: float) -> None:
        self._former.update(self._downs)
        self._downs.clear()
        self.transport.close()
        self.transport.leg.close(now)

    def _receive_state(self, transport: Transport[Leg], state: TransportState) -> None:
        if self._on_state is not None and transport is self.transport:
            self._on_state(self, state)

    def _carry(self, slot: Slot, track: Published | None, now: float) -> None:
        """Have the slot carry the track, as far as the client agreed to the slot."""
        down = self._downs.get(slot.mid)
        if track is None or not slot.payload_types:
            if down is not None:
                down.attach(None, {}, now)
            return
        if down is None:
            down = self._downs[slot.mid] = DownTrack(
                self.transport.leg,
                slot.kind,
                slot.ssrc,
                slot.rtx_ssrc,
                sequence=self._site.number() & 0xFFFF,
                timestamp=self._site.number(),
            )
            former = self._former.pop(slot.mid, None)
            if former is not None:
                down.follow(former)
            self.transport.leg.add_down(down)
        numbers = slot.get_numbers()
        known = down.payload_types.keys() if down.source is track.up else numbers.keys()
        down.attach(track.up, numbers, now, extensions=bool(slot.extensions))
        if not numbers.keys() <= known:
            # What came in that codec until now was dropped.
            track.up.request_key_frame(now)


class Subscriber(Receiver):
    """A subscribing peer connection.

    `choose` says what it should carry; `take_offer` gives the next offer when one is due: never
    while one is unanswered, so changes in the meantime end up in one later offer.
    """

    def __init__(
        self,
        participant: str,
        site: Site,
        *,
        on_state: Callable[[Receiver, TransportState], None],
        data: bool = False,
    ) -> None:
        super().__init__(participant, site, on_state=on_state)
        self.data = Receiving(participant, site.stats)
        self._tracks: dict[str, Published] = {}
        self._subscription = self._open_subscription(data)
        self._offered: dict[str, str] | None = None
        self._changed = data
        self._restart = False

    @property
    def waits_for_answer(self) -> bool:
        return self._offered is not None

    def choose(self, tracks: Mapping[str, Published], now: float) -> None:
        """Carry these tracks, by id, and no others."""
        for identity in [name for name in self._tracks if name not in tracks]:
            del self._tracks[identity]
            slot = self._subscription.release(identity)
            if slot is not None:
                self._carry(slot, None, now)
            self._changed = True
        for identity, track in tracks.items():
            if identity not in self._tracks and self._assign(track):
                self._tracks[identity] = track
                self._changed = True

    def follow_codec(self, track: Published, _now: float) -> None:
        """Have the track's m-line offered with the codec that it is sent in, if it was not."""
        due = self._subscription.follow(track.carried)
        # While an offer is open, its answer decides: see `receive_answer`.
        if due and not self.waits_for_answer:
            self._changed = True

    def list_reception(self) -> dict[str, ReceptionState]:
        """How its tracks reach it, as far as its answers say: an open offer may change that."""
        known: dict[str, ReceptionState] = {}
        for slot in self._subscription.slots:
            track = self._tracks.get(slot.track or "")
            if track is None or self.waits_for_answer or not (slot.payload_types or slot.dead):
                continue
            taken = slot.takes(track.carried.codecs[0]) and not slot.dead
            known[track.id] = "full" if taken else "unsupported"
        return known

    def restart_ice(self) -> None:
        """Have the next offer carry fresh ICE credentials."""
        self._restart = True

    def reopen(self, now: float) -> None:
        """Start over after the transport ended: another transport, and all m-lines offered anew.

        The session in `o=` is another one: the offer is for another peer connection. The
        certificate is a new one, too: a client that goes on with the old one then sees that
        this is another DTLS association (RFC 8842 5). Chromium shakes hands again, Firefox
        does not.
        An offer that is open is given up: who closed its peer connection never answers it.
        """
        self._close_transport(now)
        self._certificate = Certificate()
        self.transport = self._open_transport()
        self._subscription.begin_session(self._site.number())
        self._offered = None
        self._restart = False
        self._changed = True

    def take_offer(self) -> tuple[str, list[SlotTrack]] | None:
        """The SDP to offer now and what its m-lines carry; None: nothing to offer, or not yet."""
        if self.waits_for_answer or not (self._changed or self._restart):
            return None
        subscription = self._subscription
        if not (subscription.slots or subscription.wants_data) or self.state in ENDED:
            return None
        local = self.transport.restart_ice() if self._restart else self.transport.local
        sdp = self._subscription.build_offer(self._site.describe(local))
        carried = _list_carried(self._subscription.slots)
        self._offered = {entry.mid: entry.track for entry in carried}
        self._changed = self._restart = False
        return sdp, carried

    def receive_answer(self, sdp: str, now: float) -> None:
        """The client's answer to the offer that is open. Raises BadSdp.

        An answer with another certificate comes from another peer connection: it gets
        another transport, which goes by what was offered.
        """
        offered = self._offered
        if offered is None:
            raise BadSdp("No offer waits for an answer.")
        self._subscription.receive_answer(sdp)
        remote = self._subscription.remote
        assert remote is not None
        known = self.transport.remote
        if known is not None and set(known.fingerprints) != set(remote.fingerprints):
            local = self.transport.local
            self._close_transport(now)
            self.transport = self._open_transport((local.ufrag, local.pwd))
        self._open_data(remote)
        self.transport.start(remote, now)
        self._offered = None
        for slot in self._subscription.slots:
            # A slot that was given to another track since then waits for its own offer.
            track = slot.track if slot.track == offered.get(slot.mid) else None
            self._carry(slot, self._tracks.get(track) if track is not None else None, now)
            if track is not None and self._subscription.is_due(track):
                self._changed = True

    def _open_data(self, remote: TransportDescription) -> None:
        line = self._subscription.data
        if line is not None and self.transport.data is None:
            path = self.transport.open_data(remote, line.port, self.data.receive)
            self.data.begin(path, line.max_message)

    def _close_transport(self, now: float) -> None:
        self.data.end()
        super()._close_transport(now)

    def _assign(self, track: Published) -> bool:
        slots = self._subscription.slots
        full = len(slots) >= self._site.config.max_slots
        if full and all(slot.track is not None or slot.kind != track.kind for slot in slots):
            return False
        self._subscription.assign(track.carried)
        return True

    def _open_subscription(self, data: bool) -> Subscription:
        return Subscription(
            data=data,
            session_id=self._site.number(),
            cname=self._site.token(_CNAME_LENGTH),
            ssrc=self._site.number,
        )


class Player(Receiver):
    """A WHEP player's peer connection: it is never offered anything, so its m-lines stay."""

    def __init__(
        self,
        participant: str,
        site: Site,
        *,
        on_state: Callable[[Receiver, TransportState], None],
    ) -> None:
        super().__init__(participant, site, on_state=on_state)
        self._session_id = site.number()
        self._cname = site.token(_CNAME_LENGTH)
        self._playback: Playback | None = None
        self._left_out_since: float | None = None

    @property
    def carried(self) -> list[SlotTrack]:
        """What its m-lines carry."""
        return _list_carried(self._playback.slots if self._playback is not None else ())

    def receive_offer(self, offer: Description, tracks: Mapping[str, Published], now: float) -> str:
        """The answer to the player's offer, the first or an ICE restart. Raises BadSdp."""
        previous = self._playback
        local = self.transport.local if previous is None else self.transport.restart_ice()
        playback = answer_player(
            offer,
            self._site.describe(local),
            [track.carried for track in _list_heard_first(tracks, now)],
            session_id=self._session_id,
            cname=self._cname,
            ssrc=self._site.number,
            previous=previous,
        )
        self.transport.start(playback.remote, now)
        self._playback = playback
        if previous is None:
            for slot in playback.slots:
                self._carry(slot, tracks.get(slot.track or ""), now)
        return playback.answer

    def follow_codec(self, track: Published, now: float) -> None:
        """Have no slot carry it any more that cannot take the codec that it is sent in."""
        slots = self._playback.slots if self._playback is not None else ()
        for slot in slots:
            if slot.track == track.id and not _can_carry(slot, track):
                slot.track = slot.participant = None
                self._carry(slot, None, now)

    def choose(self, tracks: Mapping[str, Published], now: float) -> None:
        """Carry what fits of these: a slot whose track ended takes the next one of its kind."""
        slots = self._playback.slots if self._playback is not None else ()
        for slot in slots:
            if slot.track is not None and slot.track not in tracks:
                slot.track = slot.participant = None
                self._carry(slot, None, now)
        carried = {slot.track for slot in slots}
        for track in _list_heard_first(tracks, now):
            if track.id in carried:
                continue
            free = next((s for s in slots if s.track is None and _can_carry(s, track)), None)
            if free is not None:
                self._put(free, track, now)

    def change_over(self, tracks: Mapping[str, Published], now: float) -> None:
        """Have a line whose track has gone silent carry one that is heard, if one fits: of a
        publisher of its other lines where it can."""
        slots = self._playback.slots if self._playback is not None else ()
        for slot in slots:
            track = tracks.get(slot.track or "")
            if track is None or track.get_silence(now) < SILENT_AFTER:
                continue
            carried = {slot.track for slot in slots}
            seen = {
                other.participant
                for name, other in tracks.items()
                if name in carried and other.is_heard(now)
            }
            fitting = [
                other
                for name, other in tracks.items()
                if name not in carried and other.is_heard(now) and _can_carry(slot, other)
            ]
            if fitting:
                self._put(slot, min(fitting, key=lambda other: other.participant not in seen), now)

    def is_left_out(self, tracks: Mapping[str, Published], now: float) -> bool:
        """Whether it has got nothing for a while, though there are tracks for it, since it takes
        none of their codecs: it cannot be offered them."""
        slots = self._playback.slots if self._playback is not None else ()
        kinds = {slot.kind for slot in slots}
        if any(slot.track for slot in slots) or not any(t.kind in kinds for t in tracks.values()):
            self._left_out_since = None
        elif self._left_out_since is None:
            self._left_out_since = now
        return self._left_out_since is not None and now - self._left_out_since > LEFT_OUT_AFTER

    def _put(self, slot: Slot, track: Published, now: float) -> None:
        slot.carry(track.carried)
        self._carry(slot, track, now)


def _list_heard_first(tracks: Mapping[str, Published], now: float) -> list[Published]:
    return sorted(tracks.values(), key=lambda track: track.get_silence(now) >= SILENT_AFTER)


def _list_carried(slots: Sequence[Slot]) -> list[SlotTrack]:
    return [
        SlotTrack(slot.mid, slot.participant, slot.track)
        for slot in slots
        if slot.participant is not None and slot.track is not None
    ]


def _can_carry(slot: Slot, track: Published) -> bool:
    return slot.kind == track.kind and slot.takes(track.carried.codecs[0])
