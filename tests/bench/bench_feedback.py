"""What judging everybody's line costs: transport-wide feedback of K subscribers beside the packets
that are forwarded to them, and subscribers on three layers beside subscribers on one.

    python -m tests.bench.bench_feedback [--subs 10,100]

In one process, without sockets and encryption, so that what is measured is this and not those: one
publisher of a simulcast of three layers, 30 pictures a second. Prints CPU µs for each packet sent,
without feedback, with it and on three layers, µs for each result, and the share of a core that
15,000 results a second take.
"""

from __future__ import annotations

import argparse
import time

from relay.plane.layer import Rung
from relay.plane.leg import Leg
from relay.plane.tracks import DownTrack
from relay.rtp import rtcp
from relay.rtp.twcc import ArrivalRecord
from relay.sdp.capabilities import MID, RID, TRANSPORT_CC
from tests.support.media import Plane, build_rtp, build_vp8, video_media

FRAME = 1 / 30
PACKETS = {0: 1, 1: 2, 2: 5}
"""Of each layer's picture."""
SECONDS = 20
FEEDBACK_EVERY = 3  # pictures: 100 ms


class Room:
    """A publisher of three layers and `count` subscribers."""

    def __init__(self, count: int, *, spread: bool) -> None:
        self.plane = Plane(rows=1024)
        publisher = self.plane.open_leg("publisher")
        media = video_media(
            ssrcs=(), rids=("q", "h", "f"), extensions={9: MID.id, 10: RID.id, 5: TRANSPORT_CC.id}
        )
        track = self.plane.publish(publisher, "t", media)
        self.publisher = publisher
        self.legs: list[Leg] = [self.plane.open_leg(f"s{number}") for number in range(count)]
        self.downs: list[DownTrack] = [
            self.plane.subscribe(leg, track, 0x5000 + 2 * number, rtx_ssrc=0x5001 + 2 * number)
            for number, leg in enumerate(self.legs)
        ]
        for number, down in enumerate(self.downs):
            down.set_target(Rung(number % 3 if spread else 2), 0.0)
        self.records = [ArrivalRecord() for _ in range(count)]
        self.noted = [0] * count
        self.frame = 0
        self.numbers = dict.fromkeys(PACKETS, 0)
        self.results = 0

    def build(self) -> list[bytes]:
        """The packets of a picture in all layers."""
        packets = []
        for layer, count in PACKETS.items():
            for place in range(count):
                self.numbers[layer] += 1
                packets.append(
                    build_rtp(
                        payload_type=120,
                        sequence=self.numbers[layer],
                        timestamp=3000 * self.frame,
                        ssrc=100 + layer,
                        marker=place == count - 1,
                        payload=build_vp8(
                            self.frame & 0x7FFF,
                            key_frame=self.frame % 300 == 0,
                            first=place == 0,
                            data=bytes(1000),
                        ),
                        extensions={9: b"0", 10: b"qhf"[layer : layer + 1], 5: bytes(2)},
                    )
                )
        self.frame += 1
        return packets

    def arrive(self, now: float) -> None:
        """The packets of a picture come to all, 1 ms apart."""
        for place, (leg, record) in enumerate(zip(self.legs, self.records, strict=True)):
            newest = int(self.plane.forwarder.history.values[leg.index])
            for late in range(newest - self.noted[place] & 0xFFFF):
                number = self.noted[place] + late & 0xFFFF
                record.on_packet(number, now + 0.02 + 0.001 * late)
                self.results += 1
            self.noted[place] = newest

    def make_feedback(self, now: float) -> list[bytes]:
        """What each subscriber says of the packets since the last time."""
        return [
            b"".join(
                rtcp.build_transport_feedback(1, 2, body)
                for body in record.feedback_to_send(now + 1.0)
            )
            for record in self.records
        ]


def run(count: int, *, feedback: bool, spread: bool = False) -> tuple[float, float, int, int]:
    """CPU seconds of forwarding and of feedback, packets sent and results read."""
    room = Room(count, spread=spread)
    now, forwarding, reading, sent = 1000.0, 0.0, 0.0, 0
    for frame in range(round(SECONDS / FRAME)):
        now += FRAME
        packets = room.build()
        began = time.process_time()
        room.plane.receive(room.publisher, packets, now)
        forwarding += time.process_time() - began
        sent += sum(len(data) for data in room.plane.sent.values())
        room.plane.sent.clear()
        if feedback:
            room.arrive(now)
        if feedback and frame % FEEDBACK_EVERY == 0:
            told = room.make_feedback(now)
            began = time.process_time()
            for leg, data in zip(room.legs, told, strict=True):
                if data:
                    room.plane.receive(leg, [data], now)
            reading += time.process_time() - began
            room.plane.sent.clear()
    return forwarding, reading, sent, room.results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subs", default="10,100")
    arguments = parser.parse_args()
    print("  subs  µs/packet  with feedback  three layers  µs/result  15,000 results/s")
    for count in map(int, arguments.subs.split(",")):
        plain = run(count, feedback=False)
        told = run(count, feedback=True)
        spread = run(count, feedback=False, spread=True)
        each = told[1] / max(told[3], 1) * 1e6
        print(
            f"{count:6} {plain[0] / plain[2] * 1e6:10.2f} "
            f"{(told[0] + told[1]) / told[2] * 1e6:14.2f} {spread[0] / spread[2] * 1e6:13.2f} "
            f"{each:10.2f} {each * 15_000 / 1e4:15.1f} %"
        )


if __name__ == "__main__":
    main()
