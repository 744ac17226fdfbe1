"""A participant with aiortc that publishes and subscribes through the relay, over the bare
protocol: known colours and tones go in, and what comes out is measured."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import av
import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

PATIENCE = 90.0
"""Seconds to wait for a condition on a machine that does many things at once. Plain aiortc goes
on after a lost picture only when 512 packets more have come: 52 s at ten frames a second."""

SIZE = (160, 120)
FRAME_RATE = 10
SAMPLE_RATE = 48000
AUDIO_FRAME = 960

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (235, 235, 235)
Colour = tuple[int, int, int]


async def until(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Wait until it holds."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None


class _Paced(MediaStreamTrack):
    """A track whose frames come at their times, by the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self._started: float | None = None
        self.frames = 0

    async def _pace(self, seconds_per_frame: float) -> None:
        loop = asyncio.get_running_loop()
        if self.readyState != "live":
            raise MediaStreamError
        if self._started is None:
            self._started = loop.time()
        delay = self._started + self.frames * seconds_per_frame - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        self.frames += 1


class Picture(_Paced):
    """Frames of one colour, which may be changed; each a little different from the one before."""

    kind = "video"

    def __init__(self, colour: Colour) -> None:
        super().__init__()
        self.colour = colour

    async def recv(self) -> av.VideoFrame:
        await self._pace(1 / FRAME_RATE)
        pixels = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        pixels[:] = self.colour
        # A moving line, so that no encoder may leave the frame out.
        pixels[:, self.frames % SIZE[0]] = 128
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts = (self.frames - 1) * 90000 // FRAME_RATE
        frame.time_base = fractions.Fraction(1, 90000)
        return frame


class Tone(_Paced):
    """A sine of `frequency` Hz, which may be changed; 0 is silence."""

    kind = "audio"

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    async def recv(self) -> av.AudioFrame:
        await self._pace(AUDIO_FRAME / SAMPLE_RATE)
        start = (self.frames - 1) * AUDIO_FRAME
        times = (start + np.arange(AUDIO_FRAME)) / SAMPLE_RATE
        wave = 12000 * np.sin(2 * np.pi * self.frequency * times)
        samples = np.repeat(wave.astype(np.int16), 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        return frame


class Watcher:
    """Takes in a received track's frames and says what is on it."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.track = track
        self.kind: str = track.kind
        self.frames = 0
        self.colour: tuple[float, ...] = (0.0, 0.0, 0.0)
        self.first_colour: tuple[float, ...] | None = None
        self._samples: deque[np.ndarray[Any, Any]] = deque(maxlen=25)
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await self.track.recv()
                self.observe(frame)
                if isinstance(frame, av.VideoFrame):
                    pixels = frame.to_ndarray(format="rgb24")
                    self.colour = tuple(float(c) for c in np.median(pixels, axis=(0, 1)))
                    self.first_colour = self.first_colour or self.colour
                elif isinstance(frame, av.AudioFrame):
                    self._samples.append(frame.to_ndarray().reshape(-1)[::2].astype(float))
                self.frames += 1

    def observe(self, frame: Any) -> None:
        """For those who look closer."""

    def shows(self, colour: Colour) -> bool:
        """Whether the last frame is of about this colour."""
        return all(abs(a - b) < 40 for a, b in zip(self.colour, colour, strict=True))

    def sounds(self, frequency: float) -> bool:
        """Whether the last half second's loudest tone is this one."""
        if len(self._samples) < 25:
            return False
        samples = np.concatenate(self._samples)
        if np.abs(samples).max() < 1000:
            return False
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        peak = float(np.argmax(spectrum)) * SAMPLE_RATE / len(samples)
        return abs(peak - frequency) < 15

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Caller:
    """One participant: a WebSocket, a publishing and a subscribing peer connection."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.participant = ""
        self.room = ""
        self.messages: list[dict[str, Any]] = []
        self.tracks: dict[str, dict[str, Any]] = {}
        """Everyone's published tracks, by id."""
        self.watchers: dict[str, Watcher] = {}
        """What is received, by mid."""
        self.carried: dict[str, dict[str, Any]] = {}
        """What each mid carries, as the last offer said."""
        self.offers = 0
        self.publishing: RTCPeerConnection | None = None
        self.subscribing: RTCPeerConnection | None = None
        self._sources: dict[MediaStreamTrack, str] = {}
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._offers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._tasks = [
            asyncio.ensure_future(self._read()),
            asyncio.ensure_future(self._answer_offers()),
        ]

    # -- The protocol -------------------------------------------------------------------

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send with an id; returns the reply, an error too."""
        number = str(next(self._numbers))
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps({"id": number, **message}))
        async with asyncio.timeout(PATIENCE):
            return await reply

    async def join(self, room: str, name: str = "Ada", token: str | None = None) -> None:
        joined = await self.ask(type="join", room=room, name=name, token=token)
        assert joined["type"] == "joined", joined
        assert joined["relay"], "there is no relay"
        self.participant, self.room = joined["participant"], room
        for other in joined["participants"]:
            for track in other["tracks"]:
                self.tracks[track["id"]] = {**track, "participant": other["id"]}

    def got(self, kind: str) -> list[dict[str, Any]]:
        """All messages of one type so far."""
        return [message for message in self.messages if message["type"] == kind]

    async def _read(self) -> None:
        async for frame in self.socket:
            if frame.type is WSMsgType.TEXT:
                self._receive(json.loads(frame.data))

    def _receive(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        waiting = self._waiting.pop(message.get("id", ""), None)
        if waiting is not None:
            waiting.set_result(message)
        elif message["type"] == "offer" and message["from"] == "relay":
            self._offers.put_nowait(message)
        elif message["type"] in ("track-published", "track-updated"):
            track = {**message["track"], "participant": message["participant"]}
            self.tracks[track["id"]] = track
        elif message["type"] == "track-unpublished":
            self.tracks.pop(message["track"], None)

    # -- Publishing ---------------------------------------------------------------------

    async def publish(self, *tracks: MediaStreamTrack) -> dict[str, Any]:
        """Offer these tracks to the relay, on top of what is published already."""
        if self.publishing is None:
            self.publishing = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in tracks:
            self.publishing.addTrack(track)
            self._sources[track] = "camera" if track.kind == "video" else "microphone"
        return await self.renegotiate()

    async def renegotiate(self) -> dict[str, Any]:
        """Offer the publishing connection as it is now."""
        pc = self.publishing
        assert pc is not None
        await pc.setLocalDescription(await pc.createOffer())
        reply = await self.ask(
            type="offer",
            to="relay",
            sdp=pc.localDescription.sdp,
            tracks=[
                {"mid": transceiver.mid, "source": self._sources[transceiver.sender.track]}
                for transceiver in pc.getTransceivers()
                if transceiver.sender.track is not None
            ],
        )
        assert reply["type"] == "answer", reply
        await pc.setRemoteDescription(RTCSessionDescription(reply["sdp"], "answer"))
        return reply

    def own(self, kind: str) -> str:
        """The id of one's own track of this kind, as the room was told."""
        return next(
            str(track["id"])
            for track in self.tracks.values()
            if track["participant"] == self.participant and track["kind"] == kind
        )

    # -- Subscribing --------------------------------------------------------------------

    async def _answer_offers(self) -> None:
        while True:
            offer = await self._offers.get()
            if self.subscribing is None:
                self.subscribing = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            pc = self.subscribing
            await pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
            for transceiver in pc.getTransceivers():
                mid = transceiver.mid or ""
                if mid not in self.watchers:
                    self.watchers[mid] = self.open_watcher(transceiver.receiver)
            await pc.setLocalDescription(await pc.createAnswer())
            reply = await self.ask(type="answer", to="relay", sdp=pc.localDescription.sdp)
            if reply.get("code") == "relay-unavailable":
                continue  # its worker died meanwhile
            assert reply["type"] == "ok", reply
            self.carried = {entry["mid"]: entry for entry in offer["tracks"]}
            self.offers += 1

    def open_watcher(self, receiver: RTCRtpReceiver) -> Watcher:
        return Watcher(receiver.track)

    async def drop_subscription(self) -> None:
        """Forget the subscribing connection: the next offer gets a new one."""
        pc, self.subscribing = self.subscribing, None
        for watcher in self.watchers.values():
            await watcher.stop()
        self.watchers.clear()
        if pc is not None:
            await pc.close()

    def abandon_subscription(self) -> RTCPeerConnection:
        """Forget the subscribing connection without closing it; the caller has to."""
        pc, self.subscribing = self.subscribing, None
        assert pc is not None
        self.watchers.clear()
        return pc

    async def drop_publication(self) -> None:
        """Forget the publishing connection, but not its tracks."""
        pc, self.publishing = self.publishing, None
        if pc is not None:
            await pc.close()

    def watch(self, participant: str, kind: str) -> Watcher | None:
        """What is received of a participant now."""
        for mid, entry in self.carried.items():
            watcher = self.watchers.get(mid)
            here = entry["participant"] == participant
            if here and watcher is not None and watcher.kind == kind:
                return watcher
        return None

    def sees(self, other: Caller, colour: Colour) -> bool:
        watcher = self.watch(other.participant, "video")
        return watcher is not None and watcher.shows(colour)

    def hears(self, other: Caller, frequency: float) -> bool:
        watcher = self.watch(other.participant, "audio")
        return watcher is not None and watcher.sounds(frequency)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                print(f"{self.participant} followed the protocol no further: {ended!r}")
        await self.drop_subscription()
        await self.drop_publication()
        for track in self._sources:
            track.stop()
        await self.socket.close()


@contextlib.asynccontextmanager
async def call(
    session: ClientSession,
    url: str,
    room: str,
    name: str = "Ada",
    kind: Callable[[ClientWebSocketResponse], Caller] = Caller,
    token: str | None = None,
) -> AsyncIterator[Caller]:
    """A participant of `room`; `url` is the server's `/ws`."""
    async with session.ws_connect(url) as socket:
        caller = kind(socket)
        try:
            await caller.join(room, name, token)
            yield caller
        finally:
            await caller.close()
