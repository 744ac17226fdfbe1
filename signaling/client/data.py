"""Data through the hub: messages with a topic, and calls of methods that others offer.

The rules of PROTOCOL.md, "Data", over anything that sends requests and hands out events.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec

from ..protocol import messages
from ..protocol.messages import DataFrom

log = logging.getLogger(__name__)

CALL: Final = "rpc.call"
REPLY: Final = "rpc.reply"
BYTES: Final = "base64"
"""The only key of an object that stands for bytes."""
CALL_TIMEOUT: Final = 10.0
"""Seconds for a reply; a person who waits has given up by then."""
MAX_CALLS_OF_ONE: Final = 64
"""Calls under way for one caller; one more is answered with `busy`."""
MAX_CALLS: Final = 256
"""Calls under way in all."""
MAX_WAITING: Final = 2048
"""Messages that may wait for one reader."""
MAX_DIGITS: Final = 400
"""Of a whole number; longer ones are read as floats, for Python reads no more than 4300."""


class CallError(Exception):
    """A call that had no result. `code` is one of PROTOCOL.md's, or the method's own.

    A method raises it to tell its caller more than `failed`.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ReaderTooSlow(Exception):
    """This reader of messages did not read for so long that some would be lost."""


@dataclass(frozen=True)
class Message:
    """What somebody sent. `participant` is the sender's id."""

    payload: Any
    topic: str
    participant: str


class Sender(Protocol):
    """What is needed of a client."""

    async def request(self, message: messages.ClientMessage) -> messages.Reply: ...


Method = Callable[[Any, str], Awaitable[Any]]
"""Takes the payload and the caller's id, returns the result."""
M = TypeVar("M", bound=Method)


@dataclass
class _Call:
    participant: str
    result: asyncio.Future[Any]


class _Reader:
    def __init__(self, topic: str | None) -> None:
        self.topic = topic
        self.queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self.fell_behind = False

    def put(self, message: Message) -> None:
        if self.topic is not None and message.topic != self.topic:
            return
        if self.queue.qsize() >= MAX_WAITING:
            self.fell_behind = True
        else:
            self.queue.put_nowait(message)


class Data:
    """One participant's data messages, methods and calls.

    To be given each `DataFrom`, to be told who has left, and to be closed.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._methods: dict[str, Method] = {}
        self._calls: dict[str, _Call] = {}
        self._last_id = 0
        self._running: dict[asyncio.Task[None], str] = {}
        self._callers: Counter[str] = Counter()
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._closed = False

    async def send(self, content: Any, *, topic: str = "", to: Sequence[str] | None = None) -> None:
        """Send any JSON to everyone else, or to some; return when the hub has passed it on."""
        raw = msgspec.Raw(msgspec.json.encode(_wrap(content)))
        receivers = None if to is None else list(to)
        await self._sender.request(messages.Data(content=raw, topic=topic, to=receivers))

    def messages(self, topic: str | None = None) -> AsyncGenerator[Message, None]:
        """What comes from now on, in order; of one topic, or of all."""
        reader = _Reader(topic)
        if self._closed:
            reader.queue.put_nowait(None)
        self._readers.add(reader)
        return self._read(reader)

    async def _read(self, reader: _Reader) -> AsyncGenerator[Message, None]:
        try:
            while (message := await reader.queue.get()) is not None:
                yield message
                if reader.fell_behind:
                    raise ReaderTooSlow(f"More than {MAX_WAITING} messages were waiting.")
        finally:
            self._readers.discard(reader)

    def method(self, name: str) -> Callable[[M], M]:
        """Offer what is decorated to everyone in the room, as `name`."""

        def offer(method: M) -> M:
            self._methods[name] = method
            return method

        return offer

    async def call(
        self,
        participant: str,
        name: str,
        payload: Any = None,
        *,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - the call's own, told to nobody
    ) -> Any:
        """Call a participant's method and return its result. Raise CallError."""
        self._last_id += 1
        id = f"c{self._last_id}"
        call = _Call(participant, asyncio.get_running_loop().create_future())
        self._calls[id] = call
        content = {"id": id, "method": name, "payload": payload}
        try:
            async with asyncio.timeout(timeout):
                await self.send(content, topic=CALL, to=[participant])
                return await call.result
        except TimeoutError:
            raise CallError("timeout", f"No reply within {timeout:g} s.") from None
        except Exception as error:
            if getattr(error, "code", None) == "unknown-participant":
                raise CallError("left", "The participant is not there.") from None
            raise
        finally:
            del self._calls[id]
            call.result.cancel()

    def receive(self, message: DataFrom) -> None:
        """Take what the hub has passed on. Never raises."""
        try:
            content = json.loads(bytes(message.content), parse_int=_parse_int)
        except (ValueError, RecursionError):
            log.warning("a message on topic %r could not be read", message.topic)
            return
        if message.topic == CALL:
            self._begin(message.from_, content)
        elif message.topic == REPLY:
            self._settle(message.from_, content)
        else:
            for reader in self._readers:
                reader.put(Message(_unwrap(content), message.topic, message.from_))

    def leave(self, participant: str) -> None:
        """Fail what was asked of one who has left."""
        for call in self._calls.values():
            if call.participant == participant and not call.result.done():
                call.result.set_exception(CallError("left", "The participant has left."))

    def leave_all(self) -> None:
        """Fail all that was asked: replies would go to an id that is no more."""
        for call in list(self._calls.values()):
            self.leave(call.participant)

    def close(self) -> None:
        """End readers, calls and methods that run."""
        self._closed = True
        self.leave_all()
        for task in self._running:
            task.cancel()
        for reader in self._readers:
            reader.queue.put_nowait(None)

    async def wait_closed(self) -> None:
        """Wait until every method has ended, after `close`."""
        if self._running:
            await asyncio.wait(list(self._running))

    # -- Calls of others ----------------------------------------------------------------

    def _settle(self, participant: str, content: Any) -> None:
        call = self._calls.get(_get_id(content) or "")
        if call is None or call.participant != participant or call.result.done():
            return
        error = content.get("error")
        if error is None:
            call.result.set_result(content.get("payload"))
            return
        fields = error if isinstance(error, dict) else {}
        code, text = (str(fields.get(key, "")) for key in ("code", "message"))
        call.result.set_exception(CallError(code or "failed", text))

    def _begin(self, caller: str, content: Any) -> None:
        id = _get_id(content)
        if id is None or not self._methods or self._closed:
            return
        busy = len(self._running) >= MAX_CALLS or self._callers[caller] >= MAX_CALLS_OF_ONE
        if len(self._running) >= 2 * MAX_CALLS:
            return  # even refusals wait for their turn; the caller's time runs out
        answer = self._refuse(caller, id) if busy else self._carry_out(caller, id, content)
        task = asyncio.get_running_loop().create_task(answer, name="data method")
        self._running[task] = caller
        self._callers[caller] += 1
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        caller = self._running.pop(task)
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]

    async def _refuse(self, caller: str, id: str) -> None:
        await self._answer(caller, id, CallError("busy", "Too many calls are under way."))

    async def _carry_out(self, caller: str, id: str, content: dict[str, Any]) -> None:
        name = content.get("method")
        method = self._methods.get(name) if isinstance(name, str) else None
        result: Any = CallError("unknown-method", "No such method here.")
        if method is not None:
            try:
                result = await method(content.get("payload"), caller)
            except CallError as error:
                result = error
            except Exception:
                log.exception("method %s failed", name)
                result = CallError("failed", "The method failed.")
        await self._answer(caller, id, result)

    async def _answer(self, caller: str, id: str, result: Any) -> None:
        try:
            await self.send(_build_reply(id, result), topic=REPLY, to=[caller])
        except Exception as error:
            if getattr(error, "code", None) not in ("bad-request", None):
                log.debug("a reply was not sent: %s", error)  # the caller has left, or we have
                return
            log.warning("a result could not be sent: %s", error)
            failure = CallError("failed", "The result could not be sent.")
            await self._send_failure(caller, _build_reply(id, failure))

    async def _send_failure(self, caller: str, reply: dict[str, Any]) -> None:
        try:
            await self.send(reply, topic=REPLY, to=[caller])
        except Exception as error:
            log.debug("a reply was not sent: %s", error)


def _build_reply(id: str, result: Any) -> dict[str, Any]:
    if isinstance(result, CallError):
        return {"id": id, "error": {"code": result.code, "message": result.message}}
    return {"id": id, "payload": result}


def _get_id(content: Any) -> str | None:
    id = content.get("id") if isinstance(content, dict) else None
    return id if isinstance(id, str) and len(id) <= messages.MAX_ID else None


def _wrap(content: Any) -> Any:
    """JSON for what is sent: bytes go as base64 in an object of their own."""
    if isinstance(content, (bytes, bytearray, memoryview)):
        return {BYTES: base64.b64encode(content).decode()}
    return content


def _unwrap(content: Any) -> Any:
    if isinstance(content, dict) and content.keys() == {BYTES}:
        try:
            return base64.b64decode(content[BYTES], validate=True)
        except (binascii.Error, TypeError, ValueError):
            return content
    return content


def _parse_int(text: str) -> int | float:
    return int(text) if len(text) <= MAX_DIGITS else float(text)
