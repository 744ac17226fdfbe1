"""Messages that wait to be sent, by stream: in turn, bounded, cut into fragments."""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Final

from .packet import DATA, MTU
from .reassembly import FIRST, LAST, UNORDERED

MAX_FRAGMENT: Final = (MTU - 12 - 16) & ~3
"""Bytes of payload in one DATA chunk."""
MESSAGE_OVERHEAD: Final = 128
"""Bytes that each message counts beside its payload."""

_DATA: Final = Struct("!BBHIHHI")
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


class Message:
    """One message on its way. Both limits None: reliable; `expires` is a time."""

    __slots__ = (
        "abandoned",
        "chunks",
        "expires",
        "max_retransmits",
        "offset",
        "ordered",
        "payload",
        "ppid",
        "ssn",
        "stream",
    )

    def __init__(
        self,
        stream: int,
        ppid: int,
        payload: bytes,
        ordered: bool,
        max_retransmits: int | None,
        expires: float | None,
    ) -> None:
        self.stream = stream
        self.ppid = ppid
        self.payload = payload
        self.ordered = ordered
        self.max_retransmits = max_retransmits
        self.expires = expires
        self.offset = 0
        self.ssn = 0
        self.chunks: list[SentChunk] = []
        self.abandoned = False

    @property
    def reliable(self) -> bool:
        return self.max_retransmits is None and self.expires is None


class SentChunk:
    """One DATA chunk that was sent, until the peer's cumulative acknowledgement passes it."""

    __slots__ = (
        "acked",
        "after",
        "counts",
        "data",
        "lost",
        "message",
        "missed",
        "retransmits",
        "sent_at",
        "size",
        "tsn",
    )

    def __init__(self, tsn: int, data: bytes, size: int, message: Message, sent_at: float) -> None:
        self.tsn = tsn
        self.data = data
        self.size = size
        self.message = message
        self.sent_at = sent_at
        self.after = tsn  # what was sent later than this tells whether it is lost
        self.counts = size  # of what its stream has waiting
        self.retransmits = 0
        self.missed = 0
        self.acked = False
        self.lost = False


class Queues:
    """Bytes by stream, overhead included: `waiting` of what is not acknowledged yet, `unsent` of
    what was not sent yet."""

    def __init__(self) -> None:
        self.waiting: dict[int, int] = {}
        self.unsent: dict[int, int] = {}
        self._messages: dict[int, deque[Message]] = {}
        self.expired = 0
        """Messages whose time was over before any of it was sent."""
        self._turns: deque[int] = deque()
        self._ssn: dict[int, int] = {}
        self._current: Message | None = None  # of which some fragments are sent, and some not

    def __bool__(self) -> bool:
        return self._current is not None or bool(self._turns)

    def has(self, stream: int) -> bool:
        """Whether something of a stream is not wholly sent yet."""
        current = self._current
        return stream in self._messages or (current is not None and current.stream == stream)

    def add(self, message: Message) -> None:
        stream = message.stream
        size = len(message.payload) + MESSAGE_OVERHEAD
        self.waiting[stream] = self.waiting.get(stream, 0) + size
        self.unsent[stream] = self.unsent.get(stream, 0) + size
        queue = self._messages.get(stream)
        if queue is None:
            self._messages[stream] = deque((message,))
            self._turns.append(stream)
        else:
            queue.append(message)

    def drop_oldest(self, stream: int) -> bool:
        """Drop the oldest message of which nothing is sent yet; whether there was one."""
        queue = self._messages.get(stream)
        if queue is None:
            return False
        self._discard(queue.popleft())
        if not queue:
            del self._messages[stream]
            self._turns.remove(stream)
        return True

    def release(self, stream: int, size: int) -> None:
        """`size` bytes wait no longer."""
        _subtract(self.waiting, stream, size)

    def reset(self, stream: int) -> None:
        """Number the messages of a stream from 0 again."""
        self._ssn.pop(stream, None)

    def abandon(self, message: Message) -> None:
        """Send no more of a message that is under way."""
        if message is self._current:
            self._current = None
            left = len(message.payload) - message.offset
            self.release(message.stream, left)
            _subtract(self.unsent, message.stream, left)

    def next_size(self, now: float) -> int | None:
        """Bytes of payload of the next fragment; None where nothing waits."""
        message = self._current or self._start(now)
        return None if message is None else min(MAX_FRAGMENT, len(message.payload) - message.offset)

    def take(self, tsn: int, size: int, now: float) -> SentChunk:
        """Return the next fragment, of `next_size` bytes."""
        message = self._current
        assert message is not None
        offset, payload = message.offset, message.payload
        flags = 0 if message.ordered else UNORDERED
        if not offset:
            flags |= FIRST
        if offset + size == len(payload):
            flags |= LAST
            self._current = None
        message.offset = offset + size
        head = _DATA.pack(
            DATA, flags, 16 + size, tsn & 0xFFFFFFFF, message.stream, message.ssn, message.ppid
        )
        part = payload if size == len(payload) else payload[offset : offset + size]
        chunk = SentChunk(tsn, head + part + _PADDING[size & 3], size, message, now)
        if not offset:
            chunk.counts += MESSAGE_OVERHEAD
        _subtract(self.unsent, message.stream, chunk.counts)
        if not message.reliable:
            message.chunks.append(chunk)
        return chunk

    def _start(self, now: float) -> Message | None:
        while self._turns:
            stream = self._turns.popleft()
            queue = self._messages[stream]
            message = queue.popleft()
            if queue:
                self._turns.append(stream)
            else:
                del self._messages[stream]
            if message.expires is not None and now >= message.expires:
                self._discard(message)
                self.expired += 1
                continue
            if message.ordered:
                message.ssn = self._ssn.get(stream, 0)
                self._ssn[stream] = (message.ssn + 1) & 0xFFFF
            self._current = message
            return message
        return None

    def _discard(self, message: Message) -> None:
        size = len(message.payload) + MESSAGE_OVERHEAD
        _subtract(self.waiting, message.stream, size)
        _subtract(self.unsent, message.stream, size)


def _subtract(sizes: dict[int, int], stream: int, size: int) -> None:
    left = sizes[stream] - size
    if left:
        sizes[stream] = left
    else:
        del sizes[stream]
