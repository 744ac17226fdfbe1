"""`Bot`: a participant with media. It publishes and receives without knowing whether a
direct connection or the relay carries them, and comes back by itself when either is lost.

    async with Bot.join("http://localhost:8443", room="demo", name="Echo") as bot:
        async for track in bot.tracks():
            bot.start(echo(bot, track))

A little above 400 lines, for all that a program sees of a bot is here.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiortc import MediaStreamTrack

from ..client import Client, NotConnected
from ..client.events import E
from ..protocol import messages
from .files import File
from .publishing import (
    Frames,
    Publication,
    label_of,
    open_file,
    pump_frames,
    pump_packets,
    pump_track,
)
from .relayed import Publisher, Subscriber
from .routing import Routing, Way
from .sources import Kind, Label, Source
from .threads import finish
from .tracks import RemoteTrack

log = logging.getLogger(__name__)

DATA_WITHIN = 5.0
"""Seconds that data wait for their channel."""


class Bot(Routing):
    """See the module. Make it with `Bot.join`, use it as an async context manager.

    client: the signaling below, with participants, chat and events.

    If a coroutine given to `start` fails, or the server is gone for good, the body of the
    `async with` is cancelled, and the error raised where it ends.
    """

    def __init__(self, client: Client, *, via: Way = "auto", receive: bool = True) -> None:
        super().__init__(client, via=via, receive=receive)
        self._track_readers: set[asyncio.Queue[RemoteTrack | None]] = set()
        self._track_handlers: list[Callable[[RemoteTrack], Coroutine[Any, Any, None]]] = []
        self._data_readers: set[asyncio.Queue[tuple[str, bytes | str] | None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._publications: weakref.WeakSet[Publication] = weakref.WeakSet()
        self._failure: BaseException | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._closed: asyncio.Task[None] | None = None

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

        Raises SourceUnreadable, CodecMissing for packets that cannot be sent, or NotConnected
        before the bot has joined and after it has ended.
        """
        self._check_alive()
        work: Coroutine[Any, Any, None] | None = None
        if isinstance(what, str | Path):
            what = await open_file(str(what), loop=loop, copy=copy)
        if isinstance(what, File):
            sources, work = what.sources, what.play()
        elif isinstance(what, Source):
            sources = [what]
        elif isinstance(what, RemoteTrack):
            sources = []
            work = pump_packets(self, what, label, sources)
        elif isinstance(what, MediaStreamTrack):
            kind = "video" if what.kind == "video" else "audio"
            source = Source(kind, label=label, codec=codec, on_key_frame=on_key_frame)
            sources, work = [source], pump_track(what, source)
        else:
            source = Source(kind, label=label, codec=codec, on_key_frame=on_key_frame)
            sources = [source]
            work = pump_frames(what, source, fps=fps, rate=rate, live=live)
        try:
            self._check_alive()  # It may have ended while a file was opened.
        except NotConnected:
            if work is not None:
                work.close()
            if isinstance(what, File):
                what.close()
            raise
        labels = {source.label for source in sources}
        if isinstance(what, RemoteTrack):
            labels = {label_of(what.kind, label)}
        self.withdraw([source for source in self.sources if source.label in labels])
        for other in list(self._publications):
            other.give_way(labels)
        self.sources.extend(sources)
        self._refresh()
        task = None if work is None else self.spawn(work)
        publication = Publication(self, sources, task, labels)
        self._publications.add(publication)
        return publication

    def replace(self, old: list[Source], new: Source) -> None:
        """Publish `new` in the place of `old`."""
        for source in old:
            self.sources.remove(source)
        self._release(old)
        self.sources.append(new)
        self._refresh()

    def withdraw(self, sources: list[Source]) -> None:
        """Publish these sources no more."""
        gone = [source for source in sources if source in self.sources]
        for source in gone:
            self.sources.remove(source)
        self._release(gone)
        for publication in list(self._publications):
            publication.give_way(set())
        if gone and not self._closing:
            self._refresh()

    def _release(self, sources: list[Source]) -> None:
        """Send these no more at once; other bots may go on sending them."""
        for peer in self._peers.values():
            peer.release(sources)
        self._publisher.release(sources)

    def _refresh(self) -> None:
        for peer in self._peers.values():
            peer.refresh()
        self._publisher.refresh()
        labels = {source.label for source in self.sources}
        metadata = {
            **self.client.metadata,
            "camera": "camera" in labels,
            "microphone": "microphone" in labels,
            "screen": "screen" if "screen" in labels else None,
        }
        if metadata != self.client.metadata and not self.client.closed:
            self.client.metadata = metadata
            self.client.tell(messages.Update(metadata=msgspec.Raw(msgspec.json.encode(metadata))))

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

    def _announce(self, track: RemoteTrack) -> None:
        if self._ended.is_set():
            return
        for queue in self._track_readers:
            queue.put_nowait(track)
        for handler in self._track_handlers:
            self.start(handler(track))

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
            async with asyncio.timeout(DATA_WITHIN):
                await asyncio.gather(*(peer.open_data() for peer in peers.values()))
        return {id for id, peer in peers.items() if peer.send_data(data)}

    async def data(self) -> AsyncGenerator[tuple[str, bytes | str], None]:
        """What others send over data channels: their participant id and the message."""
        queue: asyncio.Queue[tuple[str, bytes | str] | None] = asyncio.Queue(1024)
        if self._ended.is_set():
            queue.put_nowait(None)
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
        """Run `work` as long as the bot lives. If it fails, so does the bot. Raises NotConnected
        once the bot has ended."""
        if self._ended.is_set():
            work.close()
            raise NotConnected("The bot has ended.")
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

    def _check_alive(self) -> None:
        if self._owner is None:
            raise NotConnected("The bot has not joined: use it as an async context manager.")
        if self._ended.is_set():
            raise NotConnected("The bot has ended.")

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
        """Leave, and end everything that was begun: all is over when this returns, and also if
        it is cancelled."""
        if self._owner is None:
            return
        if self._closed is None:
            self._closing = True
            self._end()
            self._closed = asyncio.create_task(self._close(asyncio.current_task()))
        elif asyncio.current_task() in self._work:
            return  # It is waited for.
        await finish(self._closed)

    async def _close(self, closer: asyncio.Task[Any] | None) -> None:
        work = self._work - {closer}
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)
        returning = [track for one in self._returning for track in one.tracks]
        tracks = [*self._tracks.values(), *returning]
        for track in tracks:
            track.end()
        await asyncio.gather(*(peer.close() for peer in self._peers.values()))
        await self._publisher.close()
        await self._subscriber.close()
        await self.client.close()
        rest = self._tasks - {closer}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        for track in tracks:
            await track.wait_closed()
