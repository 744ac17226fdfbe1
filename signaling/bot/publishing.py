"""What a bot publishes: from whatever a program has to sources, and back out again."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiortc import MediaStreamTrack

from ..protocol import messages
from .connections import Connections
from .files import File
from .pumps import Frames, pump_frames, pump_packets, pump_track
from .sources import Kind, Label, Source
from .threads import run_apart
from .tracks import RemoteTrack

Work = Coroutine[Any, Any, None]
Publishable = str | Path | File | Source | MediaStreamTrack | RemoteTrack | Frames


@dataclass
class Options:
    """How something is published; `Bot.publish` says what each is."""

    kind: Kind = "video"
    label: Label | None = None
    codec: str | None = None
    fps: float = 30.0
    rate: int = 48_000
    live: bool = False
    loop: bool = False
    copy: bool = False
    on_key_frame: Callable[[], None] | None = None


@dataclass
class Opening:
    """Sources that are not published yet, and the work that fills them."""

    sources: list[Source]
    work: Work | None = None
    labels: set[Label] = field(default_factory=set)
    file: File | None = None

    def __post_init__(self) -> None:
        self.labels |= {source.label for source in self.sources}

    def drop(self) -> None:
        """It will not be published."""
        if self.work is not None:
            self.work.close()
        if self.file is not None:
            self.file.close()


class Publication:
    """Something that is being published; `stop` takes it back, `wait` waits for its end."""

    def __init__(
        self,
        published: Published,
        sources: list[Source],
        task: asyncio.Task[None] | None,
        labels: set[Label],
    ) -> None:
        self.sources = sources
        self._labels = labels
        self._published = published
        self._task = task
        if task is not None:
            task.add_done_callback(lambda _: self._withdraw())

    async def wait(self) -> None:
        """Return when the file, generator or track has ended, or is published no more; raise
        what it raised."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    def give_way(self, labels: set[Label]) -> None:
        """These labels are others' now. Nothing is made that nothing would send."""
        wanted = any(source in self._published.sources for source in self.sources)
        if not self.sources:  # A remote track that has brought nothing yet.
            wanted = not self._labels <= labels
        if self._task is not None and not wanted:
            self._task.cancel()

    async def stop(self) -> None:
        """Publish this no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self._withdraw()

    def _withdraw(self) -> None:
        self._published.withdraw(self.sources)


class Published:
    """Everything that a bot publishes. One thing for each label: the latest."""

    def __init__(
        self, connections: Connections, spawn: Callable[[Work], asyncio.Task[None]]
    ) -> None:
        self._connections = connections
        self._client = connections.client
        self._spawn = spawn
        self._publications: weakref.WeakSet[Publication] = weakref.WeakSet()

    @property
    def sources(self) -> list[Source]:
        return self._connections.sources

    async def open(self, what: Publishable, options: Options) -> Opening:
        """Raises SourceUnreadable or CodecMissing."""
        if isinstance(what, str | Path):
            path = str(what)
            loop, copy = options.loop, options.copy
            what = await run_apart(lambda: File(path, loop=loop, copy=copy))
        if isinstance(what, File):
            return Opening(what.sources, what.play(), file=what)
        if isinstance(what, Source):
            return Opening([what])
        if isinstance(what, RemoteTrack):
            sources: list[Source] = []
            work = pump_packets(what, options.label, sources, self.replace)
            return Opening(sources, work, {_label_of(what.kind, options.label)})
        kind = options.kind
        if isinstance(what, MediaStreamTrack):
            kind = "video" if what.kind == "video" else "audio"
        source = Source(
            kind, label=options.label, codec=options.codec, on_key_frame=options.on_key_frame
        )
        if isinstance(what, MediaStreamTrack):
            return Opening([source], pump_track(what, source))
        fps, rate, live = options.fps, options.rate, options.live
        return Opening([source], pump_frames(what, source, fps=fps, rate=rate, live=live))

    def add(self, opening: Opening) -> Publication:
        """Publish it in the place of what had its labels."""
        labels = opening.labels
        self.withdraw([source for source in self.sources if source.label in labels])
        for other in list(self._publications):
            other.give_way(labels)
        self.sources.extend(opening.sources)
        self._refresh()
        task = None if opening.work is None else self._spawn(opening.work)
        publication = Publication(self, opening.sources, task, labels)
        self._publications.add(publication)
        return publication

    def replace(self, old: list[Source], new: Source) -> None:
        """Publish `new` in the place of `old`."""
        for source in old:
            self.sources.remove(source)
        self._connections.release(old)
        self.sources.append(new)
        self._refresh()

    def withdraw(self, sources: list[Source]) -> None:
        """Publish these sources no more."""
        gone = [source for source in sources if source in self.sources]
        for source in gone:
            self.sources.remove(source)
        self._connections.release(gone)
        for publication in list(self._publications):
            publication.give_way(set())
        if gone:
            self._refresh()

    def _refresh(self) -> None:
        """Have the connections send what there is now, and say so to the room."""
        if self._connections.closing:
            return
        self._connections.refresh()
        labels = {source.label for source in self.sources}
        metadata = {
            **self._client.metadata,
            "camera": "camera" in labels,
            "microphone": "microphone" in labels,
            "screen": "screen" if "screen" in labels else None,
        }
        if metadata != self._client.metadata and not self._client.closed:
            self._client.metadata = metadata
            self._client.tell(messages.Update(metadata=msgspec.Raw(msgspec.json.encode(metadata))))


def _label_of(kind: Kind, label: Label | None) -> Label:
    return label or ("camera" if kind == "video" else "microphone")
