"""One session over many sockets: joins, resumes, repeats what was not answered, gives up.

Everything here decides about the same few fields: where the session stands, and whether the
present socket is any good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET

from ..protocol import messages
from ..protocol.errors import GOING_AWAY_CLOSE
from ..protocol.messages import ClientMessage
from .errors import (
    FINAL_CLOSES,
    REFUSALS,
    ClientError,
    Kicked,
    NotConnected,
    Refused,
    ServerUnreachable,
    SessionLost,
)
from .events import Disconnected, Events, Reconnected, Rejoined
from .requests import Answer, Requests
from .room import Room
from .socket import (
    BACKOFF_DRAINED,
    BACKOFF_MAX,
    BACKOFF_UNREACHABLE,
    DRAINED_FOR,
    Connect,
    Socket,
    SocketClosed,
    backoff,
    connect_soon,
    is_network_gone,
)

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for a TCP connection, the upgrade and the first reply."""
PROBE_WITHIN: Final = 1.5
"""Seconds for any answer where the network may have changed: a slow line's round trip."""


class Session:
    """join: makes the message that a session begins with, of an id for it."""

    def __init__(
        self,
        room: Room,
        events: Events,
        *,
        connect: Connect,
        join: Callable[[str], messages.Join],
        patience: float,
        wait_for_server: bool,
        random: Callable[[], float],
    ) -> None:
        self.id = ""
        self.round_trip: float | None = None
        self.error: ClientError | None = None
        self.seq = 0
        self.key: str | None = None
        self.connect = connect
        self._room = room
        self._events = events
        self._join = join
        self._patience = patience
        self._wait_for_server = wait_for_server
        self._random = random
        self._requests = Requests()
        self._heartbeat = 25.0
        self.heard_at = 0.0
        self._outbox: asyncio.Queue[bytes] | None = None
        self._knocking: asyncio.Queue[bytes] | None = None  # of a connection that waits in a lobby
        self._joined: asyncio.Future[None] | None = None
        self._begun = asyncio.Event()  # the program that joined, in its first turn
        self._greeted = asyncio.Event()  # by the server, on the present connection
        self._probing = asyncio.Event()  # until the network is known to be there
        self._moved = False  # to another network
        self._established = False  # on the present connection, or the last one
        self._drained_until = 0.0  # on the loop's clock: until then the server is soon back
        self._leaving = False
        self._run_task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    @property
    def closed(self) -> bool:
        return self._run_task is None or self._run_task.done()

    async def start(self, url: str) -> None:
        """Connect and join. Raises why that cannot be, once, and when it was begun before."""
        if self._run_task is not None:
            raise ClientError("A client joins once: make another one.")
        loop = asyncio.get_running_loop()
        self._joined = loop.create_future()
        self._run_task = asyncio.create_task(self._run(url), name="signaling client")
        try:
            await asyncio.shield(self._joined)
        except BaseException:
            await self.close()
            raise
        # What came with `joined` waits for the handlers that the program sets first.
        loop.call_soon(self._begun.set)

    async def close(self) -> None:
        """Leave the room; whatever was begun is over when this returns."""
        if self._run_task is None:
            return
        try:
            if not self._run_task.done() and self.connected and self.id and not self._leaving:
                self._leaving = True
                with suppress(ClientError, TimeoutError):
                    async with asyncio.timeout(2):
                        await self.post(messages.Leave())
        finally:  # Also when this is cancelled: else it would stay in the room for ever.
            self._leaving = True
            self._run_task.cancel()
            await asyncio.wait([self._run_task])

    def probe(self) -> None:
        self._probing.set()

    def reconnect(self) -> None:
        self._moved = True
        self._probing.set()

    def post(self, message: ClientMessage) -> Answer:
        """Send now, or once connected again. Raises why the session has ended."""
        if self.closed:
            raise self.error or NotConnected("The client is not in a room.")
        answer = self._requests.add(message)
        if self._outbox is not None:
            self._outbox.put_nowait(messages.encode(message))
        return answer

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
        self._requests.fail(error)
        assert self._joined is not None
        if not self._joined.done():
            self._joined.set_exception(error)
            self._joined.exception()
        self._events.end(self.error)

    async def _keep_connected(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        give_up_at = loop.time() + self._patience
        while True:
            gone = False
            try:
                async with asyncio.timeout_at(min(loop.time() + CONNECT_TIMEOUT, give_up_at)):
                    socket = await connect_soon(self.connect, url)
            except OSError as error:
                reason = str(error) or "timeout"
                gone = is_network_gone(error)
            else:
                self._established = False
                closed = await self._serve(socket, give_up_at)
                self._check_final(closed)
                reason = f"closed with {closed}"
                # A server that answers only to refuse is as good as none.
                if self._established:
                    attempt, give_up_at = 0, loop.time() + self._patience
                    if closed.code == GOING_AWAY_CLOSE:
                        self._drained_until = loop.time() + DRAINED_FOR
                    self._events.emit(Disconnected(closed.code))
            assert self._joined is not None
            if not self._joined.done() and not self._wait_for_server:
                raise ServerUnreachable(f"{url}: {reason}.")
            log.info("connection lost (%s), attempt %d", reason, attempt + 1)
            wait = backoff(attempt, self._random, self._find_longest_wait(gone))
            left = give_up_at - loop.time()
            if left <= wait:
                await asyncio.sleep(left)
                raise ServerUnreachable(f"{url}: {reason}.")
            probed = await self._wait(wait)
            attempt = 0 if probed else min(attempt + 1, 2) if gone else attempt + 1

    def _find_longest_wait(self, gone: bool) -> float:
        if gone:
            return BACKOFF_UNREACHABLE
        drained = asyncio.get_running_loop().time() < self._drained_until
        return BACKOFF_DRAINED if drained else BACKOFF_MAX

    async def _wait(self, seconds: float) -> bool:
        """Sleep, or return True when the network is to be probed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._probing.wait()
        probed = self._probing.is_set()
        self._probing.clear()
        return probed

    def _check_final(self, closed: SocketClosed) -> None:
        if self._leaving:
            raise asyncio.CancelledError
        if closed.code == 1000 and self.key is not None:
            raise Kicked(closed.reason or "The server ended the session.")
        if kind := FINAL_CLOSES.get(closed.code):
            raise kind(closed.reason or f"The server closed the connection with {closed.code}.")

    async def _serve(self, socket: Socket, give_up_at: float) -> SocketClosed:
        """Speak over one socket until it is gone; return why it is."""
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        outbox.put_nowait(messages.encode(self._hello()))
        self._greeted.clear()
        self._probing.clear()
        self._moved = False
        tasks = [
            asyncio.create_task(self._write(socket, outbox), name="signaling writer"),
            asyncio.create_task(self._read(socket, outbox), name="signaling reader"),
            asyncio.create_task(self._beat(outbox, give_up_at), name="signaling heartbeat"),
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
        if self.key is not None:
            return messages.Resume(session=self.key, seq=self.seq)
        return self._join(self._requests.number())

    async def _write(self, socket: Socket, outbox: asyncio.Queue[bytes]) -> None:
        while True:
            await socket.send(await outbox.get())

    async def _beat(self, outbox: asyncio.Queue[bytes], give_up_at: float) -> None:
        """Return when the server has not answered at all, been silent for two heartbeats, or
        for a moment when probed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + CONNECT_TIMEOUT, give_up_at)):
                await self._greeted.wait()
        except TimeoutError:
            return
        while loop.time() - self.heard_at < 2 * self._heartbeat:
            probed = await self._wait(self._heartbeat)
            if self._moved:
                return
            asked = loop.time()
            if outbox in (self._outbox, self._knocking):
                now = round(asked * 1000)
                outbox.put_nowait(messages.encode(messages.Heartbeat(timestamp=now, seq=self.seq)))
            if probed:
                await asyncio.sleep(max(PROBE_WITHIN, 4 * (self.round_trip or 0)))
                if self.heard_at < asked:
                    return

    async def _read(self, socket: Socket, outbox: asyncio.Queue[bytes]) -> None:
        while True:
            data = await socket.receive()
            self.heard_at = asyncio.get_running_loop().time()
            try:
                message = messages.parse_server_message(data)
            except msgspec.DecodeError:
                self._skip(data)
                continue
            self._receive(message, outbox)
            self._greeted.set()
            if isinstance(message, messages.Joined):
                await self._begun.wait()

    def _skip(self, data: bytes) -> None:
        """A newer server may say what this client does not know; its number still counts."""
        with suppress(msgspec.DecodeError, AttributeError, TypeError):
            seq = msgspec.json.decode(data).get("seq")
            if isinstance(seq, int):
                self.seq = max(self.seq, seq)

    def _receive(self, message: messages.AnyServerMessage, outbox: asyncio.Queue[bytes]) -> None:
        if message.seq is not UNSET:
            if message.seq <= self.seq and not isinstance(message, messages.Joined):
                return
            self.seq = message.seq
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
                self._knocking, self._established = outbox, True
                log.info("waiting to be let into room %s", self._room.name)
                self._events.emit(message)
                return
            case messages.Resumed():
                self._outbox, self._established = outbox, True
                self._repeat(outbox)
                self._events.emit(Reconnected())
                return
            case messages.Error() if self._outbox is not outbox:
                self._refused(message, outbox)
                return
            case messages.Error() if message.code in REFUSALS and message.id is UNSET:
                raise REFUSALS[message.code](message.message)
            case messages.ParticipantLeft(participant=id, reason=reason) if id == self.id:
                raise Kicked(f"This participant is out of the room: {reason}.")
        self._room.follow(message)
        if isinstance(message, messages.Reply):
            self._requests.settle(message)
        self._events.emit(message)

    def _repeat(self, outbox: asyncio.Queue[bytes]) -> None:
        for message in self._requests.unanswered():
            outbox.put_nowait(messages.encode(message))

    def _refused(self, error: messages.Error, outbox: asyncio.Queue[bytes]) -> None:
        """An error before the session is up."""
        if error.code == "session-expired":
            self.key = None
            self.seq = 0
            outbox.put_nowait(messages.encode(self._hello()))
        elif kind := REFUSALS.get(error.code):
            raise kind(error.message)
        elif error.code in ("draining", "overloaded", "rate-limited", "internal"):
            raise SocketClosed(1001, error.code)
        else:
            raise Refused(error.code, error.message)

    def _begin(self, joined: messages.Joined, outbox: asyncio.Queue[bytes]) -> None:
        again = bool(self.id)
        before = self._room.participants
        self.id, self.key = joined.participant, joined.session
        self._heartbeat = joined.heartbeat
        self._room.begin(joined)
        self._outbox, self._established = outbox, True
        assert self._joined is not None
        if not self._joined.done():
            self._joined.set_result(None)
        if again:
            self._requests.fail(SessionLost("The session expired."))
            gone = [one for one in before.values() if one.id not in self._room.participants]
            self._events.emit(Rejoined(gone))
        self._events.emit(joined)
