"""Half an hour of a busy room in virtual time, and its memory: what is used after ten minutes
is what is used after thirty.

Ten publishers with camera and microphone, fifty subscribers to all of them; guests come and go,
publishers mute and start anew, subscribers ask for packets and key frames. The packets are
thinned to one in 2.5 seconds and stream: a leak of one object per packet would still show a
quarter of a million times over.
"""

from __future__ import annotations

import gc
import os
import sys

from relay.plane.tracks import DownTrack, UpTrack
from relay.rtp import rtcp
from tests.support.call import Call
from tests.support.publishing import Publisher, Shape, Stream
from tests.support.virtual_relay import Cipher, Wire

PUBLISHERS, SUBSCRIBERS = 10, 50
WARM_UP, END = 600.0, 1800.0
CAMERA = Shape(interval=2.5, packets=1, size=40)
MICROPHONE = Shape(interval=2.5, packets=1, size=30)
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sink:
    """A subscriber that decrypts nothing, yet sends the RTCP that one would."""

    def __init__(self, call: Call, name: str, tracks: list[UpTrack]) -> None:
        self.wire: Wire = call.relay.open(name)
        self.received = 0
        self.wire.connect()
        call.relay.outbox.receivers[self.wire.address] = self._receive
        self._tx = Cipher(self.wire.tx)
        self._last: dict[int, int] = {}
        self.downs: list[DownTrack] = []
        for track in tracks:
            down = call.relay.add_slot(self.wire, track.kind)
            call.relay.attach(down, track)
            self.downs.append(down)

    def _receive(self, data: bytes) -> None:
        self.received += 1
        if not 64 <= data[1] & 0x7F <= 95:
            self._last[int.from_bytes(data[8:12], "big")] = data[2] << 8 | data[3]
            if len(self._last) > 2 * PUBLISHERS:
                del self._last[next(iter(self._last))]

    def ask(self) -> None:
        """A receiver report, packets that came a while ago and were said to be lost, a PLI."""
        out = rtcp.build_receiver_report(1, ())
        for ssrc, sequence in list(self._last.items())[:4]:
            out += rtcp.build_nack(1, ssrc, [sequence, sequence - 1 & 0xFFFF])
            out += rtcp.build_pli(1, ssrc)
        self.wire.up.send(self._tx.protect_rtcp(out))


class BusyRoom:
    def __init__(self) -> None:
        self.call = Call(seed=71, rows=512)
        self.tracks: list[UpTrack] = []
        self.cameras: list[tuple[Publisher, UpTrack, Stream]] = []
        for number in range(PUBLISHERS):
            publisher = self.call.publisher(f"publisher{number}")
            track, stream = self.call.camera(publisher, shape=CAMERA)
            voice, spoken = self.call.microphone(publisher, shape=MICROPHONE)
            stream.history = spoken.history = 20
            self.tracks += [track, voice]
            self.cameras.append((publisher, track, stream))
        self.sinks = [Sink(self.call, f"sink{n}", self.tracks) for n in range(SUBSCRIBERS)]
        self.turn = 0
        self.guests = 0
        self.call.simulation.every(2.0, self._live, first=1.0)

    def _live(self) -> None:
        """Something of everything that happens in a room, again and again."""
        self.turn += 1
        turn = self.turn
        now = self.call.now
        self.tracks[turn % len(self.tracks)].set_muted(turn // len(self.tracks) % 2 == 0, now)
        self.sinks[turn % SUBSCRIBERS].ask()
        if turn % 5 == 0:
            leaving = self.sinks.pop(0)
            leaving.wire.close()
            self.guests += 1
            self.sinks.append(Sink(self.call, f"guest{self.guests}", self.tracks))
        if turn % 11 == 0:
            publisher, track, stream = self.cameras[turn % PUBLISHERS]
            publisher.stop(stream)
            fresh = publisher.add("video", self.call.take_ssrc() + turn, shape=CAMERA)
            fresh.history = 20
            self.cameras[turn % PUBLISHERS] = (publisher, track, fresh)
        down = self.sinks[(turn + 7) % SUBSCRIBERS].downs[0]
        down.set_paused(not down.paused, now)


def measure() -> tuple[int, int]:
    """Python's memory blocks in use, and the process's resident bytes."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * PAGE
    return sys.getallocatedblocks(), resident


def test_memory_stays_flat_through_half_an_hour_of_a_busy_room() -> None:
    room = BusyRoom()
    relay = room.call.relay
    room.call.run_for(WARM_UP)
    blocks, resident = measure()
    sent = relay.stats.packets_out
    room.call.run_for(END - WARM_UP)
    blocks_after, resident_after = measure()
    forwarded = relay.stats.packets_out - sent
    print(
        f"packets forwarded {forwarded}, blocks {blocks} -> {blocks_after}, "
        f"resident MiB {resident / 2**20:.1f} -> {resident_after / 2**20:.1f}"
    )
    assert forwarded > 200_000
    assert relay.stats.resent > 100
    assert room.guests > 50
    assert blocks_after < blocks * 1.01
    assert resident_after < resident + 4 * 2**20
    forwarder = relay.forwarder
    assert len(forwarder.legs) == PUBLISHERS + SUBSCRIBERS
    assert len(forwarder.layers) == 2 * PUBLISHERS
    for track in room.tracks:
        assert len(track.downs) == SUBSCRIBERS
        assert len(track.layers) == 1


def test_a_thousand_participants_that_come_and_go_leave_nothing_behind() -> None:
    call = Call(seed=72)
    stayed = call.publisher("ada")
    track, kept = call.camera(stayed, shape=Shape(interval=0.5, packets=1, size=40))
    kept.history = 20

    def visit(number: int) -> None:
        """One publishes and receives for two seconds, and is received by one who stays."""
        guest = call.publisher(f"guest{number}")
        own, stream = call.camera(guest, shape=CAMERA)
        stream.history = 20
        sink = Sink(call, f"sink{number}", [track])
        down = call.relay.add_slot(watcher.wire, "video")
        call.relay.attach(down, own)
        call.run_for(2.0)
        sink.ask()
        kept.plis.clear()
        guest.stop(stream)
        guest.leave()
        sink.wire.close()
        watcher.wire.leg.remove_down(down, call.now)

    watcher = Sink(call, "watcher", [track])
    for number in range(200):
        visit(number)
    blocks, resident = measure()
    for number in range(200, 1200):
        visit(number)
    blocks_after, resident_after = measure()
    print(f"blocks {blocks} -> {blocks_after}, MiB {resident >> 20} -> {resident_after >> 20}")
    assert blocks_after < blocks + 1000
    assert resident_after < resident + 4 * 2**20
    forwarder = call.relay.forwarder
    assert len(forwarder.legs) == 2
    assert len(forwarder.layers) == 1
    assert list(watcher.wire.leg.downs.values()) == watcher.downs
    assert len(track.downs) == 1
    assert forwarder.legs.keys() == {stayed.wire.leg.index, watcher.wire.leg.index}
