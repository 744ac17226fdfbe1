"""A router on a site without sockets: real transports, tracks and descriptions, and clients
that are only SDP."""

from __future__ import annotations

import itertools
import random
from typing import Any

from relay import control
from relay.config import Config
from relay.plane.leg import Leg
from relay.rooms.router import Router
from relay.rooms.site import Site
from relay.transport.dtls import Certificate
from relay.transport.ice import Address
from relay.transport.transport import Transport
from tests.support.media import PlainKeys, Plane
from tests.support.timing import VirtualTiming
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_answer, make_offer


class FakeNetwork:
    """What `relay.plane.udp.Udp` is to transports: who listens for which user name."""

    def __init__(self) -> None:
        self.usernames: dict[str, Any] = {}
        self.addresses: dict[Address, Any] = {}

    def add(self, username: str, endpoint: Any) -> None:
        self.usernames[username] = endpoint

    def remove(self, username: str) -> None:
        self.usernames.pop(username, None)

    def latch(self, address: Address, endpoint: Any) -> None:
        self.addresses[address] = endpoint

    def unlatch(self, address: Address, endpoint: Any) -> None:
        if self.addresses.get(address) is endpoint:
            del self.addresses[address]

    def send(self, data: bytes, address: Address) -> None:
        raise AssertionError(f"nobody has an address, {address!r} neither: {len(data)} bytes")


class World:
    """One room. Each `do` is a command carried out, with what follows from it."""

    def __init__(self, **config: Any) -> None:
        self.now = 100.0
        self.plane = Plane()
        self.network = FakeNetwork()
        self.timing = VirtualTiming(self.now)
        self.events: list[control.Event] = []
        self._requests = itertools.count(1)
        self._numbers = itertools.count(1000)
        self.site = Site(
            config=Config(**config),
            forwarder=self.plane.forwarder,
            network=self.network,
            certificate=CERTIFICATE,
            addresses=(("192.0.2.1", 8443),),
            stats=self.plane.stats,
            token=lambda length: f"{next(self._numbers):0{length}d}"[:length],
            number=lambda: next(self._numbers),
            unpack_address=lambda address: (address.decode(), 1),
            timing=self.timing,
            random=random.Random(1).randbytes,
        )
        self.router = Router("demo", self.site, self.events.append)

    def do(self, command: control.Command) -> list[control.Event]:
        """What the router says to a command."""
        before = len(self.events)
        self.router.receive(command, self.now)
        while self.router.flush(self.now):
            pass
        return self.events[before:]

    def advance(self, seconds: float) -> list[control.Event]:
        """Let time pass, with the timers of a worker."""
        before = len(self.events)
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.1, end)
            self.router.handle_timer(self.now)
            while self.router.flush(self.now):
                pass
        return self.events[before:]

    # -- What clients do ----------------------------------------------------------------

    def join(self, *names: str, routes: list[str] | None = None) -> None:
        for name in names:
            self.do(control.Join("demo", name))
            self.do(control.Route("demo", name, routes))

    def publish(
        self, name: str, *media: Any, ufrag: str = "abcd", sdp: str | None = None, **sources: str
    ) -> list[control.Event]:
        """Offer these m-lines, VP8 and Opus unless said otherwise."""
        offer = sdp or make_offer(*(media or (VIDEO, AUDIO)), ufrag=ufrag)
        tracks = [control.PublishTrack(mid[1:], source) for mid, source in sources.items()]  # type: ignore[arg-type]  # one of the sources
        return self.do(control.Publish("demo", name, next(self._requests), offer, tracks))

    def answer(self, offer: control.Offer, **options: Any) -> list[control.Event]:
        """The subscriber's answer to an offer."""
        sdp = make_answer(offer.sdp, **options)
        return self.do(control.AnswerOffer("demo", offer.participant, next(self._requests), sdp))

    def connect(self, transport: Transport[Leg]) -> Leg:
        """Have the transport's media flow as if DTLS were done, without encryption."""
        leg = transport.leg
        leg.connect(PlainKeys(), PlainKeys())
        leg.set_address(Address(leg.name.encode().ljust(16, b".")))
        return leg

    def offers(self, events: list[control.Event] | None = None) -> dict[str, control.Offer]:
        """The last offer to each participant among these events."""
        among = self.events if events is None else events
        return {event.participant: event for event in among if isinstance(event, control.Offer)}

    def find(
        self, kind: type[control.Message], events: list[control.Event] | None = None
    ) -> list[Any]:
        among = self.events if events is None else events
        return [event for event in among if isinstance(event, kind)]

    def track(self, name: str, kind: str = "video") -> str:
        """The id of somebody's published track."""
        return next(
            str(event.track.id)
            for event in reversed(self.find(control.TrackPublished))
            if event.participant == name and event.track.kind == kind
        )

    def count_remains(self) -> dict[str, int]:
        """What a room that is over must not leave behind."""
        return {
            "legs": len(self.plane.forwarder.legs),
            "layers": len(self.plane.forwarder.layers),
            "usernames": len(self.network.usernames),
            "addresses": len(self.network.addresses),
            "participants": self.router.participant_count,
            "tracks": len(self.router.tracks),
        }


# One for all tests: making it takes longer than most of them.
CERTIFICATE = Certificate()
