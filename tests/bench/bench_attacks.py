"""How long a word takes from one to another while sockets are flooded.

    python -m tests.bench.bench_attacks KIND SOCKETS [ROOM] [--websocket plain] [--seconds 6]

KIND as in `tests.support.flood`, or none. One healthy pair talks in a room of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from typing import Final

from tests.support.flood import KINDS, flooding
from tests.support.processes import connect as connect_to
from tests.support.processes import open_session, run_server

PAUSE: Final = 0.03
"""Seconds between two words."""


async def measure(kind: str, sockets: int, websocket: str, room: str, seconds: float) -> None:
    async with (
        run_server("--websocket", websocket) as server,
        open_session() as session,
        connect_to(session, server) as ada,
        connect_to(session, server) as bob,
        contextlib.AsyncExitStack() as stack,
    ):
        await ada.join("healthy", "Ada")
        await bob.join("healthy", "Bob")
        if kind != "none":
            await stack.enter_async_context(flooding(server.port, sockets, kind, room))
        latencies: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = time.monotonic()
            await ada.send(type="chat", content="x")
            await bob.receive_type("chat")
            latencies.append(1000 * (time.monotonic() - said))
            await asyncio.sleep(PAUSE)
    latencies.sort()
    at = [latencies[int(len(latencies) * share)] for share in (0.5, 0.99)]
    print(
        f"{kind} by {sockets} sockets, {websocket}: {len(latencies)} words, median {at[0]:.1f} ms,"
        f" 99th percentile {at[1]:.1f} ms, longest {latencies[-1]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_attacks", description=__doc__)
    parser.add_argument("kind", choices=["none", *KINDS])
    parser.add_argument("sockets", type=int)
    parser.add_argument("--websocket", default="auto")
    parser.add_argument("room", nargs="?", default="")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    asyncio.run(
        measure(options.kind, options.sockets, options.websocket, options.room, options.seconds)
    )


if __name__ == "__main__":
    main()
