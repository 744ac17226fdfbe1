"""An asyncio client of the signaling protocol: joins a room, keeps the session over lost
connections, and hands out typed events. Carries no media itself; `signaling.bot` does.

    async with Client("http://localhost:8443", room="demo", name="Ada") as client:
        await client.chat("hello")
        async for event in client.events():
            print(event)

What becomes of it when the connection is lost is in `session`.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_source
import re
import ssl as ssl_module
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec import Raw

from ..protocol import messages
from ..protocol.messages import (
    ClientMessage,
    Grant,
    IceServer,
    Join,
    ParticipantQuality,
    ReceptionState,
    Reply,
    Topology,
)
from .data import CALL_TIMEOUT, Data, M, Message
from .errors import ClientError, Refused, RoomUnknown
from .events import E, Event, Events, Rejoined
from .requests import log_refusal
from .room import Participant, Room
from .session import Session
from .socket import Connect, connect_with, websocket_url

log = logging.getLogger(__name__)

RETRY_MARGIN: Final = 0.001
"""Seconds past the moment from which the hub says that it takes another message: timers may
go off a little early, and a message too early is one more refusal."""
ROOM_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Client:
    """A participant without media.

    server: `http://host:port`, or https. token: where the server asks for one. metadata: an
    object, at most 2 KiB as JSON. patience: seconds without a connection after which the
    client gives up with ServerUnreachable. wait_for_server: have patience at the start as
    well. ssl: a context, or False to accept any certificate.

    Use as an async context manager, once; entering raises ServerUnreachable, TokenRefused,
    RoomUnknown, RoomFull, RoomLocked or ClientError, and leaves nothing running.
    """

    def __init__(
        self,
        server: str,
        *,
        room: str,
        name: str,
        token: str | None = None,
        metadata: dict[str, Any] | None = None,
        patience: float = 120.0,
        wait_for_server: bool = False,
        ssl: ssl_module.SSLContext | bool = True,
        connect: Connect | None = None,
        random: Callable[[], float] = random_source.random,
    ) -> None:
        self.server = server
        self.name = name
        self.metadata = metadata or {}
        self.room = room
        self._token = token
        self._state = Room(room)
        self._data = Data(self)
        self._events = Events(on_end=self._data.close)
        self._events.add_handler(object, self._follow_data)
        self._session = Session(
            self._state,
            self._events,
            connect=connect or connect_with(ssl),
            join=self._make_join,
            patience=patience,
            wait_for_server=wait_for_server,
            random=random,
        )

    def _make_join(self, id: str) -> Join:
        join = Join(id=id, room=self.room, name=self.name)
        join.token = self._token
        if self.metadata:
            join.metadata = encode_metadata(self.metadata)
        return join

    # -- The room -----------------------------------------------------------------------

    @property
    def participants(self) -> dict[str, Participant]:
        """The others, by id."""
        return self._state.participants

    @property
    def topology(self) -> Topology:
        return self._state.topology

    @property
    def relay(self) -> bool:
        """There is a media relay."""
        return self._state.relay

    @property
    def grants(self) -> Grant:
        return self._state.grants

    @property
    def ice_servers(self) -> list[IceServer]:
        return self._state.ice_servers

    @property
    def speakers(self) -> list[tuple[str, int]]:
        """Ids and levels of those who talk, loudest first."""
        return self._state.speakers

    @property
    def reception(self) -> Mapping[str, ReceptionState]:
        """What this client gets of tracks, where it was told: `full`, `reduced` or `paused`."""
        return self._state.reception

    @property
    def quality(self) -> Mapping[str, ParticipantQuality]:
        """How well participants' ways to the relay and from it do, by id: 0 (lost) to 4 (good)."""
        return self._state.quality

    # -- Joining and leaving ------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect and join; see the class for what it raises."""
        if ROOM_NAME.fullmatch(self.room) is None:
            raise RoomUnknown(f"{self.room!r} cannot be a room: letters, digits, '.', '_', '-'.")
        encode_metadata(self.metadata)
        # A proxy before several hubs goes by the room.
        await self._session.start(f"{websocket_url(self.server)}?room={self.room}")

    async def close(self) -> None:
        """Leave the room and end; whatever was begun is over when this returns."""
        try:
            await self._session.close()
        finally:
            await self._events.close()
            await self._data.wait_closed()

    @property
    def id(self) -> str:
        """The own id in the room, empty before joining."""
        return self._session.id

    @property
    def connected(self) -> bool:
        return self._session.connected

    @property
    def closed(self) -> bool:
        return self._session.closed

    @property
    def error(self) -> ClientError | None:
        """Why the client ended; None while it runs and after it has left."""
        return self._session.error

    @property
    def round_trip(self) -> float | None:
        """Seconds to the server and back, once a heartbeat has measured it."""
        return self._session.round_trip

    def probe(self) -> None:
        """The network may have changed, or be back: find out now, and do not wait for a timer."""
        self._session.probe()

    def reconnect(self) -> None:
        """The network is another one: what is connected is so no more, whatever it seems."""
        self._session.reconnect()

    @property
    def heard_at(self) -> float:
        """When the server was last heard, on the loop's clock."""
        return self._session.heard_at

    # -- Events -------------------------------------------------------------------------

    def events(self) -> AsyncGenerator[Event, None]:
        """Everything that happens from now on, in order. Ends when the client has left; raises
        the reason if it ended otherwise, FellBehind if this reader was too slow."""
        return self._events.read()

    def on(self, kind: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Call `handler` with each event of `kind` at once; it must not block. A coroutine
        function's work runs beside the client until it ends. Returns what takes it off again."""
        return self._events.add_handler(kind, handler)

    def on_any(self, handler: Callable[[Event], object]) -> Callable[[], None]:
        """Call `handler` with every event at once, as `on` does."""
        return self._events.add_handler(object, handler)

    # -- Requests -----------------------------------------------------------------------

    async def request(self, message: ClientMessage) -> Reply:
        """Send a message and return its reply, over reconnections if need be.

        Raises Refused for an error, SessionLost if the session ended before the reply came,
        NotConnected when the client has ended.
        """
        while True:
            try:
                return await self._session.post(message)
            except Refused as error:
                if error.code != "rate-limited" or error.retry_after is None:
                    raise
                await asyncio.sleep(error.retry_after + RETRY_MARGIN)

    def tell(self, message: ClientMessage) -> None:
        """Like `request`, for when a refusal changes nothing: it is only logged."""
        if self.closed:
            return
        try:
            answer = self._session.post(message)
        except ClientError as error:
            log.debug("not sent: %s", error)
            return
        answer.add_done_callback(log_refusal)

    async def chat(self, content: str, *, to: str | None = None) -> None:
        """Say something to the room, or to one participant; at most 4096 characters."""
        await self.request(messages.Chat(content=content, to=to))

    async def send(self, payload: Any, *, topic: str = "", to: Sequence[str] | None = None) -> None:
        """Send any JSON, or bytes, to everyone else or to some participants, by id; at most 16 KiB
        of JSON, which is 12 KiB of bytes.

        Returns when the hub has passed it on: it reaches each who is there, once and in order,
        also those who have lost their connection and come back in time. Raises Refused.
        """
        await self._data.send(payload, topic=topic, to=to)

    def messages(self, topic: str | None = None) -> AsyncGenerator[Message, None]:
        """What others `send` from now on; of one topic, or of all. Ends with the client."""
        return self._data.messages(topic)

    def method(self, name: str) -> Callable[[M], M]:
        """Offer a coroutine function to everyone in the room: it gets the payload and the
        caller's id, and returns the result. What it raises is `failed` to the caller, but a
        CallError is told."""
        return self._data.method(name)

    async def call(
        self,
        participant: str,
        name: str,
        payload: Any = None,
        *,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - the call's own, told to nobody
    ) -> Any:
        """Call a participant's method, and return its result. Raises CallError with a code."""
        return await self._data.call(participant, name, payload, timeout=timeout)

    async def update(
        self, *, name: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Change the own name or metadata for everyone."""
        before = self.name, self.metadata
        message = messages.Update(name=name)
        if metadata is not None:
            message.metadata = encode_metadata(metadata)
            self.metadata = metadata
        if name is not None:
            self.name = name
        try:
            await self.request(message)
        except Refused:
            # Else a session after this one would be refused for it, too.
            self.name, self.metadata = before
            raise

    def _follow_data(self, event: Event) -> None:
        match event:
            case messages.DataFrom():
                self._data.receive(event)
            case messages.ParticipantLeft(participant=id):
                self._data.leave(id)
            case Rejoined():
                self._data.leave_all()

    # -- Moderating; each raises Refused without the grant ---------------------------------

    async def kick(self, participant: str, *, ban: bool = False) -> None:
        """Remove somebody; with `ban` for as long as the room lasts."""
        await self.request(messages.Kick(participant=participant, ban=ban))

    async def lock(self, locked: bool = True) -> None:
        """Let nobody in any more, or everybody again."""
        await self.request(messages.Lock(locked=locked))

    async def admit(self, knock: str) -> None:
        """Let in somebody who waits in the lobby."""
        await self.request(messages.Admit(knock=knock))

    async def decline(self, knock: str) -> None:
        """Turn away somebody who waits in the lobby."""
        await self.request(messages.Decline(knock=knock))

    async def mute(self, participant: str) -> None:
        """Turn somebody's microphone off, whichever way it comes; only they turn it on again."""
        one = self.participants.get(participant)
        tracks = [t.id for t in one.tracks.values() if t.source == "microphone"] if one else []
        for track in tracks:
            await self.request(messages.Mute(track=track, muted=True))
        if not tracks:
            await self.request(messages.Silence(participant=participant))


def encode_metadata(metadata: dict[str, Any]) -> Raw:
    try:
        return Raw(msgspec.json.encode(metadata))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ClientError(f"Metadata is what JSON can say: {error}") from None
