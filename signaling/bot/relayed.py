"""The two connections to the media relay: `Publisher` offers what the bot sends, `Subscriber`
answers the relay's offers and hands each line's media to the track that it carries.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import msgspec
from aiortc import RTCPeerConnection, RTCRtpTransceiver
from msgspec import Raw, UnsetType

from relay.control import PublishTrack, SlotTrack

from ..client.errors import ClientError, NotConnected, Refused, SessionLost
from ..protocol import messages
from .internals import learn_ssrcs, local_addresses, watch_packets
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
from .sdp import session_of
from .sources import Source
from .tap import Tap

log = logging.getLogger(__name__)

PUBLISHER: Final = "publisher"
SUBSCRIBER: Final = "subscriber"
"""What the connections are called where they are watched."""
RETRY_AFTER = 1.5
"""Seconds before a refused or failed negotiation is tried again."""
ASK_AGAIN_AFTER = 3.0
"""Seconds before the relay is asked once more for a new offer."""


class Publisher:
    """Sends the bot's sources to the relay while `active`."""

    def __init__(self, room: Room) -> None:
        self.active = False
        self.connected = False
        self._room = room
        self._pc: RTCPeerConnection | None = None
        self._lines: list[Line] = []
        self._by_source: dict[Source, Line] = {}
        self._dirty = asyncio.Event()
        self._reset = False
        self._task = room.spawn(self._run())

    def set_active(self, active: bool) -> None:
        if active != self.active:
            self.active = active
            self._dirty.set()

    def refresh(self) -> None:
        """What the bot publishes has changed."""
        self._dirty.set()

    def release(self, sources: list[Source]) -> None:
        """Send none of these any more."""
        for line in self._lines:
            line.release(sources)

    def reset(self) -> None:
        """The relay forgot this connection: begin anew."""
        self._reset = True
        self._dirty.set()

    @property
    def addresses(self) -> set[str]:
        """Where its packets leave from."""
        return set() if self._pc is None else local_addresses(self._pc)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._drop()

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._reset:
                self._reset = False
                await self._drop()
            try:
                await self._negotiate()
            except NotConnected:
                return
            except (ClientError, *SDP_ERRORS) as error:
                log.info("publishing to the relay: %s", error)
                await self._drop()
                # A session that is lost has been followed by a new one: there is no need to wait.
                if not isinstance(error, SessionLost):
                    await asyncio.sleep(RETRY_AFTER)
                self._dirty.set()

    async def _drop(self) -> None:
        pc, self._pc = self._pc, None
        self._room.forget(PUBLISHER)
        self.connected = False
        for line in self._lines:
            line.track.stop()
        self._lines.clear()
        self._by_source.clear()
        if pc is not None:
            await close_connection(pc)

    async def _negotiate(self) -> None:
        allowed = self._room.client.grants.sources
        sources = [
            source
            for source in (self._room.sources if self.active else [])
            if isinstance(allowed, UnsetType) or source.label in allowed
        ]
        if self._pc is None and not sources:
            return
        pc = self._pc or self._open()
        self._arrange_lines(pc, sources)
        watch_packets(pc, lambda: self._room.hear(PUBLISHER))
        await set_local_description(pc, await pc.createOffer())
        tracks = [
            PublishTrack(mid=line.transceiver.mid or "", source=line.label)
            for line in self._by_source.values()
        ]
        offer = messages.Offer(
            to=messages.RELAY,
            sdp=local_sdp(pc),
            tracks=Raw(msgspec.json.encode(tracks)),
        )
        answer = await self._room.client.request(offer)
        if pc is not self._pc or not isinstance(answer, messages.AnswerFrom):
            return
        await pc.setRemoteDescription(remote_description(answer.sdp, "answer"))

    def _open(self) -> RTCPeerConnection:
        pc = make_connection(self._room.client)
        self._pc = pc

        def on_state() -> None:
            if pc is not self._pc:
                return
            self.connected = pc.connectionState == "connected"
            if pc.connectionState in ("failed", "closed"):
                self.reset()
            self._room.sync()

        pc.on("connectionstatechange", on_state)
        return pc

    def _arrange_lines(self, pc: RTCPeerConnection, sources: list[Source]) -> None:
        for source, line in list(self._by_source.items()):
            if source not in sources:
                line.attach(None)
                line.transceiver.direction = "inactive"
                del self._by_source[source]
        for source in sources:
            if source in self._by_source:
                continue
            line = self._free_line(source) or self._new_line(pc, source)
            line.label = source.label
            line.transceiver.direction = "sendonly"
            self._by_source[source] = line

    def _free_line(self, source: Source) -> Line | None:
        used = self._by_source.values()
        for line in self._lines:
            if line.track.kind == source.kind and line not in used and line.attach(source):
                return line
        return None

    def _new_line(self, pc: RTCPeerConnection, source: Source) -> Line:
        line = add_line(pc, source.label, source.kind, "sendonly")
        line.attach(source)
        self._lines.append(line)
        return line


@dataclass(frozen=True)
class _Offer:
    sdp: str
    slots: list[SlotTrack]


class Subscriber:
    """Receives what the relay sends. `slots` says what each line carries now, by mid."""

    def __init__(self, room: Room) -> None:
        self.connected = False
        self.slots: dict[str, SlotTrack] = {}
        self._room = room
        self._pc: RTCPeerConnection | None = None
        self._taps: dict[str, Tap] = {}
        self._inbox: asyncio.Queue[_Offer | None] = asyncio.Queue(64)
        self._asking: asyncio.TimerHandle | None = None
        self._task = room.spawn(self._run())

    @property
    def taps(self) -> set[Tap]:
        """Of every line that ever received."""
        return set(self._taps.values())

    def receive_offer(self, description: str, slots: list[SlotTrack]) -> None:
        if not self._inbox.full():
            self._inbox.put_nowait(_Offer(description, slots))

    @property
    def addresses(self) -> set[str]:
        """Where its packets leave from."""
        return set() if self._pc is None else local_addresses(self._pc)

    def restart(self) -> None:
        """The way to the relay is broken, or another one: have it offer anew at once."""
        self._ask(0)

    def reset(self) -> None:
        """Forget the connection: the relay behind it is gone."""
        if not self._inbox.full():
            self._inbox.put_nowait(None)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._drop()

    async def _run(self) -> None:
        while True:
            offer = await self._inbox.get()
            while offer is not None and not self._inbox.empty():
                offer = self._inbox.get_nowait()  # Only the newest counts: it holds all lines.
            if offer is None:
                await self._drop()
                continue
            try:
                await self._answer(offer)
            except Refused as error:
                log.info("the relay refused an answer: %s", error)
            except NotConnected:
                return
            except (ClientError, *SDP_ERRORS) as error:
                log.warning("subscribing at the relay: %s", error)
                await self._drop()
                self._ask(RETRY_AFTER)

    async def _drop(self) -> None:
        pc, self._pc = self._pc, None
        self._room.forget(SUBSCRIBER)
        self.connected = False
        self._stop_asking()
        self.slots.clear()
        for tap in self._taps.values():
            self._room.lose_tap(tap)
            tap.close()
        self._taps.clear()
        if pc is not None:
            await close_connection(pc)

    async def _answer(self, offer: _Offer) -> None:
        self._stop_asking()
        pc = self._pc
        if pc is not None and session_of(pc.remoteDescription.sdp) != session_of(offer.sdp):
            # aiortc can neither restart ICE nor change certificates.
            await self._drop()
            pc = None
        pc = pc or self._open()
        await pc.setRemoteDescription(remote_description(offer.sdp, "offer"))
        watch_packets(pc, lambda: self._room.hear(SUBSCRIBER))
        learn_ssrcs(pc)
        await set_local_description(pc, await pc.createAnswer())
        self._take_slots(offer.slots)
        await self._room.client.request(messages.Answer(to=messages.RELAY, sdp=local_sdp(pc)))

    def _open(self) -> RTCPeerConnection:
        pc = make_connection(self._room.client)
        self._pc = pc

        def on_tap(tap: Tap, transceiver: RTCRtpTransceiver) -> None:
            self._taps[transceiver.mid or ""] = tap

        def on_state() -> None:
            if pc is not self._pc:
                return
            self.connected = pc.connectionState == "connected"
            if pc.connectionState in ("failed", "closed"):
                self._ask(0)
            self._room.sync()

        tap_new_tracks(pc, self._room.jitter, on_tap)
        pc.on("connectionstatechange", on_state)
        return pc

    def _take_slots(self, slots: list[SlotTrack]) -> None:
        before, self.slots = self.slots, {slot.mid: slot for slot in slots}
        for mid, tap in self._taps.items():
            slot = self.slots.get(mid)
            if before.get(mid) not in (None, slot):
                self._room.lose_tap(tap)
            if slot is not None:
                self._give(slot, tap)

    def _give(self, slot: SlotTrack, tap: Tap) -> None:
        participant = self._room.client.participants.get(slot.participant)
        track = participant.tracks.get(slot.track) if participant is not None else None
        if track is not None:
            self._room.receive_track(slot.participant, track.kind, track.source, tap)

    def _ask(self, wait: float) -> None:
        """Ask the relay for an offer with a new ICE session, until one comes."""

        def ask() -> None:
            self._room.client.tell(messages.RestartIce())
            self._ask(ASK_AGAIN_AFTER)

        self._stop_asking()
        self._asking = asyncio.get_running_loop().call_later(wait, ask)

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
