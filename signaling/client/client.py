"""An asyncio client of the signaling protocol: joins a room, keeps the session over lost
connections, and hands out typed events. Carries no media itself; `signaling.bot` does.

    async with Client("http://localhost:8443", room="demo", name="Ada") as client:
        await client.chat("hello")
        async for event in client.events():
            print(event)

Longer than most files here because the session's whole life is in one place: joining,
resuming, repeating and giving up decide about the same few fields.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_source
import re
import ssl as ssl_module
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import aiohttp
import msgspec
from msgspec import UNSET, Raw

from ..protocol import messages
from ..protocol.messages import (
    AnyServerMessage,
    ClientMessage,
    Error,
    Grant,
    IceServer,
    Joined,
    ParticipantInfo,
    Reply,
    ServerMessage,
    Track,
)
from .data import CALL_TIMEOUT, Data, M, Message

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for a TCP connection, the upgrade and the first reply."""
BACKOFF_FIRST: Final = 0.2
BACKOFF_MAX: Final = 8.0
PENDING_MAX: Final = 512
"""Unanswered requests; a call in trouble makes a few dozen."""
RETRY_MARGIN: Final = 0.001
"""Seconds past the moment from which the hub says that it takes another message: timers may
go off a little early, and a message too early is one more refusal."""
EVENTS_WAITING: Final = 2048
"""Events that may wait for one reader; a reader that falls further behind ends with an error."""
ROOM_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


# -- Errors -----------------------------------------------------------------------------


class ClientError(Exception):
    """Base of everything that this library raises."""


class ServerUnreachable(ClientError):
    """Nothing answers at the server's address, or it stopped answering for too long."""


class TokenRefused(ClientError):
    """The token is missing, malformed, expired, or not for this room."""


class RoomUnknown(ClientError):
    """There is and can be no room of this name: 1-64 letters, digits, `.`, `_`, `-`."""


class RoomFull(ClientError):
    """The room has as many participants as it may have."""


class RoomLocked(ClientError):
    """A moderator lets nobody in any more."""


class Kicked(ClientError):
    """A moderator removed this participant, or closed the room."""


class Replaced(ClientError):
    """Somebody resumed this session on another connection."""


class NotConnected(ClientError):
    """The client has left, or has not joined yet."""


class SessionLost(ClientError):
    """The session expired before the reply came; the client joined anew, nothing was repeated."""


class FellBehind(ClientError):
    """This reader of events did not read for so long that some would be lost."""


class Refused(ClientError):
    """The server answered a request with an error; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry_after = retry_after


REFUSALS: Final[dict[str, type[ClientError]]] = {
    "unauthorized": TokenRefused,
    "room-full": RoomFull,
    "room-locked": RoomLocked,
    "kicked": Kicked,
    "replaced": Replaced,
}
"""Errors that end a session or refuse it for good."""
FINAL_CLOSES: Final[dict[int, type[ClientError]]] = {
    4400: ClientError,
    4401: TokenRefused,
    4403: Kicked,
    4409: Replaced,
}


# -- The socket -------------------------------------------------------------------------


class SocketClosed(Exception):
    """The connection is gone; `code` is the WebSocket close code, 1006 without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """A WebSocket as far as the client needs one; the tests bring a simulated one."""

    async def send(self, frame: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    async def close(self) -> None: ...


Connect = Callable[[str], Awaitable[Socket]]
"""Opens a socket to a ws:// or wss:// address; raises OSError if it cannot."""


class _AiohttpSocket:
    def __init__(self, session: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._ws = ws

    async def send(self, frame: bytes) -> None:
        try:
            await self._ws.send_str(frame.decode())
        except (ConnectionError, aiohttp.ClientError):
            raise SocketClosed(1006) from None

    async def receive(self) -> bytes:
        message = await self._ws.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            data: str = message.data
            return data.encode()
        raise SocketClosed(self._ws.close_code or 1006, str(message.extra or ""))

    async def close(self) -> None:
        # A server that hangs must not hold the client up.
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._ws.close()
        await self._session.close()


def connect_with(ssl: ssl_module.SSLContext | bool) -> Connect:
    """A `Connect` on aiohttp. `ssl`: True checks certificates, False takes any."""

    async def connect(url: str) -> Socket:
        session = aiohttp.ClientSession()
        try:
            ws = await session.ws_connect(url, ssl=ssl, max_msg_size=0, compress=0)
        except (aiohttp.ClientError, ValueError) as error:  # The latter for impossible names.
            await session.close()
            raise ConnectionError(str(error)) from error
        except BaseException:
            await session.close()
            raise
        return _AiohttpSocket(session, ws)

    return connect


def websocket_url(server: str) -> str:
    """The address of `/ws` on a server given as http(s):// or ws(s):// with or without path."""
    url = re.sub(r"^http", "ws", server.rstrip("/"))
    if not url.startswith(("ws://", "wss://")):
        raise ServerUnreachable(f"{server!r} is not an address like http://localhost:8443.")
    return url if url.endswith("/ws") else url + "/ws"


def backoff(attempt: int, random: Callable[[], float]) -> float:
    """Seconds before attempt 0, 1, …: doubling, with jitter of half, so that the clients of a
    server that restarts do not all come back in one instant."""
    ceiling = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(attempt, 16))
    return ceiling * (0.5 + 0.5 * random())


# -- What the client tells --------------------------------------------------------------


@dataclass(eq=False)
class Participant:
    """Somebody else in the room, kept up to date. `tracks` has those published on the relay."""

    id: str
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)
    via_relay: bool = False
    elder: bool = True
    """Whether they were in the room before this client: then this side is the polite one."""


@dataclass(frozen=True)
class Disconnected:
    """The connection is lost and the client tries to come back; `code` as in WebSocket closes."""

    code: int


@dataclass(frozen=True)
class Reconnected:
    """The session goes on; nothing was lost."""


@dataclass(frozen=True)
class Rejoined:
    """The session was lost and a new one begun: this client and maybe others have new ids.
    `gone` are those who are not there any more under their old ids."""

    gone: list[Participant]


Event = ServerMessage | Disconnected | Reconnected | Rejoined
E = TypeVar("E", bound=Event)


@dataclass
class _Pending:
    message: ClientMessage
    reply: asyncio.Future[messages.Reply]


class _Reader:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.fell_behind = False

    def put(self, event: Event | None) -> None:
        if event is not None and self.queue.qsize() >= EVENTS_WAITING:
            self.fell_behind = True
            return
        self.queue.put_nowait(event)


class Client:
    """A participant without media.

    server: `http://host:port`, or https. token: where the server asks for one. metadata: an
    object, at most 2 KiB as JSON. patience: seconds without a connection after which the
    client gives up with ServerUnreachable. ssl: a context, or False to accept any certificate.

    Use as an async context manager; entering raises ServerUnreachable, TokenRefused,
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
        ssl: ssl_module.SSLContext | bool = True,
        connect: Connect | None = None,
        random: Callable[[], float] = random_source.random,
    ) -> None:
        self.server = server
        self.name = name
        self.metadata = metadata or {}
        self.participants: dict[str, Participant] = {}
        self.id = ""
        self.room = room
        self.topology: messages.Topology = "mesh"
        self.relay = False
        self.grants = Grant()
        self.ice_servers: list[IceServer] = []
        self.speakers: list[tuple[str, int]] = []
        self.round_trip: float | None = None
        """Seconds to the server and back, once a heartbeat has measured it."""
        self.error: ClientError | None = None
        """Why the client ended; None while it runs and after `leave`."""
        self._token = token
        self._patience = patience
        self._connect = connect or connect_with(ssl)
        self._random = random
        self._session: str | None = None
        self._seq = 0
        self._last_id = 0
        self._heartbeat = 25.0
        self._heard = 0.0
        self._pending: dict[str, _Pending] = {}
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._handlers: list[tuple[type, Callable[[Any], object]]] = []
        self._outbox: asyncio.Queue[bytes] | None = None
        self._knocking: asyncio.Queue[bytes] | None = None  # of a connection that waits in a lobby
        self._joined: asyncio.Future[None] | None = None
        self._greeted = asyncio.Event()  # by the server, on the present connection
        self._established = False  # on the present connection, or the last one
        self._leaving = False
        self._run_task: asyncio.Task[None] | None = None
        self._data = Data(self)

    # -- Public -------------------------------------------------------------------------

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
        # A proxy before several hubs goes by the room.
        url = f"{websocket_url(self.server)}?room={self.room}"
        self._joined = asyncio.get_running_loop().create_future()
        self._run_task = asyncio.create_task(self._run(url), name="signaling client")
        try:
            await asyncio.shield(self._joined)
        except BaseException:
            await self.close()
            raise

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    @property
    def closed(self) -> bool:
        return self._run_task is None or self._run_task.done()

    def events(self) -> AsyncGenerator[Event, None]:
        """Everything that happens from now on, in order. Ends when the client has left; raises
        the reason if it ended otherwise, FellBehind if this reader was too slow."""
        reader = _Reader()
        if self.closed:
            reader.put(None)
        self._readers.add(reader)  # Now, and not only when the first event is asked for.
        return self._read_events(reader)

    async def _read_events(self, reader: _Reader) -> AsyncGenerator[Event, None]:
        try:
            while (event := await reader.queue.get()) is not None:
                yield event
                if reader.fell_behind:
                    raise FellBehind(f"More than {EVENTS_WAITING} events were waiting.")
            if self.error is not None:
                raise self.error
        finally:
            self._readers.discard(reader)

    def on(self, kind: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Call `handler` with each event of `kind` at once; it must not block. Returns what
        takes it off again."""
        return self._add_handler(kind, handler)

    def on_any(self, handler: Callable[[Event], object]) -> Callable[[], None]:
        """Call `handler` with every event at once, as `on` does."""
        return self._add_handler(object, handler)

    def _add_handler(self, kind: type, handler: Callable[[Any], object]) -> Callable[[], None]:
        entry = (kind, handler)
        self._handlers.append(entry)

        def remove() -> None:
            if entry in self._handlers:
                self._handlers.remove(entry)

        return remove

    async def request(self, message: ClientMessage) -> Reply:
        """Send a message and return its reply, over reconnections if need be.

        Raises Refused for an error, SessionLost if the session ended before the reply came,
        NotConnected when the client has ended.
        """
        while True:
            try:
                return await self._post(message).reply
            except Refused as error:
                if error.code != "rate-limited" or error.retry_after is None:
                    raise
                await asyncio.sleep(error.retry_after + RETRY_MARGIN)

    def tell(self, message: ClientMessage) -> None:
        """Like `request`, for when a refusal changes nothing: it is only logged."""
        if self.closed:
            return
        try:
            pending = self._post(message)
        except ClientError as error:
            log.debug("not sent: %s", error)
            return
        pending.reply.add_done_callback(_log_refusal)

    async def chat(self, content: str, *, to: str | None = None) -> None:
        """Say something to the room, or to one participant; at most 4096 characters."""
        await self.request(messages.Chat(content=content, to=to))

    async def send(self, payload: Any, *, topic: str = "", to: Sequence[str] | None = None) -> None:
        """Send any JSON, at most 16 KiB, to everyone else or to some participants, by id.

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
        if name is not None:
            self.name = name
        message = messages.Update(name=name)
        if metadata is not None:
            self.metadata = metadata
            message.metadata = Raw(msgspec.json.encode(metadata))
        try:
            await self.request(message)
        except Refused:
            # Else a session after this one would be refused for it, too.
            self.name, self.metadata = before
            raise

    async def close(self) -> None:
        """Leave the room and end; whatever was begun is over when this returns."""
        if self._run_task is None:
            return
        try:
            if not self._run_task.done() and self.connected and self.id and not self._leaving:
                self._leaving = True
                with suppress(ClientError, TimeoutError):
                    async with asyncio.timeout(2):
                        await self.request(messages.Leave())
        finally:  # Also when this is cancelled: else it would stay in the room for ever.
            self._leaving = True
            self._run_task.cancel()
            await asyncio.wait([self._run_task])
            await self._data.wait_closed()

    # -- Requests -----------------------------------------------------------------------

    def _post(self, message: ClientMessage) -> _Pending:
        if self.closed:
            raise self.error or NotConnected("The client is not in a room.")
        if len(self._pending) >= PENDING_MAX:
            raise ClientError(f"{PENDING_MAX} requests are unanswered.")
        self._last_id += 1
        message.id = str(self._last_id)
        pending = _Pending(message, asyncio.get_running_loop().create_future())
        self._pending[message.id] = pending
        if self._outbox is not None:
            self._outbox.put_nowait(messages.encode(message))
        return pending

    def _fail_pending(self, error: ClientError) -> None:
        pending, self._pending = self._pending, {}
        for one in pending.values():
            if not one.reply.done():
                one.reply.set_exception(error)
                one.reply.exception()  # Seen, even if nobody waits for it any more.

    def _settle(self, reply: Reply) -> None:
        pending = self._pending.pop(reply.id, None) if reply.id is not UNSET else None
        if pending is None or pending.reply.done():
            return
        if isinstance(reply, messages.Error):
            retry = None if reply.retry_after is UNSET else reply.retry_after
            pending.reply.set_exception(Refused(reply.code, reply.message, retry))
            pending.reply.exception()
        else:
            pending.reply.set_result(reply)

    # -- The life of the connection -----------------------------------------------------

    async def _run(self, url: str) -> None:
        try:
            await self._keep_connected(url)
        except ClientError as error:
            self.error = error
        except asyncio.CancelledError:
            if not self._leaving:
                raise
        except Exception as error:
            log.exception("the client failed")
            self.error = ClientError(f"{type(error).__name__}: {error}")
            self.error.__cause__ = error
        finally:
            self._finish()

    def _finish(self) -> None:
        error = self.error or NotConnected("The client has left the room.")
        self._fail_pending(error)
        assert self._joined is not None
        if not self._joined.done():
            self._joined.set_exception(error)
            self._joined.exception()
        for reader in self._readers:
            reader.put(None)
        self._data.close()

    async def _keep_connected(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        lost_at = loop.time()
        while True:
            reason = "no connection"
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    socket = await self._connect(url)
            except OSError as error:
                reason = str(error) or "timeout"
            else:
                self._established = False
                closed = await self._serve(socket)
                self._check_final(closed)
                reason = f"closed with {closed}"
                # A server that answers only to refuse is as good as none.
                if self._established:
                    attempt, lost_at = 0, loop.time()
                    self._emit(Disconnected(closed.code))
            assert self._joined is not None
            if not self._joined.done() or loop.time() - lost_at > self._patience:
                raise ServerUnreachable(f"{url}: {reason}.")
            log.info("connection lost (%s), attempt %d", reason, attempt + 1)
            await asyncio.sleep(backoff(attempt, self._random))
            attempt += 1

    def _check_final(self, closed: SocketClosed) -> None:
        if self._leaving:
            raise asyncio.CancelledError
        if closed.code == 1000 and self._session is not None:
            raise Kicked(closed.reason or "The server ended the session.")
        if kind := FINAL_CLOSES.get(closed.code):
            raise kind(closed.reason or f"The server closed the connection with {closed.code}.")

    async def _serve(self, socket: Socket) -> SocketClosed:
        """Speak over one socket until it is gone; return why it is."""
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        outbox.put_nowait(messages.encode(self._hello()))
        self._greeted.clear()
        tasks = [
            asyncio.create_task(self._write(socket, outbox), name="signaling writer"),
            asyncio.create_task(self._read(socket, outbox), name="signaling reader"),
            asyncio.create_task(self._beat(outbox), name="signaling heartbeat"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._outbox = self._knocking = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await socket.close()
        # The reader knows the close code, which is worth more than the writer's failure.
        for task in sorted(done, key=lambda task: task is not tasks[1]):
            error = task.exception()
            if isinstance(error, SocketClosed):
                return error
            if error is not None:
                raise error
        return SocketClosed(4408, "silent")

    def _hello(self) -> ClientMessage:
        if self._session is not None:
            return messages.Resume(session=self._session, seq=self._seq)
        self._last_id += 1
        join = messages.Join(id=str(self._last_id), room=self.room, name=self.name)
        join.token = self._token
        if self.metadata:
            join.metadata = Raw(msgspec.json.encode(self.metadata))
        return join

    async def _write(self, socket: Socket, outbox: asyncio.Queue[bytes]) -> None:
        while True:
            await socket.send(await outbox.get())

    async def _beat(self, outbox: asyncio.Queue[bytes]) -> None:
        """Return when the server has not answered at all, or been silent for two heartbeats."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._greeted.wait()
        except TimeoutError:
            return
        while loop.time() - self._heard < 2 * self._heartbeat:
            await asyncio.sleep(self._heartbeat)
            if outbox in (self._outbox, self._knocking):
                now = round(loop.time() * 1000)
                outbox.put_nowait(messages.encode(messages.Heartbeat(timestamp=now, seq=self._seq)))

    async def _read(self, socket: Socket, outbox: asyncio.Queue[bytes]) -> None:
        while True:
            data = await socket.receive()
            self._heard = asyncio.get_running_loop().time()
            try:
                message = messages.parse_server_message(data)
            except msgspec.DecodeError:
                self._skip(data)
                continue
            self._receive(message, outbox)
            self._greeted.set()

    def _skip(self, data: bytes) -> None:
        """A newer server may say what this client does not know; its number still counts."""
        with suppress(msgspec.DecodeError, AttributeError, TypeError):
            seq = msgspec.json.decode(data).get("seq")
            if isinstance(seq, int):
                self._seq = max(self._seq, seq)

    def _receive(self, message: AnyServerMessage, outbox: asyncio.Queue[bytes]) -> None:
        if message.seq is not UNSET:
            if message.seq <= self._seq and not isinstance(message, messages.Joined):
                return
            self._seq = message.seq
        match message:
            case messages.HeartbeatReply():
                now = asyncio.get_running_loop().time()
                self.round_trip = now - message.timestamp / 1000
                return
            case messages.Joined():
                self._begin(message, outbox)
                return
            case messages.Knocking():
                # A moderator may take a while; until then the heartbeats show that we wait.
                self._knocking = outbox
                log.info("waiting to be let into room %s", self.room)
                self._emit(message)
                return
            case messages.Resumed():
                self._outbox, self._established = outbox, True
                for pending in self._pending.values():
                    outbox.put_nowait(messages.encode(pending.message))
                self._emit(Reconnected())
                return
            case messages.Error() if self._outbox is not outbox:
                self._refused(message, outbox)
                return
            case messages.Error() if message.code in REFUSALS and message.id is UNSET:
                raise REFUSALS[message.code](message.message)
            case messages.ParticipantLeft(participant=id, reason=reason) if id == self.id:
                raise Kicked(f"This participant is out of the room: {reason}.")
        self._follow(message)
        if isinstance(message, messages.Reply):
            self._settle(message)
        self._emit(message)

    def _refused(self, error: Error, outbox: asyncio.Queue[bytes]) -> None:
        """An error before the session is up."""
        if error.code == "session-expired":
            self._session = None
            self._seq = 0
            outbox.put_nowait(messages.encode(self._hello()))
        elif kind := REFUSALS.get(error.code):
            raise kind(error.message)
        elif error.code in ("draining", "overloaded", "rate-limited", "internal"):
            raise SocketClosed(1001, error.code)
        else:
            raise Refused(error.code, error.message)

    def _begin(self, joined: Joined, outbox: asyncio.Queue[bytes]) -> None:
        again = bool(self.id)
        before = self.participants
        self.id, self._session = joined.participant, joined.session
        self._heartbeat = joined.heartbeat
        self.topology, self.relay = joined.room.topology, joined.relay
        self.grants, self.ice_servers = joined.grants, joined.ice_servers
        self.participants = {}
        for info in joined.participants:
            self._add(info, elder=True)
        self._outbox, self._established = outbox, True
        assert self._joined is not None
        if not self._joined.done():
            self._joined.set_result(None)
        if again:
            self._fail_pending(SessionLost("The session expired."))
            for id in before:
                self._data.leave(id)
            gone = [one for one in before.values() if one.id not in self.participants]
            self._emit(Rejoined(gone))
        self._emit(joined)

    def _add(self, info: ParticipantInfo, *, elder: bool) -> None:
        self.participants[info.id] = Participant(
            id=info.id,
            name=info.name,
            metadata=_metadata(info),
            tracks={track.id: track for track in info.tracks},
            via_relay=info.via == "relay",
            elder=elder,
        )

    def _follow(self, message: AnyServerMessage) -> None:
        """Keep the picture of the room up to date."""
        match message:
            case messages.ParticipantJoined(participant=info):
                self._add(info, elder=False)
            case messages.ParticipantUpdated(participant=info):
                if one := self.participants.get(info.id):
                    one.name, one.metadata = info.name, _metadata(info)
            case messages.ParticipantLeft(participant=id):
                self.participants.pop(id, None)
                self._data.leave(id)
            case messages.DataFrom():
                self._data.receive(message)
            case messages.RoomUpdated(room=room, relay=relay):
                self.topology, self.relay = room.topology, relay
            case messages.GrantsUpdated(grants=grants):
                self.grants = grants
            case messages.TopologyChanged(topology=topology):
                self.topology = topology
            case messages.RouteChanged(participant=id, via=via):
                if one := self.participants.get(id):
                    one.via_relay = via == "relay"
            case messages.TrackPublished() | messages.TrackUpdated():
                if one := self.participants.get(message.participant):
                    one.tracks[message.track.id] = message.track
            case messages.TrackUnpublished(participant=id, track=track):
                if one := self.participants.get(id):
                    one.tracks.pop(track, None)
            case messages.SpeakersChanged(speakers=speakers):
                self.speakers = [(speaker.participant, speaker.level) for speaker in speakers]

    def _emit(self, event: Event) -> None:
        for kind, handler in list(self._handlers):
            if isinstance(event, kind):
                try:
                    handler(event)
                except Exception:
                    log.exception("a handler of %s failed", kind.__name__)
        for reader in self._readers:
            reader.put(event)


def _metadata(info: messages.ParticipantInfo) -> dict[str, Any]:
    value = msgspec.json.decode(info.metadata)
    return value if isinstance(value, dict) else {}


def _log_refusal(reply: asyncio.Future[messages.Reply]) -> None:
    if not reply.cancelled() and (error := reply.exception()) is not None:
        log.debug("refused: %s", error)
