"""y-webrtc: topics to subscribe to and to publish on, as its `bin/server.js` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ..access.addresses import AddressLimits
from ..metrics import Metrics
from ..settings.config import Limits
from .link import Link, Links, Outlet

MAX_TOPIC: Final = 256
MAX_TOPICS: Final = 64
"""Of one connection, and in one message."""

Topic = Annotated[str, Meta(max_length=MAX_TOPIC)]
_PONG: Final = b'{"type":"pong"}'


class _Base(msgspec.Struct, tag_field="type"):
    pass


class Subscribe(_Base, tag="subscribe"):
    topics: Annotated[list[Topic], Meta(max_length=MAX_TOPICS)] = []


class Unsubscribe(_Base, tag="unsubscribe"):
    topics: Annotated[list[Topic], Meta(max_length=MAX_TOPICS)] = []


class Publish(_Base, tag="publish"):
    """Everything else in it goes on, too."""

    topic: Topic


class Ping(_Base, tag="ping"):
    pass


Message = Subscribe | Unsubscribe | Publish | Ping
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class MalformedMessage(ValueError):
    """Not a message of y-webrtc."""


def parse_message_untrusted(data: bytes) -> Message:
    """Parse what a client sends. Raise MalformedMessage."""
    try:
        if not data.isascii():
            data.decode()
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        raise MalformedMessage from None


class Subscriber(Link):
    """One connection and its topics."""

    def __init__(self, outlet: Outlet, address: str, limits: Limits, now: float) -> None:
        super().__init__(outlet, address, limits, now)
        self.topics: set[str] = set()


class YWebRtc:
    """All y-webrtc clients of one server; what a `Connection` needs of its hub."""

    def __init__(
        self, limits: Limits, metrics: Metrics, guard: AddressLimits, *, clock: Callable[[], float]
    ) -> None:
        self._links = Links(limits, metrics, guard)
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._topics: dict[str, dict[Subscriber, None]] = {}
        self._all: set[Subscriber] = set()

    @property
    def topics(self) -> list[str]:
        return list(self._topics)

    def connect(self, outlet: Outlet, *, address: str) -> Subscriber:
        """A new WebSocket."""
        now = self._clock()
        self._links.opened(address, now)
        subscriber = Subscriber(outlet, address, self._limits, now)
        self._all.add(subscriber)
        return subscriber

    def disconnect(self, subscriber: Subscriber) -> None:
        """The socket is gone."""
        self._links.closed(subscriber)
        self._all.discard(subscriber)
        for topic in list(subscriber.topics):
            self._leave(subscriber, topic)

    def reject(self, subscriber: Subscriber, code: str) -> None:
        """The connection saw a fault of the client."""
        self._links.refuse(subscriber, code, self._clock())

    def drain(self) -> None:
        """Send everyone elsewhere."""
        for subscriber in list(self._all):
            self.reject(subscriber, "draining")

    def receive(self, subscriber: Subscriber, data: bytes) -> None:
        """One text frame. Never raises."""
        if subscriber.closed:
            return
        if len(data) > self._limits.max_frame:
            self.reject(subscriber, "too-large")
            return
        try:
            message = parse_message_untrusted(data)
        except MalformedMessage:
            self._metrics.messages["invalid"] += 1
            if not subscriber.note(good=False) or not subscriber.spend(self._clock()):
                self.reject(subscriber, "bad-request")
            return
        subscriber.note(good=True)
        publishes = isinstance(message, Publish)
        if not subscriber.spend(self._clock(), broadcast=publishes):
            self.reject(subscriber, "rate-limited")
            return
        self._metrics.messages[f"y-webrtc-{message.__struct_config__.tag}"] += 1
        self._carry_out(subscriber, message, data)

    def _carry_out(self, subscriber: Subscriber, message: Message, data: bytes) -> None:
        match message:
            case Subscribe(topics=topics):
                for topic in topics:
                    self._join(subscriber, topic)
            case Unsubscribe(topics=topics):
                for topic in topics:
                    self._leave(subscriber, topic)
            case Publish(topic=topic):
                self._publish(topic, data)
            case Ping():
                self._links.send(subscriber, _PONG)

    def _join(self, subscriber: Subscriber, topic: str) -> None:
        if topic in subscriber.topics:
            return
        room = self._topics.get(topic, {})
        full = len(room) >= self._limits.max_participants
        if full or len(subscriber.topics) >= MAX_TOPICS:
            # It has no word for that: who is one too many hears nobody.
            self._metrics.errors["room-full"] += 1
            return
        if topic not in self._topics and len(self._topics) >= self._limits.max_rooms:
            self._metrics.errors["room-full"] += 1
            return
        subscriber.topics.add(topic)
        self._topics.setdefault(topic, {})[subscriber] = None

    def _leave(self, subscriber: Subscriber, topic: str) -> None:
        if topic in subscriber.topics:
            subscriber.topics.discard(topic)
            room = self._topics[topic]
            del room[subscriber]
            if not room:
                del self._topics[topic]

    def _publish(self, topic: str, data: bytes) -> None:
        """To all of the topic, the sender included, with their number as `clients`."""
        room = self._topics.get(topic, {})
        body = data.strip()
        frame = b'%b,"clients":%d}' % (body[:-1], len(room))
        for receiver in list(room):
            self._links.send(receiver, frame)
        self._metrics.relayed += len(room)
