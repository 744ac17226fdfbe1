"""Records a room: one file for each participant, with the very packets that were sent.

Nothing is transcoded: VP8 with Opus becomes WebM, anything else Matroska. Clusters are
written as they fill, so what a crash leaves is a file that plays to within a second of it.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer

from .bot import Bot
from .errors import TargetUnwritable
from .files import free_path, telling_target
from .sources import Label
from .threads import finish_in_thread
from .tracks import EncodedPacket, RemoteTrack

log = logging.getLogger(__name__)

SETTLE = 1.0
SETTLE_AT_MOST = 3.0
"""Seconds that a file waits for a participant's other tracks, since its header names them all:
always, and for those that are known but have brought nothing yet."""
SAID: tuple[Label, ...] = ("camera", "microphone")
"""What participants say of themselves in their metadata."""
PACKETS_WAITING = 600
WRITE_EVERY = 0.25
CLOCK = Fraction(1, 90_000)
OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}
AUDIO_ENCODERS = {
    "opus": ("libopus", 48_000, "stereo"),
    "PCMU": ("pcm_mulaw", 8000, "mono"),
    "PCMA": ("pcm_alaw", 8000, "mono"),
}


@dataclass
class Progress:
    """How far a recording is. `seconds` of media time since the first packet."""

    files: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    packets: int = 0
    bytes: int = 0


def video_template(codec: str, key_frame: bytes) -> Any:
    """A stream of PyAV that describes what the key frame begins. Raises ValueError for one that
    begins nothing: whoever sends it, the others are recorded."""
    try:
        stream = _video_template(codec, key_frame)
        if stream.codec_context.width and stream.codec_context.height:
            return stream
    except (av.FFmpegError, LookupError, struct.error) as error:
        raise ValueError(f"{codec}: {error}") from error
    raise ValueError(f"{codec}: a key frame without a size")


def begins_file(packet: EncodedPacket) -> bool:
    """Whether a file can begin with the packet."""
    if packet.codec in AUDIO_ENCODERS:
        return True
    if packet.codec not in ("VP8", "H264") or not packet.key:
        return False
    try:
        video_template(packet.codec, packet.data)
    except ValueError:
        return False
    return True


def _video_template(codec: str, key_frame: bytes) -> Any:
    if codec == "VP8":
        # RFC 6386 section 9.1: width and height follow the start code, 14 bits each.
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", key_frame, 6))
        header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width, height, 30, 1, 1, 0)
        frame = struct.pack("<IQ", len(key_frame), 0) + key_frame
        return av.open(io.BytesIO(header + frame), format="ivf").streams.video[0]
    return av.open(io.BytesIO(key_frame), format="h264").streams.video[0]


class PacketFile:
    """One Matroska or WebM file of given tracks. Its methods block: call them in a thread."""

    def __init__(self, path: Path, first: dict[Label, EncodedPacket]) -> None:
        self.path = path
        self.packets = 0
        self.bytes = 0
        self.closed = False
        self._broken: TargetUnwritable | None = None
        self.start = min(packet.time for packet in first.values())
        self._last: dict[Label, int] = {}
        self._streams: dict[Label, Any] = {}
        with telling_target(path):
            self._container: OutputContainer = av.open(str(path), "w", options=OPTIONS)
        for label, packet in first.items():
            if packet.codec in AUDIO_ENCODERS:
                name, rate, layout = AUDIO_ENCODERS[packet.codec]
                stream: Any = self._container.add_stream(name, rate=rate)
                stream.layout = layout
            else:
                template = video_template(packet.codec, packet.data)
                stream = self._container.add_stream_from_template(template)
            self._streams[label] = stream

    def write(self, packets: list[tuple[Label, EncodedPacket]]) -> None:
        """Add packets of the tracks that the file was opened with."""
        for label, packet in sorted(packets, key=lambda pair: pair[1].time):
            if label not in self._streams:
                continue
            stamp = max(round((packet.time - self.start) / CLOCK), self._last.get(label, -1) + 1, 0)
            self._last[label] = stamp
            out = av.Packet(packet.data)
            out.pts = out.dts = stamp
            out.time_base = CLOCK
            out.is_keyframe = packet.key
            out.stream = self._streams[label]
            try:
                self._mux(out)
            except ValueError as error:
                log.debug("%s: a packet of %s is left out: %s", self.path, label, error)
                continue
            self.packets += 1
            self.bytes += len(packet.data)

    def _mux(self, packet: Any) -> None:
        if self._broken is not None:  # FFmpeg may crash where it is asked again.
            raise self._broken
        try:
            with telling_target(self.path):
                self._container.mux(packet)
        except TargetUnwritable as error:
            self._broken = error
            raise

    @property
    def seconds(self) -> float:
        return float(max(self._last.values(), default=0) * CLOCK)

    def close(self) -> None:
        self.closed = True
        with telling_target(self.path):
            self._container.close()


Held = list[tuple[Label, EncodedPacket]]


class _Recording:
    """One participant's: a file, or several where tracks come that the first did not announce."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self.tracks: set[RemoteTrack] = set()
        self._recorder = recorder
        self._name = name
        self._queue: asyncio.Queue[tuple[Label, EncodedPacket] | None] = asyncio.Queue(
            PACKETS_WAITING
        )
        self._codecs: dict[Label, str] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._ended = False

    def add(self, track: RemoteTrack) -> None:
        self.tracks.add(track)
        reader = asyncio.create_task(self._read(track))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)

    async def _read(self, track: RemoteTrack) -> None:
        async for packet in track.packets():
            await self._queue.put((track.label, packet))
        self.tracks.discard(track)
        await self._queue.put(None)

    async def run(self) -> None:
        """Write until every track has ended, or until cancelled; the file is whole then."""
        file: PacketFile | None = None
        held: Held = []
        broken = False
        try:
            while not self._ended:
                await self._collect(held, wait=WRITE_EVERY)
                if file is None or self._news(held):
                    file = await self._begin(file, held)
                # Not `held` any more: else, if cancelled here, it would be written twice.
                batch, held = held, []
                if file is not None:
                    await self._write(file, batch)
        except TargetUnwritable:
            broken = True
            raise
        finally:
            for reader in self._readers:
                reader.cancel()
            if self._readers:
                await asyncio.wait(self._readers)
            held += self._drain()
            if not broken and (file is None or file.closed):
                # Told to stop while it waited for the others.
                file = self._open(self._find_first(held))
            if file is not None:
                try:
                    if not broken and not file.closed:
                        await self._write(file, held)
                finally:
                    await finish_in_thread(file.close)

    async def _write(self, file: PacketFile, packets: Held) -> None:
        # To the end, even if cancelled: half a batch would be a gap. Nor may the file be written
        # to, or closed, under a thread that writes to it.
        try:
            await finish_in_thread(file.write, packets)
        finally:
            self._recorder.count(file)

    async def _collect(self, held: Held, wait: float) -> None:
        first = await self._queue.get()
        if first is None:
            self._ended = not self.tracks
            return
        held.append(first)
        await asyncio.sleep(wait)
        held += self._drain()

    def _drain(self) -> Held:
        items = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        if None in items:
            self._ended = not self.tracks
        return [item for item in items if item is not None]

    def _news(self, held: Held) -> bool:
        """Whether there is a track, or a codec, that the open file does not know."""
        codecs = {
            label: packet.codec
            for label, packet in held
            if packet.key and self._codecs.get(label) != packet.codec and begins_file(packet)
        }
        return not codecs.items() <= self._codecs.items()

    def _expected(self) -> set[Label]:
        """The tracks that there are, or that the participant says there are."""
        labels = {track.label for track in self.tracks}
        says = [track.participant.metadata for track in self.tracks]
        return labels | {label for label in SAID for one in says if one.get(label) is True}

    async def _begin(self, old: PacketFile | None, held: Held) -> PacketFile | None:
        """Wait until every track has something that a file can begin with, then begin one.
        What belongs to the file before is written there; `held` keeps the rest."""
        for count in range(round(SETTLE_AT_MOST / WRITE_EVERY)):
            at_hand = set(self._find_first(held))
            settled = old is not None or count >= SETTLE / WRITE_EVERY
            if settled and self._expected() <= at_hand:
                break
            for track in self.tracks:
                track.request_key_frame()
            await asyncio.sleep(WRITE_EVERY)
            held += self._drain()
        first = self._find_first(held)
        if not first:
            return old
        if old is not None:
            cut = max(packet.time for packet in first.values())
            before = [h for h in held if h[1].time < cut and h[0] in self._codecs]
            held[:] = [h for h in held if h not in before]
            await self._write(old, before)
            await finish_in_thread(old.close)
        return self._open(first)

    def _find_first(self, held: Held) -> dict[Label, EncodedPacket]:
        """What a file of what is held would begin with: the latest codec's first key frames."""
        first: dict[Label, EncodedPacket] = {}
        for label, packet in held:
            known = label in first and first[label].codec == packet.codec
            if not known and begins_file(packet):
                first[label] = packet
        return first

    def _open(self, first: dict[Label, EncodedPacket]) -> PacketFile | None:
        """Quick, and not in a thread: cancelled there, nobody would close the file."""
        if not first:
            return None
        self._codecs = {label: packet.codec for label, packet in first.items()}
        return PacketFile(self._recorder.new_path(self._name, self._codecs), first)


class Recorder:
    """Records everybody in the bot's room into `folder`. Raises TargetUnwritable."""

    def __init__(self, bot: Bot, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.progress = Progress()
        self._bot = bot
        self._recordings: list[_Recording] = []
        self._counted: dict[Path, tuple[int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise TargetUnwritable(f"{folder}: {error.strerror}") from error

    async def run(self) -> None:
        """Record until the bot ends or this is cancelled; every file is whole then."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                async for track in self._bot.tracks():
                    recording = self._find(track)
                    if recording is None:
                        recording = _Recording(self, track.participant.name)
                        self._recordings.append(recording)
                        tasks.add(group.create_task(recording.run()))
                    recording.add(track)
                for task in tasks:
                    task.cancel()
        except* TargetUnwritable as errors:
            raise errors.exceptions[0] from None

    def _find(self, track: RemoteTrack) -> _Recording | None:
        for recording in self._recordings:
            if any(other.participant.id == track.participant.id for other in recording.tracks):
                return recording
        return None

    def new_path(self, name: str, labels: dict[Label, str]) -> Path:
        webm = set(labels.values()) <= {"VP8", "opus"}
        stem = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60] or "participant"
        path = free_path(self.folder, stem, ".webm" if webm else ".mkv")
        self.progress.files.append(path)
        return path

    def count(self, file: PacketFile) -> None:
        packets, size = self._counted.get(file.path, (0, 0))
        self.progress.packets += file.packets - packets
        self.progress.bytes += file.bytes - size
        self.progress.seconds = max(self.progress.seconds, file.seconds)
        self._counted[file.path] = (file.packets, file.bytes)
