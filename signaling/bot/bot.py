"""`Bot`: a participant with media. It publishes and receives without knowing whether a
direct connection or the relay carries them, and comes back by itself when either is lost.

    async with Bot.join("http://localhost:8443", room="demo", name="Echo") as bot:
        async for track in bot.tracks():
            bot.start(echo(bot, track))
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec
from aiortc import MediaStreamTrack

from relay.control import Track
from signaling import messages
from signaling.bot.files import File
from signaling.bot.internals import Tap
from signaling.bot.peer import Peer
from signaling.bot.publishing import (
    Frames,
    Publication,
    label_of,
    open_file,
    pump_frames,
    pump_packets,
    pump_track,
)
from signaling.bot.relayed import Publisher, Subscriber
from signaling.bot.sources import Kind, Label, Source, media_time
from signaling.bot.tracks import RemoteTrack
from signaling.client import Client, E, Event, Participant, Rejoined

log = logging.getLogger(__name__)

SWEEP = 0.5
"""Seconds between two looks at what lingers."""
LINGER = 5.0
"""Seconds that an old way stays open while the new one takes over, and that a track waits
for new media before it ends."""
RETURN_WITHIN = 30.0
"""Seconds in which a participant who comes back under the same name, after the server lost
its sessions, is taken for the same one."""

Way = Literal["auto", "relay"]
C = TypeVar("C", bound=Coroutine[Any, Any, None])


class _Returning:
    """Tracks of somebody whom the server has forgotten, until they come back."""

    def __init__(self, name: str, tracks: list[RemoteTrack], until: float) -> None:
        self.name = name
        self.tracks = tracks
        self.until = until


class Bot:
    """See the module. Make it with `Bot.join`, use it as an async context manager.

    client: the signaling below, with participants, chat and events.
    errors in coroutines given to `start` end the bot's `run_forever` and its `async with`
    body is cancelled with them raised at its end.
    """

    def __init__(self, client: Client, *, via: Way = "auto", receive: bool = True) -> None:
        self.client = client
        self.sources: list[Source] = []
        self.receiving = receive
        self._via = via
        self._user_metadata = dict(client.metadata)
        self._tracks: dict[tuple[str, Label], RemoteTrack] = {}
        self._track_readers: set[asyncio.Queue[RemoteTrack | None]] = set()
        self._track_handlers: list[Callable[[RemoteTrack], Coroutine[Any, Any, None]]] = []
        self._data_readers: set[asyncio.Queue[tuple[str, bytes | str] | None]] = set()
        self._peers: dict[str, Peer] = {}
        self._returning: list[_Returning] = []
        self._unbound: dict[RemoteTrack, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._closing = False
        self._publisher: Publisher
        self._subscriber: Subscriber
        client.on_any(self._receive)

    @classmethod
    def join(
        cls,
        server: str,
        *,
        room: str,
        name: str,
        token: str | None = None,
        via: Way = "auto",
        receive: bool = True,
        **options: Any,
    ) -> Self:
        """A bot that joins `room` when entered. `via="relay"` avoids direct connections;
        `receive=False` takes no media from others.

        options: `metadata`, `patience`, `ssl` as for `Client`. Entering raises as `Client` does.
        """
        client = Client(server, room=room, name=name, token=token, **options)
        return cls(client, via=via, receive=receive)

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._publisher = Publisher(self)
        self._subscriber = Subscriber(self)
        try:
            await self.client.start()
        except BaseException:
            await self.close()
            raise
        self.spawn(self._sweep())
        self.spawn(self._watch_client())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        if self._failure is not None and kind in (None, asyncio.CancelledError):
            if self._owner is not None and kind is asyncio.CancelledError:
                self._owner.uncancel()
            raise self._failure

    # -- Publishing ---------------------------------------------------------------------

    async def publish(
        self,
        what: str | Path | File | Source | MediaStreamTrack | RemoteTrack | Frames,
        *,
        kind: Kind = "video",
        label: Label | None = None,
        codec: str | None = None,
        fps: float = 30.0,
        rate: int = 48_000,
        live: bool = False,
        loop: bool = False,
        copy: bool = False,
        on_key_frame: Callable[[], None] | None = None,
    ) -> Publication:
        """Send something to everyone, whoever comes and however they are connected.

        what: a path or URL (its first video and first sound; `loop`, `copy` without decoding),
            a `Source` to push into, an aiortc track, a `RemoteTrack` (its packets, as they
            are), or an (async) iterable of av frames, av packets (`codec` names theirs) or
            arrays: pictures (height, width, 3) at `fps`, 16-bit samples at `rate`.
        label: what it is shown as; by default `camera` or `microphone`, by `kind`. Publishing
            a label again replaces it.
        on_key_frame: called when a receiver of packets asks for a key frame.
        live: the iterable keeps its own time.

        Raises SourceUnreadable, or CodecMissing for packets that cannot be sent.
        """
        work: Coroutine[Any, Any, None] | None = None
        if isinstance(what, str | Path):
            what = await open_file(str(what), loop=loop, copy=copy)
        if isinstance(what, File):
            sources, work = what.sources, what.play()
        elif isinstance(what, Source):
            sources = [what]
        elif isinstance(what, RemoteTrack):
            source = Source(
                what.kind,
                label=label_of(what.kind, label),
                codec=codec or what.codec or ("VP8" if what.kind == "video" else "opus"),
                on_key_frame=what.request_key_frame,
            )
            sources, work = [source], pump_packets(what, source)
        elif isinstance(what, MediaStreamTrack):
            kind = "video" if what.kind == "video" else "audio"
            source = Source(kind, label=label, codec=codec, on_key_frame=on_key_frame)
            sources, work = [source], pump_track(what, source)
        else:
            source = Source(kind, label=label, codec=codec, on_key_frame=on_key_frame)
            sources = [source]
            work = pump_frames(what, source, fps=fps, rate=rate, live=live)
        labels = {source.label for source in sources}
        self.withdraw([source for source in self.sources if source.label in labels])
        self.sources.extend(sources)
        self._refresh()
        return Publication(self, sources, None if work is None else self.spawn(work))

    def withdraw(self, sources: list[Source]) -> None:
        """Publish these sources no more."""
        gone = [source for source in sources if source in self.sources]
        for source in gone:
            self.sources.remove(source)
            source.close()
        if gone and not self._closing:
            self._refresh()

    def _refresh(self) -> None:
        for peer in self._peers.values():
            peer.refresh()
        self._publisher.refresh()
        labels = {source.label for source in self.sources}
        metadata = {
            **self._user_metadata,
            "camera": "camera" in labels,
            "microphone": "microphone" in labels,
            "screen": "screen" if "screen" in labels else None,
        }
        if metadata != self.client.metadata and not self.client.closed:
            self.client.metadata = metadata
            self.client.send(messages.Update(metadata=msgspec.Raw(msgspec.json.encode(metadata))))

    # -- Receiving ----------------------------------------------------------------------

    async def tracks(self) -> AsyncGenerator[RemoteTrack, None]:
        """Each track that anybody publishes, now or later. Ends with the bot."""
        queue: asyncio.Queue[RemoteTrack | None] = asyncio.Queue()
        for track in self._tracks.values():
            queue.put_nowait(track)
        if self._ended.is_set():
            queue.put_nowait(None)
        self._track_readers.add(queue)
        try:
            while (track_or_end := await queue.get()) is not None:
                yield track_or_end
        finally:
            self._track_readers.discard(queue)

    async def track(self, kind: Kind, *, name: str | None = None) -> RemoteTrack:
        """The first track of a kind, of the participant called `name` if given; waits for it."""
        async for track in self.tracks():
            if track.kind == kind and name in (None, track.participant.name):
                return track
        raise self.client.error or EOFError("The bot has ended.")

    def on_track(
        self, handler: Callable[[RemoteTrack], Coroutine[Any, Any, None]]
    ) -> Callable[[RemoteTrack], Coroutine[Any, Any, None]]:
        """Decorator: start `handler(track)` for each track, now or later."""
        self._track_handlers.append(handler)
        for track in self._tracks.values():
            self.start(handler(track))
        return handler

    def on(self, kind: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Decorator: call the function with each event of this kind; it must not block."""

        def decorate(handler: Callable[[E], object]) -> Callable[[E], object]:
            self.client.on(kind, handler)
            return handler

        return decorate

    # -- Chat and data ------------------------------------------------------------------

    async def chat(self, content: str, *, to: str | None = None) -> None:
        """Say something to the room, or to one participant."""
        await self.client.chat(content, to=to)

    async def send_data(self, data: bytes | str, *, to: str | None = None) -> set[str]:
        """Send over the data channels of direct connections; returns whom it reached.

        The first call opens the channels. Whoever is connected through the relay alone is not
        reached: data have no way there.
        """
        peers = {id: peer for id, peer in self._peers.items() if to in (None, id)}
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await asyncio.gather(*(peer.open_data() for peer in peers.values()))
        return {id for id, peer in peers.items() if peer.send_data(data)}

    async def data(self) -> AsyncGenerator[tuple[str, bytes | str], None]:
        """What others send over data channels: their participant id and the message."""
        queue: asyncio.Queue[tuple[str, bytes | str] | None] = asyncio.Queue(1024)
        self._data_readers.add(queue)
        try:
            while (item := await queue.get()) is not None:
                yield item
        finally:
            self._data_readers.discard(queue)

    def receive_data(self, participant: str, data: bytes | str) -> None:
        for queue in self._data_readers:
            if not queue.full():
                queue.put_nowait((participant, data))

    async def count_packets(self) -> list[tuple[int, int]]:
        """RTP packets that came and that were lost, for each line that receives."""
        counts: list[tuple[int, int]] = []
        taps = self._subscriber.taps.union(*(peer.taps for peer in self._peers.values()))
        for tap in taps:
            report = await tap.receiver.getStats()
            for stats in report.values():
                if stats.type == "inbound-rtp":
                    counts.append((stats.packetsReceived, max(stats.packetsLost, 0)))
        return counts

    # -- Tasks and the end --------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as long as the bot lives. If it fails, so does the bot."""
        task = self.spawn(work)
        self._work.add(task)
        return task

    async def run_forever(self) -> None:
        """Return when the bot has left; raise why it ended otherwise."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._work.discard(task)
            return
        error = task.exception()
        if task in self._work:
            self._work.discard(task)
            if error is not None:
                self._fail(error)
        elif error is not None:
            log.error("a task of the bot failed", exc_info=error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not self._closing:
            self._failure = error
            self._end()
            if self._owner is not None and not self._owner.done():
                self._owner.cancel()

    def _end(self) -> None:
        self._ended.set()
        for tracks in self._track_readers:
            tracks.put_nowait(None)
        for data in self._data_readers:
            if data.full():
                data.get_nowait()
            data.put_nowait(None)

    async def _watch_client(self) -> None:
        try:
            async for _ in self.client.events():
                pass
        except Exception as error:
            self._fail(error)
        else:
            self._end()

    async def close(self) -> None:
        """Leave, and end everything that was begun."""
        if self._closing:
            return
        self._closing = True
        self._end()
        work = self._work - {asyncio.current_task()}
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)
        for track in self._tracks.values():
            track.end()
        await asyncio.gather(*(peer.close() for peer in self._peers.values()))
        await self._publisher.close()
        await self._subscriber.close()
        await self.client.close()
        rest = self._tasks - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        for track in self._tracks.values():
            await track.wait_closed()

    # -- What connections bring ---------------------------------------------------------

    def receive_track(self, participant: str, kind: Kind, label: Label, tap: Tap) -> None:
        """Media have come for this track: bind it, and announce it if it is new."""
        owner = self.client.participants.get(participant)
        if owner is None or self._closing:
            return
        key = (participant, label)
        track = self._tracks.get(key)
        if track is None:
            track = RemoteTrack(owner, kind, label)
            self._tracks[key] = track
            self._take_mute(owner)
            track.bind(tap)
            self._announce(track)
        else:
            track.bind(tap)

    def lose_tap(self, tap: Tap) -> None:
        for track in self._tracks.values():
            track.unbind(tap)
        for returning in self._returning:
            for track in returning.tracks:
                track.unbind(tap)

    def _announce(self, track: RemoteTrack) -> None:
        for queue in self._track_readers:
            queue.put_nowait(track)
        for handler in self._track_handlers:
            self.start(handler(track))

    def _end_tracks(self, participant: str) -> None:
        for key in [key for key in self._tracks if key[0] == participant]:
            self._tracks.pop(key).end()

    def _take_mute(self, owner: Participant) -> None:
        """Whether a camera or microphone is off, as its owner says in its metadata, or the
        relay of its track."""
        for (id, label), track in self._tracks.items():
            if id != owner.id:
                continue
            published = next((t for t in owner.tracks.values() if t.source == label), None)
            on = owner.metadata.get(label)
            track.muted = (published is not None and published.muted) or on is False

    # -- What the hub tells -------------------------------------------------------------

    def _receive(self, event: Event) -> None:
        match event:
            case messages.OfferFrom(from_=sender, sdp=sdp) if sender == messages.RELAY:
                slots = event.tracks if isinstance(event.tracks, list) else []
                self._subscriber.receive_offer(sdp, slots)
            case messages.OfferFrom(from_=sender, sdp=sdp):
                self._signal(sender, "offer", sdp)
            case messages.AnswerFrom(from_=sender, sdp=sdp) if sender != messages.RELAY:
                self._signal(sender, "answer", sdp)
            case messages.CandidateFrom(from_=sender, candidate=candidate):
                self._signal(sender, "candidate", msgspec.json.decode(candidate))
            case messages.ParticipantJoined(participant=info):
                self._welcome(self.client.participants[info.id])
            case messages.ParticipantUpdated(participant=info):
                if owner := self.client.participants.get(info.id):
                    self._take_mute(owner)
            case messages.ParticipantLeft(participant=id):
                self._end_tracks(id)
            case messages.TrackUpdated(participant=id):
                if owner := self.client.participants.get(id):
                    self._take_mute(owner)
            case messages.TrackPublished(participant=id, track=published) if not self.receiving:
                if id != self.client.id:
                    self.client.send(messages.Unsubscribe(tracks=[published.id]))
            case messages.Joined(participants=others) if not self.receiving:
                if tracks := [track.id for other in others for track in other.tracks]:
                    self.client.send(messages.Unsubscribe(tracks=tracks))
            case messages.RelayRestarted():
                self._publisher.reset()
                self._subscriber.reset()
            case Rejoined(gone=gone):
                self._start_over(gone)
        self.arrange()

    def _signal(self, sender: str, kind: str, payload: Any) -> None:
        peer = self._peers.get(sender)
        if peer is None and kind == "offer" and sender in self.client.participants:
            peer = self._open_peer(self.client.participants[sender])
        if peer is not None:
            peer.receive(kind, payload)

    def _start_over(self, gone: list[Participant]) -> None:
        """A new session: others know nothing of this one's connections."""
        for peer in self._peers.values():
            self.spawn(peer.close())
        self._peers.clear()
        self._publisher.reset()
        self._subscriber.reset()
        until = media_time() + RETURN_WITHIN
        for owner in gone:
            keys = [key for key in self._tracks if key[0] == owner.id]
            if keys:
                tracks = [self._tracks.pop(key) for key in keys]
                self._returning.append(_Returning(owner.name, tracks, until))
        for participant in self.client.participants.values():
            self._welcome(participant)

    def _welcome(self, participant: Participant) -> None:
        """Give somebody who comes back their tracks."""
        for returning in self._returning:
            if returning.name == participant.name:
                self._returning.remove(returning)
                for track in returning.tracks:
                    track.participant = participant
                    self._tracks[(participant.id, track.label)] = track
                return

    # -- Which ways media take ----------------------------------------------------------

    def arrange(self) -> None:
        """Open and close connections as the room's topology and routes say."""
        if self._closing or not self.client.id or self.client.closed:
            return
        participants = self.client.participants
        for id in [id for id in self._peers if id not in participants]:
            self.spawn(self._peers.pop(id).close())
        relayed = False
        for participant in participants.values():
            if self._is_relayed(participant):
                relayed = True
                self._retire(participant)
            elif participant.id not in self._peers:
                self._open_peer(participant)
            else:
                self._peers[participant.id].retired_at = None
        in_relay = self.client.relay and self.client.topology == "relay"
        if relayed or in_relay:
            self._publisher.set_active(True)
        elif all(peer.connected for peer in self._peers.values()):
            self._publisher.set_active(False)

    def _is_relayed(self, participant: Participant) -> bool:
        if not self.client.relay:
            return False
        return self.client.topology == "relay" or participant.via_relay

    def _open_peer(self, participant: Participant) -> Peer:
        peer = Peer(self, participant)
        self._peers[participant.id] = peer
        if self._via == "relay":
            self.client.send(messages.P2pFailed(participant=participant.id, reason="not wanted"))
        return peer

    def _retire(self, participant: Participant) -> None:
        """Close a direct connection a while after the relay's media have come, or without them."""
        peer = self._peers.get(participant.id)
        if peer is None:
            return
        now = media_time()
        if peer.retired_at is None:
            peer.retired_at = now
        mine = [track for key, track in self._tracks.items() if key[0] == participant.id]
        taps = self._subscriber.taps
        flowing = bool(mine) and all(track.tap in taps for track in mine)
        # Kept for a while: the other side may still look through it, or the room shrink again.
        if not peer.connected or now - peer.retired_at > (LINGER if flowing else 2 * LINGER):
            del self._peers[participant.id]
            self.spawn(peer.close())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.arrange()
            now = media_time()
            for returning in [one for one in self._returning if one.until < now]:
                self._returning.remove(returning)
                for track in returning.tracks:
                    track.end()
            self._end_silent(now)

    def _end_silent(self, now: float) -> None:
        """End tracks that are published no more and have no connection left."""
        for key, track in list(self._tracks.items()):
            owner = self.client.participants.get(key[0])
            published: list[Track] = list(owner.tracks.values()) if owner else []
            if track.bound or any(t.source == key[1] for t in published):
                self._unbound.pop(track, None)
            elif now - self._unbound.setdefault(track, now) > LINGER:
                del self._unbound[track]
                del self._tracks[key]
                track.end()
