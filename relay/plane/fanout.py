"""One packet to many: a track's subscribers as columns, so that the few header fields that
differ are written for all of them by one numpy operation each. `render` is the plain twin."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ..rtp.codecs import Picture, write_picture
from ..rtp.packet import HEADER_SIZE, ReadBuffer, header_size
from ..rtp.seq import Segment
from .arena import ROW, Arena, Destinations, Outbox, Pointer, runs_of
from .cut import Cut
from .history import SendHistory
from .item import Item
from .red import adapt, get_wrapped_type
from .tracks import DownTrack, UpTrack

MAX_LENGTH: Final = ROW - 32
"""Bytes of a packet that can be forwarded: SRTP's tag and an RTX number still fit its row."""

FEW: Final = 16
"""Subscribers up to which a loop over rows costs less than numpy's operations on columns."""

_HEADER: Final = struct.Struct("!BBHII")
_HALF: Final = struct.Struct("!H")


class Group:
    """Consecutive DownTracks of a fan-out whose packets fit the outbox at once."""

    __slots__ = ("destinations", "place")

    def __init__(self, place: slice, destinations: Destinations) -> None:
        self.place = place
        """Which of the fan-out's DownTracks."""
        self.destinations = destinations


class FanOut:
    """The DownTracks that take a cut's packets now, either all with header extensions or all
    without. Made anew whenever one of them changes."""

    def __init__(self, cut: Cut, downs: Sequence[DownTrack], extensions: bool) -> None:
        self.downs = list(downs)
        self.wrapped = get_wrapped_type(downs[0])
        """The payload type under which they take what is in RED; None: they take no RED."""
        self._thinned = not cut.whole
        self._extensions = extensions
        self._groups: dict[int, list[Group]] = {}
        self._contexts: dict[int, list[Pointer]] = {1: [down.leg.context for down in downs]}
        self._indices = np.array([down.leg.index for down in downs])
        self._ssrcs = np.array([down.ssrc for down in downs], ">u4")
        self._payload_types: dict[int, npt.NDArray[np.uint8] | None] = {}
        self.read_segments()

    def read_segments(self) -> None:
        """Take up how each DownTrack numbers its packets now."""
        segments = [segment for down in self.downs if (segment := down.map.current) is not None]
        self.outdated = False
        """Whether one of them numbers otherwise since."""
        self.floor = max(segment.first for segment in segments)
        """Packets from this number on go to everyone; older ones not, or otherwise numbered."""
        self._few = [
            (down, segment, down.leg.index)
            for down, segment in zip(self.downs, segments, strict=True)
        ]
        self._sequences = np.array([s.delta & 0xFFFF for s in segments], np.uint16)
        self._timestamps = np.array([s.timestamp_delta for s in segments], np.uint32)
        self._pictures = np.array([s.picture_delta for s in segments])
        self._tl0s = np.array([s.tl0_delta for s in segments])
        self._keyidxs = np.array([s.keyidx_delta for s in segments])
        self._frames = np.array([s.frame_delta for s in segments])
        # Where pictures are left out, the others' ids follow on each other.
        self._renumbers = self._thinned or any(one.renumbers_pictures for one in segments)

    def get_groups(self, limit: int) -> list[Group]:
        """All DownTracks in groups of nearly the same size, none of more than `limit`."""
        count = -(-len(self.downs) // limit)
        groups = self._groups.get(count)
        if groups is None:
            groups = self._groups[count] = [
                self._make_group(number * len(self.downs) // count, end * len(self.downs) // count)
                for number, end in zip(range(count), range(1, count + 1), strict=True)
            ]
        return groups

    def _make_group(self, start: int, end: int) -> Group:
        destinations = Destinations([down.leg.destination for down in self.downs[start:end]])
        return Group(slice(start, end), destinations)

    def takes(self, item: Item) -> bool:
        """Whether the packet goes to every DownTrack here, under its present translation."""
        payload_type = item.packet.payload_type
        if payload_type not in self._payload_types:
            # Asked once for each; None where the number on the wire is the relay's anyhow.
            numbers = [down.payload_types.get(payload_type, -1) for down in self.downs]
            if min(numbers) < 0:
                return False
            same = all(number == payload_type for number in numbers)
            self._payload_types[payload_type] = None if same else np.array(numbers, np.uint8)
        return item.number >= self.floor

    def write(
        self,
        group: Group,
        outbox: Outbox,
        source: npt.NDArray[np.uint8],
        view: memoryview,
        items: Sequence[Item],
        history: SendHistory,
    ) -> tuple[int, int]:
        """Write the block of `items`, which it `takes`, for a group; returns its first row and
        the one after.

        `source` and `view` are the memory that the packets lie in.
        """
        step, count = len(items), len(group.destinations.items)
        first = outbox.reserve(count * step)
        end = first + count * step
        if count <= FEW:
            self._write_few(outbox.arena, first, group.place, view, items, history)
            return first, end
        indices = self._indices[group.place]
        transport = history.values[indices] if self._extensions else None
        for offset, item in enumerate(items):
            rows = slice(first + offset, end, step)
            size = self._write_one(outbox.arena, rows, group.place, source, item, transport)
            outbox.arena.lengths[rows] = size
            if transport is not None and item.packet.transport_sequence_at >= 0:
                history.note(indices, transport, size)
                transport += 1
        if transport is not None:
            history.values[indices] = transport
        return first, end

    def _write_one(
        self,
        arena: Arena,
        rows: slice,
        place: slice,
        source: npt.NDArray[np.uint8],
        item: Item,
        transport: npt.NDArray[np.uint16] | None,
    ) -> int:
        packet = item.packet
        data = arena.data
        if self._extensions:
            cut = packet.start
            size = packet.end - cut
            data[rows, :size] = source[cut : packet.end]
            if transport is not None and packet.transport_sequence_at >= 0:
                arena.column(packet.transport_sequence_at)[rows] = transport
        else:
            # The payload follows the fixed header at once.
            cut = packet.payload_start - HEADER_SIZE
            size = packet.end - cut
            data[rows, HEADER_SIZE:size] = source[packet.payload_start : packet.end]
            data[rows, :HEADER_SIZE] = source[packet.start : packet.start + HEADER_SIZE]
            data[rows, 0] = 0x80
        payload_types = self._payload_types[packet.payload_type]
        if payload_types is not None:
            data[rows, 1] = payload_types[place] | item.marker << 7
        elif item.marker != packet.marker:
            data[rows, 1] = packet.payload_type | item.marker << 7
        # uint16 and uint32 wrap, as the fields do.
        arena.halves[rows, 1] = self._sequences[place] + np.uint16(item.number & 0xFFFF)
        arena.words[rows, 1] = self._timestamps[place] + np.uint32(packet.timestamp)
        arena.words[rows, 2] = self._ssrcs[place]
        if self._renumbers:
            self._write_pictures(arena, rows, place, item.picture, cut)
        return size

    def _write_few(
        self,
        arena: Arena,
        first: int,
        place: slice,
        view: memoryview,
        items: Sequence[Item],
        history: SendHistory,
    ) -> None:
        """Row after row: for a handful of subscribers, numpy's cost per operation is more."""
        out, lengths = arena.view, arena.length_pointers
        step, few = len(items), self._few[place]
        for offset, item in enumerate(items):
            packet, number = item.packet, item.number
            timestamp, marker = packet.timestamp, item.marker << 7
            cut = packet.start if self._extensions else packet.payload_start - HEADER_SIZE
            source = view[cut : packet.end]
            size = len(source)
            head = view[packet.start] if self._extensions else 0x80
            at_number = packet.transport_sequence_at if self._extensions else -1
            row = first + offset
            for down, segment, index in few:
                at = row * ROW
                out[at : at + size] = source
                _HEADER.pack_into(
                    out,
                    at,
                    head,
                    marker | down.payload_types[packet.payload_type],
                    number + segment.delta & 0xFFFF,
                    timestamp + segment.timestamp_delta & 0xFFFFFFFF,
                    down.ssrc,
                )
                if at_number >= 0:
                    _HALF.pack_into(out, at + at_number, history.take(index, size))
                if self._renumbers:
                    write_picture(
                        out,
                        item.picture,
                        at - cut,
                        segment.picture_delta,
                        segment.tl0_delta,
                        segment.keyidx_delta,
                        segment.frame_delta if self._extensions else 0,
                    )
                lengths[row][0] = size
                row += step

    def _write_pictures(
        self, arena: Arena, rows: slice, place: slice, picture: Picture, cut: int
    ) -> None:
        """`rtp.codecs.write_picture` for all rows; `cut` is what the row's first byte was."""
        mask = picture.picture_mask
        if mask:
            ids = self._pictures[place] + picture.picture_id & mask
            if mask == 0x7F:
                arena.data[rows, picture.picture_at - cut] = ids
            else:
                arena.column(picture.picture_at - cut)[rows] = ids | 0x8000
        if picture.tl0_at >= 0:
            arena.data[rows, picture.tl0_at - cut] = self._tl0s[place] + picture.tl0 & 0xFF
        if picture.keyidx_at >= 0:
            column = arena.data[rows, picture.keyidx_at - cut]
            column[:] = column & 0xE0 | (self._keyidxs[place] + picture.keyidx & 0x1F)
        if self._extensions and picture.frame_at >= 0:
            frames = self._frames[place] + picture.frame & 0xFFFF
            arena.column(picture.frame_at - cut)[rows] = frames

    def get_runs(self, items: Sequence[Item]) -> list[int]:
        """For `Outbox.commit`: how the packets' sizes, as they are sent here, fall into runs."""
        if len(items) == 1:
            return [1]
        if self._extensions:
            return runs_of([item.packet.end - item.packet.start for item in items])
        return runs_of([item.packet.end - item.packet.payload_start for item in items])

    def get_contexts(self, group: Group, packets: int) -> list[Pointer]:
        """The SRTP contexts of a block's rows."""
        contexts = self._contexts.get(packets)
        if contexts is None:
            contexts = [context for context in self._contexts[1] for _ in range(packets)]
            self._contexts[packets] = contexts
        return contexts[group.place.start * packets : group.place.stop * packets]


def build_fan_outs(track: UpTrack) -> dict[Cut, list[FanOut]]:
    """Those of the track as it is now, by what they take.

    Who accepted other payload types is in another: what goes to some alone must not go one by
    one to all.
    """
    alike: dict[tuple[Cut, bool, frozenset[int], int | None], list[DownTrack]] = {}
    for down in track.downs:
        if down.cut is not None and down.leg.ready:
            accepted = frozenset(track.inspectors).intersection(down.payload_types)
            wrapped = get_wrapped_type(down)
            alike.setdefault((down.cut, down.extensions, accepted, wrapped), []).append(down)
    fans: dict[Cut, list[FanOut]] = {}
    for (cut, extensions, _, _), downs in alike.items():
        fans.setdefault(cut, []).append(FanOut(cut, downs, extensions))
    return fans


def render(
    down: DownTrack,
    segment: Segment,
    data: ReadBuffer,
    number: int,
    picture: Picture,
    picture_base: int,
    history: SendHistory,
) -> bytearray | None:
    """One packet as it goes to one DownTrack: what a `FanOut` does, one field after the other.

    `data` is the normalised packet, `number` its extended sequence number, `picture` what is
    known of its payload, with offsets that count from `picture_base`. None if the subscriber
    did not accept its payload type.
    """
    data = adapt(data, down)
    payload_type = down.payload_types.get(data[1] & 0x7F)
    if payload_type is None:
        return None
    start = header_size(data, 0)
    if down.extensions or start == HEADER_SIZE:
        out = bytearray(data)
        removed = 0
        if start > HEADER_SIZE:
            places = down.source.extension_map.places if down.source is not None else ()
            at = places[data[HEADER_SIZE] == 0x10].transport_sequence_at if places else -1
            if at >= 0:
                out[at : at + 2] = history.take(down.leg.index, len(out)).to_bytes(2, "big")
    else:
        out = bytearray(data[:HEADER_SIZE]) + data[start:]
        out[0] = 0x80
        removed = start - HEADER_SIZE
    out[1] = data[1] & 0x80 | payload_type
    timestamp = int.from_bytes(data[4:8], "big") + segment.timestamp_delta & 0xFFFFFFFF
    out[2:4] = (number + segment.delta & 0xFFFF).to_bytes(2, "big")
    out[4:8] = timestamp.to_bytes(4, "big")
    out[8:12] = down.ssrc.to_bytes(4, "big")
    write_picture(
        out,
        picture,
        -picture_base - removed,
        segment.picture_delta,
        segment.tl0_delta,
        segment.keyidx_delta,
        0 if removed else segment.frame_delta,
    )
    return out
