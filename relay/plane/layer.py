"""One RTP stream of a publisher: a whole track, or one encoding of a simulcast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..rtp.cache import PacketCache
from ..rtp.codecs import Picture, inspect_layers
from ..rtp.descriptor import TOP, DescriptorError, Structure, parse_structure_untrusted
from ..rtp.nack import NackGenerator
from ..rtp.packet import Packet
from ..rtp.reports import ReceiverStats, SenderClock
from ..rtp.seq import Insertions, Unwrapper
from ..rtp.sets import ParameterSets
from .cut import Cut, Cuts
from .item import Item
from .keyframes import KeyFrameRequests

if TYPE_CHECKING:
    from .tracks import UpTrack

RATE_WINDOW: Final = 2.0
"""Seconds over which a layer's bitrate is told."""

MAX_SPATIAL: Final = 3
MAX_TEMPORAL: Final = 3
"""The highest layers that are told apart; what is above counts as these."""


INSERT_INTERVAL: Final = 0.25
"""Seconds between two key frames before which parameter sets are put at least: key frames are
asked for half as often."""


class Rung(NamedTuple):
    """How much of a track somebody takes: a layer, and of it the spatial and temporal layers."""

    layer: int
    spatial: int = TOP
    temporal: int = TOP


class Layer:
    """`number` tells it apart from every other stream of the worker. Numbers of packets are
    extended."""

    __slots__ = (
        "_cuts",
        "_part_rates",
        "_parts",
        "_parts_before",
        "_rate",
        "_registry",
        "_structure",
        "_window_at",
        "_window_octets",
        "active",
        "cache",
        "clock",
        "frame",
        "heard_at",
        "index",
        "inserted",
        "inserted_at",
        "key_frames",
        "nacks",
        "newest",
        "number",
        "octets",
        "off",
        "received",
        "rid",
        "rtx_ssrc",
        "sets",
        "sizes",
        "ssrc",
        "taken",
        "top",
        "track",
        "unwrapper",
        "whole",
    )

    def __init__(
        self, track: UpTrack, index: int, registry: Cuts, ssrc: int, rid: str | None, clock: int
    ) -> None:
        self.track = track
        self.index = index
        self.ssrc = ssrc
        self.rid = rid
        self.rtx_ssrc: int | None = None
        self._registry = registry
        self.whole = registry.make(self, TOP, TOP)
        """All of it."""
        self.number = self.whole.number
        self._cuts = {(TOP, TOP): self.whole}
        self.active: list[Cut] = []
        """Those that somebody receives."""
        self.off = False
        """Whether its publisher was told that nobody takes it."""
        self.taken = False
        """Whether somebody receives it, or is about to."""
        self.unwrapper = Unwrapper()
        self.inserted = Insertions()
        self.inserted_at = float("-inf")
        self.sets: dict[int, ParameterSets] = {}
        """By payload type."""
        self.received = ReceiverStats(clock)
        self.clock = SenderClock(clock)
        self.nacks = NackGenerator()
        self.cache = PacketCache()
        self.key_frames = KeyFrameRequests()
        self.newest = -1
        """The newest packet that was kept."""
        self.heard_at = float("-inf")
        """When a packet came last, whether wanted or not."""
        self.frame = -1
        """Timestamp of the frame whose packets come now."""
        self.octets = 0
        """Bytes of packets that came, in all."""
        self.sizes: tuple[tuple[int, int], ...] = ()
        """Width and height of its spatial layers, where a key frame said them."""
        self.top = (0, 0)
        """The highest spatial and temporal layer that came."""
        self._structure: Structure | None = None
        self._window_at = -1.0
        self._window_octets = 0
        self._rate = 0.0
        self._parts = [0] * 16
        self._parts_before = [0] * 16
        self._part_rates = [0.0] * 16

    def get_cut(self, spatial: int, temporal: int) -> Cut:
        """The packets up to these layers."""
        if spatial >= self.top[0]:
            spatial = TOP
        if temporal >= self.top[1]:
            temporal = TOP
        key = spatial, temporal
        cut = self._cuts.get(key)
        if cut is None:
            cut = self._cuts[key] = self._registry.make(self, spatial, temporal)
        return cut

    def limit(self, temporal: int) -> int:
        """`temporal`, or the highest there is."""
        return min(temporal, self.top[1])

    def close(self) -> None:
        """It is not received any more."""
        for cut in self._cuts.values():
            self._registry.remove(cut)

    def begin(self) -> None:
        """Somebody takes it after a while without: what was missed meanwhile is of no use."""
        self.nacks.reset()
        self.cache.clear(self.inserted.apply(self.unwrapper.newest))

    # -- What packets say -------------------------------------------------------------------

    def read_descriptor(self, view: memoryview, packet: Packet, picture: Picture) -> None:
        """Add to `picture` what the packet's dependency descriptor says of its layers."""
        at, size = packet.descriptor_at, packet.descriptor_size
        if size > 3 and view[at + 3] & 0x80:
            try:
                structure = parse_structure_untrusted(bytes(view[at : at + size]))
            except DescriptorError:
                return
            self._structure = structure or self._structure
        picture.starts = bool(view[at] & 0x80)
        picture.ends = bool(view[at] & 0x40)
        if self._structure is not None:
            inspect_layers(self._structure, view[at] & 0x3F, picture)

    def count(self, picture: Picture, size: int) -> None:
        """A packet of these layers came."""
        spatial, temporal = picture.spatial, picture.temporal
        if spatial or temporal:
            spatial, temporal = min(spatial, MAX_SPATIAL), min(temporal, MAX_TEMPORAL)
            self._rise_to((max(self.top[0], spatial), max(self.top[1], temporal)))
        self._parts[4 * spatial + temporal] += size
        if picture.key_frame:
            if picture.sizes:
                self.sizes = picture.sizes
            # A publisher may have other layers from now on; those that go on come again at once.
            if not spatial and self._structure is not None:
                templates = self._structure.templates
                spatial = max(template.spatial for template in templates)
                temporal = max(template.temporal for template in templates)
                self._rise_to((spatial, min(MAX_TEMPORAL, temporal)))

    def note_sets(self, view: memoryview, packet: Packet, announced: tuple[str, Any]) -> None:
        """Keep the parameter sets that a packet of such a codec holds."""
        sets = self.sets.get(packet.payload_type)
        if sets is None:
            sets = self.sets[packet.payload_type] = ParameterSets(*announced)
        sets.receive(view, packet.payload_start, packet.payload_end, packet.timestamp)

    def find_missing_sets(self, item: Item, now: float) -> list[bytes]:
        """The parameter sets without which the key frame that begins with `item` has come, where
        they can be put before it."""
        packet = item.packet
        sets = self.sets.get(packet.payload_type)
        if sets is None or not item.picture.key_frame or not sets.lacks(packet.timestamp):
            return []
        # Nothing that comes after them may have been sent already, and who describes frames in
        # header extensions sends a key frame whole.
        late = item.arrived < self.unwrapper.newest or packet.descriptor_at >= 0
        if late or now < self.inserted_at + INSERT_INTERVAL:
            return []
        self.inserted_at = now
        return sets.list_units()

    def _rise_to(self, top: tuple[int, int]) -> None:
        if top != self.top:
            self.top = top
            self.track.stale = True

    # -- Rates ------------------------------------------------------------------------------

    def measure(self, now: float) -> None:
        """Learn the bitrates; to be called about once a second."""
        elapsed = now - self._window_at
        if elapsed < RATE_WINDOW and self._window_at >= 0:
            return
        if self._window_at >= 0 and not self.off:
            self._rate = 8 * (self.octets - self._window_octets) / elapsed
            if self._parts != self._parts_before:
                # Of one that is off, what it cost last is remembered.
                self._part_rates = self._get_part_rates(elapsed)
        self._window_at = now
        self._window_octets = self.octets
        self._parts_before = list(self._parts)

    def get_bitrate(self, now: float) -> float:
        """Bit/s over the last window; 0 when nothing has come for two of them."""
        if now - self.heard_at > 2 * RATE_WINDOW or self._window_at < 0:
            return 0.0
        # The first window is not over yet: as good an estimate as there is.
        octets = self.octets - self._window_octets
        return self._rate or 8 * octets / max(now - self._window_at, 0.25)

    def get_cut_rate(self, spatial: int, temporal: int, now: float) -> float:
        """Bit/s of the packets up to these layers."""
        rates = self._part_rates
        if not any(rates):
            if self._window_at < 0:
                return 0.0
            rates = self._get_part_rates(max(now - self._window_at, 0.25))
        return sum(
            rates[4 * s + t]
            for s in range(min(spatial, MAX_SPATIAL) + 1)
            for t in range(min(temporal, MAX_TEMPORAL) + 1)
        )

    def _get_part_rates(self, elapsed: float) -> list[float]:
        parts = zip(self._parts, self._parts_before, strict=True)
        return [8 * (now - before) / elapsed for now, before in parts]
