"""The direct connection to one other participant, by perfect negotiation on aiortc.

Whoever joined later opens, with one audio and one video line; the other answers on the
same lines and opens itself only if nothing came. aiortc cannot restart ICE: where a
browser would, the connection is made anew under the same lines.

A little above 400 lines: every step of the negotiation works on the same few fields.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpTransceiver

from ..client import ClientError, Participant
from ..protocol import messages
from .internals import Checkpoint, learn_ssrcs, local_addresses, watch_packets
from .lines import (
    SDP_ERRORS,
    Line,
    Room,
    add_line,
    close_connection,
    local_sdp,
    make_connection,
    remote_description,
    set_local_description,
    tap_new_tracks,
)
from .sdp import (
    extension_ids,
    find_label,
    keep_extension_ids,
    parse_candidate_untrusted,
    session_of,
)
from .sources import Kind, Label, Source
from .tap import EncodedFrame, Tap

log = logging.getLogger(__name__)

OPEN_AFTER = 2.0
"""Seconds that the elder waits for the newcomer's offer before it opens itself."""
CONNECT_WITHIN = 8.0
"""Seconds until a pair without a connection is reported to the hub, as the protocol says."""
RETRY_AFTER = 4.0
RESTART_AFTER = 0.5
"""Seconds that the elder waits for the other side's offer when their way is broken."""
DATA_LABEL = "data"
ALWAYS: tuple[tuple[Label, Kind], ...] = (("microphone", "audio"), ("camera", "video"))


class Peer:
    """One participant, directly. Create it when the pair should be connected, `close` it when
    it should not; `receive` takes what the other side signals."""

    def __init__(self, room: Room, participant: Participant) -> None:
        self.participant = participant
        self.connected = False
        self.retired_at: float | None = None
        """Since when the pair's media go another way and this connection only lingers."""
        self._room = room
        self._polite = participant.elder
        self._direction = "sendrecv" if room.receiving else "sendonly"
        self._pc: RTCPeerConnection | None = None
        self._checkpoint: Checkpoint | None = None
        self._lines: dict[Label, Line] = {}
        self._taps: dict[str, Tap] = {}
        self._givers: dict[Tap, Callable[[Tap, EncodedFrame], None]] = {}
        self._extensions: dict[str, str] = {}
        self._remade: dict[Label, str | None] = {}
        """For which codec the connection was last made anew, by line."""
        self._channel: RTCDataChannel | None = None
        self._data_opened = asyncio.Event()
        self._data_wanted = False
        self._inbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(256)
        self._timers: set[asyncio.TimerHandle] = set()
        self._deadline: asyncio.TimerHandle | None = None
        self._closed = False
        if self._polite:
            self._inbox.put_nowait(("open", None))
        else:
            self._later(OPEN_AFTER, "open")
        self._task = room.spawn(self._run())

    def receive(self, kind: str, payload: Any) -> None:
        """`offer` or `answer` with SDP, `candidate` with an RTCIceCandidateInit or None."""
        if self._inbox.full():
            log.warning("%s signals faster than it can be followed", self.participant.id)
            return
        self._inbox.put_nowait((kind, payload))

    def refresh(self) -> None:
        """What the bot publishes has changed."""
        self.receive("refresh", None)

    def release(self, sources: list[Source]) -> None:
        """Send none of these any more."""
        for line in self._lines.values():
            line.release(sources)

    def resume(self) -> None:
        """The pair's media go this way again, before the connection was closed."""
        if self.retired_at is None:
            return
        self.retired_at = None
        for tap, give in self._givers.items():
            if tap.listener is None:
                tap.listener = give

    @property
    def taps(self) -> set[Tap]:
        """Of every line that ever received."""
        return set(self._taps.values())

    @property
    def addresses(self) -> set[str]:
        """Where its packets leave from."""
        return set() if self._pc is None else local_addresses(self._pc)

    def restart(self) -> None:
        """The way is broken, or another one: make the connection anew at once."""
        self.connected = False
        if self._polite:
            self.receive("remake", None)
        else:  # The other side may have noticed, too, and offers first.
            self._later(RESTART_AFTER, "silent", self._pc)

    def _hear(self) -> None:
        self._room.hear(self.participant.id)

    async def open_data(self) -> None:
        """Return when there is an open data channel; have one made if there is none."""
        if not self._data_wanted:
            self._data_wanted = True
            self.receive("refresh", None)
        await self._data_opened.wait()

    def send_data(self, data: bytes | str) -> bool:
        """Send on the data channel; False while it is not open."""
        if self._channel is None or self._channel.readyState != "open":
            return False
        self._channel.send(data)
        return True

    async def close(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._drop()

    # -- The connection -----------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            kind, payload = await self._inbox.get()
            try:
                await self._take(kind, payload)
            except SDP_ERRORS as error:
                log.warning("negotiation with %s: %s", self.participant.id, error)
                self._later(RETRY_AFTER, "rebuild")

    async def _take(self, kind: str, payload: Any) -> None:
        match kind:
            case "offer":
                await self._take_offer(payload)
            case "answer":
                if self._pc is not None and self._pc.signalingState == "have-local-offer":
                    await self._apply(payload, "answer")
                    await self._offer_if_needed()
            case "candidate":
                self._take_candidate(payload)
            case "open":
                if self._pc is None:
                    await self._offer()
            case "refresh":
                # In the middle of a negotiation, its end looks for what is new.
                if self._pc is not None and self._pc.signalingState == "stable":
                    await self._offer_if_needed()
            case "remake":
                await self._drop()
                await self._offer()
            case "rebuild":
                await self._drop()
                if not self._polite:
                    self._later(OPEN_AFTER, "open")
                else:
                    await self._offer()
            case "silent":
                if payload is self._pc:
                    await self._drop()
                    await self._offer()
            case "lost":
                if payload is self._pc:
                    await self._report_lost()

    def _open_pc(self) -> RTCPeerConnection:
        pc = make_connection(self._room.client)
        self._pc = pc
        tap_new_tracks(pc, self._room.jitter, self._on_tap)
        pc.on("connectionstatechange", lambda: self._on_state(pc))
        pc.on("datachannel", self._use_channel)
        self._arm_deadline()
        return pc

    async def _drop(self) -> None:
        pc, self._pc, self._checkpoint = self._pc, None, None
        self._room.forget(self.participant.id)
        self.connected = False
        self._channel = None
        self._data_opened.clear()
        for line in self._lines.values():
            line.track.stop()
        self._lines.clear()
        for tap in self._taps.values():
            self._room.lose_tap(tap)
            tap.close()
        self._taps.clear()
        self._givers.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        if pc is not None:
            await close_connection(pc)

    async def _offer(self) -> None:
        pc = self._pc or self._open_pc()
        for label, kind in ALWAYS:
            if label not in self._lines:
                self._lines[label] = add_line(pc, label, kind, self._direction)
        self._attach()
        self._add_lines(pc)
        if self._data_wanted and self._channel is None:
            self._use_channel(pc.createDataChannel(DATA_LABEL))
        checkpoint = Checkpoint(pc)
        offer = await pc.createOffer()
        watch_packets(pc, self._hear)
        offer.sdp = keep_extension_ids(offer.sdp, self._extensions)
        await set_local_description(pc, offer)
        self._checkpoint = checkpoint
        self._signal(messages.Offer(to=self.participant.id, sdp=local_sdp(pc)))

    async def _take_offer(self, description: str) -> None:
        pc = self._pc
        if pc is not None and pc.signalingState == "have-local-offer":
            if not self._polite:
                return  # Perfect negotiation: the other side takes its offer back.
            assert self._checkpoint is not None
            self._checkpoint.rollback()
        if (
            pc is not None
            and pc.remoteDescription is not None
            and session_of(pc.remoteDescription.sdp) != session_of(description)
        ):
            await self._drop()
            pc = None
        pc = pc or self._open_pc()
        for label, kind in ALWAYS:
            if label not in self._lines and f"m={kind}" in description:
                self._lines[label] = add_line(pc, label, kind, self._direction)
        self._attach()
        await self._apply(description, "offer")
        await set_local_description(pc, await pc.createAnswer())
        self._signal(messages.Answer(to=self.participant.id, sdp=local_sdp(pc)))
        await self._offer_if_needed()

    async def _apply(self, description: str, kind: str) -> None:
        assert self._pc is not None
        await self._pc.setRemoteDescription(remote_description(description, kind))
        watch_packets(self._pc, self._hear)
        learn_ssrcs(self._pc)
        self._checkpoint = None
        self._extensions.update(extension_ids(description))

    async def _offer_if_needed(self) -> None:
        assert self._pc is not None
        if self._must_remake(self._attach()):
            self.receive("remake", None)
        elif self._add_lines(self._pc) or (self._data_wanted and self._channel is None):
            await self._offer()

    def _signal(self, message: messages.ClientMessage) -> None:
        self._room.client.tell(message)

    # -- What is sent -------------------------------------------------------------------

    def _attach(self) -> list[Source]:
        """Put each source on its line, where there is one; returns those whose packets have
        another codec than their line is settled on."""
        refused: list[Source] = []
        by_label = {source.label: source for source in self._room.sources}
        for label, line in self._lines.items():
            source = by_label.get(label)
            if not line.attach(source):
                line.attach(None)
                refused += [source] if source is not None else []
        return refused

    def _must_remake(self, refused: list[Source]) -> bool:
        """aiortc's senders keep their codec for ever, so that another one takes a new
        connection. It is tried once for each change."""
        remake = False
        for source in refused:
            if self._remade.get(source.label) != source.codec:
                self._remade[source.label] = source.codec
                remake = True
            else:
                log.warning("%s cannot take %s packets", self.participant.id, source.codec)
        return remake

    def _add_lines(self, pc: RTCPeerConnection) -> bool:
        """Add lines for sources that have none; True if the other side must be told."""
        added = False
        for source in self._room.sources:
            if source.label not in self._lines:
                line = add_line(pc, source.label, source.kind, "sendonly")
                line.attach(source)
                self._lines[source.label] = line
                added = True
        return added

    # -- What is received ---------------------------------------------------------------

    def _on_tap(self, tap: Tap, transceiver: RTCRtpTransceiver) -> None:
        self._taps[transceiver.mid or ""] = tap
        kind: Kind = "video" if transceiver.kind == "video" else "audio"

        def first_frame(tap: Tap, frame: EncodedFrame) -> None:
            label = self._label(transceiver)
            self._room.receive_track(self.participant.id, kind, label, tap)
            if tap.listener is not None and tap.listener is not first_frame:
                tap.listener(tap, frame)

        self._givers[tap] = tap.listener = first_frame

    def _label(self, transceiver: RTCRtpTransceiver) -> Label:
        assert self._pc is not None
        screen = self.participant.metadata.get("screen")
        kind: Kind = "video" if transceiver.kind == "video" else "audio"
        return find_label(self._pc.remoteDescription.sdp, transceiver.mid, kind, screen)

    def _take_candidate(self, init: dict[str, Any] | None) -> None:
        if self._pc is None or self._pc.remoteDescription is None:
            return  # For an offer that was not taken.
        try:
            candidate = parse_candidate_untrusted(init)
        except ValueError as error:
            log.debug("not a candidate, of %s: %s", self.participant.id, error)
            return
        # A name of mDNS may take seconds to look up: nothing waits for it.
        self._room.spawn(self._add_candidate(self._pc, candidate))

    async def _add_candidate(self, pc: RTCPeerConnection, candidate: Any) -> None:
        try:
            await pc.addIceCandidate(candidate)
        except SDP_ERRORS as error:
            log.debug("candidate of %s: %s", self.participant.id, error)

    def _use_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != DATA_LABEL:
            return
        self._channel = channel
        if channel.readyState == "open":
            self._data_opened.set()
        channel.on("open", self._data_opened.set)
        channel.on("message", lambda data: self._room.receive_data(self.participant.id, data))

    # -- Failing ------------------------------------------------------------------------

    def _on_state(self, pc: RTCPeerConnection) -> None:
        if pc is not self._pc or self._closed:
            return
        state = pc.connectionState
        if state == "connected":
            self.connected = True
            if self._deadline is not None:
                self._deadline.cancel()
            self._room.sync()
        elif state in ("failed", "closed"):
            self.connected = False
            # Closed by the other side: it may be leaving, or moving to the relay.
            self._later(0 if state == "failed" else OPEN_AFTER / 2, "lost", pc)

    def _arm_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._later(CONNECT_WITHIN, "lost", self._pc)

    def _later(self, seconds: float, what: str, payload: Any = None) -> asyncio.TimerHandle:
        def act() -> None:
            self._timers.discard(timer)
            self.receive(what, payload)

        timer = asyncio.get_running_loop().call_later(seconds, act)
        self._timers.add(timer)
        return timer

    async def _report_lost(self) -> None:
        if self.connected:
            return
        if self.retired_at is None:
            message = messages.P2pFailed(participant=self.participant.id, reason="ice-failed")
            try:
                await self._room.client.request(message)
                return  # The hub answers with a route.
            except ClientError as error:
                log.debug("no relay for %s: %s", self.participant.id, error)
        self._later(RETRY_AFTER, "rebuild")
