"""How long a planned restart interrupts a call through the relay, as a bot hears it.

python -m tests.bench.bench_restart [--times 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from tests.support.processes import run_server
from tests.support.restarting import hear_more, restart, talking


async def measure() -> float:
    """Seconds of silence."""
    async with (
        contextlib.AsyncExitStack() as stack,
        run_server("--drain-timeout", "3", relay=True) as server,
        talking(server) as listener,
    ):
        await restart(server, stack)
        await hear_more(listener)
        return listener.longest_silence()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_restart", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    for _ in range(parser.parse_args().times):
        print(f"silence of {asyncio.run(measure()):.2f} s", flush=True)


if __name__ == "__main__":
    main()
