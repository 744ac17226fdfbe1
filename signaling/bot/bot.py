"""`Bot`: a participant with media. It publishes and receives without knowing whether a
direct connection or the relay carries them, and comes back by itself when either is lost.

    async with Bot.join("http://localhost:8443", room="demo", name="Echo") as bot:
        async for track in bot.tracks():
            bot.start(echo(bot, track))

All that a program sees of a bot is here; `connections`, `publishing` and `tasks` do the work.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiortc import MediaStreamTrack

from ..client import Client, ClientError, NotConnected
from ..client.data import CALL_TIMEOUT, M, Message
from ..client.events import E
from .connections import Connections, Way
from .files import File
from .jitter import LEAST, MOST
from .publishing import Opening, Options, Publication, Published
from .pumps import Frames
from .sources import AUDIO_CLOCK, Kind, Label, Source
from .tasks import Tasks
from .threads import finish
from .tracks import RemoteTrack
from .voice import Voice

DATA_WITHIN: Final = 5.0
"""Seconds that data wait for their channel."""

T = TypeVar("T")
TrackHandler = Callable[[RemoteTrack], Coroutine[Any, Any, None]]


class Bot:
    """See the module. Make it with `Bot.join`, use it as an async context manager, once.

    client: the signaling below, with participants, chat and events.

    If a coroutine given to `start` fails, or the server is gone for good, the body of the
    `async with` is cancelled, and the error raised where it ends.
    """

    def __init__(
        self,
        client: Client,
        *,
        via: Way = "auto",
        receive: bool = True,
        jitter: tuple[float, float] = (LEAST, MOST),
    ) -> None:
        self.client = client
        self._tasks = Tasks(self._end_readers)
        self._connections = Connections(
            client,
            via=via,
            receive=receive,
            jitter=jitter,
            spawn=self._tasks.spawn,
            on_track=self._announce,
            on_data=self._receive_data,
        )
        self._published = Published(self._connections, self._tasks.spawn)
        self._track_readers: set[asyncio.Queue[RemoteTrack | None]] = set()
        self._track_handlers: list[TrackHandler] = []
        self._data_readers: set[asyncio.Queue[tuple[str, bytes | str] | None]] = set()
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
        jitter: tuple[float, float] = (LEAST, MOST),
        metadata: dict[str, Any] | None = None,
        patience: float = 120.0,
        wait_for_server: bool = False,
        ssl: ssl_module.SSLContext | bool = True,
    ) -> Self:
        """A bot that joins `room` when entered. `via="relay"` avoids direct connections;
        `receive=False` takes no media from others; `jitter` is how many seconds a gap in sound
        is held open at least and at most. The rest, and what entering raises, is as for
        `Client`."""
        client = Client(
            server,
            room=room,
            name=name,
            token=token,
            metadata=metadata,
            patience=patience,
            wait_for_server=wait_for_server,
            ssl=ssl,
        )
        return cls(client, via=via, receive=receive, jitter=jitter)

    async def __aenter__(self) -> Self:
        if self._tasks.owner is not None:
            raise ClientError("A bot joins once: make another one.")
        self._tasks.owner = asyncio.current_task()
        self._connections.open()
        try:
            await self.client.start()
        except BaseException:
            await self.close()
            raise
        self._connections.watch()
        self._tasks.spawn(self._watch_client())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        failure, owner = self._tasks.failure, self._tasks.owner
        if failure is not None and kind in (None, asyncio.CancelledError):
            if owner is not None and kind is asyncio.CancelledError:
                owner.uncancel()
            raise failure

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
        self._tasks.check_alive()
        options = Options(kind, label, codec, fps, rate, live, loop, copy, on_key_frame)
        opening = await self._published.open(what, options)
        try:
            self._tasks.check_alive()  # It may have ended while a file was opened.
        except NotConnected:
            opening.drop()
            raise
        return self._published.add(opening)

    def voice(self, *, rate: int = AUDIO_CLOCK, label: Label = "microphone") -> Voice:
        """Something to say with: `await voice.say(chunks)`, `voice.clear()` to fall silent at
        once, `await voice.wait()`. Raises NotConnected as `publish` does."""
        self._tasks.check_alive()
        source = Source("audio", label=label)
        return Voice(source, self._published.add(Opening([source])), rate)

    @property
    def sources(self) -> list[Source]:
        """What is published now."""
        return self._connections.sources

    # -- Receiving ----------------------------------------------------------------------

    async def tracks(self) -> AsyncGenerator[RemoteTrack, None]:
        """Each track that anybody publishes, now or later. Ends with the bot."""
        queue: asyncio.Queue[RemoteTrack | None] = asyncio.Queue()
        for track in self._connections.tracks:
            queue.put_nowait(track)
        if self.ended:
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

    def on_track(self, handler: TrackHandler) -> TrackHandler:
        """Decorator: start `handler(track)` for each track, now or later."""
        self._track_handlers.append(handler)
        for track in self._connections.tracks:
            self.start(handler(track))
        return handler

    def on(self, kind: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Decorator: call the function with each event of this kind. It must not block; a
        coroutine function runs beside the bot until it ends."""

        def decorate(handler: Callable[[E], object]) -> Callable[[E], object]:
            self.client.on(kind, handler)
            return handler

        return decorate

    def _announce(self, track: RemoteTrack) -> None:
        if self.ended:
            return
        for queue in self._track_readers:
            queue.put_nowait(track)
        for handler in self._track_handlers:
            self.start(handler(track))

    async def count_packets(self) -> list[tuple[int, int]]:
        """RTP packets that came and that were lost, for each line that receives."""
        counts: list[tuple[int, int]] = []
        for tap in self._connections.taps:
            report = await tap.receiver.getStats()
            for stats in report.values():
                if stats.type == "inbound-rtp":
                    counts.append((stats.packetsReceived, max(stats.packetsLost, 0)))
        return counts

    # -- The room -----------------------------------------------------------------------

    async def chat(self, content: str, *, to: str | None = None) -> None:
        """Say something to the room, or to one participant."""
        await self.client.chat(content, to=to)

    async def kick(self, participant: str, *, ban: bool = False) -> None:
        """Remove somebody, by id; with `ban` for as long as the room lasts. This and what
        follows raise Refused where the bot may not moderate."""
        await self.client.kick(participant, ban=ban)

    async def lock(self, locked: bool = True) -> None:
        """Let nobody in any more, or everybody again."""
        await self.client.lock(locked)

    async def admit(self, knock: str) -> None:
        """Let in somebody who waits in the lobby."""
        await self.client.admit(knock)

    async def decline(self, knock: str) -> None:
        """Turn away somebody who waits in the lobby."""
        await self.client.decline(knock)

    async def mute(self, participant: str) -> None:
        """Turn somebody's microphone off; only they turn it on again."""
        await self.client.mute(participant)

    # -- Messages and calls -------------------------------------------------------------

    async def send(
        self, payload: Any, *, topic: str = "", to: str | Sequence[str] | None = None
    ) -> None:
        """Send text, bytes or any JSON to everyone else, or to some, by id; at most 16 KiB.

        It goes through the hub, whichever way the room's media go: it arrives once, and what is
        sent one after the other arrives in order, also while that way changes and when the
        receiver loses its connection for a while. Returns when it is on its way; raises Refused.
        """
        await self.client.send(payload, topic=topic, to=[to] if isinstance(to, str) else to)

    def messages(self, topic: str | None = None) -> AsyncGenerator[Message, None]:
        """What others `send` from now on, the page among them; of one topic, or of all."""
        return self.client.messages(topic)

    def method(self, name: str) -> Callable[[M], M]:
        """Offer a coroutine function to everyone in the room: see `Client.method`."""
        return self.client.method(name)

    async def call(
        self,
        participant: str,
        name: str,
        payload: Any = None,
        *,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - the call's own, told to nobody
    ) -> Any:
        """Call a participant's method, and return its result. Raises CallError with a code."""
        return await self.client.call(participant, name, payload, timeout=timeout)

    # -- Data channels ------------------------------------------------------------------

    async def send_data(self, data: bytes | str, *, to: str | None = None) -> set[str]:
        """Send over the data channels of direct connections; returns whom it reached.

        The first call opens the channels. Whoever is connected through the relay alone is not
        reached: data have no way there.
        """
        direct = self._connections.direct
        peers = {id: peer for id, peer in direct.items() if to in (None, id)}
        with suppress(TimeoutError):
            async with asyncio.timeout(DATA_WITHIN):
                await asyncio.gather(*(peer.open_data() for peer in peers.values()))
        return {id for id, peer in peers.items() if peer.send_data(data)}

    async def data(self) -> AsyncGenerator[tuple[str, bytes | str], None]:
        """What others send over data channels: their participant id and the message."""
        queue: asyncio.Queue[tuple[str, bytes | str] | None] = asyncio.Queue(1024)
        if self.ended:
            queue.put_nowait(None)
        self._data_readers.add(queue)
        try:
            while (item := await queue.get()) is not None:
                yield item
        finally:
            self._data_readers.discard(queue)

    def _receive_data(self, participant: str, data: bytes | str) -> None:
        for queue in self._data_readers:
            if not queue.full():
                queue.put_nowait((participant, data))

    # -- Work and the end ---------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as long as the bot lives. If it fails, so does the bot. Raises NotConnected
        once the bot has ended."""
        return self._tasks.start(work)

    async def run_forever(self) -> None:
        """Return when the bot has left; raise why it ended otherwise."""
        await self._tasks.ended.wait()
        if self._tasks.failure is not None:
            raise self._tasks.failure

    @property
    def ended(self) -> bool:
        return self._tasks.ended.is_set()

    def _end_readers(self) -> None:
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
            self._tasks.fail(error)
        else:
            self._tasks.end()

    async def close(self) -> None:
        """Leave, and end everything that was begun: all is over when this returns, and also if
        it is cancelled."""
        if self._tasks.owner is None:
            return
        if self._closed is None:
            self._connections.closing = True
            self._tasks.begin_closing()
            self._closed = asyncio.create_task(self._close(asyncio.current_task()))
        elif self._tasks.is_work(asyncio.current_task()):
            return  # It is waited for.
        await finish(self._closed)

    async def _close(self, closer: asyncio.Task[Any] | None) -> None:
        await self._tasks.cancel_work(closer)
        await self._connections.close()
        await self.client.close()
        await self._tasks.cancel_all(closer)
        await self._connections.wait_closed()
